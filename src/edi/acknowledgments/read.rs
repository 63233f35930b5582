//! Acknowledgments received: what a CONTRL, 997, 999 or TA1 says of what was sent.
//!
//! What is not named shares the fate of what it is in: [`Acknowledgment::fate_of`] knows. Nothing here is an error: what an
//! acknowledgment does not say is empty, what it says in unknown codes is told as it stands.

use std::collections::HashMap;
use std::fmt;

use super::sentences::List;
use crate::edi::reader::{Notation, Party};
use crate::edi::syntax::Segment;
use crate::message::Value;

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

/// Reasons kept of one acknowledgment.
pub const REASONS: usize = 10_000;

/// Characters kept of a value that was not good.
const VALUE: usize = 99;

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
    /// Reads the document of a CONTRL, 997 or 999; none where it is none of these.
    pub fn read(document: &Value) -> Option<Acknowledgment> {
        match (document.get("UCI"), document.get("AK1")) {
            (Some(interchange), _) => Some(contrl(document, interchange)),
            (None, Some(group)) => Some(functional(document, group)),
            (None, None) => None,
        }
    }

    /// Reads a TA1; none of another segment.
    pub fn read_ta1(segment: &Segment<'_>, notation: &Notation) -> Option<Acknowledgment> {
        if segment.tag.as_str() != "TA1" {
            return None;
        }
        let text = |element| notation.value(segment, element, 1).trim().chars().take(VALUE).collect::<String>();
        let (code, note) = (text(4), text(5));
        let (reference, date, time) = (text(1), text(2), text(3));
        let (sender, receiver) = (Party::default(), Party::default());
        let good = note.trim_start_matches('0').is_empty();
        let reasons = if good { Vec::new() } else { vec![reason(List::Interchange, note)] };
        Some(Acknowledgment {
            kind: Kind::Ta1,
            answered: Answered::Interchange { reference, sender, receiver, date, time },
            fate: x12(&code),
            code,
            reasons,
            groups: Vec::new(),
            messages: Vec::new(),
            dropped: 0,
        })
    }

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

/// Counts reasons: no more than a bound are kept.
#[derive(Default)]
struct Told {
    kept: usize,
    dropped: usize,
}

impl Told {
    fn keep(&mut self, reason: Reason) -> Vec<Reason> {
        let mut list = Vec::new();
        self.push(&mut list, reason);
        list
    }

    fn push(&mut self, list: &mut Vec<Reason>, reason: Reason) {
        if reason.code.is_empty() {
            return;
        }
        if self.kept < REASONS {
            self.kept += 1;
            list.push(reason);
        } else {
            self.dropped += 1;
        }
    }
}

fn reason(list: List, code: String) -> Reason {
    let (tag, value) = (String::new(), String::new());
    Reason { segment: 0, tag, element: 0, repetition: 0, component: 0, code, list, value }
}

/// A field as text; empty where it is none.
fn text(map: Option<&Value>, key: &str) -> String {
    let found = map.and_then(|map| map.get(key)).and_then(Value::plain).unwrap_or_default();
    found.trim().chars().take(VALUE).collect()
}

fn number(map: Option<&Value>, key: &str) -> u32 {
    text(map, key).parse().unwrap_or_default()
}

fn items<'a>(map: Option<&'a Value>, key: &str) -> &'a [Value] {
    match map.and_then(|map| map.get(key)) {
        Some(Value::List(items)) => items,
        Some(one @ Value::Map(_)) => std::slice::from_ref(one),
        _ => &[],
    }
}

fn contrl(document: &Value, head: &Value) -> Acknowledgment {
    let head = Some(head);
    let mut told = Told::default();
    let party = |key: &str, id: &str, internal: &str| {
        let party = head.and_then(|head| head.get(key));
        Party { id: text(party, id), qualifier: text(party, "E0007"), internal: text(party, internal) }
    };
    let answered = Answered::Interchange {
        reference: text(head, "E0020"),
        sender: party("S002", "E0004", "E0008"),
        receiver: party("S003", "E0010", "E0014"),
        date: String::new(),
        time: String::new(),
    };
    let (code, reasons) = (text(head, "E0083"), of_service(head, &mut told));
    let (mut groups, mut messages) = (Vec::new(), Vec::new());
    for entry in items(Some(document), "UCM_group") {
        messages.push(of_message(entry, None, &mut told));
    }
    for entry in items(Some(document), "UCF_group") {
        let head = entry.get("UCF");
        let (reference, code) = (text(head, "E0048"), text(head, "E0083"));
        let from = messages.len();
        for entry in items(Some(entry), "UCM_group") {
            messages.push(of_message(entry, Some(&reference), &mut told));
        }
        let inside = messages.iter().skip(from).map(|message: &MessageFate| message.fate);
        let fate = edifact(&code).with(inside);
        groups.push(GroupFate { reference, fate, code, reasons: of_service(head, &mut told) });
    }
    let inside = groups.iter().map(|group| group.fate).chain(messages.iter().map(|message| message.fate));
    let fate = edifact(&code).with(inside);
    Acknowledgment { kind: Kind::Contrl, answered, fate, code, reasons, groups, messages, dropped: told.dropped }
}

impl Fate {
    /// Something accepted of which parts are not.
    fn with(self, mut inside: impl Iterator<Item = Fate>) -> Fate {
        let in_part = self == Fate::Accepted && inside.any(|fate| matches!(fate, Fate::Rejected | Fate::Partly));
        if in_part { Fate::Partly } else { self }
    }
}

/// What 0083 says.
fn edifact(code: &str) -> Fate {
    match code {
        "1" | "7" => Fate::Accepted,
        "4" => Fate::Rejected,
        "8" => Fate::Received,
        _ => Fate::Unknown,
    }
}

fn of_message(entry: &Value, group: Option<&str>, told: &mut Told) -> MessageFate {
    let head = entry.get("UCM");
    let mut reasons = of_service(head, told);
    for segment in items(Some(entry), "UCS_group") {
        let own = segment.get("UCS");
        let at = number(own, "E0096");
        let whole = Reason { segment: at, ..reason(List::E0085, text(own, "E0085")) };
        told.push(&mut reasons, whole);
        for element in items(Some(segment), "UCD") {
            let found = Reason { segment: at, ..placed(element) };
            told.push(&mut reasons, found);
        }
    }
    let code = text(head, "E0083");
    let name = text(head.and_then(|head| head.get("S009")), "E0065");
    let (reference, group) = (text(head, "E0062"), group.map(str::to_owned));
    MessageFate { group, name, reference, fate: edifact(&code), code, reasons }
}

/// The error of UCI, UCF or UCM: 0085, the service segment it is in, and where in that.
fn of_service(head: Option<&Value>, told: &mut Told) -> Vec<Reason> {
    let Some(head) = head else { return Vec::new() };
    // 0013 of syntax 3 is 0135 of syntax 4.
    let tag = ["E0013", "E0135"].into_iter().map(|key| text(Some(head), key)).find(|tag| !tag.is_empty());
    told.keep(Reason { tag: tag.unwrap_or_default(), ..placed(head) })
}

/// 0085 and S011.
fn placed(map: &Value) -> Reason {
    let place = map.get("S011");
    let [element, component, repetition] = ["E0098", "E0104", "E0136"].map(|key| number(place, key));
    Reason { element, component, repetition, ..reason(List::E0085, text(Some(map), "E0085")) }
}

fn functional(document: &Value, head: &Value) -> Acknowledgment {
    let head = Some(head);
    let mut told = Told::default();
    let answered =
        Answered::Group { function: text(head, "AK101"), reference: text(head, "AK102"), version: text(head, "AK103") };
    let last = document.get("AK9");
    let code = text(last, "AK901");
    let mut reasons = Vec::new();
    codes(last, "AK9", 5, List::Group, &mut told, &mut reasons);
    let messages = items(Some(document), "AK2_loop").iter().map(|entry| of_set(entry, &mut told)).collect();
    let (kind, fate, groups) = (Kind::Functional, x12(&code), Vec::new());
    Acknowledgment { kind, answered, fate, code, reasons, groups, messages, dropped: told.dropped }
}

/// What AK501, AK901 and TA104 say. M, W and X are rejections for reasons of security.
fn x12(code: &str) -> Fate {
    match code {
        "A" => Fate::Accepted,
        "E" => Fate::WithErrors,
        "P" => Fate::Partly,
        "R" | "M" | "W" | "X" => Fate::Rejected,
        _ => Fate::Unknown,
    }
}

fn of_set(entry: &Value, told: &mut Told) -> MessageFate {
    let implementation = entry.get("IK5").is_some() || entry.get("IK3_loop").is_some();
    let [segment, element, last] = if implementation { ["IK3", "IK4", "IK5"] } else { ["AK3", "AK4", "AK5"] };
    let mut reasons = Vec::new();
    for found in items(Some(entry), &format!("{segment}_loop")) {
        let own = found.get(segment);
        let at = Reason {
            segment: number(own, &format!("{segment}02")),
            tag: text(own, &format!("{segment}01")),
            ..reason(List::Segment, text(own, &format!("{segment}04")))
        };
        let elements = match implementation {
            true => items(Some(found), &format!("{element}_loop")),
            false => items(Some(found), element),
        };
        // 8 says only that elements follow.
        let only = at.code == "8" && !elements.is_empty();
        for found in elements {
            let own = if implementation { found.get(element) } else { Some(found) };
            told.push(&mut reasons, of_element(own, element, &at));
        }
        if !only {
            told.push(&mut reasons, at);
        }
    }
    let own = entry.get(last);
    let mut whole = Vec::new();
    codes(own, last, 2, List::Set, told, &mut whole);
    // 5 says only that segments are in error, which are told.
    whole.retain(|reason| reasons.is_empty() || !matches!(reason.code.as_str(), "5" | "I5"));
    whole.extend(reasons);
    let code = text(own, &format!("{last}01"));
    let head = entry.get("AK2");
    let (name, reference) = (text(head, "AK201"), text(head, "AK202"));
    MessageFate { group: None, name, reference, fate: x12(&code), code, reasons: whole }
}

fn of_element(own: Option<&Value>, tag: &str, segment: &Reason) -> Reason {
    let place = own.and_then(|own| own.get(&format!("{tag}01")));
    let [element, component, repetition] = match place {
        Some(Value::Map(_)) => ["C03001", "C03002", "C03003"].map(|key| number(place, key)),
        // Before 004010 it was the element alone.
        _ => [number(own, &format!("{tag}01")), 0, 0],
    };
    Reason {
        segment: segment.segment,
        tag: segment.tag.clone(),
        element,
        component,
        repetition,
        value: text(own, &format!("{tag}04")),
        ..reason(List::Element, text(own, &format!("{tag}03")))
    }
}

/// The codes from element `from` on, of which there are five.
fn codes(own: Option<&Value>, tag: &str, from: usize, list: List, told: &mut Told, reasons: &mut Vec<Reason>) {
    for at in from..from + 5 {
        told.push(reasons, reason(list, text(own, &format!("{tag}{at:02}"))));
    }
}
