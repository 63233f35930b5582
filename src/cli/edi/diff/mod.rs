//! `raccord edi diff A B`: what two files say differently, EDI or JSON, by what they mean and not by how they write it.

mod align;
mod compare;
mod meaning;
mod sides;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use self::compare::{Difference, Differences, What, compare};
use self::sides::{Item, MOST_WAITING, Pair, Side, pairs};
use super::{Bad, Context, Ink, Listed, Paint, Reading, count, output, shown};
use crate::edi::directory::Library;
use crate::edi::facts;
use crate::message::{Map, Value};

#[derive(Debug, Args)]
pub struct Diff {
    /// The first file, EDI or JSON as `convert` prints it; `-` is standard input
    one: PathBuf,
    /// The second file
    other: PathBuf,
    /// Leave out envelopes: references, dates, parties and counts of interchanges, groups and messages
    #[arg(long)]
    content: bool,
    #[command(flatten)]
    reading: Reading,
}

/// The files cannot be compared. As `diff` and `cmp` have it.
const UNREADABLE: u8 = 2;

impl Diff {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.compare(context) {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(output::found()),
            Err(error) => {
                output::failed(context.json, &error);
                Ok(ExitCode::from(UNREADABLE))
            }
        }
    }

    /// Whether they say the same.
    fn compare(&self, context: &Context) -> anyhow::Result<bool> {
        let stdin = |path: &PathBuf| path.to_str() == Some("-");
        if stdin(&self.one) && stdin(&self.other) {
            return Err(Bad("only one of the two can be standard input".to_owned()).into());
        }
        let library = self.reading.library(context)?;
        let (mut one, mut other) = (Side::open(&self.one, &self.reading)?, Side::open(&self.other, &self.reading)?);
        let names = (one.name.clone(), other.name.clone());
        let mut told = Told {
            names,
            content: self.content,
            library: &library,
            paint: Paint::new(),
            listed: context.json.then(Listed::default),
            envelopes: Default::default(),
            begun: false,
            counts: Counts::default(),
        };
        pairs(&mut one, &mut other, &library, MOST_WAITING, |pair| told.pair(pair))?;
        Ok(told.end())
    }
}

#[derive(Default)]
struct Counts {
    messages: usize,
    different: usize,
    /// Interchanges and groups whose envelopes differ.
    envelopes: usize,
    only: [usize; 2],
    moved: usize,
}

struct Told<'l> {
    names: (String, String),
    content: bool,
    library: &'l Library,
    paint: Paint,
    listed: Option<Listed>,
    /// The envelopes told last: interchange, group.
    envelopes: [Option<(Arc<Value>, Arc<Value>)>; 2],
    /// Something was told.
    begun: bool,
    counts: Counts,
}

impl Told<'_> {
    fn pair(&mut self, pair: Pair) {
        match pair {
            Pair::Both(one, other) => self.both(&one, &other),
            Pair::First(item) => self.only(0, &item),
            Pair::Second(item) => self.only(1, &item),
        }
    }

    fn both(&mut self, one: &Item, other: &Item) {
        self.counts.messages += 1;
        if !self.content {
            self.around(0, "interchange", &one.interchange, &other.interchange);
            match (&one.group, &other.group) {
                (Some(one), Some(other)) => self.around(1, "group", one, other),
                (None, None) => {}
                (one, other) => {
                    let none = Arc::new(Value::Null);
                    self.around(1, "group", one.as_ref().unwrap_or(&none), other.as_ref().unwrap_or(&none));
                }
            }
        }
        let found = self.library.find(one.dialect, &one.kind, one.syntax);
        let mut differences = compare(found, one.dialect, &one.document, &other.document);
        if self.content {
            differences.envelope.clear();
        }
        let all = || differences.envelope.iter().chain(&differences.content);
        let moved = all().filter(|difference| difference.what == What::Moved).count();
        let different = all().count() > moved || differences.dropped > 0;
        self.counts.moved += moved;
        self.counts.different += usize::from(different);
        if different || moved > 0 {
            self.message(one, other, &differences);
        }
    }

    /// What differs in the envelopes around messages, told once for all in them.
    fn around(&mut self, level: usize, name: &'static str, one: &Arc<Value>, other: &Arc<Value>) {
        let told = self.envelopes[level].as_ref();
        if told.is_some_and(|(first, second)| same(first, one) && same(second, other)) {
            return;
        }
        self.envelopes[level] = Some((Arc::clone(one), Arc::clone(other)));
        let mut differences = Vec::new();
        facts_differ(one, other, "", &mut differences);
        if differences.is_empty() {
            return;
        }
        self.counts.envelopes += 1;
        if let Some(listed) = &mut self.listed {
            let mut out: Map = [("is", name)].into_iter().collect();
            out.insert("differences", values(&differences, "envelope"));
            return listed.put(out);
        }
        self.head();
        println!("\n{}", self.paint.with(Ink::Bold, format!("The {name} around the messages")));
        differences.iter().for_each(|difference| self.difference(difference));
    }

    fn message(&mut self, one: &Item, other: &Item, differences: &Differences) {
        if let Some(listed) = &mut self.listed {
            let mut out: Map = [("is", "message")].into_iter().collect();
            out.insert("message", facts::message(&one.kind, &one.reference));
            out.insert("other", facts::message(&other.kind, &other.reference));
            let mut all = values(&differences.envelope, "envelope");
            all.extend(values(&differences.content, "content"));
            out.insert("differences", all);
            if differences.dropped > 0 {
                out.insert("more", count(differences.dropped));
            }
            return listed.put(out);
        }
        self.head();
        let name = |item: &Item| shown(&format!("{} {}", item.kind.name, item.reference));
        let (one, other) = (name(one), name(other));
        let both = if one == other { one } else { format!("{one} and {other}") };
        println!("\n{}", self.paint.with(Ink::Bold, both));
        for difference in &differences.envelope {
            self.difference(difference);
        }
        for difference in &differences.content {
            self.difference(difference);
        }
        if differences.dropped > 0 {
            println!("  and {} more", differences.dropped);
        }
    }

    fn difference(&self, difference: &Difference) {
        let Difference { what, place, other_place, label, of, from, to } = difference;
        let mut line = self.paint.with(Ink::Dim, shown(place));
        if !label.is_empty() {
            line.push_str(&format!("  {}", shown(label)));
        }
        if !of.is_empty() {
            line.push_str(&format!(" ({})", shown(of)));
        }
        if let Some(other) = other_place {
            line.push_str(&self.paint.with(Ink::Dim, format!(", there {}", shown(other))));
        }
        println!("  {line}");
        if *what == What::Moved {
            return println!("  {}", self.paint.with(Ink::Dim, "~ the same, in another order"));
        }
        if matches!(what, What::Changed | What::Removed) {
            println!("  {}", self.paint.with(Ink::Red, format!("- {}", cut(from))));
        }
        if matches!(what, What::Changed | What::Added) {
            println!("  {}", self.paint.with(Ink::Green, format!("+ {}", cut(to))));
        }
    }

    fn only(&mut self, side: usize, item: &Item) {
        let name = if side == 0 { &self.names.0 } else { &self.names.1 };
        let name = name.clone();
        if let Some(listed) = &mut self.listed {
            let is = if side == 0 { "only_in_first" } else { "only_in_second" };
            let mut out: Map = [("is", is)].into_iter().collect();
            out.insert("message", facts::message(&item.kind, &item.reference));
            listed.put(out);
        } else {
            self.head();
            let (sign, ink) = if side == 0 { ('-', Ink::Red) } else { ('+', Ink::Green) };
            let text = format!("{sign} {} {} is only in {name}", item.kind.name, item.reference);
            println!("\n{}", self.paint.with(ink, shown(&text)));
        }
        self.counts.only[side] += 1;
    }

    /// Which file is which, before the first difference.
    fn head(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            println!("{}", self.paint.with(Ink::Red, format!("--- {}", self.names.0)));
            println!("{}", self.paint.with(Ink::Green, format!("+++ {}", self.names.1)));
        }
    }

    /// Whether they say the same; the last words.
    fn end(self) -> bool {
        let Counts { messages, different, envelopes, only: [first, second], moved } = self.counts;
        let equal = different + envelopes + first + second == 0;
        if let Some(listed) = self.listed {
            listed.end();
            return equal;
        }
        let compared = output::counted(messages, "message");
        if equal {
            let order = if moved > 0 { ", but for the order of some parts" } else { "" };
            println!("{}No difference in {compared}{order}.", if moved > 0 { "\n" } else { "" });
            return true;
        }
        let mut words = vec![format!("{different} of {compared} differ")];
        if envelopes > 0 {
            words.push(format!("{} around them", output::counted(envelopes, "envelope")));
        }
        for (count, name) in [(first, &self.names.0), (second, &self.names.1)] {
            if count > 0 {
                words.push(format!("{count} only in {name}"));
            }
        }
        eprintln!("{}.", words.join(", "));
        false
    }
}

fn same(one: &Arc<Value>, other: &Arc<Value>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// How values are written, and which of a file something is, are no difference.
const NOTATION: [&str; 2] = ["number", "delimiters"];

/// The facts of two envelopes that differ.
fn facts_differ(one: &Value, other: &Value, path: &str, out: &mut Vec<Difference>) {
    let empty = Map::new();
    let (first, second) = (one.as_map().unwrap_or(&empty), other.as_map().unwrap_or(&empty));
    let keys = first.iter().map(|(key, _)| key);
    for key in keys.chain(second.iter().map(|(key, _)| key).filter(|key| !first.contains(key))) {
        if path.is_empty() && NOTATION.contains(&key.as_str()) {
            continue;
        }
        let place = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        let (one, other) = (first.get(key), second.get(key));
        if path.is_empty() && [one, other].iter().any(|value| value.is_some_and(|value| value.as_map().is_some())) {
            facts_differ(one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null), &place, out);
            continue;
        }
        let text =
            |value: Option<&Value>| value.and_then(Value::plain).map(|text| text.trim().to_owned()).unwrap_or_default();
        let (from, to) = (text(one), text(other));
        if from != to {
            let what = match (from.as_str(), to.as_str()) {
                ("", _) => What::Added,
                (_, "") => What::Removed,
                _ => What::Changed,
            };
            let (label, of) = (String::new(), String::new());
            out.push(Difference { what, place, other_place: None, label, of, from, to });
        }
    }
}

fn values(differences: &[Difference], about: &'static str) -> Vec<Value> {
    let value = |difference: &Difference| {
        let what = match difference.what {
            What::Changed => "changed",
            What::Removed => "removed",
            What::Added => "added",
            What::Moved => "moved",
        };
        let mut out: Map = [("what", what), ("about", about)].into_iter().collect();
        let place = (difference.what != What::Added).then_some(&difference.place);
        let other = difference.other_place.as_ref().or((difference.what == What::Added).then_some(&difference.place));
        for (name, text) in [("place", place), ("other_place", other)] {
            if let Some(text) = text {
                out.insert(name, text.as_str());
            }
        }
        let texts =
            [("label", &difference.label), ("of", &difference.of), ("from", &difference.from), ("to", &difference.to)];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            out.insert(name, text.as_str());
        }
        Value::Map(out)
    };
    differences.iter().map(value).collect()
}

/// A line to read.
fn cut(text: &str) -> String {
    let length = text.chars().count();
    if length <= LONGEST {
        return shown(text);
    }
    format!("{} … ({length} characters)", shown(&text.chars().take(LONGEST).collect::<String>()))
}

const LONGEST: usize = 200;
