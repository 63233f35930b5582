//! `format: xml`: one document a message, or one message an element of a long file.
//!
//! The shape of the document is fixed by `decode.rs` and told in `docs/documents.md`. No entity is ever expanded and no
//! document type read: a bomb or a reference to somebody's files is refused where it is declared.

mod charset;
mod decode;
mod encode;
mod records;
mod scan;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use self::decode::Lists;
use self::records::Elements;
use super::stream::Window;
use super::{Charset, Codec, CodecKind, Records};
use crate::config::{MapReader, Reader, Setting, Size, choice, settings};
use crate::message::{Fault, Text, Value};

pub const KIND: CodecKind = CodecKind {
    name: "xml",
    about: "XML: one document is one message, or each element of a name in a long file.",
    shape: XmlSettings::shape,
    read,
};

settings! {
    /// XML. An element is a map: attributes under `@name`, elements under their names, text under `#text`; an element with
    /// neither attributes nor elements is its text. The file says its own character set.
    pub struct XmlSettings {
        /// Name of the element of which each is a message, for files of any length: `ticket`. What stands around these
        /// elements is not read. Left out, the whole file is one message.
        record: Option<Text>,
        /// Elements that are always a list, even where there is only one: a name, or the end of a path (`ticket.line`).
        /// Others are a list where they are repeated.
        lists: Vec<Text>,
        /// What happens to the prefixes of names.
        namespaces: Namespaces = "keep",
        /// When writing: name of the root element, around a document that does not have a single one itself.
        root: Option<Text>,
        /// When writing: one element a line, indented, for people to read.
        indent: bool = "false",
        /// When writing: begins with `<?xml version="1.0" ...?>`.
        declaration: bool = "true",
        /// When writing: the character set. Characters it does not have are written as numbers (`&#8364;`).
        charset: Charset = "utf-8",
        /// The longest `record` that is read. A longer one goes to dead letters and the next one is read.
        max_record: Size = "10MB",
    }
}

choice! {
    /// What happens to the prefixes of names.
    pub enum Namespaces {
        /// Names are as the file writes them: `soap:Body`.
        Keep = "keep",
        /// Prefixes and the attributes that declare them are taken away: `Body`.
        Strip = "strip",
    }
}

#[derive(Debug)]
struct Xml {
    settings: XmlSettings,
    lists: Lists,
}

/// What is wrong with a text, and at which byte of it.
struct Wrong {
    what: String,
    at: usize,
}

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    let settings: XmlSettings = map.flat(reader)?;
    for name in settings.root.iter().chain(&settings.record) {
        if !encode::is_name(name) {
            reader.error(map.span, format!("`{name}` cannot be the name of an element"));
            return None;
        }
    }
    let lists = Lists::new(&settings.lists);
    Some(Arc::new(Xml { settings, lists }))
}

/// XML: what connected systems give and take.
pub fn xml_documents(namespaces: Namespaces) -> Arc<dyn Codec> {
    let settings = XmlSettings {
        record: None,
        lists: Vec::new(),
        namespaces,
        root: None,
        indent: false,
        declaration: true,
        charset: Charset::Utf8,
        max_record: Size(0),
    };
    Arc::new(Xml { lists: Lists::new(&settings.lists), settings })
}

impl Codec for Xml {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let text = charset::decode(bytes).map_err(|fault| fault.at("line 1"))?;
        decode::document(&text, &self.settings, &self.lists).map_err(|wrong| {
            let (line, column) = line_and_column(&text, wrong.at);
            Fault::refuse("DECODE-XML", wrong.what).at(format!("line {line} column {column}"))
        })
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        encode::document(document, &self.settings).map(Bytes::from)
    }

    fn encode_record(&self, _document: &Value, _out: &mut Vec<u8>) -> Result<(), Fault> {
        let said = "an XML file is closed by its root element and cannot be appended to; write one file a message";
        Err(Fault::misconfigured("ENCODE-XML", said))
    }

    fn records<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Option<Box<dyn Records + Send + 'a>> {
        let name = self.settings.record.as_ref()?;
        Some(Box::new(Elements::new(self, name, Window::new(input, 0, 1))))
    }

    fn records_from<'a>(
        &'a self,
        beginning: &mut (dyn Read + Send),
        rest: Box<dyn Read + Send + 'a>,
        position: u64,
        line: u64,
    ) -> Result<Option<Box<dyn Records + Send + 'a>>, Fault> {
        let (Some(name), 1..) = (&self.settings.record, position) else { return Ok(self.records(rest)) };
        let mut start = Elements::new(self, name, Window::new(Box::new(beginning), 0, 1));
        let envelope = start.envelope()?;
        Ok(Some(Box::new(Elements::resumed(self, name, Window::new(rest, position, line), envelope))))
    }

    fn content_type(&self) -> &'static str {
        "application/xml"
    }
}

/// Both from 1; columns count characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    (memchr::memchr_iter(b'\n', before).count() + 1, column)
}

#[cfg(test)]
mod tests;
