//! A document as an interchange with one message.

use bytes::Bytes;

use super::refusal;
use crate::edi::charset::Charset;
use crate::edi::directory::Library;
use crate::edi::facts::{Entry, Unsaid, delimiter_names, dialect_name};
use crate::edi::findings::Policy;
use crate::edi::syntax::{Delimiters, Dialect};
use crate::edi::writer::{InterchangeWriter, Newline, ServiceString, WriteError};
use crate::message::{Fault, Map, Text, Value};

use super::Identity;

/// How interchanges are written, and what they say where the document does not.
#[derive(Debug)]
pub struct Writing {
    pub dialect: Dialect,
    pub charset: Option<Charset>,
    pub policy: Policy,
    pub newline: Newline,
    pub service_string: ServiceString,
    /// Whatever the document says: what is tried out never goes out as the real thing.
    pub test: bool,
    interchange: Map,
    message: Map,
}

/// The parts of a release: `D.96A` is version D, release 96A; X12 has only `004010`.
pub fn release(dialect: Dialect, text: &str) -> Option<(Text, Text)> {
    match dialect {
        Dialect::Edifact => {
            let (version, release) = text.split_once('.')?;
            let fits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
            (fits(version) && fits(release)).then(|| (version.into(), release.into()))
        }
        Dialect::X12 => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            (digits >= 6).then(|| (Text::default(), text.into()))
        }
    }
}

impl Writing {
    pub fn new(dialect: Dialect, policy: Policy, delimiters: &Delimiters) -> Writing {
        let mut interchange = Map::new();
        interchange.insert("dialect", dialect_name(dialect));
        interchange.insert("delimiters", delimiter_names(delimiters));
        Writing {
            dialect,
            charset: None,
            policy,
            newline: Newline::None,
            service_string: ServiceString::Always,
            test: false,
            interchange,
            message: Map::new(),
        }
    }

    /// Something that the interchange says where the document does not: `syntax`.
    pub fn interchange(&mut self, name: &'static str, value: impl Into<Value>) {
        self.interchange.insert(name, value);
    }

    pub fn party(&mut self, name: &'static str, said: Option<&Identity>) {
        if let Some(Identity { id, qualifier }) = said {
            let mut party: Map = [("id", id.clone())].into_iter().collect();
            qualifier.iter().for_each(|qualifier| drop(party.insert("qualifier", qualifier.clone())));
            self.interchange.insert(name, party);
        }
    }

    /// What the message is where the document does not say it.
    pub fn message(&mut self, name: Option<&Text>, release: Option<&(Text, Text)>, association: Option<&Text>) {
        let (version, release) = release.cloned().unzip();
        let agency = (self.dialect == Dialect::Edifact).then(|| Text::from("UN"));
        let parts = [
            ("type", name.cloned()),
            ("version", version),
            ("release", release),
            ("agency", agency),
            ("association", association.cloned()),
        ];
        let said = parts.into_iter().filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?)));
        self.message = said.collect();
    }

    pub fn encode(&self, document: &Value, code: &'static str) -> Result<Bytes, Fault> {
        let unsaid = |unsaid: Unsaid| {
            let mut said = format!("the document {unsaid}");
            match unsaid.path.as_str() {
                "interchange.reference" | "message.reference" | "group.reference" => {
                    said.push_str("; a partner (`to: { partner: …, document: … }`) gives its messages numbers")
                }
                "interchange.date" => said.push_str("; `edi_date_text(now(), 'D8')` is the day the message came"),
                "interchange.time" => said.push_str("; `edi_date_text(now(), 'TM')` is the time the message came"),
                _ => {}
            }
            Fault::refuse(code, said).at(format!("$.{}", unsaid.path))
        };
        let refused = |error: WriteError, what: &str| match error {
            WriteError::Refused(findings) => refusal(code, what, &[&findings])
                .unwrap_or_else(|| Fault::refuse(code, "the interchange cannot be written")),
            WriteError::Io(error) => Fault::refuse(code, "the interchange cannot be written").cause(error),
        };
        let entry = Entry::read(&self.filled(document)).map_err(unsaid)?;
        let mut profile = entry.profile(self.charset).map_err(unsaid)?;
        if profile.dialect != self.dialect {
            let (said, own) = (dialect_name(profile.dialect), dialect_name(self.dialect));
            let said = format!("the document's dialect is {said}, but the format is {own}");
            return Err(Fault::refuse(code, said).at("$.interchange.dialect"));
        }
        profile.policy.clone_from(&self.policy);
        (profile.newline, profile.service_string) = (self.newline, self.service_string);
        let header = entry.header(self.dialect).map_err(unsaid)?;
        let (kind, reference) = entry.kind().map_err(unsaid)?;
        let group = entry.group_header(self.dialect).map_err(unsaid)?;
        let around = |error| refused(error, "the envelope");
        let mut writer = InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header).map_err(around)?;
        if let Some(group) = group {
            writer.group(group).map_err(around)?;
        }
        let written = writer.message(&kind, &reference, &entry.document);
        written.map_err(|error| refused(error, &format!("{} {reference}", kind.name)))?;
        writer.finish().map(Bytes::from).map_err(around)
    }

    /// The document, with what it does not say.
    fn filled(&self, document: &Value) -> Value {
        let part = |name: &str| document.get(name).and_then(Value::as_map).cloned().unwrap_or_default();
        let (mut interchange, mut message) = (part("interchange"), part("message"));
        fill(&mut message, &self.message);
        if self.dialect == Dialect::X12 {
            // ISA12 of 004010 is 00401.
            let version = message.get("release").and_then(Value::as_text).and_then(|release| release.get(..5));
            fill(&mut interchange, &[("version", version.unwrap_or("00401"))].into_iter().collect());
        }
        fill(&mut interchange, &self.interchange);
        if self.test {
            interchange.insert("test", true);
        }
        let group = (self.dialect == Dialect::X12).then(|| Writing::group(part("group"), &interchange, &message));
        let mut out = Map::new();
        match group {
            Some(group) => drop(out.insert("group", group)),
            None => drop(document.get("group").map(|group| out.insert("group", group.clone()))),
        }
        out.insert("interchange", interchange);
        out.insert("message", message);
        document.get("document").into_iter().for_each(|own| drop(out.insert("document", own.clone())));
        out.into()
    }

    /// The group of X12: who, when and which number as its interchange says.
    fn group(mut group: Map, interchange: &Map, message: &Map) -> Map {
        let mut usual = Map::new();
        for name in ["sender", "receiver", "reference"] {
            interchange.get(name).into_iter().for_each(|value| drop(usual.insert(name, value.clone())));
        }
        let kind = message.get("type").and_then(Value::as_text).unwrap_or_default();
        if let Some(function) = group_of(kind) {
            usual.insert("function", function);
        }
        usual.insert("agency", "X");
        message.get("release").into_iter().for_each(|release| drop(usual.insert("version", release.clone())));
        fill(&mut group, &usual);
        group
    }
}

/// Which functional group a transaction set goes into (GS01).
const FUNCTIONS: &[(&str, &str)] = &[
    ("180", "AN"),
    ("810", "IN"),
    ("812", "CD"),
    ("820", "RA"),
    ("824", "AG"),
    ("832", "SC"),
    ("846", "IB"),
    ("850", "PO"),
    ("852", "PD"),
    ("855", "PR"),
    ("856", "SH"),
    ("860", "PC"),
    ("865", "CA"),
    ("997", "FA"),
    ("999", "FA"),
];

/// The functional group (GS01) that a transaction set goes into.
pub fn group_of(set: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(known, _)| *known == set).map(|(_, function)| *function)
}

/// What `map` does not say, or says empty.
fn fill(map: &mut Map, usual: &Map) {
    for (name, value) in usual.iter() {
        let said = map.get(name).is_some_and(|said| !matches!(said, Value::Null) && said.as_text() != Some(""));
        if !said {
            map.insert(name.clone(), value.clone());
        }
    }
}
