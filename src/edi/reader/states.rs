//! What is open (interchange, group, message) and what each segment does to it.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::super::findings::{Code, Findings, Place, Policy};
use super::super::syntax::{Dialect, FARTHEST, Kind, Piece, Tag, shown};
use super::message::{MessageType, Record};
use super::{Group, Interchange, Message, Notation, Options, Other, Trailer};

/// An event to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Interchange,
    Group,
    Message,
    GroupEnd,
    InterchangeEnd,
    Other,
}

/// What a segment is to the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    InterchangeBegins,
    InterchangeEnds,
    GroupBegins,
    GroupEnds,
    MessageBegins,
    MessageEnds,
    Content,
}

/// References of one interchange that are remembered to find repeated ones.
const REMEMBERED: usize = 1 << 20;

pub(super) struct State {
    options: Options,
    pub steps: VecDeque<Step>,
    pub interchange: Interchange,
    pub group: Group,
    /// The message being read, and the one handed out.
    building: Message,
    pub done: Message,
    pub group_end: Trailer,
    pub interchange_end: Trailer,
    pub other: Other,
    interchange_open: bool,
    pub group_open: bool,
    message_open: bool,
    /// An envelope segment that waits until what it closes is handed out.
    waiting: Record,
    waits: bool,
    unterminated: bool,
    notation: Notation,
    notes: Vec<(Code, String)>,
    interchanges: u32,
    groups: u32,
    messages: u32,
    group_messages: u32,
    /// Segments of the interchange so far.
    segments: u32,
    /// How far the input was read.
    position: u64,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl State {
    pub fn new(mut options: Options) -> State {
        // Places in a message must fit their type.
        options.limits.message = options.limits.message.min(FARTHEST / 2);
        State {
            options,
            steps: VecDeque::new(),
            interchange: Interchange::default(),
            group: Group::default(),
            building: Message::default(),
            done: Message::default(),
            group_end: Trailer::default(),
            interchange_end: Trailer::default(),
            other: Other::default(),
            interchange_open: false,
            group_open: false,
            message_open: false,
            waiting: Record::default(),
            waits: false,
            unterminated: false,
            notation: Notation::default(),
            notes: Vec::new(),
            interchanges: 0,
            groups: 0,
            messages: 0,
            group_messages: 0,
            segments: 0,
            position: 0,
            seen: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Goes on with an envelope segment that waited; whether there was one.
    pub fn resume(&mut self) -> bool {
        if self.waits {
            self.envelope();
        }
        !self.steps.is_empty()
    }

    /// Leaves out the events that wait: they were handed out by an earlier reading.
    pub fn forget(&mut self) {
        self.steps.clear();
        while self.resume() {
            self.steps.clear();
        }
    }

    /// Leaves out the message that is open: it was handed out, and ends only with what follows.
    pub fn forget_message(&mut self) {
        self.message_open = false;
    }

    /// Takes the next piece of the input.
    #[inline]
    pub fn take(&mut self, piece: &Piece<'_>) {
        self.position = piece.offset + piece.raw.len() as u64;
        match piece.kind {
            Kind::Segment => {}
            Kind::First => {
                let opening = piece.opening;
                let (dialect, delimiters) = (opening.dialect, opening.delimiters);
                let charset = self.options.charset.unwrap_or(self.notation.charset);
                self.notation = Notation { dialect, delimiters, charset, syntax: self.notation.syntax };
                self.notes.clone_from(&opening.notes);
            }
            _ => return self.no_segment(piece),
        }
        let role = role(self.notation.dialect, piece.segment.tag);
        if role == Role::Content && self.message_open {
            return self.content(piece);
        }
        self.segments += 1;
        self.waiting.clear(piece.offset);
        self.waiting.push(piece);
        (self.waits, self.unterminated) = (true, piece.unterminated);
        self.envelope();
    }

    /// A segment of the open message.
    #[inline]
    fn content(&mut self, piece: &Piece<'_>) {
        self.segments += 1;
        self.building.record.push(piece);
        self.look(piece.unterminated);
        self.bound();
    }

    /// A message longer than the limit is given up.
    #[inline]
    fn bound(&mut self) {
        if self.building.record.raw().len() > self.options.limits.message {
            let (limit, place) = (self.options.limits.message, self.here());
            let policy = &self.options.policy;
            let sentence = || format!("the message is longer than {limit} bytes");
            self.building.findings.add(policy, Code::Limit, place, sentence);
            self.finish_message();
        }
    }

    /// Blanks, stray bytes, lone terminators.
    fn no_segment(&mut self, piece: &Piece<'_>) {
        let (policy, raw) = (&self.options.policy, piece.raw);
        let visible = raw.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != 0 && *byte != 0x1A);
        if self.message_open && matches!(piece.kind, Kind::Tail | Kind::Empty) {
            self.building.record.push(piece);
            if visible && piece.kind == Kind::Empty {
                let place = self.here();
                let empty = || "a terminator with no segment before it".to_owned();
                self.building.findings.add(policy, Code::EmptySegment, place, empty);
            }
            self.bound();
            return;
        }
        self.begin_other(piece.offset);
        self.other.record.push(piece);
        let place = Place { offset: piece.offset, ..Place::default() };
        match piece.kind {
            Kind::TooLong => {
                let limit = self.options.limits.segment;
                let sentence = || format!("no segment ends within {limit} bytes");
                self.other.findings.add(&self.options.policy, Code::Limit, place, sentence);
            }
            Kind::Empty if visible => {
                let sentence = || "a terminator with no segment before it".to_owned();
                self.other.findings.add(&self.options.policy, Code::EmptySegment, place, sentence);
            }
            Kind::Stray if visible => {
                let count = raw.len();
                let sentence = || format!("{count} bytes belong to no interchange");
                self.other.findings.add(&self.options.policy, Code::Stray, place, sentence);
            }
            _ => {}
        }
        if self.message_open {
            self.no_end("bytes that are no segment follow");
        }
        self.steps.push_back(Step::Other);
    }

    /// What an envelope segment does. It may have to wait until what it ends is handed out.
    fn envelope(&mut self) {
        let role = role(self.notation.dialect, self.waiting.tag(0));
        let ends = matches!(role, Role::MessageEnds | Role::Content);
        if self.message_open && !ends {
            self.no_end("another message, group or interchange begins or ends");
        }
        if self.group_open && matches!(role, Role::InterchangeBegins | Role::InterchangeEnds | Role::GroupBegins) {
            self.close_group(false);
        }
        if self.interchange_open && role == Role::InterchangeBegins {
            self.close_interchange(false);
        }
        let begins = matches!(role, Role::InterchangeBegins | Role::GroupBegins | Role::MessageBegins);
        if begins && !self.steps.is_empty() {
            return;
        }
        let assumed = !self.interchange_open && matches!(role, Role::GroupBegins | Role::MessageBegins);
        if assumed {
            // Handed out before the segment that needs it.
            return self.open_interchange(false);
        }
        self.waits = false;
        match role {
            Role::InterchangeBegins => self.open_interchange(true),
            Role::InterchangeEnds if self.interchange_open => self.close_interchange(true),
            Role::GroupBegins => self.open_group(),
            Role::GroupEnds if self.group_open => self.close_group(true),
            Role::MessageBegins => self.open_message(),
            Role::MessageEnds if self.message_open => self.close_message(),
            Role::Content => self.outside(false),
            Role::InterchangeEnds | Role::GroupEnds | Role::MessageEnds => self.outside(true),
        }
    }

    fn open_interchange(&mut self, stated: bool) {
        self.interchanges += 1;
        (self.groups, self.messages, self.group_messages) = (0, 0, 0);
        self.segments = u32::from(stated);
        self.seen.clear();
        let policy = &self.options.policy;
        let mut opened = Interchange {
            number: self.interchanges,
            notation: self.notation,
            findings: Findings::new(self.options.limits.findings),
            stated,
            ..Interchange::default()
        };
        let place = Place { segment: 1, ..self.waiting.place(0, 0) };
        for (code, sentence) in self.notes.drain(..) {
            opened.findings.add(policy, code, place, || sentence);
        }
        if stated {
            std::mem::swap(&mut opened.record, &mut self.waiting);
            look(&opened.record, 0, &self.notation, &self.options, place, self.unterminated, &mut opened.findings);
            opened.read(policy, self.options.charset);
            self.notation = opened.notation;
        } else {
            let sentence = || "a message or group stands outside any interchange".to_owned();
            opened.findings.add(policy, Code::NoEnvelope, place, sentence);
        }
        self.interchange = opened;
        self.interchange_open = true;
        self.steps.push_back(Step::Interchange);
    }

    fn open_group(&mut self) {
        self.groups += 1;
        self.group_messages = 0;
        let mut opened = Group { number: self.groups, findings: self.findings(), ..Group::default() };
        std::mem::swap(&mut opened.record, &mut self.waiting);
        let place = Place { segment: self.segments, ..opened.record.place(0, 0) };
        look(&opened.record, 0, &self.notation, &self.options, place, self.unterminated, &mut opened.findings);
        opened.read(&self.notation);
        self.group = opened;
        self.group_open = true;
        self.steps.push_back(Step::Group);
    }

    fn open_message(&mut self) {
        self.messages += 1;
        self.group_messages += 1;
        self.message_open = true;
        let (number, policy) = (self.messages, &self.options.policy);
        let building = &mut self.building;
        // Its memory is kept: a clone would begin with none.
        building.record.clear(self.waiting.offset());
        building.record.append(&self.waiting);
        building.findings = Findings::new(self.options.limits.findings);
        (building.number, building.notation) = (number, self.notation);
        let group = self.group_open.then_some(&self.group);
        let notation = self.notation;
        if let Some(segment) = building.record.get(0) {
            let text = |element, component| notation.value(&segment, element, component).trim().to_owned();
            (building.reference, building.kind) = match notation.dialect {
                Dialect::Edifact => {
                    let [name, version, release, agency, association] = [1, 2, 3, 4, 5].map(|number| text(2, number));
                    (text(1, 1), MessageType { name, version, release, agency, association })
                }
                Dialect::X12 => {
                    let release = group.map_or_else(|| self.interchange.version.clone(), |group| group.version.clone());
                    let agency = group.map(|group| group.agency.clone()).unwrap_or_default();
                    let (name, association) = (text(1, 1), text(3, 1));
                    (text(2, 1), MessageType { name, version: String::new(), release, agency, association })
                }
            };
        }
        let place = building.record.place(number, 0);
        if notation.dialect == Dialect::X12 && !self.group_open && self.interchange.stated {
            let sentence = || "a transaction set stands outside any functional group".to_owned();
            building.findings.add(policy, Code::NoEnvelope, place, sentence);
        }
        let group_number = if notation.dialect == Dialect::X12 { self.groups } else { 0 };
        let hash = self.hasher.hash_one((group_number, building.reference.as_str()));
        if self.seen.len() < REMEMBERED && !self.seen.insert(hash) {
            let sentence = || format!("another message before it has the reference `{}` too", building.reference);
            building.findings.add(policy, Code::Repeated, place, sentence);
        }
        self.look(self.unterminated);
    }

    /// UNT or SE: what it says must fit.
    fn close_message(&mut self) {
        self.building.record.append(&self.waiting);
        self.look(self.unterminated);
        let (index, policy, place) = (self.building.record.len() - 1, &self.options.policy, self.here());
        let building = &mut self.building;
        if let Some(segment) = building.record.get(index) {
            let said = self.notation.value(&segment, 1, 1);
            let (count, tag) = (building.record.len(), segment.tag);
            if said.trim().parse() != Ok(count) {
                let place = Place { element: 1, ..place };
                let sentence = || format!("{tag} says there are `{said}` segments, but there are {count}");
                building.findings.add(policy, Code::Count, place, sentence);
            }
            let said = self.notation.value(&segment, 2, 1);
            if said.trim() != building.reference {
                let place = Place { element: 2, ..place };
                let sentence = || format!("{tag} repeats the reference `{said}`, but it was `{}`", building.reference);
                building.findings.add(policy, Code::Reference, place, sentence);
            }
        }
        self.finish_message();
    }

    fn no_end(&mut self, why: &str) {
        let (policy, place) = (&self.options.policy, self.here());
        let end = if self.notation.dialect == Dialect::Edifact { "UNT" } else { "SE" };
        let sentence = || format!("the message does not end with {end}: {why}");
        self.building.findings.add(policy, Code::NoEnd, place, sentence);
        self.finish_message();
    }

    fn finish_message(&mut self) {
        self.message_open = false;
        std::mem::swap(&mut self.building, &mut self.done);
        self.steps.push_back(Step::Message);
    }

    /// Ends the group; `stated` if the segment that waits says so.
    fn close_group(&mut self, stated: bool) {
        self.group_open = false;
        let counts = [(self.group_messages, "messages", Code::GroupCount)];
        self.group_end = self.trailer(stated, &self.group.reference, &counts, Code::GroupReference, "group");
        self.group_end.messages = self.group_messages;
        self.steps.push_back(Step::GroupEnd);
    }

    fn close_interchange(&mut self, stated: bool) {
        self.interchange_open = false;
        let counted = if self.groups > 0 || self.notation.dialect == Dialect::X12 {
            (self.groups, "groups", Code::InterchangeCount)
        } else {
            (self.messages, "messages", Code::InterchangeCount)
        };
        let reference = &self.interchange.reference;
        self.interchange_end = self.trailer(stated, reference, &[counted], Code::InterchangeReference, "interchange");
        (self.interchange_end.messages, self.interchange_end.groups) = (self.messages, self.groups);
        self.steps.push_back(Step::InterchangeEnd);
    }

    fn trailer(
        &self,
        stated: bool,
        reference: &str,
        counts: &[(u32, &str, Code)],
        wrong_reference: Code,
        what: &str,
    ) -> Trailer {
        let policy = &self.options.policy;
        let mut trailer = Trailer { findings: self.findings(), ..Trailer::default() };
        let place = Place { segment: self.segments, ..self.waiting.place(0, 0) };
        if !stated {
            // An interchange that is only assumed need not end.
            if what == "group" || self.interchange.stated {
                let sentence = || format!("the end of the {what} is missing");
                trailer.findings.add(policy, Code::NoTrailer, Place { tag: Tag::default(), ..place }, sentence);
            }
            return trailer;
        }
        trailer.record = self.waiting.clone();
        look(&trailer.record, 0, &self.notation, &self.options, place, self.unterminated, &mut trailer.findings);
        let Some(segment) = trailer.record.get(0) else { return trailer };
        let tag = segment.tag;
        let said = self.notation.value(&segment, 1, 1);
        for (count, name, code) in counts {
            if said.trim().parse() != Ok(*count) {
                let place = Place { element: 1, ..place };
                let sentence = || format!("{tag} says there are `{said}` {name}, but there are {count}");
                trailer.findings.add(policy, *code, place, sentence);
            }
        }
        let said = self.notation.value(&segment, 2, 1);
        if said.trim() != reference {
            let place = Place { element: 2, ..place };
            let sentence = || format!("{tag} repeats the reference `{said}`, but it was `{reference}`");
            trailer.findings.add(policy, wrong_reference, place, sentence);
        }
        trailer
    }

    /// A segment outside any message: TA1 is meant to be, the others are not.
    fn outside(&mut self, ends: bool) {
        self.begin_other(self.waiting.offset());
        std::mem::swap(&mut self.other.record, &mut self.waiting);
        let record = &self.other.record;
        let (policy, tag) = (&self.options.policy, record.tag(0));
        let place = Place { segment: self.segments, ..record.place(0, 0) };
        let (findings, notation) = (&mut self.other.findings, &self.notation);
        look(record, 0, notation, &self.options, place, self.unterminated, findings);
        if ends {
            let sentence = || format!("{tag} ends something that did not begin");
            findings.add(policy, Code::NoBeginning, place, sentence);
        } else if tag.as_str() != "TA1" || !self.interchange_open {
            findings.add(policy, Code::Stray, place, || "the segment belongs to no message".to_owned());
        }
        self.steps.push_back(Step::Other);
    }

    /// The end of the input: closes what is open; whether there was anything.
    pub fn end(&mut self) -> bool {
        self.waiting.clear(self.position);
        if self.message_open {
            self.no_end("the input ends");
        } else if self.group_open {
            self.close_group(false);
        } else if self.interchange_open {
            self.close_interchange(false);
        } else {
            return false;
        }
        true
    }

    fn begin_other(&mut self, offset: u64) {
        self.other.record.clear(offset);
        self.other.findings = self.findings();
    }

    fn findings(&self) -> Findings {
        Findings::new(self.options.limits.findings)
    }

    /// The place of the last segment of the message.
    fn here(&self) -> Place {
        self.building.place(self.building.record.len().saturating_sub(1))
    }

    /// Looks at the bytes of the segment added last.
    #[inline]
    fn look(&mut self, unterminated: bool) {
        let index = self.building.record.len().wrapping_sub(1);
        if self.building.record.is_plain(index)
            && !unterminated
            && !self.notation.charset.is_narrow()
            && fits(self.notation.dialect, self.building.record.tag(index))
        {
            return;
        }
        let place = self.building.place(index);
        let Message { record, findings, .. } = &mut self.building;
        look(record, index, &self.notation, &self.options, place, unterminated, findings);
    }
}

/// What the bytes of a segment show by themselves.
fn look(
    record: &Record,
    index: usize,
    notation: &Notation,
    options: &Options,
    place: Place,
    unterminated: bool,
    findings: &mut Findings,
) {
    let Some(segment) = record.get(index) else { return };
    let (policy, raw) = (&options.policy, segment.raw());
    if unterminated {
        let sentence = || "the input ends without the terminator of this segment".to_owned();
        findings.add(policy, Code::Unterminated, place, sentence);
    }
    if !fits(notation.dialect, segment.tag) {
        let tag = String::from_utf8_lossy(&segment.raw_tag()[..segment.raw_tag().len().min(20)]).into_owned();
        findings.add(policy, Code::Tag, place, || format!("`{}` is no segment tag", tag.escape_debug()));
    }
    narrow(raw, notation, policy, place, findings);
    if record.is_plain(index) {
        return;
    }
    if raw.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        findings.add(policy, Code::Newline, place, || "a newline stands within the segment".to_owned());
    }
    let used = |byte: u8| notation.delimiters.is_special(byte);
    if raw.iter().any(|byte| (*byte < b' ' || *byte == 0x7F) && !matches!(byte, b'\r' | b'\n') && !used(*byte)) {
        findings.add(policy, Code::Control, place, || "a control character stands within the segment".to_owned());
    }
    // X12 declares no character set: UTF-8 is as good as any.
    if let (_, Some(instead)) = notation.charset.decode(raw)
        && (notation.dialect == Dialect::Edifact || instead != "UTF-8" || options.charset.is_some())
        && !findings.list().iter().any(|finding| finding.code == Code::Charset && finding.sentence.ends_with(instead))
    {
        let charset = notation.charset.name();
        let sentence = || format!("there are bytes that {charset} does not have; they are read as {instead}");
        findings.add(policy, Code::Charset, place, sentence);
    }
}

/// Whether the segment keeps to the characters of UNOA or UNOB; told once of a message.
pub(super) fn narrow(raw: &[u8], notation: &Notation, policy: &Policy, place: Place, findings: &mut Findings) {
    let Notation { charset, delimiters, .. } = notation;
    if !charset.is_narrow() {
        return;
    }
    let found = raw.iter().find(|byte| charset.is_beyond(**byte) && !delimiters.is_special(**byte));
    if let Some(found) = found
        && !findings.list().iter().any(|finding| finding.code == Code::Charset)
    {
        let (name, shown) = (charset.name(), shown(*found));
        findings.add(policy, Code::Charset, place, || format!("{name} does not have the character {shown}"));
    }
}

/// Whether `tag` can be a segment tag: three characters, in X12 two or three, the first a capital.
#[inline]
fn fits(dialect: Dialect, tag: Tag) -> bool {
    let bytes = tag.as_bytes();
    let length = bytes[3] == 0 && bytes[1] != 0 && (bytes[2] != 0 || dialect == Dialect::X12);
    length && bytes[0].is_ascii_uppercase()
}

#[inline]
fn role(dialect: Dialect, tag: Tag) -> Role {
    match (dialect, tag.as_bytes()) {
        (Dialect::Edifact, b"UNB\0" | b"UIB\0") | (Dialect::X12, b"ISA\0") => Role::InterchangeBegins,
        (Dialect::Edifact, b"UNZ\0" | b"UIZ\0") | (Dialect::X12, b"IEA\0") => Role::InterchangeEnds,
        (Dialect::Edifact, b"UNG\0") | (Dialect::X12, b"GS\0\0") => Role::GroupBegins,
        (Dialect::Edifact, b"UNE\0") | (Dialect::X12, b"GE\0\0") => Role::GroupEnds,
        (Dialect::Edifact, b"UNH\0" | b"UIH\0") | (Dialect::X12, b"ST\0\0") => Role::MessageBegins,
        (Dialect::Edifact, b"UNT\0" | b"UIT\0") | (Dialect::X12, b"SE\0\0") => Role::MessageEnds,
        _ => Role::Content,
    }
}
