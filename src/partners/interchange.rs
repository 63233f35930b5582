//! An interchange read by its partner's profile: each message on its own, and what is to be thought of all.

use std::io;

use bytes::Bytes;

use super::profile::Partner;
use crate::edi::acknowledgments::{Acknowledgment, Receipt, is_acknowledgment};
use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::findings::{Finding, Severity};
use crate::edi::reader::{Event, Group, Interchange, Message, MessageType, Options, Party, Reader};
use crate::edi::syntax::Dialect;
use crate::edi::tree::Tree;
use crate::message::{Fault, Value};

/// Findings kept of one message, and of what refuses an interchange.
const FINDINGS: usize = 100;

/// Where an interchange stands in an input, and who sends it to whom.
#[derive(Debug)]
pub struct Found {
    pub dialect: Dialect,
    pub sender: Party,
    pub receiver: Party,
    pub bytes: Bytes,
}

/// An interchange, read.
#[derive(Debug, Default)]
pub struct Opened {
    pub header: Interchange,
    pub messages: Vec<Part>,
    /// What it acknowledges of ours.
    pub acknowledgments: Vec<Acknowledgment>,
    pub receipt: Receipt,
    /// Why the whole of it is refused.
    pub fault: Option<Fault>,
}

/// One message of an interchange.
#[derive(Debug)]
pub struct Part {
    pub kind: MessageType,
    pub reference: String,
    /// The message with the envelope around it, an interchange of one message.
    pub bytes: Bytes,
    /// Null where it is not asked for.
    pub document: Value,
    /// Findings that let it pass, without values.
    pub warned: Vec<String>,
    /// Why it is refused.
    pub fault: Option<Fault>,
}

/// The interchanges in an input, as far as their headers and ends tell.
///
/// # Errors
/// `EDI-STRAY` (refuse): there is none.
pub fn find(input: &Bytes) -> Result<Vec<Found>, Fault> {
    let mut found: Vec<(usize, Found)> = Vec::new();
    let mut reader = Reader::new(&input[..], Options::default());
    let mut at = 0;
    while let Some(event) = reader.read().map_err(|error| unreadable(&error))? {
        let length = event.raw().len();
        // What stands behind an end, and in no interchange, is one of its own, of a sender nobody knows.
        if let Event::Interchange(interchange) = &event
            && (interchange.stated || !found.is_empty())
        {
            let (sender, receiver) = (interchange.sender.clone(), interchange.receiver.clone());
            let dialect = interchange.notation.dialect;
            // What stands before the first one belongs to it.
            let start = if found.is_empty() { 0 } else { at };
            found.push((start, Found { dialect, sender, receiver, bytes: Bytes::new() }));
        }
        at += length;
    }
    let mut end = input.len();
    for (start, found) in found.iter_mut().rev() {
        found.bytes = input.slice((*start).min(end)..end);
        end = *start;
    }
    if found.is_empty() {
        let said = "there is no interchange in it: neither UNB nor ISA. Is it EDI at all, or encrypted or packed?";
        return Err(Fault::refuse("EDI-STRAY", said));
    }
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// Reads an interchange of `partner`, with or without the documents of its messages.
///
/// # Errors
/// None in practice: what is wrong stands in what is given.
pub fn open(partner: &Partner, library: &Library, input: &[u8], documents: bool) -> Result<Opened, Fault> {
    let options = Options { policy: partner.policy.clone(), charset: partner.charset, ..Options::default() };
    let mut opened = Opened::default();
    let (mut header, mut group): (Vec<u8>, Option<(Vec<u8>, Group)>) = (Vec::new(), None);
    // Where the group begins among the messages, and why it is refused.
    let (mut begins, mut refused) = (0, None);
    let mut weighty: Vec<Finding> = Vec::new();
    let mut reader = Reader::new(input, options);
    while let Some(event) = reader.read().map_err(|error| unreadable(&error))? {
        let tree = match &event {
            Event::Message(message) => {
                let incoming = partner.incoming(&message.kind);
                let guide = incoming.map_or(&partner.writes.guide, |document| &document.writes.guide);
                Some(Tree::read_with(message, library, &partner.policy, FINDINGS, guide))
            }
            _ => None,
        };
        opened.receipt.note(&event, tree.as_ref());
        let of_tree = tree.iter().flat_map(|tree| tree.findings.list());
        let refuses = |finding: &&Finding| finding.severity >= Severity::RejectMessage;
        let found = event.findings().list().iter().chain(of_tree).filter(refuses);
        weighty.extend(found.take(FINDINGS.saturating_sub(weighty.len())).cloned());
        match event {
            Event::Interchange(interchange) => {
                header = interchange.record.raw().to_vec();
                opened.header = interchange.clone();
            }
            Event::Group(begun) => {
                group = Some((begun.record.raw().to_vec(), begun.clone()));
                begins = opened.messages.len();
                refused = fault(begun.findings.list().iter(), Severity::RejectMessage);
            }
            Event::GroupEnd(trailer) => {
                group = None;
                let told = fault(trailer.findings.list().iter(), Severity::RejectMessage);
                if let Some(fault) = refused.take().or(told) {
                    let messages = opened.messages.iter_mut().skip(begins);
                    messages.for_each(|message| message.fault = message.fault.take().or_else(|| Some(fault.clone())));
                }
            }
            Event::Message(message) => {
                let Some(tree) = tree else { continue };
                // What an acknowledgment says is taken as far as it can be read: nobody acknowledges it again.
                if is_acknowledgment(&message.kind) {
                    opened.acknowledgments.extend(Acknowledgment::read(&document(&tree)));
                    continue;
                }
                let told = || message.findings.list().iter().chain(tree.findings.list());
                let fault = fault(told(), Severity::RejectMessage).filter(|_| !tree.accepted());
                let warned = told().filter(|finding| finding.severity == Severity::Warn);
                opened.messages.push(Part {
                    kind: message.kind.clone(),
                    reference: message.reference.clone(),
                    bytes: alone(&header, group.as_ref(), message, &opened.header),
                    document: if documents { document(&tree) } else { Value::Null },
                    warned: warned
                        .take(TOLD)
                        .map(|finding| format!("{} at {}", finding.code.name(), place(finding)))
                        .collect(),
                    fault,
                });
            }
            Event::Other(other) => {
                let notation = opened.header.notation;
                let read = other.record.segments().filter_map(|segment| Acknowledgment::read_ta1(&segment, &notation));
                opened.acknowledgments.extend(read);
            }
            Event::InterchangeEnd(_) => {}
        }
    }
    if opened.receipt.refused() {
        let plain = || Fault::refuse("EDI-ENVELOPE", "the whole interchange is refused");
        opened.fault = Some(fault(weighty.iter(), Severity::RejectInterchange).unwrap_or_else(plain));
    }
    Ok(opened)
}

/// The findings that weigh so much, as a fault.
fn fault<'f>(findings: impl Iterator<Item = &'f Finding>, weight: Severity) -> Option<Fault> {
    let weighty: Vec<&Finding> = findings.filter(|finding| finding.severity >= weight).collect();
    told(&weighty)
}

/// Findings told of one message.
const TOLD: usize = 3;

/// Findings as the fault of their message: it has the code and the place of the first. What they say may repeat values of the
/// message: it is the fault's detail. `None` where there are none.
pub(super) fn told(findings: &[&Finding]) -> Option<Fault> {
    let first = findings.first()?;
    let list = |words: &dyn Fn(&Finding) -> String| {
        let mut said: Vec<String> = findings.iter().take(TOLD).map(|finding| words(finding)).collect();
        if findings.len() > TOLD {
            said.push(format!("and {} more", findings.len() - TOLD));
        }
        said.join("; ")
    };
    let places = list(&|finding| format!("{} at {}", finding.code.name(), place(finding)));
    let sentences = list(&|finding| finding.sentence.clone());
    Some(Fault::refuse(first.code.name(), places).detail(sentences).at(place(first)))
}

/// `segment 12 (QTY) element 1`
fn place(finding: &Finding) -> String {
    let place = finding.place;
    if place.segment == 0 {
        return "the document".to_owned();
    }
    let mut at = format!("segment {}", place.segment);
    if !place.tag.is_empty() {
        at.push_str(&format!(" ({})", place.tag));
    }
    for (name, number) in [("element", place.element), ("component", place.component)] {
        if number > 0 {
            at.push_str(&format!(" {name} {number}"));
        }
    }
    at
}

/// A message with the headers it came under, and an end of its own.
fn alone(header: &[u8], group: Option<&(Vec<u8>, Group)>, message: &Message, interchange: &Interchange) -> Bytes {
    let delimiters = message.notation.delimiters;
    let mut bytes = header.to_vec();
    let mut end = Vec::new();
    let mut segment = |tag: &str, reference: &[u8]| {
        end.extend_from_slice(tag.as_bytes());
        end.push(delimiters.element);
        end.push(b'1');
        end.push(delimiters.element);
        end.extend_from_slice(reference);
        end.push(delimiters.segment);
    };
    let is_x12 = message.notation.dialect == Dialect::X12;
    let raw = |record: &crate::edi::reader::Record, element| {
        record.get(0).map(|segment| segment.component(element, 1).to_vec()).unwrap_or_default()
    };
    if let Some((raw_group, group)) = group {
        bytes.extend_from_slice(raw_group);
        segment(if is_x12 { "GE" } else { "UNE" }, &raw(&group.record, if is_x12 { 6 } else { 5 }));
    }
    match is_x12 {
        true => segment("IEA", &raw(&interchange.record, 13)),
        false => segment("UNZ", &raw(&interchange.record, 5)),
    }
    bytes.extend_from_slice(message.raw());
    bytes.extend_from_slice(&end);
    bytes.into()
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::refuse("EDI-STRAY", format!("it cannot be read: {error}"))
}
