//! Bytes ⇄ document. One file a codec, one line in [`ALL`].

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Field, MapReader, Reader};
use crate::message::{Fault, Value};

/// A codec with its settings: reads and writes one format.
pub trait Codec: Send + Sync + std::fmt::Debug {
    /// One message's bytes → its document.
    ///
    /// # Errors
    /// `refuse` with code `DECODE-<FORMAT>` and the place (line, column) in `at`.
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault>;

    /// A document → the bytes of one message.
    ///
    /// # Errors
    /// `refuse` with code `ENCODE-<FORMAT>` and the path in `at`.
    fn encode(&self, document: &Value) -> Result<Bytes, Fault>;

    /// Cuts a stream into records, each a message of its own; `None` where the format has no records.
    fn records<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Option<Box<dyn Records + Send + 'a>> {
        let _ = input;
        None
    }

    /// What stands before the first record of a file (a CSV header), and between two: for targets that append.
    fn framing(&self) -> Framing {
        Framing::default()
    }

    /// `application/json`.
    fn content_type(&self) -> &'static str;
}

/// The records of a stream, one after the other; memory stays with one record.
pub trait Records {
    /// The next record; `None` at the end. A record that cannot be read is an `Err` inside and the stream goes on after it;
    /// an `Err` outside ends the stream.
    fn next(&mut self) -> Option<Result<Record, Fault>>;

    /// Bytes of input consumed so far: a record's position, from which [`Records`] can go on.
    fn position(&self) -> u64;
}

/// One record of a stream.
pub struct Record {
    /// The record's own bytes.
    pub raw: Bytes,
    /// What must stand before them to be read alone (the line of column names); shared by all records of a stream.
    pub header: Bytes,
    /// The record's document, or why it has none.
    pub document: Result<Value, Fault>,
    /// `line 12`
    pub place: String,
}

impl Record {
    /// Bytes that decode to this record on their own: what is stored.
    pub fn bytes(&self) -> Bytes {
        if self.header.is_empty() { self.raw.clone() } else { [&self.header[..], &self.raw[..]].concat().into() }
    }
}

/// How records stand in a file.
#[derive(Clone, Debug, Default)]
pub struct Framing {
    pub header: Bytes,
}

/// A format that can be named in a pipeline.
pub struct CodecKind {
    /// The word under `format:`, also the key of its options.
    pub name: &'static str,
    pub about: &'static str,
    pub fields: fn() -> Vec<Field>,
    pub read: fn(&mut MapReader<'_>, &mut Reader<'_>) -> Option<Arc<dyn Codec>>,
}
