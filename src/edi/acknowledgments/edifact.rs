//! CONTRL.

use super::{GroupReceipt, MessageReceipt, Receipt, is_acknowledgment};
use crate::edi::findings::{Code, Finding, Severity};
use crate::edi::reader::{Interchange, Party};
use crate::message::{Map, Text, Value};

/// The CONTRL of an interchange, for writing; none where nothing is to be acknowledged. `received`: only that it was
/// received (8); else it is acknowledged (7) or refused (4), with each group and message that is refused and why.
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
        let fourth = interchange.notation.syntax == 4;
        let (stated, plain): (Vec<&GroupReceipt>, Vec<_>) = receipt.groups.iter().partition(|group| group.stated);
        let told: Vec<Value> = plain.into_iter().flat_map(|group| refused_messages(group, fourth)).collect();
        if !told.is_empty() {
            root.insert("UCM_group", Value::List(told));
        }
        let told: Vec<Value> = stated.into_iter().filter_map(|stated| group(stated, interchange, fourth)).collect();
        if !told.is_empty() {
            root.insert("UCF_group", Value::List(told));
        }
    }
    Some(Value::Map(root))
}

fn party(party: &Party, id: &'static str, internal: &'static str) -> Value {
    let mut map = Map::new();
    for (key, value) in [(id, &party.id), ("E0007", &party.qualifier), (internal, &party.internal)] {
        if !value.is_empty() && !key.is_empty() {
            map.insert(key, Value::text(&**value));
        }
    }
    Value::Map(map)
}

/// A group that is refused (4), or one (7) of which messages are; none for a good one.
fn group(group: &GroupReceipt, interchange: &Interchange, fourth: bool) -> Option<Value> {
    let why = group.findings.iter().filter(|finding| finding.severity >= Severity::RejectMessage);
    let refused = why.clone().next().is_some() && group.wanted();
    let told: Vec<Value> = if refused { Vec::new() } else { refused_messages(group, fourth).collect() };
    if !refused && told.is_empty() {
        return None;
    }
    // UNG of syntax 4 need not name them.
    let sender = if group.sender.id.is_empty() { &interchange.sender } else { &group.sender };
    let receiver = if group.receiver.id.is_empty() { &interchange.receiver } else { &group.receiver };
    let mut head = Map::new();
    head.insert("E0048", Value::text(&*group.reference));
    head.insert("S006", party(sender, "E0040", ""));
    head.insert("S007", party(receiver, "E0044", ""));
    head.insert("E0083", Value::text(if refused { "4" } else { "7" }));
    if let Some(code) = why.filter_map(|finding| code(finding.code)).next() {
        head.insert("E0085", Value::text(code));
    }
    let mut map = Map::new();
    map.insert("UCF", Value::Map(head));
    if !told.is_empty() {
        map.insert("UCM_group", Value::List(told));
    }
    Some(Value::Map(map))
}

fn refused_messages(group: &GroupReceipt, fourth: bool) -> impl Iterator<Item = Value> {
    let refused = group.messages.iter().filter(|message| !message.accepted() && !is_acknowledgment(&message.kind));
    refused.map(move |refused| message(refused, fourth))
}

/// A refused message: itself, and its segments in error.
fn message(receipt: &MessageReceipt, fourth: bool) -> Value {
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
    let segments = receipt.by_segment().into_iter().filter_map(|(number, findings)| segment(number, &findings, fourth));
    let segments: Vec<Value> = segments.take(MOST).collect();
    if !segments.is_empty() {
        map.insert("UCS_group", Value::List(segments));
    }
    Value::Map(map)
}

/// The definition allows 999 segments of a message, and 99 elements of a segment.
const MOST: usize = 999;

fn segment(number: u32, findings: &[&Finding], fourth: bool) -> Option<Value> {
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
        if fourth && finding.place.repetition > 0 {
            place.insert("E0136", Value::text(finding.place.repetition.to_string()));
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

/// Whether 0085 has a code for it.
pub(super) fn tells(finding: Code) -> bool {
    code(finding).is_some()
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
