//! What is answered to an interchange: the documents of 997, 999 and CONTRL, and the TA1.
//!
//! [`Receipt`] collects what was read; it is handed each event, and each tree. What it gives are documents for
//! [`InterchangeWriter`](super::writer::InterchangeWriter). An acknowledgment is never acknowledged.
//!
//! [`Acknowledgment`] is the other way: what an acknowledgment that came in says of what was sent.

mod edifact;
mod fates;
mod read;
#[cfg(test)]
mod received;
mod sentences;
#[cfg(test)]
mod tests;
mod x12;

use std::sync::Arc;

use super::findings::{Code, Finding, Findings, Severity};
use super::reader::{Event, Group, Interchange, Message, MessageType, Party};
use super::syntax::Dialect;
use super::tree::Tree;
use crate::message::Text;
pub use edifact::contrl;
pub use fates::{Acknowledgment, Answered, Fate, Fates, GroupFate, Kind, MessageFate, Reason};
pub use read::REASONS;
pub use sentences::List;
pub use x12::{functional, ta1};

/// What became of an interchange. It stays small: of a good message it keeps the type and reference, and of all of them
/// together no more than [`FINDINGS`] findings.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    pub interchange: Interchange,
    pub groups: Vec<GroupReceipt>,
    /// Findings of its header and trailer.
    pub findings: Vec<Finding>,
    pub verdict: Option<Severity>,
    ended: bool,
    /// Something in it is an acknowledgment: what refuses that is not told, or two sides would refuse each other for ever.
    acknowledges: bool,
    group_open: bool,
    /// The types met, which messages share.
    kinds: Vec<Arc<MessageType>>,
    /// Findings kept of messages.
    kept: usize,
}

/// What became of a group; messages of EDIFACT without groups are in one that was not stated.
#[derive(Clone, Debug, Default)]
pub struct GroupReceipt {
    pub stated: bool,
    pub function: String,
    pub sender: Party,
    pub receiver: Party,
    pub reference: String,
    pub agency: String,
    pub version: String,
    pub messages: Vec<MessageReceipt>,
    pub findings: Vec<Finding>,
    /// How many messages its trailer states.
    pub counted: Option<u32>,
}

/// What became of a message.
#[derive(Clone, Debug, Default)]
pub struct MessageReceipt {
    pub kind: Arc<MessageType>,
    pub reference: Text,
    pub verdict: Option<Severity>,
    /// It has errors that an acknowledgment tells, though it may be accepted.
    pub noted: bool,
    /// Those an acknowledgment tells, as far as they are kept.
    pub findings: Vec<Finding>,
}

/// Findings kept of the messages of an interchange. Past it a refused message keeps one, without its sentence; accepted ones
/// get half of it.
pub const FINDINGS: usize = 20_000;

/// Findings kept of one message.
const OF_MESSAGE: usize = 200;

/// Types kept to be shared.
const KINDS: usize = 64;

/// Characters kept of a reference: the standards allow 14 and 9.
const REFERENCE: usize = 70;

/// Whether the acknowledgments of a dialect have a code for it.
fn tells(dialect: Dialect, code: Code) -> bool {
    match dialect {
        Dialect::Edifact => edifact::tells(code),
        Dialect::X12 => x12::tells(code),
    }
}

/// Whether a message is an acknowledgment itself.
pub fn is_acknowledgment(kind: &MessageType) -> bool {
    matches!(kind.name.as_str(), "CONTRL" | "997" | "999")
}

impl Receipt {
    /// Takes note of an event; of a message together with its tree.
    pub fn note(&mut self, event: &Event<'_>, tree: Option<&Tree<'_>>) {
        match event {
            Event::Interchange(interchange) => {
                *self = Receipt { interchange: (*interchange).clone(), ..Receipt::default() };
                self.add(event);
            }
            Event::Group(group) => {
                self.groups.push(GroupReceipt::of(group));
                self.group_open = true;
            }
            Event::Message(message) => {
                self.acknowledges |= is_acknowledgment(&message.kind);
                let of_tree = tree.map(|tree| &tree.findings);
                let verdict = message.findings.verdict().max(of_tree.map_or(Severity::Ignore, Findings::verdict));
                let all = message.findings.list().iter().chain(of_tree.into_iter().flat_map(Findings::list));
                let receipt = self.message(message, verdict, all);
                self.group().messages.push(receipt);
            }
            Event::GroupEnd(trailer) => {
                let group = self.group();
                group.findings.extend_from_slice(trailer.findings.list());
                let segment = trailer.record.get(0);
                let stated =
                    segment.and_then(|segment| String::from_utf8_lossy(segment.component(1, 1)).trim().parse().ok());
                group.counted = Some(stated.unwrap_or(trailer.messages));
                self.group_open = false;
            }
            Event::InterchangeEnd(_) => {
                self.ended = true;
                self.add(event);
            }
            Event::Other(other) => {
                self.acknowledges |= other.record.segments().any(|segment| segment.tag.as_str() == "TA1");
            }
        }
    }

    fn add(&mut self, event: &Event<'_>) {
        self.findings.extend_from_slice(event.findings().list());
        self.verdict = self.verdict.max(Some(event.findings().verdict()));
    }

    /// What is kept of a message.
    fn message<'f>(
        &mut self,
        message: &Message,
        verdict: Severity,
        findings: impl Iterator<Item = &'f Finding> + Clone,
    ) -> MessageReceipt {
        let dialect = message.notation.dialect;
        let kind = self.kinds.iter().find(|kind| ***kind == message.kind).cloned();
        let kind = kind.unwrap_or_else(|| {
            let made = Arc::new(message.kind.clone());
            if self.kinds.len() < KINDS {
                self.kinds.push(Arc::clone(&made));
            }
            made
        });
        let refused = verdict >= Severity::RejectMessage;
        let told = findings.filter(|finding| tells(dialect, finding.code));
        let noted = told.clone().next().is_some();
        // A CONTRL names none that is accepted.
        let room = match (refused, dialect) {
            (true, _) => FINDINGS,
            (false, Dialect::X12) => FINDINGS / 2,
            (false, Dialect::Edifact) => 0,
        };
        let room = room.saturating_sub(self.kept).min(OF_MESSAGE);
        let refusing = |finding: &&Finding| finding.severity >= Severity::RejectMessage;
        let ordered = told.clone().filter(refusing).chain(told.filter(|finding| !refusing(finding)));
        let mut findings: Vec<Finding> = ordered.clone().take(room).cloned().collect();
        self.kept += findings.len();
        if let Some(first) = ordered.clone().next().filter(|_| refused && findings.is_empty()) {
            findings.push(Finding { sentence: String::new(), ..*first });
        }
        // Most keep none or one: a list has room for four.
        findings.shrink_to_fit();
        let reference: String = message.reference.chars().take(REFERENCE).collect();
        MessageReceipt { kind, reference: Text::new(reference), verdict: Some(verdict), noted, findings }
    }

    /// The open group. A message of EDIFACT after one that has ended is in none.
    fn group(&mut self) -> &mut GroupReceipt {
        let outside = !self.group_open && self.interchange.notation.dialect == Dialect::Edifact;
        if self.groups.last().is_none_or(|group| group.stated && outside) {
            self.groups.push(GroupReceipt::default());
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    /// Whether the whole interchange is refused.
    pub fn refused(&self) -> bool {
        let messages = self.groups.iter().flat_map(|group| &group.messages).filter_map(|message| message.verdict);
        let groups = self.groups.iter().flat_map(|group| &group.findings).map(|finding| finding.severity);
        messages.chain(groups).chain(self.verdict).max() == Some(Severity::RejectInterchange)
    }

    /// Whether there is something to acknowledge: not where all are acknowledgments themselves.
    pub fn wanted(&self) -> bool {
        self.groups.iter().any(GroupReceipt::wanted) || (self.refused() && !self.acknowledges)
    }

    fn has(&self, code: Code) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }
}

impl GroupReceipt {
    fn of(group: &Group) -> GroupReceipt {
        GroupReceipt {
            stated: true,
            function: group.function.clone(),
            sender: group.sender.clone(),
            receiver: group.receiver.clone(),
            reference: group.reference.clone(),
            agency: group.agency.clone(),
            version: group.version.clone(),
            findings: group.findings.list().to_vec(),
            ..GroupReceipt::default()
        }
    }

    pub fn wanted(&self) -> bool {
        self.messages.iter().any(|message| !is_acknowledgment(&message.kind))
    }
}

impl MessageReceipt {
    pub fn accepted(&self) -> bool {
        self.verdict < Some(Severity::RejectMessage)
    }

    /// The findings that can be told to the sender, by segment.
    fn by_segment(&self) -> Vec<(u32, Vec<&Finding>)> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| finding.place.segment);
        let mut segments: Vec<(u32, Vec<&Finding>)> = Vec::new();
        for finding in findings {
            match segments.last_mut() {
                Some((segment, list)) if *segment == finding.place.segment => list.push(finding),
                _ => segments.push((finding.place.segment, vec![finding])),
            }
        }
        segments
    }
}
