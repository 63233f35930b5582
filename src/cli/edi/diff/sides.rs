//! The two files of a comparison, message by message, and which belong together.
//!
//! Both are read at once. Messages of the same type and reference belong together; where the files agree in their order,
//! only one of each is in memory. Those whose counterpart has not come yet wait, [`MOST_WAITING`] bytes of them at most: then, or at
//! the end, those that begin with the same document (number, kind) are joined, then those of the same type, in order.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::super::convert::{Documents, Numbered, Stop, lacks};
use super::super::{Bad, Input, Reading};
use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::facts;
use crate::edi::reader::{Event, MessageType, Options, Reader};
use crate::edi::syntax::Dialect;
use crate::edi::tree::Tree;
use crate::message::{Text, Value, json};

/// How much may wait for its counterpart, as EDI or JSON text; in memory it is up to fifty times that.
pub const MOST_WAITING: usize = 8 << 20;

/// A message of a file.
pub struct Item {
    pub interchange: Arc<Value>,
    pub group: Option<Arc<Value>>,
    pub kind: MessageType,
    pub reference: String,
    pub dialect: Dialect,
    /// The syntax version of EDIFACT.
    pub syntax: u8,
    pub document: Value,
    /// The length of its text.
    length: usize,
}

/// A file being read.
pub struct Side {
    pub name: String,
    source: Source,
    interchange: Arc<Value>,
    group: Option<Arc<Value>>,
    options: Options,
}

enum Source {
    Edi(Box<Reader<Box<dyn Read>>>),
    Json(Documents),
}

impl Side {
    pub fn open(path: &Path, reading: &Reading) -> anyhow::Result<Side> {
        Side::of(Input::open(path)?, reading)
    }

    pub fn of(input: Input, reading: &Reading) -> anyhow::Result<Side> {
        let (name, options) = (input.name.clone(), reading.options());
        let source = match input.other() {
            _ if input.is_json() => Source::Json(Documents::new(input)),
            Some(what) => return Err(Bad(format!("{name} {what}")).into()),
            None => Source::Edi(Box::new(Reader::new(input.bytes, options.clone()))),
        };
        Ok(Side { name, source, interchange: Arc::default(), group: None, options })
    }

    fn next(&mut self, library: &Library) -> anyhow::Result<Option<Item>> {
        match &mut self.source {
            Source::Json(documents) => match documents.next() {
                Ok(found) => found.map(|found| of_json(&found, &mut self.interchange)).transpose(),
                Err(stop) => Err(bad(stop)),
            },
            Source::Edi(reader) => {
                while let Some(event) = reader.read().with_context(|| format!("cannot read {}", self.name))? {
                    match event {
                        Event::Interchange(begun) => {
                            self.interchange = Arc::new(Value::Map(facts::interchange(begun)));
                            self.group = None;
                        }
                        Event::Group(begun) => self.group = Some(Arc::new(Value::Map(facts::group(begun)))),
                        Event::GroupEnd(_) => self.group = None,
                        Event::Message(message) => {
                            let tree = Tree::read(message, library, &self.options.policy, 0);
                            return Ok(Some(Item {
                                interchange: Arc::clone(&self.interchange),
                                group: self.group.clone(),
                                kind: message.kind.clone(),
                                reference: message.reference.clone(),
                                dialect: message.notation.dialect,
                                syntax: message.notation.syntax,
                                document: document(&tree),
                                length: message.raw().len(),
                            }));
                        }
                        _ => {}
                    }
                }
                Ok(None)
            }
        }
    }
}

fn bad(stop: Stop) -> anyhow::Error {
    match stop {
        Stop::Bad(error) => error,
        Stop::Output(error) => error.into(),
    }
}

fn of_json(found: &Numbered, interchange: &mut Arc<Value>) -> anyhow::Result<Item> {
    let Numbered { entry, number } = found;
    let (kind, reference) = entry.kind().map_err(|unsaid| bad(lacks(&unsaid, *number)))?;
    let said = |name: &str| entry.interchange.get(name).and_then(Value::plain).unwrap_or_default();
    if **interchange != entry.interchange {
        *interchange = Arc::new(entry.interchange.clone());
    }
    Ok(Item {
        interchange: Arc::clone(interchange),
        group: entry.group.clone().map(Arc::new),
        kind,
        reference,
        dialect: if said("dialect") == "x12" { Dialect::X12 } else { Dialect::Edifact },
        syntax: said("version").parse().unwrap_or(3),
        document: entry.document.clone(),
        length: json::to_text(&entry.document).len(),
    })
}

/// What belongs together; of what has no counterpart the one that is there.
pub enum Pair {
    Both(Box<Item>, Box<Item>),
    First(Box<Item>),
    Second(Box<Item>),
}

/// Messages that wait, in their order.
#[derive(Default)]
struct Waiting {
    items: BTreeMap<u64, Item>,
    by_reference: HashMap<(String, String), Vec<u64>>,
    read: u64,
}

impl Waiting {
    fn add(&mut self, item: Item) {
        self.by_reference.entry(key(&item)).or_default().push(self.read);
        self.items.insert(self.read, item);
        self.read += 1;
    }

    /// The first of a type and reference.
    fn take(&mut self, key: &(String, String)) -> Option<Item> {
        let numbers = self.by_reference.get_mut(key)?;
        let first = (!numbers.is_empty()).then(|| numbers.remove(0))?;
        if numbers.is_empty() {
            self.by_reference.remove(key);
        }
        self.items.remove(&first)
    }

    /// All, in their order.
    fn empty(&mut self) -> Vec<Item> {
        self.by_reference.clear();
        std::mem::take(&mut self.items).into_values().collect()
    }
}

fn key(item: &Item) -> (String, String) {
    (item.kind.name.clone(), item.reference.clone())
}

/// Reads both to their end, and hands over what belongs together.
///
/// # Errors
/// Those of the files, and of `take`.
pub fn pairs(
    first: &mut Side,
    second: &mut Side,
    library: &Library,
    most_waiting: usize,
    mut take: impl FnMut(Pair),
) -> anyhow::Result<()> {
    let (mut one, mut other) = (Waiting::default(), Waiting::default());
    let (mut waiting, mut open) = (0, (true, true));
    while open.0 || open.1 {
        if open.0 {
            match first.next(library)? {
                None => open.0 = false,
                Some(item) => match other.take(&key(&item)) {
                    Some(with) => {
                        waiting -= with.length;
                        take(Pair::Both(Box::new(item), Box::new(with)));
                    }
                    None => {
                        waiting += item.length;
                        one.add(item);
                    }
                },
            }
        }
        if open.1 {
            match second.next(library)? {
                None => open.1 = false,
                Some(item) => match one.take(&key(&item)) {
                    Some(with) => {
                        waiting -= with.length;
                        take(Pair::Both(Box::new(with), Box::new(item)));
                    }
                    None => {
                        waiting += item.length;
                        other.add(item);
                    }
                },
            }
        }
        if waiting > most_waiting {
            rest(&mut one, &mut other, &mut take);
            waiting = 0;
        }
    }
    rest(&mut one, &mut other, &mut take);
    Ok(())
}

/// Joins those whose references tell nothing.
fn rest(one: &mut Waiting, other: &mut Waiting, take: &mut impl FnMut(Pair)) {
    let firsts: Vec<Item> = one.empty();
    let mut seconds: Vec<Option<Item>> = other.empty().into_iter().map(Some).collect();
    // By what they begin with, then by their type, each in order.
    let mut with: Vec<Option<usize>> = vec![None; firsts.len()];
    for by in [beginning as fn(&Item) -> Option<String>, |item| Some(item.kind.name.clone())] {
        let mut left: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, item) in seconds.iter().enumerate().rev() {
            let key = item.as_ref().filter(|_| !with.contains(&Some(at))).and_then(by);
            if let Some(key) = key {
                left.entry(key).or_default().push(at);
            }
        }
        for (item, with) in firsts.iter().zip(&mut with).filter(|(_, with)| with.is_none()) {
            *with = by(item).and_then(|key| left.get_mut(&key)?.pop());
        }
    }
    for (item, with) in firsts.into_iter().zip(with) {
        match with.and_then(|at| seconds.get_mut(at)?.take()) {
            Some(second) => take(Pair::Both(Box::new(item), Box::new(second))),
            None => take(Pair::First(Box::new(item))),
        }
    }
    for second in seconds.into_iter().flatten() {
        take(Pair::Second(Box::new(second)));
    }
}

/// The segment after the header, which names the document: `BGM+220+PO-2041`, `BEG*00*SA*PO-2041`.
fn beginning(item: &Item) -> Option<String> {
    let header = |key: &Text| matches!(key.as_str(), "UNH" | "ST");
    let (key, segment) = item.document.as_map()?.iter().find(|(key, _)| !header(key))?;
    Some(format!("{} {key} {}", item.kind.name, json::to_text(segment)))
}
