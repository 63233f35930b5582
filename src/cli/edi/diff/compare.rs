//! Two documents of a message compared by what they mean.
//!
//! Values are compared as what the definition says they are: numbers by their value, other texts without the blanks around
//! them. Lists are aligned before their items are compared: first the items that are equal, then those that name the same
//! thing, from all the first segment says down to its qualifier or number; what is left is only in one of them. Order alone
//! is told, and is no difference.

use super::super::{item_label, tag_label};
use super::align::{Aligned, LINE_NUMBERS, items};
use super::meaning::{DEEPEST, is_empty, is_shaped, meant, said};
use crate::edi::directory::{ElementDef, Field, Found, Item, Node, Position};
use crate::edi::document::OTHER;
use crate::edi::syntax::{Dialect, Tag};
use crate::message::{Map, Value};

/// A difference at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub what: What,
    /// `LIN_group[1].QTY[0].C186.E6060`, counted in the first file; in the second where it is only there.
    pub place: String,
    /// The place in the second, where it is another.
    pub other_place: Option<String>,
    /// What stands there: `quantity`.
    pub label: String,
    /// Of which items of lists: `line 2, quantity 21`.
    pub of: String,
    pub from: String,
    pub to: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Changed,
    Removed,
    Added,
    /// The same items in another order.
    Moved,
}

/// What was found in one message.
#[derive(Debug, Default)]
pub struct Differences {
    pub envelope: Vec<Difference>,
    pub content: Vec<Difference>,
    /// How many more there were.
    pub dropped: u64,
}

/// So many are told of a message.
const MOST: usize = 1000;

/// Compares the documents of two messages of one type.
pub fn compare(found: Option<Found<'_>>, dialect: Dialect, one: &Value, other: &Value) -> Differences {
    let mut compare = Compare {
        found,
        dialect,
        steps: Vec::new(),
        envelope: false,
        renumbered: Vec::new(),
        out: Differences::default(),
    };
    let empty = Map::new();
    let (one, other) = (one.as_map().unwrap_or(&empty), other.as_map().unwrap_or(&empty));
    compare.group(0, one, other);
    compare.out
}

/// A step of a path.
struct Step {
    /// With its place in each list: `.QTY[0]`.
    one: String,
    other: String,
    /// `quantity 21`
    of: String,
}

pub struct Compare<'f> {
    pub found: Option<Found<'f>>,
    pub dialect: Dialect,
    steps: Vec<Step>,
    /// What stands here is of the envelope.
    envelope: bool,
    /// The line numbers that differ, of each list around.
    renumbered: Vec<Renumbered>,
    out: Differences,
}

/// Lines that have other numbers: one line more, and all after it have.
#[derive(Default)]
struct Renumbered {
    /// How deep the list stands.
    depth: usize,
    /// The first ones.
    kept: Vec<Difference>,
    /// Where in each item: `.LIN.E1082`.
    inner: String,
    count: usize,
}

/// More line numbers are told as one difference.
const FEW: usize = 3;

/// The segments that begin and end a message, and what of the last says nothing new.
const ENVELOPE: [&str; 4] = ["UNH", "UNT", "ST", "SE"];
const AGAIN: [&str; 2] = ["UNT.E0062", "SE.SE02"];

impl<'f> Compare<'f> {
    fn group(&mut self, node: u32, one: &Map, other: &Map) {
        let children = self.found.map(|found| found.definition.children(node)).unwrap_or_default();
        let root = self.steps.is_empty();
        for (index, child) in children.iter().enumerate() {
            let number = self.found.map_or(0, |found| found.definition.child(node, index as u32));
            self.envelope = root && ENVELOPE.contains(&child.key.as_str());
            self.child(number, child, one.get(&child.key), other.get(&child.key));
        }
        self.envelope = false;
        let around = self.found.map(|found| found.definition.node(node));
        // Hierarchical levels stand in the level above.
        let level = around.filter(|around| around.group && around.tag.as_str() == "HL");
        if let Some(level) = level {
            self.child(node, level, one.get(&level.key), other.get(&level.key));
        }
        let list = |map: &Map| map.get(OTHER).and_then(Value::as_list).unwrap_or_default().to_vec();
        self.others(&list(one), &list(other), root);
        let known = |key: &str| {
            key == OTHER || level.is_some_and(|level| level.key == key) || children.iter().any(|child| child.key == key)
        };
        self.unknown(one, other, known);
    }

    /// What stands under the key of a segment or group.
    fn child(&mut self, number: u32, node: &Node, one: Option<&Value>, other: Option<&Value>) {
        if self.steps.len() > DEEPEST || [one, other].into_iter().flatten().any(|value| !is_shaped(value)) {
            let name = format!(".{}", node.key);
            self.steps.push(Step { one: name.clone(), other: name, of: String::new() });
            self.leaf(None, "", one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null));
            return drop(self.steps.pop());
        }
        let (one, other) = (items(one), items(other));
        if one.is_empty() && other.is_empty() {
            return;
        }
        let list = node.list() || one.len() > 1 || other.len() > 1;
        let aligned = match (one.as_slice(), other.as_slice()) {
            ([_], [_]) if !list => Aligned { pairs: vec![(0, 0, false)], ..Aligned::default() },
            _ => self.align(number, node, &one, &other),
        };
        let name = |at: usize| if list { format!(".{}[{at}]", node.key) } else { format!(".{}", node.key) };
        let mut differs = aligned.pairs.iter().filter(|(_, _, equal)| !equal).peekable();
        let mut only = aligned.removed.iter().peekable();
        if list {
            self.renumbered.push(Renumbered { depth: self.steps.len(), ..Renumbered::default() });
        }
        // In the order of the first.
        while differs.peek().is_some() || only.peek().is_some() {
            let pair = differs.next_if(|(at, _, _)| only.peek().is_none_or(|only| at < *only));
            if let Some((at, with, _)) = pair {
                let step = Step { one: name(*at), other: name(*with), of: self.named(number, node, one[*at]) };
                self.steps.push(step);
                match node.group {
                    true => self.group(number, one[*at], other[*with]),
                    false => self.segment(node, one[*at], other[*with]),
                }
                self.steps.pop();
            } else if let Some(at) = only.next() {
                self.whole(What::Removed, node, name(*at), one[*at]);
            }
        }
        if list && let Some(renumbered) = self.renumbered.pop() {
            self.tell_renumbered(renumbered, &node.key);
        }
        for at in &aligned.added {
            self.whole(What::Added, node, name(*at), other[*at]);
        }
        if aligned.moved {
            let label = tag_label(self.dialect, self.found.as_ref(), node.tag).unwrap_or_default().to_owned();
            self.steps.push(Step { one: format!(".{}", node.key), other: format!(".{}", node.key), of: String::new() });
            self.tell(What::Moved, label, String::new(), String::new());
            self.steps.pop();
        }
    }

    /// A segment or group that is only in one.
    fn whole(&mut self, what: What, node: &Node, name: String, map: &Map) {
        let label = tag_label(self.dialect, self.found.as_ref(), node.tag).unwrap_or_default().to_owned();
        let text = said(&Value::Map(map.clone()));
        self.steps.push(Step { one: name.clone(), other: name, of: String::new() });
        match what {
            What::Added => self.tell(what, label, String::new(), text),
            _ => self.tell(what, label, text, String::new()),
        }
        self.steps.pop();
    }

    fn segment(&mut self, node: &Node, one: &Map, other: &Map) {
        match self.found.and_then(|found| found.directory.segment(node)) {
            Some(def) => self.fields(&def.positions, &def.fields, one, other, None),
            None => self.unknown(one, other, |_| false),
        }
    }

    /// The elements of a segment, or the components of a composite.
    fn fields(&mut self, positions: &[Position], fields: &[Field], one: &Map, other: &Map, around: Option<&Item>) {
        for (index, field) in fields.iter().enumerate() {
            let (one, other) = (one.get(&field.key), other.get(&field.key));
            let position = positions.iter().find(|position| usize::from(position.field) == index);
            let (Some(position), true) = (position, one.is_some() || other.is_some()) else { continue };
            let empty = Value::Null;
            let at = |value: Option<&'_ Value>, at: usize| -> Value {
                match value {
                    Some(Value::List(items)) => items.get(at).cloned().unwrap_or_default(),
                    Some(value) if at == 0 => value.clone(),
                    _ => Value::Null,
                }
            };
            let length = |value: Option<&Value>| value.and_then(Value::as_list).map_or(1, <[Value]>::len);
            let count = if field.list { length(one).max(length(other)) } else { 1 };
            for number in 0..count {
                let name = if field.list { format!(".{}[{number}]", field.key) } else { format!(".{}", field.key) };
                self.steps.push(Step { one: name.clone(), other: name, of: String::new() });
                match field.list {
                    true => self.item(position, &at(one, number), &at(other, number), around),
                    false => self.item(position, one.unwrap_or(&empty), other.unwrap_or(&empty), around),
                }
                self.steps.pop();
            }
        }
        self.unknown(one, other, |key| fields.iter().any(|field| field.key == key));
    }

    fn item(&mut self, position: &Position, one: &Value, other: &Value, around: Option<&Item>) {
        let empty = Map::new();
        match &position.item {
            Item::Composite(_, parts, fields) if one.as_map().is_some() || other.as_map().is_some() => {
                let (one, other) = (one.as_map().unwrap_or(&empty), other.as_map().unwrap_or(&empty));
                self.fields(parts, fields, one, other, Some(&position.item));
            }
            item => {
                let def = if let Item::Element(def) = item { Some(def) } else { None };
                let label = item_label(self.dialect, self.found.as_ref(), item);
                let label = label.or_else(|| item_label(self.dialect, self.found.as_ref(), around?));
                self.leaf(def, label.unwrap_or_default(), one, other);
            }
        }
    }

    fn leaf(&mut self, def: Option<&ElementDef>, label: &str, one: &Value, other: &Value) {
        if meant(def, one) == meant(def, other) {
            return;
        }
        let what = match (is_empty(one), is_empty(other)) {
            (true, _) => What::Added,
            (_, true) => What::Removed,
            _ => What::Changed,
        };
        let difference = self.difference(what, label.to_owned(), said(one), said(other));
        let is_number = def.is_some_and(|def| LINE_NUMBERS.contains(&def.id.as_str()));
        match self.renumbered.last_mut() {
            Some(renumbered) if is_number && what == What::Changed => {
                renumbered.count += 1;
                if renumbered.kept.len() <= FEW {
                    renumbered.inner =
                        self.steps.iter().skip(renumbered.depth + 1).map(|step| step.one.as_str()).collect();
                    renumbered.kept.push(difference);
                }
            }
            _ => self.keep(difference),
        }
    }

    fn tell_renumbered(&mut self, renumbered: Renumbered, list: &str) {
        let Renumbered { kept, inner, count, .. } = renumbered;
        if count <= FEW {
            return kept.into_iter().for_each(|difference| self.keep(difference));
        }
        let all = |of: fn(&Difference) -> &str| {
            let first: Vec<&str> = kept.iter().take(FEW).map(of).collect();
            format!("{} … ({count} lines)", first.join(", "))
        };
        let (from, to) = (all(|difference| &difference.from), all(|difference| &difference.to));
        let label = kept.first().map(|difference| difference.label.clone()).unwrap_or_default();
        let name = format!(".{list}[]{inner}");
        self.steps.push(Step { one: name.clone(), other: name, of: String::new() });
        self.tell(What::Changed, label, from, to);
        self.steps.pop();
    }

    /// What the definition does not have, or JSON has in another shape.
    fn unknown(&mut self, one: &Map, other: &Map, known: impl Fn(&str) -> bool) {
        let keys = one.iter().map(|(key, _)| key);
        let keys = keys.chain(other.iter().map(|(key, _)| key).filter(|key| !one.contains(key)));
        for key in keys.filter(|key| !known(key)) {
            self.steps.push(Step { one: format!(".{key}"), other: format!(".{key}"), of: String::new() });
            let (one, other) = (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
            self.leaf(None, "", one, other);
            self.steps.pop();
        }
    }

    /// Segments without a place in the definition: the longest run both begin with and end with is the same.
    fn others(&mut self, one: &[Value], other: &[Value], root: bool) {
        let content = |item: &&Value| !root || !ENVELOPE.contains(&tag_of(item).as_str());
        let (one, other): (Vec<_>, Vec<_>) =
            (one.iter().filter(content).collect(), other.iter().filter(content).collect());
        let same = |one: &Value, other: &Value| tag_of(one) == tag_of(other) && elements(one) == elements(other);
        let begin = one.iter().zip(&other).take_while(|(one, other)| same(one, other)).count();
        let (one, other) = (&one[begin..], &other[begin..]);
        let end = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| same(one, other)).count();
        let (one, other) = (&one[..one.len() - end], &other[..other.len() - end]);
        for (what, items) in [(What::Removed, one), (What::Added, other)] {
            for (at, item) in items.iter().enumerate() {
                let name = format!(".{OTHER}[{}]", begin + at);
                self.steps.push(Step { one: name.clone(), other: name, of: String::new() });
                let text = format!("{} {}", tag_of(item), elements(item));
                let label = tag_label(self.dialect, self.found.as_ref(), Tag::new(&tag_of(item))).unwrap_or_default();
                match what {
                    What::Added => self.tell(what, label.to_owned(), String::new(), text),
                    _ => self.tell(what, label.to_owned(), text, String::new()),
                }
                self.steps.pop();
            }
        }
    }

    fn tell(&mut self, what: What, label: String, from: String, to: String) {
        let difference = self.difference(what, label, from, to);
        self.keep(difference);
    }

    fn difference(&self, what: What, label: String, from: String, to: String) -> Difference {
        let path =
            |of: fn(&Step) -> &str| self.steps.iter().map(of).collect::<String>().trim_start_matches('.').to_owned();
        let (one, other) = (path(|step| &step.one), path(|step| &step.other));
        let (place, other_place) = match what {
            What::Added => (other, None),
            _ => (one.clone(), Some(other).filter(|other| *other != one)),
        };
        let of: Vec<&str> = self.steps.iter().map(|step| step.of.as_str()).filter(|of| !of.is_empty()).collect();
        Difference { what, place, other_place, label, of: of.join(", "), from, to }
    }

    fn keep(&mut self, difference: Difference) {
        if self.envelope && AGAIN.contains(&difference.place.as_str()) {
            return;
        }
        let kept = if self.envelope { &mut self.out.envelope } else { &mut self.out.content };
        if kept.len() < MOST { kept.push(difference) } else { self.out.dropped += 1 }
    }
}

fn tag_of(item: &Value) -> String {
    item.get("segment").and_then(Value::plain).unwrap_or_default().to_string()
}

fn elements(item: &Value) -> String {
    item.get("elements").map(said).unwrap_or_default()
}
