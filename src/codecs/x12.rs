//! `format: x12`: ASC X12, each transaction set of an interchange by itself, without a trading partner.

use std::sync::Arc;

use super::edi::{CharsetName, EdiCodec, Identity, LineBreak, Separators, Weights, Writing, release};
use super::{Codec, CodecKind};
use crate::config::{MapReader, Reader, Setting, Size, settings};
use crate::edi::findings::Policy;
use crate::edi::syntax::Dialect;
use crate::message::Text;

pub const KIND: CodecKind = CodecKind {
    name: "x12",
    about: "X12: each transaction set of an interchange is one message, with the envelope it came in.",
    shape: X12Settings::shape,
    read,
};

settings! {
    /// X12, any delimiters. What is written is an interchange with one transaction set; what its envelope says comes from the document, and
    /// from here where the document does not say it. Control numbers, acknowledgments and mappings belong to a partner.
    pub struct X12Settings {
        /// The character set of the values, which X12 does not declare. Left out, it is ASCII, and UTF-8 where it is that.
        charset: Option<CharsetName>,
        /// What follows from kinds of findings, by their codes: `{ EDI-COUNT: warn }`. `raccord explain EDI-COUNT` tells what a code is about.
        findings: Option<Weights>,
        /// The longest transaction set that is read. A longer one goes to dead letters and the next one is read. Its
        /// document takes about forty times as much memory.
        max_message: Size = "32MB",
        /// When writing: the number of the transaction set: `'850'`.
        message: Option<Text>,
        /// When writing: the version of its definition (GS08): `'004010'`.
        release: Option<Text>,
        /// When writing: the guideline it follows (ST03).
        association: Option<Text>,
        /// When writing: who sends.
        sender: Option<Identity>,
        /// When writing: who receives.
        receiver: Option<Identity>,
        /// When writing: the delimiters, where they are not the usual ones.
        delimiters: Option<Separators>,
        /// When writing: what stands behind each segment, for those who read it.
        newline: LineBreak = "none",
        /// When writing: the interchange is marked as a test, even where the document says it is none.
        test: bool = "false",
    }
}

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    let span = map.span;
    let settings: X12Settings = map.flat(reader)?;
    let dialect = Dialect::X12;
    let policy = settings.findings.as_ref().map_or_else(Policy::default, |found| found.over(Policy::default()));
    let delimiters = Separators::of(settings.delimiters.as_ref(), dialect, span, reader);
    let stated = match &settings.release {
        None => None,
        Some(text) => match release(dialect, text) {
            Some(parts) => Some(parts),
            None => {
                reader.error(span, format!("`release`: `{text}` is no version of X12, as `'004010'` is one"));
                return None;
            }
        },
    };
    let delimiters = delimiters?;
    let mut writing = Writing::new(dialect, policy.clone(), &delimiters);
    writing.charset = settings.charset.map(|charset| charset.0);
    writing.newline = settings.newline.newline();
    writing.test = settings.test;
    writing.party("sender", settings.sender.as_ref());
    writing.party("receiver", settings.receiver.as_ref());
    writing.message(settings.message.as_ref(), stated.as_ref(), settings.association.as_ref());
    let (charset, most) = (writing.charset, settings.max_message.bytes());
    Some(Arc::new(EdiCodec { dialect, charset, policy, most, writing }))
}
