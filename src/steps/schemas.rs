//! JSON Schemas: compiled once, and what a document breaks of one.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value as Json;

use crate::config::{FileId, Reader, Span};
use crate::message::{Number, Text, Value, json};

/// Violations told of one document; the rest are counted.
const MOST_TOLD: usize = 10;
/// Largest schema file.
pub(super) const MAX_SCHEMA_BYTES: usize = 1 << 20;

/// A schema, compiled.
#[derive(Debug)]
pub struct DocumentSchema {
    /// What names it: `order.schema.json`, `canonical/order`.
    pub name: Text,
    validator: Validator,
}

impl DocumentSchema {
    /// Compiles the schema in `file`. What is no schema is reported at `at`, where it is named; left out, at the file's top.
    pub(super) fn compile(
        name: &str,
        file: FileId,
        at: Option<Span>,
        reader: &mut Reader<'_>,
    ) -> Option<DocumentSchema> {
        let text = reader.files.text(file);
        let schema = match json::read(text.as_bytes()) {
            Ok(schema) => to_json(&schema),
            Err(error) => {
                let span = span_of(file, &text, error.line, error.column);
                reader.error(span, format!("not JSON: {}", error.what)).label("here");
                return None;
            }
        };
        // `regex` takes time in proportion to the text, whatever the pattern; the other engine can be made to hang.
        let options =
            jsonschema::options().offline().should_validate_formats(true).with_pattern_options(PatternOptions::regex());
        match options.build(&schema) {
            Ok(validator) => Some(DocumentSchema { name: name.into(), validator }),
            Err(error) => {
                let place = path_of(error.instance_path().as_str());
                let said = format!("`{name}` is not a JSON Schema: {error}");
                let at = at.unwrap_or(Span { file, start: 0, end: 0 });
                reader.error(at, said).label(format!("at `{place}` of the schema"));
                None
            }
        }
    }
}

/// What is wrong with a document: path and sentence of the first few, and how many there are.
#[derive(Debug, Default)]
pub struct Violations {
    /// Each with its path, without the values, which may be people's data.
    pub told: Vec<(String, String)>,
    pub count: usize,
    /// How many of them are the schema's.
    pub schema: usize,
}

impl Violations {
    pub fn of_schema(&mut self, schema: &DocumentSchema, document: &Value) {
        let json = to_json(document);
        // The quick question first: most documents are valid.
        if schema.validator.is_valid(&json) {
            return;
        }
        for error in schema.validator.iter_errors(&json) {
            self.schema += 1;
            self.add(path_of(error.instance_path().as_str()), sentence(&error));
        }
    }

    pub fn add(&mut self, place: String, said: String) {
        self.count += 1;
        if self.told.len() < MOST_TOLD {
            self.told.push((place, said));
        }
    }

    /// All that are told, each with its path.
    pub fn sentences(&self) -> String {
        let told: Vec<String> = self.told.iter().map(|(place, said)| format!("{place}: {said}")).collect();
        let mut text = told.join("; ");
        if self.count > MOST_TOLD {
            text.push_str(&format!("; and {} more", self.count - MOST_TOLD));
        }
        text
    }
}

/// What the schema says, without the values.
fn sentence(error: &ValidationError<'_>) -> String {
    error.masked_with("the value").to_string()
}

/// A JSON Pointer (RFC 6901) as a path: `/lines/3/price` → `$.lines[3].price`.
fn path_of(pointer: &str) -> String {
    let mut path = "$".to_owned();
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{name}]"));
        } else if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            path.push_str(&format!(".{name}"));
        } else {
            path.push_str(&format!("['{name}']"));
        }
    }
    path
}

/// The document as the schema library reads it: numbers that are not whole as binary floating point, which is why a
/// document is only looked at in this shape and never goes on in it.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => Json::Number(json_number(number)),
        Value::Text(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect()),
    }
}

fn json_number(number: &Number) -> serde_json::Number {
    if let Number::Decimal(decimal) = number
        && decimal.is_integer()
    {
        let whole = decimal.trunc();
        if let Ok(whole) = i64::try_from(whole) {
            return whole.into();
        }
        if let Ok(whole) = u64::try_from(whole) {
            return whole.into();
        }
    }
    // A number beyond the range of floating point is a very large one.
    let float: f64 = number.to_string().parse().unwrap_or(f64::MAX);
    serde_json::Number::from_f64(float.clamp(f64::MIN, f64::MAX)).unwrap_or_else(|| 0.into())
}

fn span_of(file: FileId, text: &str, line: usize, column: usize) -> Span {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = (start + column.saturating_sub(1)).min(text.len()) as u32;
    Span { file, start: at, end: at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_reach_the_schema() {
        let number = |text: &str| json_number(&Number::read(text).expect(text)).to_string();
        assert_eq!(number("1.10"), "1.1");
        assert_eq!(number("2.00"), "2");
        assert_eq!(number("-9223372036854775808"), "-9223372036854775808");
        assert_eq!(number("18446744073709551615"), "18446744073709551615");
        assert_eq!(number("1e400"), "1.7976931348623157e+308");
        assert_eq!(number("-1e400"), "-1.7976931348623157e+308");
    }

    #[test]
    fn pointers_are_shown_as_paths() {
        assert_eq!(path_of(""), "$");
        assert_eq!(path_of("/lines/3/unit price/a~1b"), "$.lines[3]['unit price']['a/b']");
    }
}
