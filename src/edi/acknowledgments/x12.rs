//! 997, 999 and TA1.

use super::{GroupReceipt, MessageReceipt, Receipt};
use crate::edi::document::Line;
use crate::edi::findings::{Code, Finding, Place, Severity};
use crate::message::{Map, Text, Value};

/// The functional acknowledgment of a group, for writing; none where nothing is to be acknowledged. `implementation`: as
/// 999 (of 5010 only), else as 997.
pub fn functional(group: &GroupReceipt, implementation: bool) -> Option<Value> {
    if !group.wanted() {
        return None;
    }
    let names = if implementation { ["IK3", "IK4", "IK5"] } else { ["AK3", "AK4", "AK5"] };
    let mut root = Map::new();
    let mut first = fields("AK1", &[&group.function, &group.reference]);
    if implementation {
        first.insert("AK103", Value::text(&*group.version));
    }
    root.insert("AK1", Value::Map(first));
    let sets = group.messages.iter().map(|message| set(message, names, implementation)).collect();
    root.insert("AK2_loop", Value::List(sets));
    let accepted = group.messages.iter().filter(|message| message.accepted()).count();
    let received = group.messages.len();
    let noted = group.findings.iter().any(|finding| group_code(finding.code).is_some())
        || group.messages.iter().any(|message| status(message) == "E");
    let whole = match accepted {
        _ if group.findings.iter().any(|finding| finding.severity >= Severity::RejectMessage) => "R",
        0 if received > 0 => "R",
        count if count < received => "P",
        _ if noted => "E",
        _ => "A",
    };
    let counted = group.counted.map_or(received, |count| count as usize);
    let mut last = fields("AK9", &[whole, &counted.to_string(), &received.to_string(), &accepted.to_string()]);
    codes(&mut last, "AK9", 5, group.findings.iter().filter_map(|finding| group_code(finding.code)));
    root.insert("AK9", Value::Map(last));
    Some(Value::Map(root))
}

fn set(message: &MessageReceipt, [segment, element, status_name]: [&str; 3], implementation: bool) -> Value {
    let mut map = Map::with_capacity(2);
    let mut head = fields("AK2", &[&message.kind.name, &message.reference]);
    if implementation && !message.kind.association.is_empty() {
        head.insert("AK203", Value::text(&*message.kind.association));
    }
    map.insert("AK2", Value::Map(head));
    let errors: Vec<Value> = message
        .by_segment()
        .into_iter()
        .flat_map(|(_, findings)| segments(&findings, segment, element, implementation))
        .take(MOST)
        .collect();
    let in_error = !errors.is_empty();
    if in_error {
        map.insert(Text::new(format!("{segment}_loop")), Value::List(errors));
    }
    let mut last = fields(status_name, &[status(message)]);
    let own = message.findings.iter().filter_map(|finding| set_code(finding.code));
    codes(&mut last, status_name, 2, own.chain(in_error.then_some("5")));
    map.insert(Text::new(status_name), Value::Map(last));
    Value::Map(map)
}

/// Errors told of one set.
const MOST: usize = 1000;

/// `A`, `E` or `R`.
fn status(message: &MessageReceipt) -> &'static str {
    match (message.accepted(), message.noted) {
        (false, _) => "R",
        (true, true) => "E",
        (true, false) => "A",
    }
}

/// Whether a 997 or 999 has a code for it.
pub(super) fn tells(code: Code) -> bool {
    segment_code(code).is_some() || element_code(code, true).is_some() || set_code(code).is_some()
}

/// The errors of one segment: those of itself each alone, those of its elements together.
fn segments(findings: &[&Finding], segment: &str, element: &str, implementation: bool) -> Vec<Value> {
    let mut found = Vec::new();
    let entry = |finding: &Finding, code: &str| {
        let Place { tag, segment: number, .. } = finding.place;
        // A missing segment has the number it would have; CONTRL tells that of the one before.
        let number = number.saturating_add(u32::from(finding.code == Code::MissingSegment));
        fields(segment, &[tag.as_str(), &number.to_string(), "", code])
    };
    for finding in findings {
        if let Some(code) = segment_code(finding.code).filter(|_| !finding.place.tag.is_empty()) {
            let mut map = Map::new();
            map.insert(Text::new(segment), Value::Map(entry(finding, code)));
            found.push(Value::Map(map));
        }
    }
    let of_elements =
        |finding: &&&Finding| element_code(finding.code, implementation).is_some() && finding.place.element > 0;
    let elements: Vec<&&Finding> = findings.iter().filter(of_elements).collect();
    let Some(first) = elements.first() else { return found };
    let mut map = Map::new();
    map.insert(Text::new(segment), Value::Map(entry(first, "8")));
    let mut list = Vec::new();
    for finding in elements.iter().take(99) {
        let place = finding.place;
        let mut position = Map::new();
        position.insert("C03001", Value::text(place.element.to_string()));
        if place.component > 0 {
            position.insert("C03002", Value::text(place.component.to_string()));
        }
        let mut fields = Map::new();
        fields.insert(Text::new(format!("{element}01")), Value::Map(position));
        let code = element_code(finding.code, implementation).unwrap_or("1");
        fields.insert(Text::new(format!("{element}03")), Value::text(code));
        list.push(if implementation {
            let mut inner = Map::new();
            inner.insert(Text::new(element), Value::Map(fields));
            Value::Map(inner)
        } else {
            Value::Map(fields)
        });
    }
    let key = if implementation { format!("{element}_loop") } else { element.to_owned() };
    map.insert(Text::new(key), Value::List(list));
    found.push(Value::Map(map));
    found
}

/// The interchange acknowledgment, as a segment that stands between ISA and GS.
pub fn ta1(receipt: &Receipt) -> Line {
    let interchange = &receipt.interchange;
    let (status, note) = match () {
        () if receipt.has(Code::Delimiters) || receipt.has(Code::Limit) => ("R", "022"),
        () if receipt.refused() => ("R", "024"),
        () if receipt.has(Code::InterchangeReference) => ("E", "001"),
        () if receipt.has(Code::InterchangeCount) => ("E", "021"),
        () if receipt.has(Code::NoTrailer) => ("E", "023"),
        () => ("A", "000"),
    };
    let number = &interchange.reference;
    Line::new("TA1").with(number).with(&interchange.date).with(&interchange.time).with(status).with(note)
}

/// The fields of a segment from its first element on; empty ones are left out.
fn fields(tag: &str, values: &[&str]) -> Map {
    // A group may hold very many sets: no room is left over.
    let mut map = Map::with_capacity(values.len());
    for (at, value) in values.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
        map.insert(Text::new(format!("{tag}{:02}", at + 1)), Value::text(*value));
    }
    map
}

/// Up to five codes from element `from` on, each once.
fn codes<'c>(map: &mut Map, tag: &str, from: usize, codes: impl Iterator<Item = &'c str>) {
    let mut told: Vec<&str> = Vec::new();
    codes.for_each(|code| {
        if !told.contains(&code) {
            told.push(code)
        }
    });
    for (at, code) in told.into_iter().take(5).enumerate() {
        map.insert(Text::new(format!("{tag}{:02}", from + at)), Value::text(code));
    }
}

fn segment_code(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Tag => "1",
        Code::UnknownSegment => "6",
        Code::MissingSegment => "3",
        Code::Repeats => "5",
        Code::Order | Code::Hierarchy => "7",
        _ => return None,
    })
}

/// 999 knows more than 997.
fn element_code(code: Code, implementation: bool) -> Option<&'static str> {
    Some(match code {
        Code::MissingElement => "1",
        Code::Repetition if implementation => "12",
        Code::ExtraElement | Code::Repetition => "3",
        Code::TooShort => "4",
        Code::TooLong => "5",
        Code::Type => "6",
        // The list is that of a guideline: a code may be good and not in use.
        Code::Unlisted if implementation => "I6",
        Code::Unlisted => "7",
        _ => return None,
    })
}

fn set_code(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::UnknownMessage => "1",
        Code::NoEnd => "2",
        Code::Reference => "3",
        Code::Count => "4",
        Code::Repeated => "23",
        _ => return None,
    })
}

fn group_code(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::NoTrailer => "3",
        Code::GroupReference => "4",
        Code::GroupCount => "5",
        _ => return None,
    })
}
