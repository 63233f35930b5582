//! What is answered to an interchange: the documents of 997, 999 and CONTRL, and the TA1.
//!
//! [`Receipt`] collects what was read; it is handed each event, and each tree. What it gives are documents for
//! [`InterchangeWriter`](super::writer::InterchangeWriter). An acknowledgment is never acknowledged.
//!
//! [`Acknowledgment`] is the other way: what an acknowledgment that came in says of what was sent.

mod edifact;
mod read;
#[cfg(test)]
mod received;
mod sentences;
#[cfg(test)]
mod tests;
mod x12;

use super::findings::{Code, Finding, Severity};
use super::reader::{Event, Group, Interchange, MessageType};
use super::tree::Tree;
pub use edifact::contrl;
pub use read::{Acknowledgment, Answered, Fate, GroupFate, Kind, MessageFate, REASONS, Reason};
pub use sentences::List;
pub use x12::{functional, ta1};

/// What became of an interchange.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    pub interchange: Interchange,
    pub groups: Vec<GroupReceipt>,
    /// Findings of its header and trailer.
    pub findings: Vec<Finding>,
    pub verdict: Option<Severity>,
    ended: bool,
}

/// What became of a group; messages of EDIFACT without groups are in one that was not stated.
#[derive(Clone, Debug, Default)]
pub struct GroupReceipt {
    pub stated: bool,
    pub function: String,
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
    pub kind: MessageType,
    pub reference: String,
    pub verdict: Option<Severity>,
    pub findings: Vec<Finding>,
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
            Event::Group(group) => self.groups.push(GroupReceipt::of(group)),
            Event::Message(message) => {
                let mut findings = message.findings.list().to_vec();
                let mut verdict = message.findings.verdict();
                if let Some(tree) = tree {
                    findings.extend_from_slice(tree.findings.list());
                    verdict = verdict.max(tree.findings.verdict());
                }
                let (kind, reference) = (message.kind.clone(), message.reference.clone());
                let receipt = MessageReceipt { kind, reference, verdict: Some(verdict), findings };
                self.group().messages.push(receipt);
            }
            Event::GroupEnd(trailer) => {
                let group = self.group();
                group.findings.extend_from_slice(trailer.findings.list());
                let segment = trailer.record.get(0);
                let stated =
                    segment.and_then(|segment| String::from_utf8_lossy(segment.component(1, 1)).trim().parse().ok());
                group.counted = Some(stated.unwrap_or(trailer.messages));
            }
            Event::InterchangeEnd(_) => {
                self.ended = true;
                self.add(event);
            }
            Event::Other(_) => {}
        }
    }

    fn add(&mut self, event: &Event<'_>) {
        self.findings.extend_from_slice(event.findings().list());
        self.verdict = self.verdict.max(Some(event.findings().verdict()));
    }

    /// The open group.
    fn group(&mut self) -> &mut GroupReceipt {
        if self.groups.is_empty() {
            self.groups.push(GroupReceipt::default());
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    /// Whether the whole interchange is refused.
    pub fn refused(&self) -> bool {
        let messages = self.groups.iter().flat_map(|group| &group.messages);
        let worst = messages.filter_map(|message| message.verdict).max().max(self.verdict);
        worst == Some(Severity::RejectInterchange)
    }

    /// Whether there is something to acknowledge: not where all are acknowledgments themselves.
    pub fn wanted(&self) -> bool {
        self.groups.iter().any(GroupReceipt::wanted) || self.refused()
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
