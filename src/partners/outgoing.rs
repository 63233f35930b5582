//! What waits in a partner's lane to go out: a document, or an acknowledgment.

use std::borrow::Cow;

use jiff::Timestamp;

use super::load::Partners;
use super::profile::{DocumentType, Partner};
use crate::edi::directory::Library;
use crate::edi::findings::{Finding, Severity};
use crate::edi::reader::MessageType;
use crate::edi::syntax::Dialect;
use crate::edi::writer::{GroupHeader, Header, InterchangeWriter, Profile, WriteError};
use crate::formula::{Meta, Scope};
use crate::message::{Fault, Map, MessageId, Value};

use super::interchange::told;

const DOCUMENT: &str = "document";
const CONTENT: &str = "content";
const ACKNOWLEDGES: &str = "acknowledges";
const KIND: &str = "kind";
const TA1: &str = "ta1";
const MESSAGE: &str = "message";
const GIVEN: &str = "given";
const HEADERS: &str = "headers";
const TIME: &str = "time";

/// One thing to send.
#[derive(Debug)]
pub struct Outgoing<'v> {
    /// As pipelines name it; `CONTRL`, `997`, `TA1` of an acknowledgment.
    pub document: &'v str,
    pub kind: MessageType,
    pub function: String,
    pub writes: Profile,
    pub content: Cow<'v, Value>,
    /// The number of the interchange it acknowledges.
    pub acknowledges: Option<&'v str>,
    /// The elements of a TA1.
    pub ta1: Option<Vec<&'v str>>,
    /// The id of the message it was made of.
    pub message: &'v str,
    pub within: Option<std::time::Duration>,
}

/// A document for the lane of its partner: what the pipeline gave, so that a replay maps it anew.
pub fn document_body(document: &str, scope: &Scope<'_>) -> Value {
    Map::from_iter([
        (DOCUMENT, Value::from(document)),
        (GIVEN, scope.document.clone()),
        (HEADERS, scope.headers.clone().into()),
        (MESSAGE, scope.id.to_string().into()),
        (TIME, scope.time.to_string().into()),
    ])
    .into()
}

/// `document` through its partner's map.
///
/// # Errors
/// As [`Template::render`](crate::formula::Template::render), with the map as its place.
pub fn mapped(
    partners: &Partners,
    partner: &Partner,
    document: &DocumentType,
    scope: &Scope<'_>,
) -> Result<Value, Fault> {
    let Some(map) = &document.map else { return Ok(scope.document.clone()) };
    let scope = Scope { partner: Some(&partner.value), tables: &*partners.tables, ..*scope };
    let place = || format!("map of {} in the profile of {}", document.name, partner.name);
    Ok(map.render(&scope).map_err(|fault| fault.at_step(place()))?.unwrap_or_default())
}

/// An acknowledgment of interchange `number` for the lane of its partner.
pub fn acknowledgment_body(kind: &MessageType, number: &str, content: Value) -> Value {
    let kind = [
        ("name", &kind.name),
        ("version", &kind.version),
        ("release", &kind.release),
        ("agency", &kind.agency),
        ("association", &kind.association),
    ];
    let kind: Map = kind.into_iter().map(|(key, value)| (key, value.clone())).collect();
    let name = kind.get("name").cloned().unwrap_or_default();
    Map::from_iter([(DOCUMENT, name), (ACKNOWLEDGES, number.into()), (KIND, kind.into()), (CONTENT, content)]).into()
}

/// A TA1 of interchange `number`, by its elements, for the lane of its partner.
pub fn receipt_body(number: &str, elements: Vec<Value>) -> Value {
    Map::from_iter([(DOCUMENT, Value::from(TA1_NAME)), (ACKNOWLEDGES, number.into()), (TA1, elements.into())]).into()
}

const TA1_NAME: &str = "TA1";

impl<'v> Outgoing<'v> {
    /// What a body of the lane says.
    ///
    /// # Errors
    /// `PARTNER-DOCUMENT` (refuse): the profile does not have it any more; what its map says.
    pub fn read(
        body: &'v Value,
        partner: &'v Partner,
        partners: &Partners,
        time: Timestamp,
    ) -> Result<Outgoing<'v>, Fault> {
        let text = |key| body.get(key).and_then(Value::as_text).unwrap_or_default();
        let document = text(DOCUMENT);
        let acknowledges = Some(text(ACKNOWLEDGES)).filter(|number| !number.is_empty());
        if acknowledges.is_some() {
            let of = |key| body.get(KIND).and_then(|kind| kind.get(key)).and_then(Value::as_text).unwrap_or_default();
            let kind = MessageType {
                name: of("name").to_owned(),
                version: of("version").to_owned(),
                release: of("release").to_owned(),
                agency: of("agency").to_owned(),
                association: of("association").to_owned(),
            };
            let mut writes = partner.writes.clone();
            if let (Dialect::X12, Some(version)) = (partner.dialect, kind.release.get(..5)) {
                writes.version = version.to_owned();
            }
            let ta1 = body.get(TA1).and_then(Value::as_list);
            let ta1 = ta1.map(|elements| elements.iter().filter_map(Value::as_text).collect());
            let function = "FA".to_owned();
            let content = Cow::Borrowed(body.get(CONTENT).unwrap_or(&Value::Null));
            return Ok(Outgoing {
                document,
                kind,
                function,
                writes,
                content,
                acknowledges,
                ta1,
                message: "",
                within: None,
            });
        }
        let found = partner.outgoing(document).ok_or_else(|| not_outgoing(partner, document))?;
        let none = Map::new();
        let scope = Scope {
            document: body.get(GIVEN).unwrap_or(&Value::Null),
            headers: body.get(HEADERS).and_then(Value::as_map).unwrap_or(&none),
            meta: &Meta::default(),
            item: None,
            partner: None,
            connection: None,
            locals: None,
            time: text(TIME).parse().unwrap_or(time),
            id: text(MESSAGE).parse().unwrap_or_else(|_| MessageId::derive(&[text(MESSAGE).as_bytes()])),
            tables: &*partners.tables,
        };
        let content = Cow::Owned(mapped(partners, partner, found, &scope)?);
        let of = Outgoing { content, ..Outgoing::of(found, &Value::Null) };
        Ok(Outgoing { document, message: text(MESSAGE), ..of })
    }

    /// A document that was mapped.
    pub fn of(found: &'v DocumentType, content: &'v Value) -> Outgoing<'v> {
        Outgoing {
            document: &found.name,
            kind: found.kind.clone(),
            function: found.function.clone(),
            writes: found.writes.clone(),
            content: Cow::Borrowed(content),
            acknowledges: None,
            ta1: None,
            message: "",
            within: found.within,
        }
    }
}

/// A document that the profile of the partner does not send.
pub fn not_outgoing(partner: &Partner, document: &str) -> Fault {
    let known: Vec<&str> = partner.names(super::settings::Direction::Out).map(|name| name.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let said = format!("the profile of {} has no outgoing document `{document}` (it has: {known})", partner.name);
    Fault::refuse("PARTNER-DOCUMENT", said)
}

/// Writes an interchange of these, which are of one type; their references are 1, 2, 3…
///
/// # Errors
/// What the definition or the profile forbids: the code of the first finding.
pub fn write(partner: &Partner, library: &Library, header: Header, items: &[Outgoing<'_>]) -> Result<Vec<u8>, Fault> {
    let Some(first) = items.first() else { return Ok(Vec::new()) };
    let group = (header.reference.clone(), header.date.clone());
    let mut writer = InterchangeWriter::new(Vec::new(), &first.writes, library, header)
        .map_err(|error| unwritten(error, "its interchange"))?;
    if let Some(elements) = &first.ta1 {
        let line = elements.iter().fold(crate::edi::document::Line::new(TA1_NAME), |line, element| line.with(element));
        writer.service(&line).map_err(|error| unwritten(error, "the TA1"))?;
    } else {
        if partner.dialect == Dialect::X12 {
            let group = GroupHeader {
                function: first.function.clone(),
                sender: partner.us.of_group(),
                receiver: partner.them.of_group(),
                reference: super::tables::plain_number(&group.0).to_owned(),
                agency: "X".to_owned(),
                version: first.kind.release.clone(),
            };
            writer.group(group).map_err(|error| unwritten(error, "its group"))?;
        }
        for (at, item) in items.iter().enumerate() {
            let written = writer.message(&item.kind, &reference(partner.dialect, at), &item.content);
            written.map_err(|error| unwritten(error, &item.kind.name))?;
        }
    }
    writer.finish().map_err(|error| unwritten(error, "its interchange"))
}

/// The reference of message `at` of an interchange, counted from 0.
pub fn reference(dialect: Dialect, at: usize) -> String {
    match dialect {
        Dialect::Edifact => (at + 1).to_string(),
        Dialect::X12 => format!("{:04}", at + 1),
    }
}

/// Why something is not written.
fn unwritten(error: WriteError, what: &str) -> Fault {
    match error {
        WriteError::Io(error) => Fault::refuse("EDI-LIMIT", format!("{what} cannot be written: {error}")),
        WriteError::Refused(findings) => {
            let weighty: Vec<&Finding> =
                findings.list().iter().filter(|finding| finding.severity >= Severity::RejectMessage).collect();
            told(&weighty).unwrap_or_else(|| Fault::refuse("EDI-LIMIT", format!("{what} is refused")))
        }
    }
}
