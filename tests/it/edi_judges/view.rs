//! What the hub sees in an EDI file, in the shape the judges tell it.

use raccord::edi::reader::{Event, Notation, Options, Reader, Record};
use raccord::edi::syntax::{Dialect, Segment as Raw};

use crate::parts::judges::{Judge, Segment, trimmed};

/// A file as the hub reads it.
#[derive(Debug, Default)]
pub struct Seen {
    pub segments: Vec<Segment>,
    pub interchanges: Vec<Notation>,
    pub findings: Vec<String>,
}

impl Seen {
    pub fn of(bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let mut reader = Reader::new(bytes, Options::default());
        let mut notation = Notation::default();
        while let Some(event) = reader.read().expect("a slice does not fail") {
            seen.findings.extend(event.findings().list().iter().map(ToString::to_string));
            match event {
                Event::Interchange(interchange) => {
                    notation = interchange.notation;
                    seen.interchanges.push(notation);
                    seen.add(&interchange.record, &notation);
                }
                Event::Group(group) => seen.add(&group.record, &notation),
                Event::Message(message) => seen.add(&message.record, &message.notation),
                Event::GroupEnd(trailer) | Event::InterchangeEnd(trailer) => seen.add(&trailer.record, &notation),
                Event::Other(other) => seen.add(&other.record, &notation),
            }
        }
        seen
    }

    fn add(&mut self, record: &Record, notation: &Notation) {
        self.segments.extend(record.segments().map(|segment| shape(&segment, notation)));
    }

    pub fn dialect(&self) -> Option<Dialect> {
        self.interchanges.first().map(|notation| notation.dialect)
    }

    pub fn judges(&self) -> [Judge; 2] {
        match self.dialect() {
            Some(Dialect::X12) => [Judge::Pyx12, Judge::NodeX12],
            _ => [Judge::Pydifact, Judge::Edifact],
        }
    }

    /// What has the tag.
    pub fn count(&self, tag: &str) -> usize {
        self.segments.iter().filter(|(name, _)| name == tag).count()
    }
}

/// Elements of X12 whole, as its judges tell them; of EDIFACT in components. The judges know no repetitions: a separator of
/// repetitions is a character of the value to them.
fn shape(segment: &Raw<'_>, notation: &Notation) -> Segment {
    let tag = String::from_utf8_lossy(segment.raw_tag()).into_owned();
    let text = |raw: &[u8]| notation.text(raw, segment.released).into_owned();
    let elements = segment.elements().map(|element| match notation.dialect {
        Dialect::X12 => vec![text(element.raw())],
        Dialect::Edifact => {
            let mut parts: Vec<String> = Vec::new();
            for (again, repetition) in element.repetitions().enumerate() {
                for (at, component) in repetition.components().enumerate() {
                    match parts.last_mut().filter(|_| again > 0 && at == 0) {
                        Some(last) => {
                            last.extend(notation.delimiters.repetition.map(char::from));
                            last.push_str(&text(component.raw));
                        }
                        None => parts.push(text(component.raw)),
                    }
                }
            }
            parts
        }
    });
    (tag, trimmed(elements.collect()))
}

/// How the judges are told to read it.
pub fn encoding(bytes: &[u8]) -> &'static str {
    if std::str::from_utf8(bytes).is_ok() { "utf8" } else { "latin1" }
}
