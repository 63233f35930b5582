//! `format: edifact`: UN/EDIFACT (ISO 9735), each message of an interchange by itself, without a trading partner.

use std::sync::Arc;

use super::edi::{CharsetName, EdiCodec, Identity, LineBreak, Separators, Una, Weights, Writing, release};
use super::{Codec, CodecKind};
use crate::config::{MapReader, Reader, Setting, Size, choice, settings};
use crate::edi::findings::Policy;
use crate::edi::syntax::Dialect;
use crate::message::Text;

pub const KIND: CodecKind = CodecKind {
    name: "edifact",
    about: "EDIFACT: each message of an interchange is one message, with the envelope it came in.",
    shape: EdifactSettings::shape,
    read,
};

settings! {
    /// EDIFACT, any syntax and delimiters. What is written is an interchange with one message; what its envelope says comes from the
    /// document, and from here where the document does not say it. Control references, acknowledgments and mappings belong to a partner.
    pub struct EdifactSettings {
        /// The character set of the values. Left out, it is the one the interchange declares (UNOC is latin1).
        charset: Option<CharsetName>,
        /// What follows from kinds of findings, by their codes: `{ EDI-COUNT: warn }`. `raccord explain EDI-COUNT` tells what a code is about.
        findings: Option<Weights>,
        /// The longest message that is read. A longer one goes to dead letters and the next one is read. Its
        /// document takes about forty times as much memory.
        max_message: Size = "32MB",
        /// When writing: the type of the message: `ORDERS`.
        message: Option<Text>,
        /// When writing: the release of its definition: `D.96A`.
        release: Option<Text>,
        /// When writing: the guideline it follows: `EAN008`.
        association: Option<Text>,
        /// When writing: who sends.
        sender: Option<Identity>,
        /// When writing: who receives.
        receiver: Option<Identity>,
        /// When writing: the syntax identifier, which declares the character set.
        syntax: Text = "UNOC",
        /// When writing: the version of the syntax.
        version: SyntaxVersion = "3",
        /// When writing: the delimiters, where they are not the usual ones.
        delimiters: Option<Separators>,
        /// When writing: the decimal mark of numbers.
        decimal: DecimalMark = ".",
        /// When writing: whether a UNA stands before the interchange.
        una: Una = "always",
        /// When writing: what stands behind each segment, for those who read it.
        newline: LineBreak = "none",
        /// When writing: the interchange is marked as a test, even where the document says it is none.
        test: bool = "false",
    }
}

choice! {
    /// The decimal mark of numbers.
    pub enum DecimalMark {
        /// `12.50`
        Point = ".",
        /// `12,50`
        Comma = ",",
    }
}

choice! {
    /// The version of the syntax.
    pub enum SyntaxVersion {
        /// ISO 9735:1988.
        One = "1",
        /// ISO 9735:1990.
        Two = "2",
        /// ISO 9735:1992, what nearly all use.
        Three = "3",
        /// ISO 9735:1998 and later, dates with the century.
        Four = "4",
    }
}

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    let span = map.span;
    let settings: EdifactSettings = map.flat(reader)?;
    let dialect = Dialect::Edifact;
    let policy = settings.findings.as_ref().map_or_else(Policy::default, |found| found.over(Policy::default()));
    let delimiters = Separators::of(settings.delimiters.as_ref(), dialect, span, reader);
    let stated = match &settings.release {
        None => None,
        Some(text) => match release(dialect, text) {
            Some(parts) => Some(parts),
            None => {
                reader.error(span, format!("`release`: `{text}` is no release of EDIFACT, as `D.96A` is one"));
                return None;
            }
        },
    };
    let mut delimiters = delimiters?;
    delimiters.decimal = if settings.decimal == DecimalMark::Comma { b',' } else { b'.' };
    let mut writing = Writing::new(dialect, policy.clone(), &delimiters);
    writing.charset = settings.charset.map(|charset| charset.0);
    writing.newline = settings.newline.newline();
    writing.service_string = settings.una.service_string();
    writing.interchange("syntax", settings.syntax.clone());
    writing.interchange("version", settings.version.text());
    writing.test = settings.test;
    writing.party("sender", settings.sender.as_ref());
    writing.party("receiver", settings.receiver.as_ref());
    writing.message(settings.message.as_ref(), stated.as_ref(), settings.association.as_ref());
    let (charset, most) = (writing.charset, settings.max_message.bytes());
    Some(Arc::new(EdiCodec { dialect, charset, policy, most, writing }))
}

impl SyntaxVersion {
    fn text(self) -> &'static str {
        match self {
            SyntaxVersion::One => "1",
            SyntaxVersion::Two => "2",
            SyntaxVersion::Three => "3",
            SyntaxVersion::Four => "4",
        }
    }
}
