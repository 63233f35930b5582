//! The parts of the options that both dialects have.

use crate::config::{Node, Reader, Setting, Shape, Span, choice, settings};
use crate::edi::charset::Charset;
use crate::edi::findings::{Code, Policy, Severity};
use crate::edi::syntax::{Delimiters, Dialect};
use crate::edi::writer::{Newline, ServiceString};
use crate::message::Text;

/// A character set by its name.
#[derive(Clone, Copy, Debug)]
pub struct CharsetName(pub Charset);

impl Setting for CharsetName {
    fn shape() -> Shape {
        Shape::Text { what: "character set", pattern: None, example: "latin1" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<CharsetName> {
        let what = "a character set such as `utf-8`, `latin1`, `ascii` or `windows-1250`";
        reader.parsed(node, what, |name| Charset::configured(name).map(CharsetName))
    }
}

choice! {
    /// What follows from a finding.
    pub enum Weight {
        /// Nothing.
        Ignore = "ignore",
        /// The message goes on.
        Warn = "warn",
        /// The message goes to dead letters.
        RejectMessage = "reject_message",
        /// The message goes to dead letters; of the beginning of an interchange all its messages.
        RejectInterchange = "reject_interchange",
    }
}

choice! {
    /// What stands behind each segment that is written.
    pub enum LineBreak {
        /// Nothing: the interchange is one line.
        None = "none",
        /// Line feed.
        Lf = "lf",
        /// Carriage return and line feed.
        Crlf = "crlf",
    }
}

choice! {
    /// Whether a UNA is written.
    pub enum Una {
        /// Before each interchange.
        Always = "always",
        /// Never.
        Never = "never",
        /// Where the delimiters are not the usual ones.
        Needed = "needed",
    }
}

settings! {
    /// Who sends or receives.
    pub struct Identity {
        /// The identification, such as a GLN.
        id: Text,
        /// What kind it is: `14` for a GLN, `ZZ` if agreed.
        qualifier: Option<Text>,
    }
}

settings! {
    /// The bytes between values that are written.
    pub struct Separators {
        /// Between elements.
        element: Option<char>,
        /// Between the components of a composite.
        component: Option<char>,
        /// Between the repetitions of an element: syntax 4, X12 from 00402.
        repetition: Option<char>,
        /// Behind each segment.
        segment: Option<char>,
    }
}

impl Separators {
    /// Those of a dialect, except what is said here; `None` where they cannot work, which was reported.
    pub fn of(said: Option<&Separators>, dialect: Dialect, span: Span, reader: &mut Reader<'_>) -> Option<Delimiters> {
        let mut delimiters = if dialect == Dialect::X12 { Delimiters::X12 } else { Delimiters::EDIFACT };
        let Some(said) = said else { return Some(delimiters) };
        let byte = |sign: Option<char>, usual: Option<u8>| match sign {
            None => Ok(usual),
            Some(sign) if sign.is_ascii() => Ok(Some(sign as u8)),
            Some(sign) => Err(format!("the delimiter `{sign}` is not an ASCII character")),
        };
        let mut read = || -> Result<Delimiters, String> {
            delimiters.element = byte(said.element, Some(delimiters.element))?.unwrap_or_default();
            delimiters.component = byte(said.component, Some(delimiters.component))?.unwrap_or_default();
            delimiters.segment = byte(said.segment, Some(delimiters.segment))?.unwrap_or_default();
            delimiters.repetition = byte(said.repetition, delimiters.repetition)?;
            delimiters.fault().map_or(Ok(delimiters), Err)
        };
        match read() {
            Ok(delimiters) => Some(delimiters),
            Err(why) => {
                reader.error(span, format!("`delimiters`: {why}"));
                None
            }
        }
    }
}

impl LineBreak {
    pub fn newline(self) -> Newline {
        match self {
            LineBreak::None => Newline::None,
            LineBreak::Lf => Newline::Lf,
            LineBreak::Crlf => Newline::CrLf,
        }
    }
}

impl Una {
    pub fn service_string(self) -> ServiceString {
        match self {
            Una::Always => ServiceString::Always,
            Una::Never => ServiceString::Never,
            Una::Needed => ServiceString::WhenNeeded,
        }
    }
}

impl Weight {
    fn severity(self) -> Severity {
        match self {
            Weight::Ignore => Severity::Ignore,
            Weight::Warn => Severity::Warn,
            Weight::RejectMessage => Severity::RejectMessage,
            Weight::RejectInterchange => Severity::RejectInterchange,
        }
    }
}

/// What follows from findings, by their codes; those not named are as usual.
#[derive(Clone, Debug)]
pub struct Weights(Vec<(Code, Severity)>);

impl Weights {
    /// These over a policy.
    pub fn over(&self, policy: Policy) -> Policy {
        self.0.iter().fold(policy, |policy, (code, severity)| policy.with(*code, *severity))
    }
}

impl Setting for Weights {
    fn shape() -> Shape {
        Shape::Named(|| Box::new(Weight::shape()))
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Weights> {
        let map = reader.map(node)?;
        let (mut weights, mut whole) = (Vec::new(), true);
        for (key, node) in map.rest() {
            match (Code::named(&key.name), Weight::read(node, reader)) {
                (Some(code), Some(weight)) => weights.push((code, weight.severity())),
                (None, _) => {
                    reader.unknown(key.span, "finding", &key.name, Code::ALL.iter().map(|code| code.name()));
                    whole = false;
                }
                (Some(_), None) => whole = false,
            }
        }
        whole.then_some(Weights(weights))
    }
}
