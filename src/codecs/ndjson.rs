//! `format: ndjson`: one JSON value a line, each a message.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::stream::{Window, without_end};
use super::{Codec, CodecKind, MessageIs, Record, Records};
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

#[derive(Debug)]
struct Ndjson(NdjsonSettings);

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    Some(Arc::new(Ndjson(map.flat(reader)?)))
}

impl Codec for Ndjson {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let mut lines = self.lines(Box::new(bytes), 0, 1);
        let mut all = Vec::new();
        while let Some(record) = lines.next() {
            all.push(record?.document?);
        }
        match self.0.message {
            MessageIs::File => Ok(Value::List(all)),
            MessageIs::Record if all.len() == 1 => Ok(all.remove(0)),
            MessageIs::Record => Err(Fault::refuse(
                "DECODE-NDJSON",
                format!("one message is one line, found {}; `message: file` reads a list", all.len()),
            )),
        }
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
        out.extend_from_slice(json::to_text(document).as_bytes());
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
    fn lines<'a>(&self, input: Box<dyn Read + Send + 'a>, position: u64, line: u64) -> Lines<'a> {
        Lines { window: Window::new(input, position, line), most: self.0.max_record, ended: false }
    }
}

struct Lines<'a> {
    window: Window<'a>,
    most: Size,
    ended: bool,
}

impl Records for Lines<'_> {
    fn next(&mut self) -> Option<Result<Record, Fault>> {
        if self.ended {
            return None;
        }
        let next = self.read_line().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }

    fn position(&self) -> u64 {
        self.window.byte()
    }

    fn line(&self) -> u64 {
        self.window.line()
    }
}

impl Lines<'_> {
    fn read_line(&mut self) -> Result<Option<Record>, Fault> {
        loop {
            let line = self.window.line();
            let place = format!("line {line}");
            let Some(length) = self.window.line_length(self.most.bytes())? else {
                let raw = self.window.skip_line()?;
                let said = format!("the line is longer than `max_record` ({} bytes)", self.most.0);
                let document = Err(Fault::refuse("DECODE-NDJSON", said).at(place.clone()));
                return Ok(Some(Record { raw, header: Bytes::new(), document, place }));
            };
            if length == 0 {
                return Ok(None);
            }
            let from = if self.window.byte() == 0 { mark(self.window.data()) } else { 0 };
            let text = without_end(&self.window.data()[from..length]);
            if text.trim_ascii().is_empty() {
                self.window.consume(length);
                continue;
            }
            let document = decode_line(text, line);
            self.window.consume(from);
            let raw = self.window.take(length - from);
            return Ok(Some(Record { raw, header: Bytes::new(), document, place }));
        }
    }
}

fn mark(beginning: &[u8]) -> usize {
    if beginning.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }
}

fn decode_line(text: &[u8], line: u64) -> Result<Value, Fault> {
    json::read(text).map_err(|error| {
        Fault::refuse("DECODE-NDJSON", format!("the line is not JSON: {}", error.what))
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
            [
                "line 1: 1",
                "line 2: DECODE-NDJSON: the line is longer than `max_record` (10485760 bytes) (line 2)",
                "line 3: 2",
            ]
        );
    }

    #[test]
    fn a_message_is_a_line_or_the_file() {
        decodes("format: ndjson", "{}\n", "{}");
        decodes(
            "format: ndjson",
            "1\n2\n",
            "DECODE-NDJSON: one message is one line, found 2; `message: file` reads a list",
        );
        decodes("{ format: ndjson, ndjson: { message: file } }", "1\n2", "[1,2]");
        encodes("format: ndjson", "[1, 2]", "[1,2]\n");
        encodes("{ format: ndjson, ndjson: { message: file } }", "[1, 2]", "1\n2\n");
    }
}
