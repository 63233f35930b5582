//! What `edifact` and `x12` share: each message of an interchange is a message of its own, with the envelope it came in.
//!
//! The document is what `raccord edi convert` prints, without what depends on the file: `interchange`, `group`, `message`,
//! `document`.

mod parts;
mod records;
mod write;

use std::io::Read;

use bytes::Bytes;

use super::{Codec, Records};
use crate::edi::charset::Charset;
use crate::edi::findings::{Findings, Policy, Severity};
use crate::edi::reader::Options;
use crate::edi::syntax::{Dialect, Limits};
use crate::message::{Fault, Value};
pub use parts::{CharsetName, Identity, LineBreak, Separators, Una, Weights};
use records::{Judged, Messages};
pub use write::{Writing, group_of, release};

/// The codec of one dialect.
#[derive(Debug)]
pub struct EdiCodec {
    pub dialect: Dialect,
    pub charset: Option<Charset>,
    pub policy: Policy,
    /// The longest message in bytes.
    pub most: usize,
    pub writing: Writing,
}

/// Findings kept of one message: the first is told, the others are counted.
const FINDINGS: usize = 100;

impl EdiCodec {
    /// `most` is the longest message in bytes.
    fn options(&self, most: usize) -> Options {
        let limits = Limits { message: most, segment: most.min(1 << 20), findings: FINDINGS };
        Options { policy: self.policy.clone(), limits, charset: self.charset }
    }

    fn decode_code(&self) -> &'static str {
        match self.dialect {
            Dialect::Edifact => "DECODE-EDIFACT",
            Dialect::X12 => "DECODE-X12",
        }
    }

    fn encode_code(&self) -> &'static str {
        match self.dialect {
            Dialect::Edifact => "ENCODE-EDIFACT",
            Dialect::X12 => "ENCODE-X12",
        }
    }
}

impl Codec for EdiCodec {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let mut messages = Messages::new(self, Box::new(bytes), Judged::Alone);
        let (mut first, mut count) = (None, 0_usize);
        while let Some(record) = messages.next() {
            let document = record?.document?;
            count += 1;
            first.get_or_insert(document);
        }
        match first {
            Some(document) if count == 1 => Ok(document),
            Some(_) => {
                let said = format!(
                    "there are {count} messages in the interchange, and what came is taken as one; from files, and from partners, \
                     each message of an interchange is one"
                );
                Err(Fault::refuse(self.decode_code(), said))
            }
            None => Err(Fault::refuse(self.decode_code(), "there is nothing to read")),
        }
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        self.writing.encode(document, self.encode_code())
    }

    fn encode_record(&self, _document: &Value, _out: &mut Vec<u8>) -> Result<(), Fault> {
        let said = "an interchange is closed by its last segment and cannot be appended to; write one file a message";
        Err(Fault::misconfigured(self.encode_code(), said))
    }

    fn records<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Option<Box<dyn Records + Send + 'a>> {
        Some(Box::new(Messages::new(self, input, Judged::InFile)))
    }

    fn records_from<'a>(
        &'a self,
        beginning: &mut (dyn Read + Send),
        rest: Box<dyn Read + Send + 'a>,
        position: u64,
        line: u64,
    ) -> Result<Option<Box<dyn Records + Send + 'a>>, Fault> {
        Ok(Some(Box::new(Messages::resumed(self, beginning, rest, position, line)?)))
    }

    fn content_type(&self) -> &'static str {
        match self.dialect {
            Dialect::Edifact => "application/edifact",
            Dialect::X12 => "application/edi-x12",
        }
    }
}

/// The refusal that findings make: the first that refuses, its code and place, and how many others there are. `what` is the
/// message they are about; `None` where none of them refuses.
fn refusal(code: &'static str, what: &str, findings: &[&Findings]) -> Option<Fault> {
    let all = findings.iter().flat_map(|findings| findings.list());
    let worst = all.clone().find(|finding| finding.severity >= Severity::RejectMessage)?;
    let others = all.count() as u64 - 1 + findings.iter().map(|findings| findings.dropped()).sum::<u64>();
    let others = match others {
        0 => String::new(),
        1 => "; 1 other finding".to_owned(),
        more => format!("; {more} other findings"),
    };
    let said = format!("{}: {}{others}", worst.code.name(), worst.sentence);
    let place = worst.place;
    let mut words = what.to_owned();
    if place.segment > 0 {
        words.push_str(&format!(", segment {}", place.segment));
    }
    if !place.tag.is_empty() {
        words.push_str(&format!(" {}", place.tag));
    }
    for (name, number) in [("element", place.element), ("component", place.component)] {
        if number > 0 {
            words.push_str(&format!(", {name} {number}"));
        }
    }
    Some(Fault::refuse(code, said).at(words))
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
