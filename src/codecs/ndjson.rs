//! `format: ndjson`: one JSON value a line, each a message.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::lines::Lines;
use super::stream::Window;
use super::{Charset, Codec, CodecKind, MessageIs, Records};
use crate::config::{MapReader, Reader, Setting, Size, settings};
use crate::message::{Fault, Value, json};

pub const KIND: CodecKind = CodecKind {
    name: "ndjson",
    about: "JSON lines: one JSON value a line. Each line is a message, or the whole file a list.",
    shape: NdjsonSettings::shape,
    read,
};

settings! {
    /// JSON lines. Lines end with LF or CRLF; blank lines are passed over.
    pub struct NdjsonSettings {
        /// What one message is: a `record` (each line) or the `file` (one list of all its lines).
        message: MessageIs = "record",
        /// The longest line that is read. A longer one goes to dead letters and the next one is read.
        max_record: Size = "10MB",
    }
}

const CODE: &str = "DECODE-NDJSON";

#[derive(Debug)]
struct Ndjson(NdjsonSettings);

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    Some(Arc::new(Ndjson(map.flat(reader)?)))
}

impl Codec for Ndjson {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        self.0.message.document(self.lines(Box::new(bytes), 0, 1).documents()?, CODE)
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        let mut out = Vec::new();
        match (self.0.message, document) {
            (MessageIs::File, Value::List(items)) => {
                items.iter().try_for_each(|item| self.encode_record(item, &mut out))?;
            }
            (MessageIs::File, other) => {
                let said = format!("with `message: file` the document is a list of lines, found {}", other.kind());
                return Err(Fault::refuse("ENCODE-NDJSON", said).at("$"));
            }
            (MessageIs::Record, one) => self.encode_record(one, &mut out)?,
        }
        Ok(out.into())
    }

    fn encode_record(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
        json::write(document, out);
        out.push(b'\n');
        Ok(())
    }

    fn records<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Option<Box<dyn Records + Send + 'a>> {
        (self.0.message == MessageIs::Record).then(|| Box::new(self.lines(input, 0, 1)) as _)
    }

    fn records_from<'a>(
        &'a self,
        _beginning: &mut (dyn Read + Send),
        rest: Box<dyn Read + Send + 'a>,
        position: u64,
        line: u64,
    ) -> Result<Option<Box<dyn Records + Send + 'a>>, Fault> {
        Ok((self.0.message == MessageIs::Record).then(|| Box::new(self.lines(rest, position, line)) as _))
    }

    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }
}

impl Ndjson {
    fn lines<'a>(&'a self, input: Box<dyn Read + Send + 'a>, position: u64, line: u64) -> Lines<'a> {
        let most = self.0.max_record.bytes();
        Lines::new(Window::new(input, position, line), most, Charset::Utf8, CODE, Box::new(decode_line))
    }
}

fn decode_line(text: &[u8], line: u64) -> Result<Value, Fault> {
    json::read(text).map_err(|error| {
        Fault::refuse(CODE, format!("the line is not JSON: {}", error.what))
            .at(format!("line {line} column {}", error.column))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{decodes, encodes, records};

    #[test]
    fn each_line_is_a_message_and_a_bad_one_costs_only_itself() {
        assert_eq!(
            records("format: ndjson", b"\xEF\xBB\xBF{\"a\":1}\r\n\n{\"a\":\n[2]\n3"),
            [
                r#"line 1: {"a":1}"#,
                "line 3: DECODE-NDJSON: the line is not JSON: the text ends in the middle of a value (truncated?) (line 3 column 5)",
                "line 4: [2]",
                "line 5: 3",
            ]
        );
        assert!(records("format: ndjson", "").is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_told_and_passed_over() {
        let long = format!("1\n\"{}\"\n2\n", "x".repeat(10 << 20));
        assert_eq!(
            records("format: ndjson", long),
            ["line 1: 1", "line 2: DECODE-NDJSON: the line is longer than 10485760 bytes (line 2)", "line 3: 2",]
        );
    }

    #[test]
    fn a_message_is_a_line_or_the_file() {
        decodes("format: ndjson", "{}\n", "{}");
        decodes(
            "format: ndjson",
            "1\n2\n",
            "DECODE-NDJSON: one message is one record, found 2; `message: file` reads them as a list",
        );
        decodes("{ format: ndjson, ndjson: { message: file } }", "1\n2", "[1,2]");
        encodes("format: ndjson", "[1, 2]", "[1,2]\n");
        encodes("{ format: ndjson, ndjson: { message: file } }", "[1, 2]", "1\n2\n");
    }
}
