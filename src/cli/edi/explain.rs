//! `raccord edi explain FILE`: what each message says, what is wrong with it, and the acknowledgment it would get.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::answer::answers;
use super::{
    Context, Ink, Input, Listed, Paint, Reading, count, item_label, line, output, refuses, shown, tag_label, to_value,
};
use crate::edi::acknowledgments::Receipt;
use crate::edi::directory::{Field, Found, Item, Position};
use crate::edi::document::document;
use crate::edi::facts;
use crate::edi::findings::{Finding, Findings};
use crate::edi::reader::{Event, Group, Interchange, Party, Reader};
use crate::edi::syntax::{Dialect, Element, Segment, Tag};
use crate::edi::tree::{Tree, View};
use crate::message::{Map, Value};

#[derive(Debug, Args)]
pub struct Explain {
    /// The file; `-` is standard input
    file: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

impl Explain {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let input = Input::open_edi(&self.file)?;
        let (paint, policy) = (Paint::new(), self.reading.options().policy);
        let (library, mut listed) = (self.reading.library(context)?, context.json.then(Listed::default));
        let (mut receipt, mut refused) = (Receipt::default(), false);
        let mut reader = Reader::new(input.bytes, self.reading.options());
        while let Some(event) = reader.read().with_context(|| format!("cannot read {}", input.name))? {
            let tree = match &event {
                Event::Message(message) => Some(Tree::read(message, &library, &policy, 1000)),
                _ => None,
            };
            receipt.note(&event, tree.as_ref());
            let dialect = receipt.interchange.notation.dialect;
            match (&mut listed, tree) {
                (Some(listed), Some(tree)) => listed.put(message_value(&tree)),
                (None, Some(tree)) => message(paint, &tree),
                (Some(listed), None) => around_value(listed, &event, dialect),
                (None, None) => around(paint, &event, dialect),
            }
            if let Event::InterchangeEnd(_) = &event {
                refused |= receipt.refused() || !messages(&receipt).0;
                match &mut listed {
                    Some(listed) => answer_values(listed, &receipt),
                    None => answered(paint, &receipt),
                }
            }
        }
        if let Some(listed) = listed {
            listed.end();
        }
        Ok(if refused { output::found() } else { ExitCode::SUCCESS })
    }
}

/// Whether all messages are accepted, and how many there are.
fn messages(receipt: &Receipt) -> (bool, usize) {
    let mut messages = receipt.groups.iter().flat_map(|group| &group.messages);
    (messages.clone().all(|message| message.accepted()), messages.by_ref().count())
}

/// What stands around messages.
fn around(paint: Paint, event: &Event<'_>, dialect: Dialect) {
    match event {
        Event::Interchange(interchange) => interchange_head(paint, interchange),
        Event::Group(group) => group_head(paint, group),
        _ => {}
    }
    for finding in event.findings().list() {
        println!("{}", line(paint, dialect, finding, None));
    }
}

fn interchange_head(paint: Paint, interchange: &Interchange) {
    let dialect = if interchange.notation.dialect == Dialect::X12 { "X12" } else { "EDIFACT" };
    let version = shown(format!("{} {}", interchange.syntax, interchange.version).trim());
    let head = match interchange.stated {
        true => format!("Interchange {} ({dialect} {version})", shown(&interchange.reference)),
        false => format!("Messages without an interchange around them ({dialect})"),
    };
    println!("{}", paint.with(Ink::Bold, head));
    if !interchange.stated {
        return;
    }
    println!("  from      {}", party(&interchange.sender));
    println!("  to        {}", party(&interchange.receiver));
    println!("  prepared  {} {}", shown(&interchange.date), shown(&interchange.time));
    if interchange.test {
        println!("  test      this interchange is a test");
    }
}

fn party(party: &Party) -> String {
    let Party { id, qualifier, internal } = party;
    let qualifier = if qualifier.is_empty() { String::new() } else { format!(" ({qualifier})") };
    let internal = if internal.is_empty() { String::new() } else { format!(", internal {internal}") };
    shown(&format!("{id}{qualifier}{internal}"))
}

fn group_head(paint: Paint, group: &Group) {
    let head = format!("Group {} of {}, version {}", group.reference, group.function, group.version);
    println!("{}", paint.with(Ink::Bold, shown(&head)));
}

fn message(paint: Paint, tree: &Tree<'_>) {
    let message = tree.message;
    let verdict = match tree.accepted() {
        true => paint.with(Ink::Green, "accepted"),
        false => paint.with(Ink::Red, "REFUSED"),
    };
    let head = shown(&format!("Message {}: {}, reference {}", message.number, message.kind, message.reference));
    println!("\n{}: {verdict}\n", paint.with(Ink::Bold, head));
    let page = Page { paint, tree, findings: by_segment(tree) };
    page.group(tree.root(), 0);
    page.findings_of(0, 0);
    page.summary();
}

fn both<'t>(tree: &'t Tree<'_>) -> [&'t Findings; 2] {
    [&tree.message.findings, &tree.findings]
}

fn by_segment<'t>(tree: &'t Tree<'_>) -> BTreeMap<u32, Vec<&'t Finding>> {
    let mut map: BTreeMap<u32, Vec<&Finding>> = BTreeMap::new();
    for finding in both(tree).into_iter().flat_map(Findings::list) {
        map.entry(finding.place.segment).or_default().push(finding);
    }
    map
}

/// One message, told.
struct Page<'t> {
    paint: Paint,
    tree: &'t Tree<'t>,
    findings: BTreeMap<u32, Vec<&'t Finding>>,
}

impl Page<'_> {
    fn dialect(&self) -> Dialect {
        self.tree.message.notation.dialect
    }

    fn label(&self, tag: Tag) -> &str {
        tag_label(self.dialect(), self.tree.found.as_ref(), tag).unwrap_or_default()
    }

    fn group(&self, around: View<'_>, depth: usize) {
        for view in around.children() {
            if !view.is_group() {
                self.segment(view, depth);
                continue;
            }
            if let Some(node) = view.node() {
                let label = self.label(node.tag);
                println!(
                    "{:5}  {:indent$}{}",
                    "",
                    "",
                    self.paint.with(Ink::Dim, format!("{} {label}", node.key)),
                    indent = 2 * depth
                );
            }
            self.group(view, depth + 1);
        }
    }

    fn segment(&self, view: View<'_>, depth: usize) {
        let Some(segment) = view.segment() else { return };
        let (number, indent) = (view.index() + 1, 2 * depth);
        let tag = shown(&String::from_utf8_lossy(segment.raw_tag()));
        let label = self.label(segment.tag);
        println!("{number:5}  {:indent$}{} {label}", "", self.paint.with(Ink::Bold, tag));
        let rows = rows(self.tree, view, &segment);
        let width = |of: fn(&Row<'_>) -> usize| rows.iter().map(of).max().unwrap_or_default();
        let (keys, labels) = (width(|row| row.key.chars().count()), width(|row| row.label.chars().count()));
        for row in &rows {
            let key = self.paint.with(Ink::Dim, format!("{:keys$}", row.key));
            println!("{:7}{:indent$}    {key}  {:labels$}  {}", "", "", row.label, cut(&row.value));
        }
        self.findings_of(number as u32, indent);
    }

    fn findings_of(&self, segment: u32, indent: usize) {
        for finding in self.findings.get(&segment).into_iter().flatten() {
            let line = line(self.paint, self.dialect(), finding, self.tree.found.as_ref());
            println!("{:5}  {:indent$}^ {line}", "", "");
        }
    }

    /// What is wrong, once more together: this is what the sender is told.
    fn summary(&self) {
        let all = || self.findings.values().flatten().copied();
        let found = self.tree.found.as_ref();
        let refusing: Vec<&Finding> = all().filter(|finding| refuses(finding)).collect();
        if !refusing.is_empty() {
            println!("\n  {}", self.paint.with(Ink::Bold, "What the sender must correct, or the message is refused"));
            self.told(&refusing, found);
        }
        let others: Vec<&Finding> = all().filter(|finding| !refuses(finding)).collect();
        if !others.is_empty() {
            println!("\n  {}", self.paint.with(Ink::Bold, "What deviates and is let pass"));
            self.told(&others, found);
        }
        let dropped: u64 = both(self.tree).into_iter().map(Findings::dropped).sum();
        if dropped > 0 {
            println!("  - and {dropped} more");
        }
    }

    fn told(&self, findings: &[&Finding], found: Option<&Found<'_>>) {
        for finding in findings {
            let place = super::place(self.dialect(), finding, found);
            let place = if place.is_empty() { place } else { format!("{place}: ") };
            println!("  - {place}{} ({})", shown(&finding.sentence), finding.code.name());
        }
    }
}

/// Long values are cut: it is a page to read.
fn cut(value: &str) -> String {
    let length = value.chars().count();
    if length <= LONGEST {
        return shown(value);
    }
    let head: String = value.chars().take(LONGEST).collect();
    format!("{} … ({length} characters)", shown(&head))
}

const LONGEST: usize = 400;

/// A value of a segment.
struct Row<'t> {
    /// Its path within the segment: `C507.E2380`, `C108.E4440[1]`.
    key: String,
    label: &'t str,
    value: String,
}

fn rows<'t>(tree: &'t Tree<'_>, view: View<'_>, segment: &Segment<'_>) -> Vec<Row<'t>> {
    let def = view.node().zip(tree.found).and_then(|(node, found)| found.directory.segment(node));
    let (positions, fields) = def.map_or((&[][..], &[][..]), |def| (&def.positions[..], &def.fields[..]));
    let mut rows = Vec::new();
    let mut counted = Counted::default();
    for (index, element) in segment.elements().enumerate() {
        let position = positions.get(index);
        for repetition in element.repetitions() {
            let key = counted.key(position, fields, index);
            if !repetition.is_void() {
                parts(tree, segment, &repetition, position, &key, &mut rows);
            }
        }
    }
    rows
}

/// Counts the places of one field, as documents do.
#[derive(Default)]
struct Counted {
    field: Option<u16>,
    at: usize,
}

impl Counted {
    fn key(&mut self, position: Option<&Position>, fields: &[Field], index: usize) -> String {
        let Some((position, field)) = position.and_then(|at| Some((at, fields.get(usize::from(at.field))?))) else {
            return (index + 1).to_string();
        };
        self.at = if self.field == Some(position.field) { self.at + 1 } else { 0 };
        self.field = Some(position.field);
        if field.list { format!("{}[{}]", field.key, self.at) } else { field.key.to_string() }
    }
}

fn parts<'t>(
    tree: &'t Tree<'_>,
    segment: &Segment<'_>,
    element: &Element<'_>,
    position: Option<&Position>,
    key: &str,
    rows: &mut Vec<Row<'t>>,
) {
    let (message, found) = (tree.message, tree.found.as_ref());
    let dialect = message.notation.dialect;
    let (places, fields) = match position.map(|position| &position.item) {
        Some(Item::Composite(_, places, fields)) => (&places[..], &fields[..]),
        _ => (&[][..], &[][..]),
    };
    let simple = element.is_simple() && places.is_empty();
    let mut counted = Counted::default();
    for (index, component) in element.components().enumerate() {
        let place = places.get(index);
        let inner = counted.key(place, fields, index);
        if component.raw.is_empty() {
            continue;
        }
        let own = place.or(position).and_then(|place| item_label(dialect, found, &place.item));
        let label = own.or_else(|| item_label(dialect, found, &position?.item)).unwrap_or_default();
        let key = if simple { key.to_owned() } else { format!("{key}.{inner}") };
        rows.push(Row { key, label, value: message.text(segment, &component).into_owned() });
    }
}

/// The acknowledgment, in words and as text.
fn answered(paint: Paint, receipt: &Receipt) {
    let answers = answers(receipt);
    println!("\n{}", paint.with(Ink::Bold, "What is answered"));
    if answers.is_empty() {
        println!("  nothing: {}", unanswered(receipt));
    }
    for answer in answers {
        println!("  {}: {}", answer.name, answer.said);
        match &answer.text {
            Ok(lines) => lines.iter().for_each(|line| println!("      {}", shown(line))),
            Err(why) => println!("      it cannot be written: {}", shown(why)),
        }
    }
    println!();
}

fn unanswered(receipt: &Receipt) -> &'static str {
    if messages(receipt).1 == 0 { "there is no message" } else { "an acknowledgment is not acknowledged" }
}

fn around_value(listed: &mut Listed, event: &Event<'_>, dialect: Dialect) {
    let (is, mut out) = match event {
        Event::Interchange(interchange) => ("interchange", facts::interchange(interchange)),
        Event::Group(group) => ("group", facts::group(group)),
        Event::GroupEnd(_) => ("group_end", Map::new()),
        Event::InterchangeEnd(_) => ("interchange_end", Map::new()),
        _ => ("other", Map::new()),
    };
    if out.is_empty() && event.findings().list().is_empty() {
        return;
    }
    out.insert("is", is);
    out.insert("findings", values(dialect, event.findings().list().iter(), None));
    listed.put(out);
}

fn values<'f>(dialect: Dialect, findings: impl Iterator<Item = &'f Finding>, found: Option<&Found<'_>>) -> Vec<Value> {
    findings.map(|finding| Value::Map(to_value(dialect, finding, found))).collect()
}

fn message_value(tree: &Tree<'_>) -> Map {
    let message = tree.message;
    let mut out: Map = [("is", "message")].into_iter().collect();
    out.insert("message", facts::message(&message.kind, &message.reference));
    out.insert("accepted", tree.accepted());
    let findings = both(tree).into_iter().flat_map(Findings::list);
    out.insert("findings", values(message.notation.dialect, findings, tree.found.as_ref()));
    out.insert("tree", group_value(tree, tree.root()));
    out.insert("document", document(tree));
    out
}

fn group_value(tree: &Tree<'_>, around: View<'_>) -> Vec<Value> {
    let dialect = tree.message.notation.dialect;
    let found = tree.found.as_ref();
    let named = |out: &mut Map, label: Option<&str>| {
        if let Some(label) = label {
            out.insert("label", label);
        }
    };
    let one = |view: View<'_>| {
        let mut out = Map::new();
        if let Some(node) = view.node().filter(|_| view.is_group()) {
            out.insert("group", node.key.clone());
            named(&mut out, tag_label(dialect, found, node.tag));
            out.insert("parts", group_value(tree, view));
            return Some(Value::Map(out));
        }
        let segment = view.segment()?;
        out.insert("segment", count(view.index() as u64 + 1));
        out.insert("tag", String::from_utf8_lossy(segment.raw_tag()).into_owned());
        named(&mut out, tag_label(dialect, found, segment.tag));
        let values = rows(tree, view, &segment).into_iter().map(|row| {
            let mut out: Map = [("key", row.key)].into_iter().collect();
            named(&mut out, Some(row.label).filter(|label| !label.is_empty()));
            out.insert("value", row.value);
            Value::Map(out)
        });
        out.insert("values", values.collect::<Vec<Value>>());
        Some(Value::Map(out))
    };
    around.children().filter_map(one).collect()
}

fn answer_values(listed: &mut Listed, receipt: &Receipt) {
    for answer in answers(receipt) {
        let mut out: Map = [("is", "answer"), ("answer", answer.name)].into_iter().collect();
        out.insert("said", answer.said);
        match answer.text {
            Ok(lines) => drop(out.insert("text", lines.into_iter().map(Value::from).collect::<Vec<Value>>())),
            Err(why) => drop(out.insert("unwritten", why)),
        }
        listed.put(out);
    }
}
