//! Documents made of bytes: each byte is a choice, none left is always the simplest.

use raccord::edi::charset::Charset;
use raccord::edi::directory::{Definition, Directory, Field, Item, Library, Position};
use raccord::edi::reader::{Interchange, MessageType, Notation};
use raccord::edi::syntax::{Delimiters, Dialect};
use raccord::message::{Map, Text, Value};

pub struct Choices<'a> {
    bytes: &'a [u8],
    /// What may still be put into the document.
    left: usize,
}

/// Messages of both dialects: name, version, release.
const KINDS: [(&str, &str, &str); 14] = [
    ("ORDERS", "D", "96A"),
    ("ORDERS", "D", "01B"),
    ("INVOIC", "D", "96A"),
    ("DESADV", "D", "96A"),
    ("PRICAT", "D", "01B"),
    ("CONTRL", "D", "3"),
    ("APERAK", "D", "01B"),
    ("850", "", "004010"),
    ("810", "", "005010"),
    ("856", "", "004010"),
    ("820", "", "004010"),
    ("832", "", "005010"),
    ("997", "", "004010"),
    ("999", "", "005010"),
];

/// Keys and values that matter to the writer.
const KEYS: [&str; 6] = ["_other", "UNH", "UNT", "BGM", "HL_loop", "at"];
const TEXTS: [&str; 16] =
    ["1", "", "+", "?", "'", "it's 5 + 5:", "20260105", "102", "-1.5", "é", "日本", "\n", "*", "~", ">", "^"];
const TAGS: [&str; 10] = ["UNZ", "UNT", "UNB", "IEA", "SE", "ISA", "ZZZ", "A", "toolong", ""];

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices { bytes, left: 200 }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// Never, when nothing is left to choose with.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    pub fn interchange(&mut self, dialect: Dialect) -> Interchange {
        let edifact = dialect == Dialect::Edifact;
        let mut delimiters = if edifact { Delimiters::EDIFACT } else { Delimiters::X12 };
        match self.below(6) {
            1 => delimiters.decimal = b',',
            2 => delimiters.segment = if edifact { b'~' } else { b'\n' },
            3 => (delimiters.element, delimiters.component) = (b'|', b'^'),
            4 => delimiters.repetition = Some(if edifact { b'*' } else { b'^' }),
            5 => delimiters.release = None,
            _ => {}
        }
        let repeats = delimiters.repetition.is_some();
        let (charset, syntax) = match self.below(3) {
            1 => (Charset::UTF_8, "UNOY"),
            2 => (Charset::ASCII, "UNOA"),
            _ => (Charset::LATIN_1, "UNOC"),
        };
        let charset = if edifact { charset } else { Charset::UTF_8 };
        let version = match (edifact, repeats) {
            (true, true) => "4",
            (true, false) => "3",
            (false, true) => "00501",
            (false, false) => "00401",
        };
        let syntax = if edifact { syntax.to_owned() } else { String::new() };
        let number = if edifact { version.parse().unwrap_or(3) } else { 0 };
        let notation = Notation { dialect, delimiters, charset, syntax: number };
        Interchange { notation, syntax, version: version.to_owned(), stated: true, ..Interchange::default() }
    }

    /// A message's type and a document that is mostly what its definition wants.
    pub fn document(&mut self) -> (MessageType, Dialect, Value) {
        let (name, version, release) = KINDS[self.below(KINDS.len())];
        let dialect = if version.is_empty() { Dialect::X12 } else { Dialect::Edifact };
        let agency = if version.is_empty() { "X" } else { "UN" };
        let [name, version, release, agency] = [name, version, release, agency].map(str::to_owned);
        let kind = MessageType { name, version, release, agency, association: String::new() };
        let found = Library::shipped().find(dialect, &kind, 3).expect("all of them ship");
        let document = self.group(found.directory, found.definition, 0, 0);
        (kind, dialect, document)
    }

    fn group(&mut self, directory: &Directory, definition: &Definition, around: u32, depth: usize) -> Value {
        let mut map = Map::new();
        for (index, child) in definition.children(around).iter().enumerate() {
            if self.left == 0 || !(child.mandatory || self.one_in(6)) {
                continue;
            }
            self.left -= 1;
            let count = if child.list() { 1 + self.below(3) } else { 1 };
            let number = definition.child(around, index as u32);
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(match (child.group, directory.segment(child)) {
                    (true, _) if depth < 8 => self.group(directory, definition, number, depth + 1),
                    (false, Some(segment)) => self.fields(&segment.fields, &segment.positions),
                    _ => Value::Map(Map::new()),
                });
            }
            let value = if child.list() { Value::List(items) } else { items.pop().unwrap_or(Value::Null) };
            map.insert(child.key.clone(), self.mangled(value));
        }
        let own = definition.node(around);
        if own.tag.as_str() == "HL" && depth < 8 && self.one_in(3) {
            let below = self.group(directory, definition, around, depth + 1);
            map.insert(own.key.clone(), Value::List(vec![below]));
        }
        if self.one_in(12) {
            map.insert("_other", Value::List(vec![self.other()]));
        }
        Value::Map(map)
    }

    fn fields(&mut self, fields: &[Field], positions: &[Position]) -> Value {
        let mut map = Map::new();
        for (at, field) in fields.iter().enumerate() {
            let Some(position) = positions.iter().find(|position| usize::from(position.field) == at) else { continue };
            if !(position.mandatory || self.one_in(4)) {
                continue;
            }
            let count = if field.list { 1 + self.below(3) } else { 1 };
            let mut items: Vec<Value> = (0..count).map(|_| self.item(position)).collect();
            let value = if field.list { Value::List(items) } else { items.pop().unwrap_or(Value::Null) };
            map.insert(field.key.clone(), self.mangled(value));
        }
        Value::Map(map)
    }

    fn item(&mut self, position: &Position) -> Value {
        match &position.item {
            Item::Element(_) => self.text(),
            Item::Composite(_, parts, fields) => self.fields(fields, parts),
        }
    }

    fn text(&mut self) -> Value {
        match self.below(8) {
            0..=2 => Value::text("1"),
            3 => Value::number("12.50").unwrap_or_default(),
            4 => {
                let count = self.below(40).min(self.bytes.len());
                let (text, rest) = self.bytes.split_at(count);
                self.bytes = rest;
                Value::text(String::from_utf8_lossy(text).into_owned())
            }
            _ => Value::text(TEXTS[self.below(TEXTS.len())]),
        }
    }

    /// A segment without a place in the definition.
    fn other(&mut self) -> Value {
        let mut map = Map::new();
        map.insert("at", Value::text(self.below(5).to_string()));
        map.insert("segment", Value::text(TAGS[self.below(TAGS.len())]));
        let element = |value: Value| Value::List(vec![Value::List(vec![value])]);
        let values: Vec<Value> = (0..self.below(3)).map(|_| element(self.text())).collect();
        map.insert("elements", Value::List(values));
        Value::Map(map)
    }

    /// Now and then something else than is wanted.
    fn mangled(&mut self, value: Value) -> Value {
        if !self.one_in(32) {
            return value;
        }
        match self.below(6) {
            0 => Value::Null,
            1 => Value::Bool(true),
            2 => Value::List(vec![value]),
            3 => self.text(),
            4 => {
                let mut map = Map::new();
                map.insert(Text::new(KEYS[self.below(KEYS.len())]), value);
                Value::Map(map)
            }
            _ => Value::Map(Map::new()),
        }
    }
}
