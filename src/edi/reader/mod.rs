//! Interchanges, groups and messages from any input, one message in memory at a time.
//!
//! ```ignore
//! let mut reader = Reader::new(file, Options::default());
//! while let Some(event) = reader.read()? {
//!     if let Event::Message(message) = event { … }
//! }
//! ```
//! The raw bytes of all events, in order, are the input, byte for byte.

mod envelope;
mod message;
mod states;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use super::charset::Charset;
use super::findings::{Findings, Policy, Severity};
use super::syntax::{Limits, Segments};
pub use envelope::{Group, Interchange, Party, Trailer};
pub use message::{Message, MessageType, Notation, Record};
use states::{State, Step};

/// How an input is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What follows from each kind of deviation.
    pub policy: Policy,
    pub limits: Limits,
    /// The character set of the values, whatever the interchange declares.
    pub charset: Option<Charset>,
}

/// What was read.
#[derive(Debug)]
pub enum Event<'a> {
    Interchange(&'a Interchange),
    Group(&'a Group),
    Message(&'a Message),
    GroupEnd(&'a Trailer),
    InterchangeEnd(&'a Trailer),
    /// Segments between messages (TA1), or bytes that belong to nothing.
    Other(&'a Other),
}

/// What belongs to no message.
#[derive(Clone, Debug, Default)]
pub struct Other {
    pub record: Record,
    pub findings: Findings,
}

impl Event<'_> {
    /// The bytes of the input it stands for; none where it is only assumed.
    pub fn raw(&self) -> &[u8] {
        match self {
            Event::Interchange(interchange) => interchange.record.raw(),
            Event::Group(group) => group.record.raw(),
            Event::Message(message) => message.raw(),
            Event::GroupEnd(trailer) | Event::InterchangeEnd(trailer) => trailer.record.raw(),
            Event::Other(other) => other.record.raw(),
        }
    }

    pub fn findings(&self) -> &Findings {
        match self {
            Event::Interchange(interchange) => &interchange.findings,
            Event::Group(group) => &group.findings,
            Event::Message(message) => &message.findings,
            Event::GroupEnd(trailer) | Event::InterchangeEnd(trailer) => &trailer.findings,
            Event::Other(other) => &other.findings,
        }
    }
}

/// Reads events from any input.
pub struct Reader<R> {
    segments: Segments<R>,
    state: State,
}

impl<R: Read> Reader<R> {
    pub fn new(source: R, options: Options) -> Reader<R> {
        Reader { segments: Segments::new(source, options.limits), state: State::new(options) }
    }

    /// Goes on in the middle of an input: `beginning` is the input from its start, read again up to byte `position`, where an
    /// event ended that was handed out; `rest` is the input from there on.
    ///
    /// # Errors
    /// Those of `beginning`.
    pub fn resumed(beginning: impl Read, position: u64, rest: R, options: Options) -> io::Result<Reader<R>> {
        let mut before = Reader::new(beginning, options);
        while before.segments.position() < position
            && let Some(piece) = before.segments.read()?
        {
            before.state.take(&piece);
            before.state.forget();
        }
        before.state.forget_message();
        Ok(Reader { segments: before.segments.going_on(rest), state: before.state })
    }

    /// The interchange being read.
    pub fn interchange(&self) -> &Interchange {
        &self.state.interchange
    }

    /// The group being read, if its interchange has groups.
    pub fn group(&self) -> Option<&Group> {
        self.state.group_open.then_some(&self.state.group)
    }

    /// The next event; `None` at the end of the input. Nothing in the input is an error: what is wrong with it are findings.
    ///
    /// # Errors
    /// Those of the source.
    pub fn read(&mut self) -> io::Result<Option<Event<'_>>> {
        while self.state.steps.is_empty() && !self.state.resume() {
            match self.segments.read()? {
                Some(piece) => self.state.take(&piece),
                None if self.state.end() => {}
                None => return Ok(None),
            }
        }
        Ok(self.state.steps.pop_front().map(|step| self.event(step)))
    }

    fn event(&self, step: Step) -> Event<'_> {
        let state = &self.state;
        match step {
            Step::Interchange => Event::Interchange(&state.interchange),
            Step::Group => Event::Group(&state.group),
            Step::Message => Event::Message(&state.done),
            Step::GroupEnd => Event::GroupEnd(&state.group_end),
            Step::InterchangeEnd => Event::InterchangeEnd(&state.interchange_end),
            Step::Other => Event::Other(&state.other),
        }
    }
}

/// What is to be thought of each interchange of an input, from beginning to end: for profiles that refuse a whole
/// interchange for what may stand at its end. `judge` is asked about each message beyond its envelope.
///
/// # Errors
/// Those of the source.
pub fn survey(
    source: impl Read,
    options: Options,
    mut judge: impl FnMut(&Message) -> Severity,
) -> io::Result<Vec<Severity>> {
    let mut verdicts = Vec::new();
    let mut reader = Reader::new(source, options);
    while let Some(event) = reader.read()? {
        let mut verdict = event.findings().verdict();
        match &event {
            Event::Interchange(_) => verdicts.push(Severity::Ignore),
            Event::Message(message) => verdict = verdict.max(judge(message)),
            _ => {}
        }
        if let Some(worst) = verdicts.last_mut() {
            *worst = verdict.max(*worst);
        }
    }
    Ok(verdicts)
}
