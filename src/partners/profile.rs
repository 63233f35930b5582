//! A partner's profile, read and checked: what its settings come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::settings::{
    Acknowledgments, Batch, Contact, ControlNumbers, DialectWord, Direction, DocumentSettings, FunctionalSet, Gaps,
    Identity, Mode, PartnerHead, SendWord, When, Writes,
};
use crate::codecs::edi::{Weights, group_of};
use crate::config::Span;
use crate::edi::charset::Charset;
use crate::edi::findings::{Code, Policy, Severity};
use crate::edi::reader::{MessageType, Party};
use crate::edi::syntax::{Delimiters, Dialect};
use crate::edi::tree::Guide;
use crate::edi::writer::Profile;
use crate::formula::Template;
use crate::message::{Map, Text, Value};
use crate::protocols::TargetSettings;

/// A partner, as its profile says.
#[derive(Debug)]
pub struct Partner {
    pub name: Text,
    pub about: String,
    pub dialect: Dialect,
    pub test: bool,
    pub us: Identity,
    pub them: Identity,
    pub documents: BTreeMap<Text, DocumentType>,
    /// What follows from findings in what they send.
    pub policy: Policy,
    /// The character set of what they send, where it is not as declared.
    pub charset: Option<Charset>,
    /// How interchanges for them are written, whatever the document.
    pub writes: Profile,
    pub acknowledgments: Acknowledged,
    pub numbers: ControlNumbers,
    pub batch: Option<Batch>,
    /// Where interchanges for them go.
    pub out: Option<Arc<dyn TargetSettings>>,
    /// Where that is stated, for problems between pipelines.
    pub out_span: Span,
    pub retry: Vec<Duration>,
    /// `$partner`
    pub value: Value,
    /// Hash of the text it was read from, its maps included.
    pub revision: [u8; 16],
}

/// A document that is exchanged with a partner.
#[derive(Debug)]
pub struct DocumentType {
    /// As pipelines name it.
    pub name: Text,
    pub direction: Direction,
    pub kind: MessageType,
    /// GS01, of X12.
    pub function: String,
    pub map: Option<Template>,
    /// Within which time it is acknowledged.
    pub within: Option<Duration>,
    /// How it is written.
    pub writes: Profile,
}

impl DialectWord {
    pub fn dialect(self) -> Dialect {
        match self {
            DialectWord::Edifact => Dialect::Edifact,
            DialectWord::X12 => Dialect::X12,
        }
    }
}

/// Who acknowledges what.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub functional: bool,
    pub receipt: bool,
    pub when: When,
    pub set: FunctionalSet,
    pub ask: bool,
    pub within: Option<Duration>,
}

impl Default for Acknowledged {
    fn default() -> Acknowledged {
        Acknowledged::of(None)
    }
}

impl Acknowledged {
    fn of(settings: Option<Acknowledgments>) -> Acknowledged {
        let Some(settings) = settings else {
            let (when, set) = (When::Always, FunctionalSet::S997);
            return Acknowledged { functional: true, receipt: false, when, set, ask: false, within: None };
        };
        let send = settings.send.unwrap_or_else(|| vec![SendWord::Functional]);
        Acknowledged {
            functional: send.contains(&SendWord::Functional),
            receipt: send.contains(&SendWord::Receipt),
            when: settings.when,
            set: settings.r#as,
            ask: settings.ask,
            within: settings.within,
        }
    }
}

impl Partner {
    /// `maps` are those of the documents, by name; `delimiters` those of what is written.
    pub(super) fn new(
        name: Text,
        head: PartnerHead,
        mut maps: BTreeMap<Text, Template>,
        delimiters: Delimiters,
    ) -> Partner {
        let (dialect, value) = (head.dialect.dialect(), value(&name, &head));
        let writes = profile(dialect, head.writes.as_ref(), delimiters);
        let acknowledgments = Acknowledged::of(head.acknowledgments);
        let stated = head.writes.and_then(|writes| writes.version).is_some();
        let mut documents = BTreeMap::new();
        for (called, settings) in head.documents {
            let map = maps.remove(&called);
            let mut document = DocumentType::new(called.clone(), settings, dialect, map, &writes, stated);
            document.within = document.within.or(acknowledgments.within);
            documents.insert(called, document);
        }
        let reads = head.reads;
        Partner {
            name,
            about: head.about,
            dialect,
            test: head.mode == Mode::Test,
            us: head.us,
            them: head.them,
            documents,
            policy: over(reads.as_ref().and_then(|reads| reads.findings.as_ref()), of_reading()),
            charset: reads.and_then(|reads| reads.charset).map(|charset| charset.0),
            writes,
            acknowledgments,
            numbers: head.control_numbers.unwrap_or_else(usual_numbers),
            batch: head.batch,
            out: None,
            out_span: Span::default(),
            retry: Vec::new(),
            value,
            revision: [0; 16],
        }
    }

    /// The document that a message of theirs is.
    pub fn incoming(&self, kind: &MessageType) -> Option<&DocumentType> {
        let incoming = || self.documents.values().filter(|document| document.direction == Direction::In);
        let same = |document: &&DocumentType| document.kind.name == kind.name;
        let release = |document: &&DocumentType| {
            let (ours, theirs) = (&document.kind, kind);
            ours.version == theirs.version && ours.release == theirs.release
        };
        incoming().filter(same).find(release).or_else(|| incoming().find(same))
    }

    /// The document that pipelines send under this name.
    pub fn outgoing(&self, document: &str) -> Option<&DocumentType> {
        self.documents.get(document).filter(|document| document.direction == Direction::Out)
    }

    /// The names of the documents of a direction.
    pub fn names(&self, direction: Direction) -> impl Iterator<Item = &Text> {
        self.documents.values().filter(move |document| document.direction == direction).map(|document| &document.name)
    }

    /// Whether an interchange states that it comes from them.
    pub fn is_sender(&self, sender: &Party) -> bool {
        self.them.is(sender)
    }
}

impl Identity {
    /// Whether an interchange names it so. An internal address counts where the profile states one.
    pub fn is(&self, party: &Party) -> bool {
        let same = |ours: &Option<Text>, theirs: &str| ours.as_deref().unwrap_or_default() == theirs;
        self.id == party.id
            && same(&self.qualifier, &party.qualifier)
            && (self.internal.is_none() || same(&self.internal, &party.internal))
    }

    pub fn party(&self) -> Party {
        let text = |text: &Option<Text>| text.as_deref().unwrap_or_default().to_owned();
        Party { id: self.id.to_string(), qualifier: text(&self.qualifier), internal: text(&self.internal) }
    }

    /// As a group of X12 names it.
    pub fn of_group(&self) -> Party {
        Party { id: self.group.as_ref().unwrap_or(&self.id).to_string(), ..self.party() }
    }
}

impl DocumentType {
    fn new(
        name: Text,
        settings: DocumentSettings,
        dialect: Dialect,
        map: Option<Template>,
        writes: &Profile,
        version_stated: bool,
    ) -> DocumentType {
        let release = settings.release.as_deref().unwrap_or_default();
        let kind = MessageType {
            name: settings.message.as_ref().unwrap_or(&name).to_string(),
            association: settings.association.as_deref().unwrap_or_default().to_owned(),
            ..released(dialect, release)
        };
        let mut writes = writes.clone();
        // ISA12 is the version of the group without its last digit.
        if let (Dialect::X12, false, Some(version)) = (dialect, version_stated, release.get(..5)) {
            writes.version = version.to_owned();
        }
        writes.guide = guide(settings.codes);
        let usual = || group_of(&kind.name).unwrap_or_default().to_owned();
        let function = settings.function.map_or_else(usual, |function| function.to_string());
        DocumentType { name, direction: settings.direction, kind, function, map, within: settings.within, writes }
    }
}

/// The type of messages of a release: `D.96A`, `004010VICS`.
pub(super) fn released(dialect: Dialect, release: &str) -> MessageType {
    match dialect {
        Dialect::Edifact => {
            let (version, release) = release.split_once('.').unwrap_or(("D", release));
            let agency = "UN".to_owned();
            MessageType { version: version.to_owned(), release: release.to_owned(), agency, ..MessageType::default() }
        }
        Dialect::X12 => MessageType { release: release.to_owned(), agency: "X".to_owned(), ..MessageType::default() },
    }
}

/// What is refused of what comes in, where the profile says nothing: of what is cut, or counts wrongly, nobody knows what is missing.
fn of_reading() -> Policy {
    let whole = [Code::NoTrailer, Code::InterchangeCount, Code::GroupCount];
    whole.into_iter().fold(Policy::default(), |policy, code| policy.with(code, Severity::RejectInterchange))
}

/// What is refused of what goes out: a partner's system may be less tolerant than ours.
fn of_writing() -> Policy {
    let refused = [Code::Type, Code::TooLong, Code::TooShort];
    refused.into_iter().fold(Policy::default(), |policy, code| policy.with(code, Severity::RejectMessage))
}

fn over(weights: Option<&Weights>, policy: Policy) -> Policy {
    weights.map_or(policy.clone(), |weights| weights.over(policy))
}

fn profile(dialect: Dialect, writes: Option<&Writes>, delimiters: Delimiters) -> Profile {
    let mut profile = match dialect {
        Dialect::Edifact => Profile::edifact(),
        Dialect::X12 => Profile::x12(),
    };
    profile.policy = over(writes.and_then(|writes| writes.findings.as_ref()), of_writing());
    let Some(writes) = writes else { return profile };
    if let Some(syntax) = &writes.syntax {
        profile.syntax = syntax.to_string();
        profile.charset = Charset::declared(syntax).unwrap_or(profile.charset);
    }
    if let Some(version) = &writes.version {
        profile.version = version.to_string();
    }
    if let Some(charset) = &writes.charset {
        profile.charset = charset.0;
    }
    profile.service_string = writes.una.service_string();
    profile.newline = writes.newline.newline();
    profile.delimiters = delimiters;
    if let Some(mark) = writes.decimal.and_then(|mark| u8::try_from(mark).ok()) {
        profile.delimiters.decimal = mark;
    }
    profile
}

/// The lists of codes that are agreed on.
fn guide(codes: Option<BTreeMap<Text, Vec<Text>>>) -> Guide {
    let mut guide = Guide::default();
    for (place, values) in codes.unwrap_or_default() {
        guide.codes.allow(&place, values.iter().map(|value| value.as_str()));
    }
    guide
}

fn usual_numbers() -> ControlNumbers {
    let window = Duration::from_secs(400 * 86_400);
    ControlNumbers { first: 1, width: 9, padded: false, gaps: Gaps::Accept, window }
}

/// `$partner`
fn value(name: &Text, head: &PartnerHead) -> Value {
    let (us, them, contact) = (&head.us, &head.them, &head.contact);
    let of = |identity: &Identity| {
        let mut map = Map::new();
        map.insert("id", identity.id.clone());
        for (key, value) in
            [("qualifier", &identity.qualifier), ("internal", &identity.internal), ("group", &identity.group)]
        {
            if let Some(value) = value {
                map.insert(key, value.clone());
            }
        }
        Value::Map(map)
    };
    let mut map = Map::from_iter([("name", Value::from(name.clone())), ("us", of(us)), ("them", of(them))]);
    if let Some(Contact { name, email, phone, escalation }) = contact {
        let said = [("name", name), ("email", email), ("phone", phone), ("escalation", escalation)];
        let said = said.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        map.insert("contact", said.collect::<Map>());
    }
    if let Some(values) = &head.values {
        map.insert("values", values.0.clone());
    }
    map.into()
}
