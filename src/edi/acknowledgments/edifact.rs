//! CONTRL.

use super::{MessageReceipt, Receipt, is_acknowledgment};
use crate::edi::findings::{Code, Finding};
use crate::edi::reader::Party;
use crate::message::{Map, Text, Value};

/// The CONTRL of an interchange, for writing; none where nothing is to be acknowledged. `received`: only that it was
/// received (8); else it is acknowledged (7) or refused (4), with each message that is refused and why.
pub fn contrl(receipt: &Receipt, received: bool) -> Option<Value> {
    if !receipt.wanted() {
        return None;
    }
    let interchange = &receipt.interchange;
    let refused = receipt.refused();
    let action = match (refused, received) {
        (true, _) => "4",
        (false, true) => "8",
        (false, false) => "7",
    };
    let mut head = Map::new();
    head.insert("E0020", Value::text(&*interchange.reference));
    head.insert("S002", party(&interchange.sender, "E0004", "E0008"));
    head.insert("S003", party(&interchange.receiver, "E0010", "E0014"));
    head.insert("E0083", Value::text(action));
    if let Some(code) = receipt.findings.iter().find_map(|finding| code(finding.code)).filter(|_| refused) {
        head.insert("E0085", Value::text(code));
    }
    let mut root = Map::new();
    root.insert("UCI", Value::Map(head));
    if action == "7" {
        let messages = receipt.groups.iter().flat_map(|group| &group.messages);
        let told: Vec<Value> =
            messages.filter(|message| !message.accepted() && !is_acknowledgment(&message.kind)).map(message).collect();
        if !told.is_empty() {
            root.insert("UCM_group", Value::List(told));
        }
    }
    Some(Value::Map(root))
}

fn party(party: &Party, id: &'static str, internal: &'static str) -> Value {
    let mut map = Map::new();
    for (key, value) in [(id, &party.id), ("E0007", &party.qualifier), (internal, &party.internal)] {
        if !value.is_empty() {
            map.insert(key, Value::text(&**value));
        }
    }
    Value::Map(map)
}

/// A refused message: itself, and its segments in error.
fn message(receipt: &MessageReceipt) -> Value {
    let kind = &receipt.kind;
    let mut identity = Map::new();
    let parts = [&kind.name, &kind.version, &kind.release, &kind.agency, &kind.association];
    for (key, value) in ["E0065", "E0052", "E0054", "E0051", "E0057"].into_iter().zip(parts) {
        if !value.is_empty() {
            identity.insert(key, Value::text(&**value));
        }
    }
    let mut head = Map::new();
    head.insert("E0062", Value::text(&*receipt.reference));
    head.insert("S009", Value::Map(identity));
    head.insert("E0083", Value::text("4"));
    let whole =
        |finding: &&Finding| matches!(finding.code, Code::NoEnd | Code::Reference | Code::Count | Code::UnknownMessage);
    if let Some(code) = receipt.findings.iter().find(whole).and_then(|finding| code(finding.code)) {
        head.insert("E0085", Value::text(code));
    }
    let mut map = Map::new();
    map.insert("UCM", Value::Map(head));
    let segments = receipt.by_segment().into_iter().filter_map(|(number, findings)| segment(number, &findings));
    let segments: Vec<Value> = segments.take(MOST).collect();
    if !segments.is_empty() {
        map.insert("UCS_group", Value::List(segments));
    }
    Value::Map(map)
}

/// The definition allows 999 segments of a message, and 99 elements of a segment.
const MOST: usize = 999;

fn segment(number: u32, findings: &[&Finding]) -> Option<Value> {
    let mut head = Map::new();
    head.insert("E0096", Value::text(number.to_string()));
    let alone = findings.iter().filter(|finding| finding.place.element == 0).find_map(|finding| code(finding.code));
    if let Some(code) = alone {
        head.insert("E0085", Value::text(code));
    }
    let mut elements = Vec::new();
    for finding in findings.iter().filter(|finding| finding.place.element > 0) {
        let Some(code) = code(finding.code) else { continue };
        let mut place = Map::new();
        place.insert("E0098", Value::text(finding.place.element.to_string()));
        if finding.place.component > 0 {
            place.insert("E0104", Value::text(finding.place.component.to_string()));
        }
        let mut map = Map::new();
        map.insert("E0085", Value::text(code));
        map.insert("S011", Value::Map(place));
        elements.push(Value::Map(map));
    }
    if alone.is_none() && elements.is_empty() {
        return None;
    }
    let mut map = Map::new();
    map.insert("UCS", Value::Map(head));
    elements.truncate(99);
    if !elements.is_empty() {
        map.insert(Text::new_static("UCD"), Value::List(elements));
    }
    Some(Value::Map(map))
}

/// The syntax error as 0085 codes it.
fn code(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Unlisted => "12",
        Code::MissingElement | Code::MissingSegment | Code::NoEnd | Code::NoTrailer | Code::Envelope => "13",
        Code::UnknownSegment | Code::Order | Code::Tag => "15",
        Code::UnknownMessage => "17",
        Code::ExtraElement => "16",
        Code::Delimiters => "20",
        Code::Charset | Code::Control | Code::Newline => "21",
        Code::Repeated => "26",
        Code::Reference | Code::GroupReference | Code::InterchangeReference => "28",
        Code::Count | Code::GroupCount | Code::InterchangeCount => "29",
        Code::NoBeginning | Code::Stray => "33",
        Code::Repeats | Code::Repetition => "35",
        Code::Type => "37",
        Code::TooLong => "39",
        Code::TooShort => "40",
        Code::Limit => "18",
        _ => return None,
    })
}
