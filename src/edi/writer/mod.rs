//! Interchanges written: messages from documents, with envelope, counts and references.
//!
//! Each message is laid out by its definition, written, read back and checked like one that came from outside: what the
//! definition forbids is refused with findings, and nothing of that message is written.

mod encode;
mod envelope;
mod profile;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use super::directory::Library;
use super::document::{Draft, Line, document, lay_out};
use super::findings::{Code, Findings, Place};
use super::reader::{Message, MessageType, Record};
use super::syntax::{Dialect, Tag};
use super::tree::Tree;
use crate::message::Value;
pub use profile::{GroupHeader, Header, Newline, Profile, ServiceString};

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The definition or the profile forbids it; the findings say what.
    #[error("the message is refused: {}", .0.list().first().map(ToString::to_string).unwrap_or_default())]
    Refused(Findings),
}

/// Writes one interchange.
pub struct InterchangeWriter<'a, W> {
    out: W,
    profile: &'a Profile,
    library: &'a Library,
    header: Header,
    /// The beginning of the interchange, until something follows it.
    head: Option<Vec<u8>>,
    group: Option<GroupHeader>,
    /// The beginning of the group, until a message follows it.
    group_head: Option<Vec<u8>>,
    groups: usize,
    messages: usize,
    group_messages: usize,
}

/// Findings kept of one message.
const FINDINGS: usize = 1000;

impl<'a, W: Write> InterchangeWriter<'a, W> {
    /// Begins an interchange: UNA and UNB, or ISA. They are written with what follows them first: an interchange or group of
    /// nothing is not left behind.
    ///
    /// # Errors
    /// A header that does not fit its segment, delimiters that cannot work.
    pub fn new(out: W, profile: &'a Profile, library: &'a Library, header: Header) -> Result<Self, WriteError> {
        let (line, mut findings) = (envelope::interchange(profile, &header), Findings::new(FINDINGS));
        if let Some(fault) = profile.delimiters.fault() {
            findings.refuse(Code::Delimiters, Place::default(), fault);
        }
        let mut bytes = envelope::service_string(profile);
        match profile.dialect {
            Dialect::Edifact => encode::encode(&line, 1, profile, &mut bytes, &mut findings),
            Dialect::X12 => envelope::isa(profile, &header, &mut bytes, &mut findings),
        }
        let head = Some(accepted(bytes, findings)?);
        let (group, group_head) = (None, None);
        let (groups, messages, group_messages) = (0, 0, 0);
        Ok(InterchangeWriter {
            out,
            profile,
            library,
            header,
            head,
            group,
            group_head,
            groups,
            messages,
            group_messages,
        })
    }

    /// How many messages are written so far. Where it is 0 at the end and no service segment was written either, there will
    /// be no interchange: [`InterchangeWriter::finish`] writes nothing.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Writes a service segment that stands between the beginning of the interchange and its first group or message: a
    /// TA1. It is not counted: an interchange of nothing else has a count of 0.
    ///
    /// # Errors
    /// As [`InterchangeWriter::new`]; where a group or message is written already.
    pub fn service(&mut self, line: &Line) -> Result<(), WriteError> {
        if self.group.is_some() || self.messages > 0 {
            let mut findings = Findings::new(FINDINGS);
            let place = Place { tag: Tag::new(&line.tag), ..Place::default() };
            let sentence = format!("{} stands before all groups and messages", line.tag);
            findings.refuse(Code::Order, place, sentence);
            return Err(WriteError::Refused(findings));
        }
        let bytes = self.encoded_line(line)?;
        self.put(&bytes)
    }

    /// Begins a group; the one before ends.
    ///
    /// # Errors
    /// As [`InterchangeWriter::new`].
    pub fn group(&mut self, group: GroupHeader) -> Result<(), WriteError> {
        self.end_group()?;
        self.group_head = Some(self.encoded_line(&envelope::group(self.profile, &self.header, &group))?);
        self.group_messages = 0;
        self.group = Some(group);
        Ok(())
    }

    /// Writes a message from its document; what its UNH and UNT, ST and SE hold is set here. Findings that do not refuse it
    /// are returned.
    ///
    /// # Errors
    /// Those of the output; what the definition or the profile forbids. Nothing of the message is written then.
    pub fn message(&mut self, kind: &MessageType, reference: &str, document: &Value) -> Result<Findings, WriteError> {
        let (bytes, findings) = self.encoded(kind, reference, document);
        let bytes = accepted(bytes, findings.clone())?;
        if let Some(head) = self.group_head.take() {
            self.put(&head)?;
            self.groups += 1;
        }
        self.put(&bytes)?;
        self.messages += 1;
        self.group_messages += 1;
        Ok(findings)
    }

    /// Writes a tree again, in the notation of this interchange.
    ///
    /// # Errors
    /// As [`InterchangeWriter::message`].
    pub fn tree(&mut self, tree: &Tree<'_>) -> Result<Findings, WriteError> {
        self.message(&tree.message.kind, &tree.message.reference, &document(tree))
    }

    /// Ends the interchange and gives the output back. One without any message or service segment is not written at all.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.end_group()?;
        if self.head.is_some() {
            return Ok(self.out);
        }
        let counted = match self.profile.dialect {
            Dialect::X12 => self.groups,
            Dialect::Edifact if self.groups > 0 => self.groups,
            Dialect::Edifact => self.messages,
        };
        let bytes = self.encoded_line(&envelope::interchange_end(self.profile, &self.header, counted))?;
        self.put(&bytes)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_group(&mut self) -> Result<(), WriteError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        if self.group_head.take().is_some() {
            return Ok(());
        }
        let bytes = self.encoded_line(&envelope::group_end(self.profile, &group, self.group_messages))?;
        self.put(&bytes)
    }

    fn encoded_line(&self, line: &Line) -> Result<Vec<u8>, WriteError> {
        let (mut bytes, mut findings) = (Vec::new(), Findings::new(FINDINGS));
        encode::encode(line, 0, self.profile, &mut bytes, &mut findings);
        accepted(bytes, findings)
    }

    /// Writes `bytes`, the beginning of the interchange before them if that is still to be written.
    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Some(head) = self.head.take() {
            self.out.write_all(&head)?;
        }
        Ok(self.out.write_all(bytes)?)
    }

    /// The bytes of a message, and what speaks against it.
    fn encoded(&self, kind: &MessageType, reference: &str, document: &Value) -> (Vec<u8>, Findings) {
        let (profile, mut findings) = (self.profile, Findings::new(FINDINGS));
        let notation = profile.notation();
        let Some(found) = self.library.find(profile.dialect, kind, notation.syntax) else {
            let sentence = format!("there is no definition of {kind}");
            findings.refuse(Code::UnknownMessage, Place::default(), sentence);
            return (Vec::new(), findings);
        };
        let mut draft = lay_out(document, found, profile.delimiters.decimal, &profile.policy, &mut findings);
        self.frame(&mut draft, kind, reference);
        let mut bytes = Vec::new();
        let last = draft.lines.len().saturating_sub(1);
        for (at, line) in draft.lines.iter().enumerate() {
            if at > 0 && at < last && envelope::holds(profile.dialect, &line.tag) {
                let place = Place { segment: at as u32 + 1, tag: Tag::new(&line.tag), ..Place::default() };
                let sentence = format!("{} is a segment of the envelope and stands in no message", line.tag);
                findings.refuse(Code::Stray, place, sentence);
            }
            encode::encode(line, at as u32 + 1, profile, &mut bytes, &mut findings);
        }
        // Read back: the judge of what comes in is the judge of what goes out.
        let record = Record::scanned(&bytes, &notation);
        let message = Message {
            kind: kind.clone(),
            reference: reference.to_owned(),
            number: self.messages as u32 + 1,
            notation,
            record,
            findings: Findings::new(FINDINGS),
        };
        let tree = Tree::read_with(&message, self.library, &profile.policy, FINDINGS, &profile.guide);
        findings.append(tree.findings);
        (bytes, findings)
    }

    /// Sets the first and last segment: type, reference, count.
    fn frame(&self, draft: &mut Draft, kind: &MessageType, reference: &str) {
        let (first, last) = match self.profile.dialect {
            Dialect::Edifact => ("UNH", "UNT"),
            Dialect::X12 => ("ST", "SE"),
        };
        let lines = &mut draft.lines;
        if lines.first().is_none_or(|line| line.tag != first) {
            lines.insert(0, Line::new(first));
        }
        if lines.last().is_none_or(|line| line.tag != last) {
            lines.push(Line::new(last));
        }
        let count = lines.len();
        debug_assert!(!Tag::new(first).is_empty());
        if let Some(line) = lines.first_mut() {
            match self.profile.dialect {
                Dialect::Edifact => {
                    line.set(1, 1, reference);
                    let parts = [&kind.name, &kind.version, &kind.release, &kind.agency, &kind.association];
                    for (at, part) in parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
                        line.set(2, at + 1, part);
                    }
                }
                Dialect::X12 => {
                    line.set(1, 1, &kind.name);
                    line.set(2, 1, envelope::padded(reference, 4));
                    if !kind.association.is_empty() {
                        line.set(3, 1, &kind.association);
                    }
                }
            }
        }
        if let Some(line) = lines.last_mut() {
            line.set(1, 1, count.to_string());
            let reference = match self.profile.dialect {
                Dialect::Edifact => reference.to_owned(),
                Dialect::X12 => envelope::padded(reference, 4),
            };
            line.set(2, 1, reference);
        }
    }
}

/// The bytes, unless something refuses them.
fn accepted(bytes: Vec<u8>, findings: Findings) -> Result<Vec<u8>, WriteError> {
    if findings.accepted() { Ok(bytes) } else { Err(WriteError::Refused(findings)) }
}
