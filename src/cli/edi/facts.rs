//! The envelope of messages as JSON, and back.

use super::Bad;
use crate::edi::charset::Charset;
use crate::edi::reader::{Group, Interchange, MessageType, Party};
use crate::edi::syntax::{Delimiters, Dialect};
use crate::edi::writer::{GroupHeader, Header, Profile};
use crate::message::{Map, Value};

const DIALECTS: [(Dialect, &str); 2] = [(Dialect::Edifact, "edifact"), (Dialect::X12, "x12")];

pub fn dialect_name(dialect: Dialect) -> &'static str {
    DIALECTS.iter().find(|(known, _)| *known == dialect).map_or("", |(_, name)| name)
}

/// Texts that are there.
fn texts<const N: usize>(pairs: [(&'static str, &str); N]) -> Map {
    pairs.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

fn party(party: &Party) -> Map {
    texts([("id", &party.id), ("qualifier", &party.qualifier), ("internal", &party.internal)])
}

pub fn interchange(interchange: &Interchange) -> Map {
    let dialect = interchange.notation.dialect;
    let mut out = texts([
        ("dialect", dialect_name(dialect)),
        ("syntax", &interchange.syntax),
        ("version", &interchange.version),
        ("reference", &interchange.reference),
        ("date", &interchange.date),
        ("time", &interchange.time),
        ("application", &interchange.application),
    ]);
    out.insert("number", super::count(interchange.number.into()));
    out.insert("sender", party(&interchange.sender));
    out.insert("receiver", party(&interchange.receiver));
    out.insert("test", interchange.test);
    out.insert("acknowledgment_asked", interchange.acknowledgment_asked);
    let delimiters = interchange.notation.delimiters;
    if delimiters != usual(dialect) {
        let named = NAMES.into_iter().zip(bytes(&delimiters));
        let named = named.filter_map(|(name, byte)| Some((name, char::from(byte?).to_string())));
        out.insert("delimiters", named.collect::<Map>());
    }
    out
}

fn usual(dialect: Dialect) -> Delimiters {
    if dialect == Dialect::X12 { Delimiters::X12 } else { Delimiters::EDIFACT }
}

const NAMES: [&str; 6] = ["element", "component", "repetition", "release", "segment", "decimal"];

fn bytes(delimiters: &Delimiters) -> [Option<u8>; 6] {
    let Delimiters { element, component, repetition, release, segment, decimal } = *delimiters;
    [Some(element), Some(component), repetition, release, Some(segment), Some(decimal)]
}

pub fn group(group: &Group) -> Map {
    let mut out = texts([
        ("function", &group.function),
        ("reference", &group.reference),
        ("date", &group.date),
        ("time", &group.time),
        ("agency", &group.agency),
        ("version", &group.version),
    ]);
    out.insert("number", super::count(group.number.into()));
    out.insert("sender", party(&group.sender));
    out.insert("receiver", party(&group.receiver));
    out
}

pub fn message(kind: &MessageType, reference: &str) -> Map {
    texts([
        ("type", &kind.name),
        ("version", &kind.version),
        ("release", &kind.release),
        ("agency", &kind.agency),
        ("association", &kind.association),
        ("reference", reference),
    ])
}

/// One message with its envelope, as [`interchange`], [`group`] and [`message`] make it.
pub struct Entry {
    pub interchange: Value,
    pub group: Option<Value>,
    message: Value,
    pub document: Value,
    /// Which of the input, from 1.
    pub number: usize,
}

impl Entry {
    pub fn read(value: &Value, number: usize) -> Result<Entry, Bad> {
        let part = |name: &str| match value.get(name) {
            Some(Value::Map(map)) => Ok(Value::Map(map.clone())),
            _ => Err(Bad(format!(
                "JSON document {number} has no map `{name}`: each needs `interchange`, `message` and `document`"
            ))),
        };
        Ok(Entry {
            interchange: part("interchange")?,
            group: value.get("group").filter(|group| group.as_map().is_some()).cloned(),
            message: part("message")?,
            document: part("document")?,
            number,
        })
    }

    /// The text at `part.path`; what must be there and is not is told.
    fn needed(&self, part: &Value, around: &str, path: &[&str]) -> Result<String, Bad> {
        match text(part, path) {
            text if text.is_empty() => {
                let path = path.join(".");
                Err(Bad(format!(
                    "JSON document {} does not say `{around}.{path}`, so no EDI can be written",
                    self.number
                )))
            }
            text => Ok(text),
        }
    }

    pub fn profile(&self, charset: Option<Charset>) -> Result<Profile, Bad> {
        let dialect = self.needed(&self.interchange, "interchange", &["dialect"])?;
        let known = DIALECTS.iter().find(|(_, name)| *name == dialect);
        let Some((dialect, _)) = known else {
            return Err(Bad(format!(
                "JSON document {}: the dialect `{dialect}` is neither edifact nor x12",
                self.number
            )));
        };
        let mut profile = if *dialect == Dialect::X12 { Profile::x12() } else { Profile::edifact() };
        let said = |path: &str, usual: &str| {
            Some(text(&self.interchange, &[path])).filter(|text| !text.is_empty()).unwrap_or(usual.to_owned())
        };
        (profile.syntax, profile.version) = (said("syntax", &profile.syntax), said("version", &profile.version));
        profile.charset = charset.or(Charset::declared(&profile.syntax)).unwrap_or(Charset::ASCII);
        if let Some(told) = self.interchange.get("delimiters") {
            profile.delimiters = self.delimiters(told, profile.delimiters)?;
        }
        Ok(profile)
    }

    fn delimiters(&self, told: &Value, usual: Delimiters) -> Result<Delimiters, Bad> {
        let mut read = [None; 6];
        for (name, byte) in NAMES.into_iter().zip(&mut read) {
            let text = text(told, &[name]);
            *byte = match text.chars().next() {
                None => None,
                Some(c) if text.chars().count() == 1 && u32::from(c) < 0x100 => u8::try_from(u32::from(c)).ok(),
                Some(_) => {
                    return Err(Bad(format!("JSON document {}: the delimiter `{name}` is not one byte", self.number)));
                }
            };
        }
        let [element, component, repetition, release, segment, decimal] = read;
        Ok(Delimiters {
            element: element.unwrap_or(usual.element),
            component: component.unwrap_or(usual.component),
            repetition,
            release,
            segment: segment.unwrap_or(usual.segment),
            decimal: decimal.unwrap_or(usual.decimal),
        })
    }

    pub fn header(&self, dialect: Dialect) -> Result<Header, Bad> {
        let of = &self.interchange;
        let needed = |path: &[&str]| self.needed(of, "interchange", path);
        let flag = |name: &str| of.get(name).and_then(Value::as_bool).unwrap_or_default();
        let (sender, receiver) = (needed(&["sender", "id"])?, needed(&["receiver", "id"])?);
        Ok(Header {
            sender: Party { id: sender, ..read_party(of, "sender") },
            receiver: Party { id: receiver, ..read_party(of, "receiver") },
            date: self.date(dialect, needed(&["date"])?),
            time: needed(&["time"])?,
            reference: needed(&["reference"])?,
            test: flag("test"),
            acknowledgment_asked: flag("acknowledgment_asked"),
            application: text(of, &["application"]),
        })
    }

    /// The group of X12 has the century, its interchange has not.
    fn date(&self, dialect: Dialect, date: String) -> String {
        if dialect == Dialect::Edifact || date.len() != 6 {
            return date;
        }
        let full = self.group.as_ref().map(|group| text(group, &["date"])).unwrap_or_default();
        if full.len() == 8 { full } else { format!("20{date}") }
    }

    /// The group the message is in; X12 cannot be without.
    pub fn group_header(&self, dialect: Dialect) -> Result<Option<GroupHeader>, Bad> {
        let Some(group) = &self.group else {
            return match dialect {
                Dialect::Edifact => Ok(None),
                Dialect::X12 => Err(Bad(format!("JSON document {} has no `group`, which X12 needs", self.number))),
            };
        };
        Ok(Some(GroupHeader {
            function: self.needed(group, "group", &["function"])?,
            sender: read_party(group, "sender"),
            receiver: read_party(group, "receiver"),
            reference: self.needed(group, "group", &["reference"])?,
            agency: text(group, &["agency"]),
            version: text(group, &["version"]),
        }))
    }

    pub fn kind(&self) -> Result<(MessageType, String), Bad> {
        let said = |name: &str| text(&self.message, &[name]);
        let kind = MessageType {
            name: self.needed(&self.message, "message", &["type"])?,
            version: said("version"),
            release: said("release"),
            agency: said("agency"),
            association: said("association"),
        };
        Ok((kind, self.needed(&self.message, "message", &["reference"])?))
    }
}

fn read_party(of: &Value, name: &str) -> Party {
    let said = |part: &str| text(of, &[name, part]);
    Party { id: said("id"), qualifier: said("qualifier"), internal: said("internal") }
}

/// The text at a path; empty if there is none.
fn text(value: &Value, path: &[&str]) -> String {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::plain).map(|text| text.to_string()).unwrap_or_default()
}
