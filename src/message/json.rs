//! JSON text ⇄ document: the hub's own notation, and the ground of the `json` codec.
//!
//! RFC 8259. Numbers keep their digits; a repeated name keeps its last value; nesting deeper than [`MAX_DEPTH`] is refused.

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use super::{Map, Number, Text, Value};

/// Deepest nesting read; deeper text is somebody's attack or accident.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line} column {column}")]
pub struct JsonError {
    pub what: String,
    /// Both from 1.
    pub line: usize,
    pub column: usize,
}

/// Reads one JSON value; anything but blanks after it is an error.
pub fn read(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut reader = Jiter::new(bytes);
    let mut read = || -> Result<Value, Stop> {
        let peek = reader.peek()?;
        let value = read_value(&mut reader, peek, 0)?;
        reader.finish()?;
        Ok(value)
    };
    read().map_err(|stop| locate(&reader, stop))
}

/// Compact JSON text of `value`.
pub fn to_text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// Appends compact JSON text of `value` to `out`, text or bytes.
pub fn write(value: &Value, out: &mut impl Sink) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => write_number(number, out),
        Value::Text(text) => write_text(text, out),
        Value::List(items) => {
            out.push_str("[");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(",");
                }
                write(item, out);
            }
            out.push_str("]");
        }
        Value::Map(map) => {
            out.push_str("{");
            for (index, (name, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(",");
                }
                write_text(name, out);
                out.push_str(":");
                write(item, out);
            }
            out.push_str("}");
        }
    }
}

/// What JSON text is written into.
pub trait Sink {
    fn push_str(&mut self, text: &str);
}

impl Sink for String {
    fn push_str(&mut self, text: &str) {
        String::push_str(self, text);
    }
}

impl Sink for Vec<u8> {
    fn push_str(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

/// JSON text of `value` with two-blank indentation, for people.
pub fn to_pretty(value: &Value) -> String {
    let mut out = String::new();
    write_pretty(value, 0, &mut out);
    out
}

enum Stop {
    Json(JiterError),
    Here(&'static str),
}

impl From<JiterError> for Stop {
    fn from(error: JiterError) -> Stop {
        Stop::Json(error)
    }
}

fn read_value(reader: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<Value, Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Here("nested deeper than 128 levels"));
    }
    match peek {
        Peek::Null => reader.known_null().map(|()| Value::Null).map_err(Stop::Json),
        Peek::True | Peek::False => Ok(Value::Bool(reader.known_bool(peek)?)),
        Peek::String => Ok(Value::Text(Text::new(reader.known_str()?))),
        Peek::Array => {
            let mut items = Vec::new();
            let mut next = reader.known_array()?;
            while let Some(peek) = next {
                items.push(read_value(reader, peek, depth + 1)?);
                next = reader.array_step()?;
            }
            Ok(Value::List(items))
        }
        Peek::Object => {
            let mut map = Map::with_capacity(8);
            let mut name = reader.known_object()?.map(Text::new);
            while let Some(field) = name {
                let peek = reader.peek()?;
                map.insert(field, read_value(reader, peek, depth + 1)?);
                name = reader.next_key()?.map(Text::new);
            }
            Ok(Value::Map(map))
        }
        peek if peek.is_num() => {
            let digits = reader.known_number_bytes(peek)?;
            let number = std::str::from_utf8(digits).ok().and_then(Number::read);
            number.map(Value::Number).ok_or(Stop::Here("not a number"))
        }
        _ => Err(Stop::Here("expected a value")),
    }
}

fn locate(reader: &Jiter<'_>, stop: Stop) -> JsonError {
    let (what, index) = match stop {
        Stop::Here(what) => (what.to_owned(), reader.current_index()),
        Stop::Json(error) => (describe(&error.error_type), error.index),
    };
    let position = reader.error_position(index);
    JsonError { what, line: position.line, column: position.column }
}

fn describe(error: &JiterErrorType) -> String {
    match error {
        JiterErrorType::JsonError(
            JsonErrorType::EofWhileParsingList
            | JsonErrorType::EofWhileParsingObject
            | JsonErrorType::EofWhileParsingString
            | JsonErrorType::EofWhileParsingValue,
        ) => "the text ends in the middle of a value (truncated?)".into(),
        JiterErrorType::JsonError(JsonErrorType::InvalidUnicodeCodePoint) => "a character that is not UTF-8".into(),
        other => other.to_string(),
    }
}

fn write_number(number: &Number, out: &mut impl Sink) {
    use std::fmt::Write;
    struct Digits<'s, S>(&'s mut S);
    impl<S: Sink> Write for Digits<'_, S> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.push_str(text);
            Ok(())
        }
    }
    write!(Digits(out), "{number}").expect("writing to memory does not fail");
}

fn write_text(text: &str, out: &mut impl Sink) {
    out.push_str("\"");
    // Nearly all text is plain, and looking at all of it without a branch takes many bytes at a time.
    let escaped = text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    if escaped {
        write_escaped(text, out);
    } else {
        out.push_str(text);
    }
    out.push_str("\"");
}

fn write_escaped(text: &str, out: &mut impl Sink) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
}

fn write_pretty(value: &Value, indent: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match value {
        Value::List(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, indent + 1);
                write_pretty(item, indent + 1, out);
            }
            line(out, indent);
            out.push(']');
        }
        Value::Map(map) if !map.is_empty() => {
            out.push('{');
            for (index, (name, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, indent + 1);
                write_text(name, out);
                out.push_str(": ");
                write_pretty(item, indent + 1, out);
            }
            line(out, indent);
            out.push('}');
        }
        other => write(other, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) {
        assert_eq!(to_text(&read(text.as_bytes()).expect(text)), text);
    }

    fn refused(text: &str, expect: &str) {
        assert_eq!(read(text.as_bytes()).expect_err(text).to_string(), expect);
    }

    #[test]
    fn text_round_trips() {
        round_trip(r#"{"b":1.10,"a":[null,true,"é\n\"\\"],"c":{}}"#);
        round_trip("123456789012345678901234567890.5");
        round_trip(r#""\u0001""#);
    }

    #[test]
    fn errors_say_where() {
        refused("{\"a\": [1,\n 2", "the text ends in the middle of a value (truncated?) at line 2 column 2");
        refused("{} x", "trailing characters at line 1 column 4");
        assert!(read("[".repeat(1000).as_bytes()).is_err());
        assert!(read(b"\xff").is_err());
        let latin1 = read(b"\"caf\xe9\"").expect_err("it is not UTF-8");
        assert_eq!((latin1.what.as_str(), latin1.column), ("a character that is not UTF-8", 5));
        assert!(read(b"").is_err());
        assert!(read(b"NaN").is_err());
    }
}
