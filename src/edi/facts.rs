//! The envelope of messages as documents, and back: who to whom, when, under which reference, and what each message is.

use super::charset::Charset;
use super::reader::{Group, Interchange, MessageType, Party};
use super::syntax::{Delimiters, Dialect};
use super::writer::{GroupHeader, Header, Profile};
use crate::message::{Map, Value};

const DIALECTS: [(Dialect, &str); 2] = [(Dialect::Edifact, "edifact"), (Dialect::X12, "x12")];

pub fn dialect_name(dialect: Dialect) -> &'static str {
    DIALECTS.iter().find(|(known, _)| *known == dialect).map_or("", |(_, name)| name)
}

/// Texts that are there.
fn texts<const N: usize>(pairs: [(&'static str, &str); N]) -> Map {
    pairs.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

fn count(number: u32) -> Value {
    Value::number(&number.to_string()).unwrap_or_default()
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
    out.insert("number", count(interchange.number));
    out.insert("sender", party(&interchange.sender));
    out.insert("receiver", party(&interchange.receiver));
    out.insert("test", interchange.test);
    out.insert("acknowledgment_asked", interchange.acknowledgment_asked);
    let delimiters = interchange.notation.delimiters;
    if delimiters != usual(dialect) {
        out.insert("delimiters", delimiter_names(&delimiters));
    }
    out
}

/// `{ element: "+", component: ":" … }`; what is not used is left out.
pub fn delimiter_names(delimiters: &Delimiters) -> Map {
    let named = NAMES.into_iter().zip(bytes(delimiters));
    named.filter_map(|(name, byte)| Some((name, char::from(byte?).to_string()))).collect()
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
    out.insert("number", count(group.number));
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
#[derive(Debug)]
pub struct Entry {
    pub interchange: Value,
    pub group: Option<Value>,
    message: Value,
    pub document: Value,
}

/// What an envelope does not say, or says so that nobody understands it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Unsaid {
    /// `interchange.reference`
    pub path: String,
    /// What follows "the document": ``does not say `interchange.reference` ``.
    pub sentence: String,
}

impl Unsaid {
    fn new(path: impl Into<String>, sentence: String) -> Unsaid {
        Unsaid { path: path.into(), sentence }
    }
}

impl Entry {
    /// # Errors
    /// One of the parts that each message needs is not there.
    pub fn read(value: &Value) -> Result<Entry, Unsaid> {
        let part = |name: &str| match value.get(name) {
            Some(Value::Map(map)) => Ok(Value::Map(map.clone())),
            _ => {
                let said = format!("has no map `{name}`: each needs `interchange`, `message` and `document`");
                Err(Unsaid::new(name, said))
            }
        };
        Ok(Entry {
            interchange: part("interchange")?,
            group: value.get("group").filter(|group| group.as_map().is_some()).cloned(),
            message: part("message")?,
            document: part("document")?,
        })
    }

    /// How its interchange is written.
    ///
    /// # Errors
    /// A dialect or a delimiter that is none.
    pub fn profile(&self, charset: Option<Charset>) -> Result<Profile, Unsaid> {
        let dialect = needed(&self.interchange, "interchange", &["dialect"])?;
        let known = DIALECTS.iter().find(|(_, name)| *name == dialect);
        let Some((dialect, _)) = known else {
            let said = format!("has the dialect `{dialect}`, which is neither edifact nor x12");
            return Err(Unsaid::new("interchange.dialect", said));
        };
        let mut profile = if *dialect == Dialect::X12 { Profile::x12() } else { Profile::edifact() };
        let said = |path: &str, usual: &str| {
            Some(text(&self.interchange, &[path])).filter(|text| !text.is_empty()).unwrap_or(usual.to_owned())
        };
        (profile.syntax, profile.version) = (said("syntax", &profile.syntax), said("version", &profile.version));
        profile.charset = charset.or(Charset::declared(&profile.syntax)).unwrap_or(Charset::ASCII);
        if let Some(told) = self.interchange.get("delimiters") {
            profile.delimiters = delimiters(told, profile.delimiters)?;
        }
        Ok(profile)
    }

    /// # Errors
    /// Who to whom, when, or under which reference is not said.
    pub fn header(&self, dialect: Dialect) -> Result<Header, Unsaid> {
        let of = &self.interchange;
        let needed = |path: &[&str]| needed(of, "interchange", path);
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
    ///
    /// # Errors
    /// There is none and must be one, or it does not say what it must.
    pub fn group_header(&self, dialect: Dialect) -> Result<Option<GroupHeader>, Unsaid> {
        let Some(group) = &self.group else {
            return match dialect {
                Dialect::Edifact => Ok(None),
                Dialect::X12 => Err(Unsaid::new("group", "has no `group`, which X12 needs".to_owned())),
            };
        };
        Ok(Some(GroupHeader {
            function: needed(group, "group", &["function"])?,
            sender: read_party(group, "sender"),
            receiver: read_party(group, "receiver"),
            reference: needed(group, "group", &["reference"])?,
            agency: text(group, &["agency"]),
            version: text(group, &["version"]),
        }))
    }

    /// What the message is, and its reference.
    ///
    /// # Errors
    /// One of them is not said.
    pub fn kind(&self) -> Result<(MessageType, String), Unsaid> {
        let said = |name: &str| text(&self.message, &[name]);
        let kind = MessageType {
            name: needed(&self.message, "message", &["type"])?,
            version: said("version"),
            release: said("release"),
            agency: said("agency"),
            association: said("association"),
        };
        Ok((kind, needed(&self.message, "message", &["reference"])?))
    }
}

/// The text at `part.path`; what must be there and is not is told.
fn needed(part: &Value, around: &str, path: &[&str]) -> Result<String, Unsaid> {
    match text(part, path) {
        text if text.is_empty() => {
            let path = format!("{around}.{}", path.join("."));
            let said = format!("does not say `{path}`, so no EDI can be written");
            Err(Unsaid::new(path, said))
        }
        text => Ok(text),
    }
}

fn delimiters(told: &Value, usual: Delimiters) -> Result<Delimiters, Unsaid> {
    let mut read = [None; 6];
    for (name, byte) in NAMES.into_iter().zip(&mut read) {
        let text = text(told, &[name]);
        *byte = match text.chars().next() {
            None => None,
            Some(c) if text.chars().count() == 1 && u32::from(c) < 0x100 => u8::try_from(u32::from(c)).ok(),
            Some(_) => {
                let said = format!("has the delimiter `{name}`, which is not one byte");
                return Err(Unsaid::new(format!("interchange.delimiters.{name}"), said));
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

fn read_party(of: &Value, name: &str) -> Party {
    let said = |part: &str| text(of, &[name, part]);
    Party { id: said("id"), qualifier: said("qualifier"), internal: said("internal") }
}

/// The text at a path; empty if there is none.
fn text(value: &Value, path: &[&str]) -> String {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::plain).map(|text| text.to_string()).unwrap_or_default()
}
