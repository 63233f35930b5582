//! Bytes ⇄ document. One file a codec, one line in [`ALL`].
//!
//! The shape of the document each format gives is told, with examples, in `docs/documents.md`.

mod charset;
mod csv;
pub mod edi;
mod edifact;
mod fixed;
mod json;
mod lines;
mod ndjson;
mod stream;
mod x12;
mod xml;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Field, Kind, MapReader, Node, Reader, Shape, Word};
use crate::message::{Fault, Value};

pub use charset::Charset;
pub use json::json_documents;
pub use stream::{LineEnd, MessageIs};
pub use xml::{Namespaces, xml_documents};

/// The formats a pipeline can name.
pub static ALL: &[CodecKind] = &[json::KIND, ndjson::KIND, csv::KIND, fixed::KIND, xml::KIND, edifact::KIND, x12::KIND];

/// A codec with its settings: reads and writes one format.
///
/// `decode` and `encode` are about one whole message; `decode(record.bytes())` gives the document of a record again.
pub trait Codec: Send + Sync + std::fmt::Debug {
    /// One message's bytes → its document.
    ///
    /// # Errors
    /// `refuse` with code `DECODE-<FORMAT>` and the place (line, column) in `at`.
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault>;

    /// A document → the bytes of one message that stands alone, with the header its format has.
    ///
    /// # Errors
    /// `refuse` with code `ENCODE-<FORMAT>` and the path in `at`.
    fn encode(&self, document: &Value) -> Result<Bytes, Fault>;

    /// Appends a document to a file of records that already begins with [`Codec::framing`]: no header, the line ended.
    ///
    /// # Errors
    /// As `encode`; `out` is then as it was. `misconfigured` where the format cannot be appended to.
    fn encode_record(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Cuts a stream into records, each a message of its own; `None` where a message is the whole file.
    fn records<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Option<Box<dyn Records + Send + 'a>> {
        let _ = input;
        None
    }

    /// Goes on where an earlier reading stopped: `rest` is the same stream from byte `position` on, where [`Records`] stood
    /// after a record, at line `line`. `beginning` is the stream from its start, of which only the header is read.
    ///
    /// # Errors
    /// As the first [`Records::next`]: the header cannot be read.
    fn records_from<'a>(
        &'a self,
        beginning: &mut (dyn Read + Send),
        rest: Box<dyn Read + Send + 'a>,
        position: u64,
        line: u64,
    ) -> Result<Option<Box<dyn Records + Send + 'a>>, Fault> {
        let _ = (beginning, rest, position, line);
        Ok(None)
    }

    /// What stands before the first record of a file (a CSV header), as far as the settings alone tell: for targets that
    /// append.
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

    /// Bytes of input consumed so far: where [`Codec::records_from`] can go on.
    fn position(&self) -> u64;

    /// The line, from 1, on which that position stands.
    fn line(&self) -> u64;
}

/// One record of a stream.
#[derive(Clone, Debug)]
pub struct Record {
    /// The record's own bytes. Of a record over the size limit only the first 4 KB.
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
    /// Its options.
    pub shape: fn() -> Shape,
    pub read: fn(&mut MapReader<'_>, &mut Reader<'_>) -> Option<Arc<dyn Codec>>,
}

/// Reads `format: csv` and its options beside it, `csv: { delimiter: ";" }`, from an open map. Without `format:` it is json.
pub fn read_format(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    let words: Vec<(&str, &CodecKind)> = ALL.iter().map(|kind| (kind.name, kind)).collect();
    let chosen = match map.node("format") {
        Some(node) => reader.word(node, "format", &words),
        None => ALL.first(),
    };
    let mut codec = None;
    for kind in ALL {
        let options = map.node(kind.name);
        if chosen.is_some_and(|chosen| chosen.name == kind.name) {
            let none = Node { span: map.span, kind: Kind::Map { fields: Vec::new(), flow: false } };
            codec = read_options(kind, options.unwrap_or(&none), reader);
        } else if let (Some(options), Some(chosen)) = (options, chosen) {
            reader
                .error(options.span, format!("options of `{}`, but the format is `{}`", kind.name, chosen.name))
                .label("not used")
                .help(format!("write `format: {}`, or take these options out", kind.name));
        }
    }
    codec
}

fn read_options(kind: &CodecKind, node: &Node, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    let mut options = reader.map(node)?;
    let codec = (kind.read)(&mut options, reader);
    options.finish(reader);
    codec
}

/// The fields [`read_format`] reads, for the schema and the reference page.
pub fn format_fields() -> Vec<Field> {
    let format = Field {
        name: "format",
        about: "The format of the messages. Its options stand beside it, under its name.",
        shape: || Shape::Choice(ALL.iter().map(|kind| Word { word: kind.name, about: kind.about }).collect()),
        default: Some("json"),
        required: false,
    };
    let options = |kind: &CodecKind| Field {
        name: kind.name,
        about: kind.about,
        shape: kind.shape,
        default: None,
        required: false,
    };
    std::iter::once(format).chain(ALL.iter().map(options)).collect()
}

#[cfg(test)]
mod manual;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{read, refused};
    use super::*;

    #[test]
    fn the_format_is_named_and_its_options_stand_beside_it() {
        assert_eq!(read("{}").content_type(), "application/json");
        assert_eq!(read("format: csv\ncsv: { delimiter: \";\" }").content_type(), "text/csv");
        assert_eq!(refused("format: cvs"), ["unknown format `cvs`; did you mean `csv`?"]);
        assert_eq!(refused("csv: { trim: true }"), ["options of `csv`, but the format is `json`; not used"]);
        assert_eq!(refused("format: csv\ncsv: { delimitr: x }"), ["unknown key `delimitr`; did you mean `delimiter`?"]);
    }

    #[test]
    fn every_format_is_in_the_schema() {
        let names: Vec<_> = format_fields().iter().map(|field| field.name).collect();
        assert_eq!(names[0], "format");
        assert_eq!(names[1..], ALL.iter().map(|kind| kind.name).collect::<Vec<_>>());
    }
}
