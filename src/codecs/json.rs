//! `format: json`: one JSON value a message (RFC 8259), numbers exact.

use std::sync::Arc;

use bytes::Bytes;

use super::{Codec, CodecKind};
use crate::config::{MapReader, Reader, Setting, settings};
use crate::message::{Fault, Value, json};

pub const KIND: CodecKind = CodecKind {
    name: "json",
    about: "JSON: one value is one message. Numbers keep their digits.",
    shape: JsonSettings::shape,
    read,
};

settings! {
    /// JSON.
    pub struct JsonSettings {
        /// Writes one field a line, indented, for people to read. Machines do not need it and it costs space.
        indent: bool = "false",
    }
}

#[derive(Debug)]
struct Json(JsonSettings);

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    Some(Arc::new(Json(map.flat(reader)?)))
}

/// JSON, compact: what connected systems give and take.
pub fn json_documents() -> Arc<dyn Codec> {
    Arc::new(Json(JsonSettings { indent: false }))
}

impl Codec for Json {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        // RFC 8259, section 8.1: a mark is never written and may be ignored.
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        json::read(bytes).map_err(|error| {
            let place = format!("line {} column {}", error.line, error.column);
            Fault::refuse("DECODE-JSON", format!("the message is not JSON: {}", error.what)).at(place)
        })
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        Ok(if self.0.indent { json::to_pretty(document) } else { json::to_text(document) }.into())
    }

    fn encode_record(&self, _document: &Value, _out: &mut Vec<u8>) -> Result<(), Fault> {
        let said =
            "a JSON file holds one value and cannot be appended to; write `format: ndjson`, or one file a message";
        Err(Fault::misconfigured("ENCODE-JSON", said))
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{decodes, encodes};

    #[test]
    fn values_are_read_exactly() {
        decodes(
            "format: json",
            r#" {"price": 12.50, "ean": 04} "#,
            "DECODE-JSON: the message is not JSON: invalid number (line 1 column 27)",
        );
        decodes("format: json", "{\"price\": 12.50}\n", r#"{"price":12.50}"#);
        decodes("format: json", b"\xEF\xBB\xBF[1]", "[1]");
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        decodes(
            "{}",
            "{\"a\": [1,\n 2",
            "DECODE-JSON: the message is not JSON: the text ends in the middle of a value (truncated?) (line 2 column 2)",
        );
        decodes(
            "{}",
            "[".repeat(1000),
            "DECODE-JSON: the message is not JSON: nested deeper than 128 levels (line 1 column 130)",
        );
        decodes(
            "{}",
            b"\"caf\xE9\"",
            "DECODE-JSON: the message is not JSON: a character that is not UTF-8 (line 1 column 5)",
        );
    }

    #[test]
    fn values_are_written_compact_or_for_people() {
        encodes("{}", r#"{"a": [1, "é"]}"#, r#"{"a":[1,"é"]}"#);
        encodes("json: { indent: true }", r#"{"a": [1]}"#, "{\n  \"a\": [\n    1\n  ]\n}");
    }
}
