//! The codes, their default weight, and what each one is about.

use super::Severity;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident;)*) => {
        /// What kind of deviation a finding tells. Each has a page in `docs/faults`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            pub const ALL: [Code; [$($text),*].len()] = [$(Code::$name),*];

            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The code of a name: `EDI-COUNT`.
            pub fn named(name: &str) -> Option<Code> {
                Code::ALL.into_iter().find(|code| code.name() == name)
            }

            /// What follows from it where no profile says otherwise.
            pub const fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }
        }
    };
}

// Counts, references and mandatory parts refuse the message they are in; the others let it go on.
codes! {
    /// The input holds no interchange, or bytes that belong to none.
    Stray = "EDI-STRAY", Warn;
    /// A UNA that does not have six characters or does not fit the UNB, or other delimiters without a UNA.
    ServiceString = "EDI-UNA", Warn;
    /// An ISA that is not 106 bytes long.
    Isa = "EDI-ISA", Warn;
    /// Delimiters that cannot work together.
    Delimiters = "EDI-DELIMITERS", RejectInterchange;
    /// A newline in the middle of a segment.
    Newline = "EDI-NEWLINE", Warn;
    /// Bytes that the declared character set does not have.
    Charset = "EDI-CHARSET", Warn;
    /// A control character in a value.
    Control = "EDI-CONTROL", Warn;
    /// Something that is no segment tag where one must stand.
    Tag = "EDI-TAG", Warn;
    /// A terminator with nothing before it.
    EmptySegment = "EDI-EMPTY-SEGMENT", Warn;
    /// The last segment has no terminator.
    Unterminated = "EDI-UNTERMINATED", Warn;
    /// A segment or message longer than the limit.
    Limit = "EDI-LIMIT", RejectInterchange;
    /// A message outside any interchange, or a set outside any group.
    NoEnvelope = "EDI-NO-ENVELOPE", Warn;
    /// The end of a message is missing.
    NoEnd = "EDI-NO-END", RejectMessage;
    /// The end of a group or interchange is missing.
    NoTrailer = "EDI-NO-TRAILER", Warn;
    /// The end of something that did not begin.
    NoBeginning = "EDI-NO-BEGINNING", Warn;
    /// UNT or SE counts other segments than there are.
    Count = "EDI-COUNT", RejectMessage;
    /// UNT or SE repeats another reference than UNH or ST.
    Reference = "EDI-REFERENCE", RejectMessage;
    /// UNE or GE counts other messages than there are.
    GroupCount = "EDI-GROUP-COUNT", Warn;
    /// UNE or GE repeats another reference than UNG or GS.
    GroupReference = "EDI-GROUP-REFERENCE", Warn;
    /// UNZ or IEA counts other groups or messages than there are.
    InterchangeCount = "EDI-INTERCHANGE-COUNT", Warn;
    /// UNZ or IEA repeats another reference than UNB or ISA.
    InterchangeReference = "EDI-INTERCHANGE-REFERENCE", Warn;
    /// Two messages of an interchange have the same reference.
    Repeated = "EDI-REPEATED-REFERENCE", Warn;
    /// A mandatory part of the envelope is missing.
    Envelope = "EDI-ENVELOPE", Warn;
    /// No definition of this message is at hand.
    UnknownMessage = "EDI-UNKNOWN-MESSAGE", Warn;
    /// Checked against the nearest release at hand.
    Release = "EDI-RELEASE", Warn;
    /// A segment the definition does not have.
    UnknownSegment = "EDI-UNKNOWN-SEGMENT", Warn;
    /// A segment at a place where the definition does not have it.
    Order = "EDI-ORDER", Warn;
    /// A mandatory segment or group is missing.
    MissingSegment = "EDI-MISSING-SEGMENT", RejectMessage;
    /// More of a segment or group than the definition allows.
    Repeats = "EDI-REPEATS", Warn;
    /// A mandatory element or component is missing.
    MissingElement = "EDI-MISSING-ELEMENT", RejectMessage;
    /// More elements or components than the definition has.
    ExtraElement = "EDI-EXTRA-ELEMENT", Warn;
    /// An element repeated more often than the definition allows.
    Repetition = "EDI-REPETITION", Warn;
    /// Empty elements or components at the end, which should not be written.
    Trailing = "EDI-TRAILING", Ignore;
    /// A value of another type than the definition says.
    Type = "EDI-TYPE", Warn;
    /// A value longer than the definition allows.
    TooLong = "EDI-TOO-LONG", Warn;
    /// A value shorter than the definition allows.
    TooShort = "EDI-TOO-SHORT", Warn;
    /// A code that is not in the list of its place.
    Unlisted = "EDI-CODE", Warn;
    /// A hierarchical level that names no parent of its message.
    Hierarchy = "EDI-HIERARCHY", Warn;
    /// A field of a document that the definition does not have.
    UnknownField = "EDI-UNKNOWN-FIELD", RejectMessage;
    /// A field of a document that has another shape than the definition.
    Shape = "EDI-SHAPE", RejectMessage;
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn codes_stand_once() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| Code::named(code.name()) == Some(*code)));
        assert!(Code::ALL.iter().enumerate().all(|(at, code)| *code as usize == at));
    }
}
