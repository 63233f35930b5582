//! What a received acknowledgment says: what it is about, what became of it, and why.
//!
//! What is not named shares the fate of what it is in: [`Acknowledgment::fate_of`] knows.

use std::collections::HashMap;
use std::fmt;

use super::sentences::List;
use crate::edi::reader::Party;

/// What an acknowledgment says.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledgment {
    pub kind: Kind,
    pub answered: Answered,
    /// Of the whole interchange or group.
    pub fate: Fate,
    /// The code it was told by: `A`, `7`.
    pub code: String,
    /// Why, where that is about the whole.
    pub reasons: Vec<Reason>,
    /// Groups of EDIFACT that a CONTRL names.
    pub groups: Vec<GroupFate>,
    /// The messages it names, which need not be all. [`Acknowledgment::fate_of`] tells of the others too.
    pub messages: Vec<MessageFate>,
    /// How many more reasons there were than [`REASONS`].
    pub dropped: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Contrl,
    /// 997, or 999.
    Functional,
    Ta1,
}

/// What is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answered {
    /// An interchange, by its reference or number. Of a CONTRL with its own sender and receiver, as UCI repeats them; of a
    /// TA1 with its date and time.
    Interchange { reference: String, sender: Party, receiver: Party, date: String, time: String },
    /// A group of X12, by its function (`PO`) and number.
    Group { function: String, reference: String, version: String },
}

/// What became of something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It arrived; whether it is accepted is not said.
    Received,
    Accepted,
    /// Accepted, and errors are told.
    WithErrors,
    /// Some messages are accepted and some are not.
    Partly,
    Rejected,
    /// The code is none that the standard has: a person must look.
    Unknown,
}

/// What became of a group of EDIFACT.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupFate {
    pub reference: String,
    pub fate: Fate,
    pub code: String,
    pub reasons: Vec<Reason>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageFate {
    /// The group of EDIFACT it is in, where a CONTRL names that.
    pub group: Option<String>,
    /// `ORDERS`, `850`.
    pub name: String,
    pub reference: String,
    pub fate: Fate,
    pub code: String,
    pub reasons: Vec<Reason>,
}

/// Why something was not good. Numbers count from 1; 0 says that it is about what is around.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Which segment of the message: UNH and ST are 1.
    pub segment: u32,
    /// Its tag; a CONTRL tells only those of the envelope.
    pub tag: String,
    pub element: u32,
    pub repetition: u32,
    pub component: u32,
    /// As it was sent.
    pub code: String,
    pub list: List,
    /// What was not good, where that is repeated.
    pub value: String,
}

/// `segment 4 PO1, element 3: the value is too long (AK403 5)`
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.segment, self.tag.as_str()) {
            (0, "") => {}
            (0, tag) => parts.push(tag.to_owned()),
            (segment, tag) => parts.push(format!("segment {segment} {tag}").trim_end().to_owned()),
        }
        let numbers = [("element", self.element), ("repetition", self.repetition), ("component", self.component)];
        parts.extend(numbers.iter().filter(|(_, number)| *number > 0).map(|(name, number)| format!("{name} {number}")));
        if !parts.is_empty() {
            write!(f, "{}: ", parts.join(", "))?;
        }
        if !self.value.is_empty() {
            write!(f, "`{}`: ", self.value)?;
        }
        write!(f, "{} ({} {})", self.sentence(), self.list.name(), self.code)
    }
}

impl Reason {
    /// What the code means; one we do not know is `code X`.
    pub fn sentence(&self) -> String {
        self.list.sentence(&self.code).map_or_else(|| format!("code {}", self.code), str::to_owned)
    }
}

impl Acknowledgment {
    /// What became of a message: what is said of it; if it is not named, what is said of its group, or of the whole. Of a
    /// message that is not named where only some are rejected it is known that it is not one of those. A TA1 that accepts is
    /// about the envelope only: its messages are received, no more.
    ///
    /// `group` is the reference of its group of EDIFACT; empty where there are none, and for X12. It looks through all
    /// messages; who asks for many takes [`Acknowledgment::fates`].
    pub fn fate_of(&self, group: &str, reference: &str) -> Fate {
        self.fates().of(group, reference)
    }

    /// What became of each message, to be asked for many.
    pub fn fates(&self) -> Fates<'_> {
        let (groups, messages, x12) = (HashMap::new(), HashMap::new(), self.kind == Kind::Functional);
        let mut fates = Fates { whole: self.fate, groups, messages, some_rejected: false, x12 };
        if self.kind == Kind::Ta1 && self.fate < Fate::Partly {
            fates.whole = Fate::Received;
        }
        for group in &self.groups {
            fates.groups.entry(&group.reference).or_insert(group.fate);
            fates.some_rejected |= group.fate == Fate::Rejected;
        }
        for message in &self.messages {
            let key = (message.group.as_deref().unwrap_or_default(), fates.key(&message.reference));
            fates.messages.entry(key).or_insert(message.fate);
            fates.some_rejected |= message.fate == Fate::Rejected;
        }
        fates
    }

    /// Every reason, with the message it is about.
    pub fn reasons(&self) -> impl Iterator<Item = (Option<&MessageFate>, &Reason)> {
        let groups = self.groups.iter().flat_map(|group| &group.reasons);
        let whole = self.reasons.iter().chain(groups).map(|reason| (None, reason));
        let messages = self.messages.iter();
        whole.chain(messages.flat_map(|message| message.reasons.iter().map(move |reason| (Some(message), reason))))
    }
}

/// What became of messages, named or not.
#[derive(Clone, Debug)]
pub struct Fates<'a> {
    whole: Fate,
    groups: HashMap<&'a str, Fate>,
    /// By group and reference.
    messages: HashMap<(&'a str, &'a str), Fate>,
    some_rejected: bool,
    x12: bool,
}

impl Fates<'_> {
    /// Numbers of X12 are the same with and without the zeros before them.
    fn key<'r>(&self, reference: &'r str) -> &'r str {
        let number = self.x12 && reference.bytes().all(|byte| byte.is_ascii_digit());
        if number { reference.trim_start_matches('0') } else { reference }
    }

    /// As [`Acknowledgment::fate_of`] tells.
    pub fn of(&self, group: &str, reference: &str) -> Fate {
        let around = self.groups.get(group).copied().unwrap_or(self.whole);
        if self.whole == Fate::Rejected || around == Fate::Rejected {
            return Fate::Rejected;
        }
        let reference = self.key(reference);
        let named = self.messages.get(&(group, reference)).or_else(|| self.messages.get(&("", reference)));
        match (named, around) {
            (Some(fate), _) => *fate,
            (None, Fate::Partly) if self.some_rejected => Fate::Accepted,
            (None, fate) => fate,
        }
    }
}
