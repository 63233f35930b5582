//! `format: fixed`: lines whose fields stand at fixed places, as mainframes and older tills write them.

mod layout;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use self::layout::Unwritable;
use super::lines::Lines;
use super::stream::Window;
use super::{Charset, Codec, CodecKind, LineEnd, MessageIs, Records};
use crate::config::{MapReader, Reader, Setting, choice, settings};
use crate::message::{Fault, Map, Text, Value};

pub const KIND: CodecKind = CodecKind {
    name: "fixed",
    about: "Lines whose fields stand at fixed places, as mainframes and older tills write them.",
    shape: FixedSettings::shape,
    read,
};

settings! {
    /// Fixed-width lines. Either `fields`, where all lines are alike, or `records`, where lines of several kinds are told apart
    /// by the code they begin with. A line of another length goes to dead letters and the next is read.
    pub struct FixedSettings {
        /// The fields of a line, in order.
        fields: Vec<FixedField>,
        /// Kinds of lines, each with the code it begins with. The document says which kind it is in its field `record`.
        records: Vec<FixedRecord>,
        /// What one message is: a `record` (each line, a map) or the `file` (one list of all its lines).
        message: MessageIs = "record",
        /// Also reads lines whose blanks at the end were cut off.
        short_lines: bool = "false",
        /// The character set of the file. Widths count characters.
        charset: Charset = "utf-8",
        /// How lines end in what is written.
        line_end: LineEnd = "lf",
    }
}

settings! {
    /// A field of a line.
    pub struct FixedField {
        /// Its name in the document. A field without a name is passed over when reading, and filled when writing.
        name: Option<Text>,
        /// Characters it takes.
        width: u32,
        /// What it holds.
        kind: FieldKind = "text",
        /// Numbers only: digits behind a decimal point that is not written; `00001250` with 2 is 12.50. Left out, the number
        /// has its point, if any.
        decimals: Option<u32>,
        /// The side on which it is filled up: `right` for text, `left` for numbers, unless said otherwise.
        pad: Option<Pad>,
        /// With what it is filled up: a blank for text, `0` for numbers, unless said otherwise. Taken away when reading.
        fill: Option<char>,
    }
}

settings! {
    /// A kind of line.
    pub struct FixedRecord {
        /// What the document's field `record` says.
        name: Text,
        /// What these lines begin with. The fields follow it.
        code: Text,
        /// The fields behind the code, in order.
        fields: Vec<FixedField>,
    }
}

choice! {
    /// What a field of a line holds.
    pub enum FieldKind {
        /// Text. Of an empty field an empty text.
        Text = "text",
        /// A number. An empty field is left out of the document.
        Number = "number",
    }
}

choice! {
    /// A side of a field.
    pub enum Pad {
        /// Filled up before the value.
        Left = "left",
        /// Filled up behind the value.
        Right = "right",
    }
}

const CODE: &str = "DECODE-FIXED";

/// The field of a document that says which kind of line it is.
const RECORD: &str = "record";

#[derive(Debug)]
struct Fixed(FixedSettings);

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    let settings: FixedSettings = map.flat(reader)?;
    if let Some(problem) = settings.problem() {
        reader.error(map.span, problem);
        return None;
    }
    Some(Arc::new(Fixed(settings)))
}

impl FixedSettings {
    fn problem(&self) -> Option<String> {
        if self.fields.is_empty() == self.records.is_empty() {
            return Some("expected either `fields` or `records`".into());
        }
        let named = |name: &Text| self.records.iter().filter(|record| record.name == *name).count();
        if let Some(twice) = self.records.iter().find(|record| named(&record.name) > 1) {
            return Some(format!("two records are called `{}`", twice.name));
        }
        let coded = |code: &Text| self.records.iter().filter(|record| record.code == *code).count();
        if let Some(wrong) = self.records.iter().find(|record| record.code.is_empty() || coded(&record.code) > 1) {
            return Some(format!("the code of `{}` is empty or stands twice", wrong.name));
        }
        let layouts = std::iter::once(&self.fields).chain(self.records.iter().map(|record| &record.fields));
        layouts.into_iter().find_map(|fields| self.problem_of(fields))
    }

    fn problem_of(&self, fields: &[FixedField]) -> Option<String> {
        for (index, field) in fields.iter().enumerate() {
            let shown = field.name.as_deref().unwrap_or("without a name");
            if field.width == 0 || field.width > 65_536 {
                return Some(format!("field `{shown}`: `width` is 1 to 65536 characters"));
            }
            if field.decimals.is_some_and(|decimals| decimals > 28 || field.kind == FieldKind::Text) {
                return Some(format!("field `{shown}`: `decimals` is for numbers, at most 28"));
            }
            if field.fill.is_some_and(|fill| matches!(fill, '\n' | '\r') || !self.charset.has(fill)) {
                return Some(format!("field `{shown}`: this `fill` cannot be written"));
            }
            let Some(name) = &field.name else { continue };
            let taken = !self.records.is_empty() && name == RECORD;
            if taken || fields[..index].iter().any(|other| other.name.as_ref() == Some(name)) {
                return Some(format!("two fields are called `{name}`"));
            }
        }
        None
    }
}

impl Codec for Fixed {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        self.0.message.document(self.lines(Box::new(bytes), 0, 1).documents()?, CODE)
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        let mut out = Vec::new();
        match document {
            Value::List(lines) => {
                for (index, line) in lines.iter().enumerate() {
                    self.write(line, &mut out).map_err(|wrong| wrong.fault(&format!("$[{index}]")))?;
                }
            }
            line => self.encode_record(line, &mut out)?,
        }
        Ok(out.into())
    }

    fn encode_record(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.write(document, out).map_err(|wrong| wrong.fault("$"))
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
        "text/plain"
    }
}

impl Fixed {
    fn lines<'a>(&'a self, input: Box<dyn Read + Send + 'a>, position: u64, line: u64) -> Lines<'a> {
        // A character takes four bytes at most; beyond the longest layout a line is wrong anyway.
        let widest = self.0.records.iter().map(|record| width(&record.fields) + record.code.len()).max();
        let most = (4 * widest.unwrap_or_else(|| width(&self.0.fields)) + 2).max(64 * 1024);
        let decode = move |line: &[u8], number: u64| self.line(line, number);
        Lines::new(Window::new(input, position, line), most, self.0.charset, CODE, Box::new(decode))
    }

    fn line(&self, bytes: &[u8], number: u64) -> Result<Value, Fault> {
        let fault = |what: String, place: String| Fault::refuse(CODE, what).at(format!("line {number}{place}"));
        let text = self.0.charset.decode(bytes).map_err(|wrong| {
            let what = format!("byte {:02X} is not {}; set `charset`", wrong.byte, self.0.charset.name());
            fault(what, format!(" byte {}", wrong.at))
        })?;
        let (record, fields, text) = self.layout_of(&text).map_err(|what| fault(what, String::new()))?;
        let before = record.map_or(0, |record| record.code.chars().count());
        let mut map = Map::with_capacity(fields.len() + 1);
        if let Some(record) = record {
            map.insert(RECORD, record.name.clone());
        }
        layout::read(fields, text, self.0.short_lines, &mut map).map_err(|wrong| {
            fault(wrong.what, wrong.column.map_or(String::new(), |column| format!(" column {}", before + column)))
        })?;
        Ok(Value::Map(map))
    }

    /// The layout of a line, and what of the line it describes.
    fn layout_of<'t>(&self, text: &'t str) -> Result<(Option<&FixedRecord>, &[FixedField], &'t str), String> {
        if self.0.records.is_empty() {
            return Ok((None, &self.0.fields, text));
        }
        let matching = self.0.records.iter().filter(|record| text.starts_with(&*record.code));
        let Some(record) = matching.max_by_key(|record| record.code.len()) else {
            let known: Vec<&str> = self.0.records.iter().map(|record| &*record.code).collect();
            return Err(format!("the line begins with none of the codes {}", known.join(", ")));
        };
        Ok((Some(record), &record.fields, &text[record.code.len()..]))
    }

    /// Appends one line; on an error `out` is as it was.
    fn write(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let Value::Map(map) = document else {
            return Err(Unwritable::new(
                format!("a line is written from a map of its fields, found {}", document.kind()),
                None,
            ));
        };
        let mut line = String::new();
        let fields = match self.0.records.is_empty() {
            true => &self.0.fields,
            false => {
                let record = self.record_of(map)?;
                line.push_str(&record.code);
                &record.fields
            }
        };
        layout::write(fields, map, (!self.0.records.is_empty()).then_some(RECORD), &mut line)?;
        line.push_str(self.0.line_end.text());
        self.0.charset.encode(&line, out).map_err(|stranger| {
            Unwritable::new(format!("`{stranger}` cannot be written in {}", self.0.charset.name()), None)
        })
    }

    fn record_of(&self, map: &Map) -> Result<&FixedRecord, Unwritable> {
        let named = map.get(RECORD).and_then(Value::as_text);
        self.0.records.iter().find(|record| Some(&*record.name) == named).ok_or_else(|| {
            let known: Vec<&str> = self.0.records.iter().map(|record| &*record.name).collect();
            Unwritable::new(format!("expected one of {}", known.join(", ")), Some(RECORD.into()))
        })
    }
}

fn width(fields: &[FixedField]) -> usize {
    fields.iter().map(|field| field.width as usize).sum()
}

#[cfg(test)]
mod tests;
