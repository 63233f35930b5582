//! What deviates: coded, placed, said in a sentence, and weighed by a policy.

mod codes;

use std::fmt;

use super::syntax::Tag;
pub use codes::Code;

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Not even told.
    Ignore,
    /// Told; the message goes on.
    Warn,
    /// The message is refused, the others of its interchange go on.
    RejectMessage,
    /// The whole interchange is refused.
    RejectInterchange,
}

impl Severity {
    pub const ALL: [(Severity, &'static str); 4] = [
        (Severity::Ignore, "ignore"),
        (Severity::Warn, "warn"),
        (Severity::RejectMessage, "reject_message"),
        (Severity::RejectInterchange, "reject_interchange"),
    ];

    pub fn name(self) -> &'static str {
        Severity::ALL[self as usize].1
    }

    /// As a profile names it: `reject_message`.
    pub fn named(name: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|(_, known)| *known == name).map(|(severity, _)| severity)
    }
}

/// Where a finding stands. Numbers count from 1; 0 says that it is about what is around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which message of the interchange; 0 for the envelope.
    pub message: u32,
    /// Which segment: of the message (UNH and ST are 1), for the envelope of the interchange (UNB and ISA are 1). Of a missing
    /// one the segment it should stand after.
    pub segment: u32,
    /// Of that segment; of a missing one its own.
    pub tag: Tag,
    pub element: u16,
    pub repetition: u16,
    pub component: u16,
    /// Where in the input, from 0.
    pub offset: u64,
}

/// One deviation.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub code: Code,
    pub severity: Severity,
    pub place: Place,
    /// What is wrong, and where it helps what would be right. It may repeat values of the message.
    pub sentence: String,
}

/// `EDI-COUNT at segment 12 (UNT) element 1, byte 803: the message has 12 segments, UNT says 11`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { message, segment, tag, element, repetition, component, offset } = self.place;
        f.write_str(self.code.name())?;
        if message > 0 {
            write!(f, " in message {message}")?;
        }
        if segment > 0 {
            let at = if self.code == Code::MissingSegment { "after" } else { "at" };
            write!(f, " {at} segment {segment}")?;
        }
        if !tag.is_empty() {
            write!(f, " ({tag})")?;
        }
        for (name, number) in [(" element", element), (" repetition", repetition), (" component", component)] {
            if number > 0 {
                write!(f, "{name} {number}")?;
            }
        }
        write!(f, ", byte {offset}: {}", self.sentence)
    }
}

/// What follows from each code: the defaults, unless a partner's profile says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy([Severity; Code::ALL.len()]);

impl Default for Policy {
    fn default() -> Policy {
        Policy(Code::ALL.map(Code::severity))
    }
}

impl Policy {
    /// Everything is told and nothing is refused.
    pub fn tolerant() -> Policy {
        Policy(Code::ALL.map(|code| code.severity().min(Severity::Warn)))
    }

    #[must_use]
    pub fn with(mut self, code: Code, severity: Severity) -> Policy {
        self.0[code as usize] = severity;
        self
    }

    #[inline]
    pub fn severity(&self, code: Code) -> Severity {
        self.0[code as usize]
    }
}

/// The findings of one message or envelope, no more than a bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    list: Vec<Finding>,
    /// How many more there were.
    dropped: u64,
    worst: Option<Severity>,
    bound: usize,
    /// No finding weighs more than this.
    cap: Option<Severity>,
}

impl Findings {
    /// Keeps at most `bound` findings.
    pub fn new(bound: usize) -> Findings {
        Findings { bound, ..Findings::default() }
    }

    /// Findings from now on weigh at most `severity`: the definition they come from is not quite the message's own.
    pub fn cap(&mut self, severity: Option<Severity>) {
        self.cap = severity;
    }

    /// Adds a finding, unless the policy ignores its code. The sentence is only made when it is needed.
    #[cold]
    pub fn add(&mut self, policy: &Policy, code: Code, place: Place, sentence: impl FnOnce() -> String) {
        let severity = policy.severity(code);
        if severity == Severity::Ignore {
            return;
        }
        let severity = self.cap.map_or(severity, |cap| severity.min(cap));
        self.worst = self.worst.max(Some(severity));
        if self.list.len() >= self.bound {
            self.dropped += 1;
            // What refuses a message is told rather than one more warning.
            match self.list.last_mut() {
                Some(last) if last.severity < severity => {
                    *last = Finding { code, severity, place, sentence: sentence() }
                }
                _ => {}
            }
            return;
        }
        self.list.push(Finding { code, severity, place, sentence: sentence() });
    }

    /// Adds a finding that refuses the message whatever the policy: it could not be written.
    pub(crate) fn refuse(&mut self, code: Code, place: Place, sentence: String) {
        let severity = Severity::RejectMessage;
        self.worst = self.worst.max(Some(severity));
        if self.list.len() < self.bound {
            self.list.push(Finding { code, severity, place, sentence });
        } else {
            self.dropped += 1;
        }
    }

    pub fn append(&mut self, other: Findings) {
        self.worst = self.worst.max(other.worst);
        self.dropped += other.dropped;
        for finding in other.list {
            if self.list.len() < self.bound { self.list.push(finding) } else { self.dropped += 1 }
        }
    }

    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// Findings past the bound, which are not in the list.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn is_empty(&self) -> bool {
        self.worst.is_none()
    }

    /// What follows from all of them together.
    pub fn verdict(&self) -> Severity {
        self.worst.unwrap_or(Severity::Ignore)
    }

    /// Whether the message they are about may go on.
    pub fn accepted(&self) -> bool {
        self.verdict() < Severity::RejectMessage
    }
}
