//! `format: csv`: rows of text with a delimiter (RFC 4180, and what tills and spreadsheets make of it).
//!
//! Read by our own splitter and not the `csv` crate: a quote that is never closed, or text after a closing quote, must be a
//! fault of its row and not a cell nobody wrote.

mod cells;
mod rows;
mod write;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use self::cells::{Cells, Dialect, Unclosed};
use self::rows::Rows;
use super::stream::Window;
use super::{Charset, Codec, CodecKind, Framing, LineEnd, MessageIs, Records};
use crate::config::{MapReader, Reader, Setting, Size, choice, settings};
use crate::message::{Fault, Map, Number, Text, Value};

pub const KIND: CodecKind = CodecKind {
    name: "csv",
    about: "Rows of text cells with a delimiter, as spreadsheets and tills write them.",
    shape: CsvSettings::shape,
    read,
};

settings! {
    /// CSV. A row is a map from column names to text; cells of the columns under `numbers` are numbers. Lines end with LF or
    /// CRLF, blank lines are passed over. A row with too many or too few cells goes to dead letters and the next is read.
    pub struct CsvSettings {
        /// What stands between two cells: `","`, `";"`, `"|"`, or `"\t"` for a tab.
        delimiter: char = ",",
        /// What stands around a cell that holds a delimiter, a quote (written twice) or a line end.
        quote: char = "\"",
        /// Whether the first line names the columns.
        header: bool = "true",
        /// The columns in their order. Needed where there is no header, and to append rows to a file. With a header, these
        /// columns must be in the files that are read.
        columns: Vec<Text>,
        /// What one message is: a `record` (each row, a map) or the `file` (one list of all its rows).
        message: MessageIs = "record",
        /// Columns whose cells are numbers. An empty cell of these is left out; anything else that is no number is an error.
        numbers: Vec<Text>,
        /// Numbers are written `12,50` instead of `12.50`, when reading and when writing.
        decimal_comma: bool = "false",
        /// What an empty cell of the other columns is: empty `text`, or `missing` (the row has no such field).
        empty: Empty = "text",
        /// Takes away blanks around cells, outside quotes.
        trim: bool = "false",
        /// The character set of the file.
        charset: Charset = "utf-8",
        /// How lines end in what is written.
        line_end: LineEnd = "lf",
        /// The longest row that is read. A longer one goes to dead letters and the next one is read.
        max_record: Size = "10MB",
    }
}

choice! {
    /// What an empty cell is.
    pub enum Empty {
        /// The field is there, with an empty text.
        Text = "text",
        /// The field is not there.
        Missing = "missing",
    }
}

#[derive(Debug)]
struct Csv {
    settings: CsvSettings,
    dialect: Dialect,
    /// The line of column names, where the settings name them.
    header: Bytes,
}

/// A column as the cells of a file's rows are read.
#[derive(Debug)]
struct Column {
    name: Text,
    number: bool,
}

/// What is wrong with a row, and where in it (`column 12`, `byte 7`).
struct Wrong {
    what: String,
    place: Option<String>,
}

fn read(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn Codec>> {
    let settings: CsvSettings = map.flat(reader)?;
    if let Some(problem) = settings.problem() {
        reader.error(map.span, problem);
        return None;
    }
    let dialect = Dialect { delimiter: settings.delimiter as u8, quote: settings.quote as u8, trim: settings.trim };
    let mut csv = Csv { settings, dialect, header: Bytes::new() };
    if csv.settings.header && !csv.settings.columns.is_empty() {
        let mut header = Vec::new();
        if let Err(fault) = csv.write_header(&csv.settings.columns, &mut header) {
            reader.error(map.span, format!("`columns`: {}", fault.sentence()));
            return None;
        }
        csv.header = header.into();
    }
    Some(Arc::new(csv))
}

impl CsvSettings {
    fn problem(&self) -> Option<String> {
        let reserved = |sign: char| !sign.is_ascii() || matches!(sign, '\n' | '\r');
        if reserved(self.delimiter) || reserved(self.quote) || self.delimiter == self.quote {
            return Some("`delimiter` and `quote` must be two different ASCII characters, no line ends".into());
        }
        if !self.header && self.columns.is_empty() {
            return Some("without a header `columns` must name the columns".into());
        }
        if let Some(name) = repeated(&self.columns) {
            return Some(format!("column `{name}` stands twice in `columns`"));
        }
        let stranger = self.numbers.iter().find(|name| !self.columns.is_empty() && !self.columns.contains(name))?;
        Some(format!("`{stranger}` stands in `numbers` but not in `columns`"))
    }
}

fn repeated(names: &[Text]) -> Option<&Text> {
    names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)).map(|(_, name)| name)
}

impl Codec for Csv {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let mut rows = Rows::new(self, Window::new(Box::new(bytes), 0, 1));
        self.settings.message.document(rows.documents()?, "DECODE-CSV")
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        let one = std::slice::from_ref(document);
        let rows = match document {
            Value::Map(_) => one,
            Value::List(rows) => rows,
            other => {
                let said = format!("CSV is written from a map (a row) or a list of maps, found {}", other.kind());
                return Err(Fault::refuse("ENCODE-CSV", said).at("$"));
            }
        };
        let first = rows.first().and_then(Value::as_map);
        let columns: Vec<Text> = match (&self.settings.columns[..], first) {
            ([], Some(first)) => first.iter().map(|(name, _)| name.clone()).collect(),
            (named, _) => named.to_vec(),
        };
        let mut out = Vec::new();
        if self.settings.header && !columns.is_empty() {
            self.write_header(&columns, &mut out)?;
        }
        for (index, row) in rows.iter().enumerate() {
            let place =
                || if rows.len() == 1 && document.as_map().is_some() { "$".to_owned() } else { format!("$[{index}]") };
            self.write_row(row, &columns, &mut out).map_err(|wrong| wrong.fault(&place()))?;
        }
        Ok(out.into())
    }

    fn encode_record(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.settings.columns.is_empty() {
            let said = "rows are appended to a file, so their `columns` must be named under `csv:`";
            return Err(Fault::misconfigured("ENCODE-CSV", said));
        }
        let before = out.len();
        let rows = document.as_list().unwrap_or(std::slice::from_ref(document));
        rows.iter().try_for_each(|row| self.write_row(row, &self.settings.columns, out)).map_err(|wrong| {
            out.truncate(before);
            wrong.fault("$")
        })
    }

    fn records<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Option<Box<dyn Records + Send + 'a>> {
        (self.settings.message == MessageIs::Record).then(|| Box::new(Rows::new(self, Window::new(input, 0, 1))) as _)
    }

    fn records_from<'a>(
        &'a self,
        beginning: &mut (dyn Read + Send),
        rest: Box<dyn Read + Send + 'a>,
        position: u64,
        line: u64,
    ) -> Result<Option<Box<dyn Records + Send + 'a>>, Fault> {
        if position == 0 || self.settings.message == MessageIs::File {
            return Ok(self.records(rest));
        }
        let mut start = Rows::new(self, Window::new(Box::new(beginning), 0, 1));
        start.open()?;
        let mut rows = Rows::new(self, Window::new(rest, position, line));
        rows.header = start.header;
        Ok(Some(Box::new(rows)))
    }

    fn framing(&self) -> Framing {
        Framing { header: self.header.clone() }
    }

    fn content_type(&self) -> &'static str {
        "text/csv"
    }
}

impl Csv {
    fn column(&self, name: Text) -> Column {
        Column { number: self.settings.numbers.contains(&name), name }
    }

    /// The document of a row, from its bytes without line end.
    fn document(&self, row: &[u8], quoted: bool, columns: &[Column]) -> Result<Value, Wrong> {
        let text = self.settings.charset.decode(row).map_err(|wrong| self.undecodable(wrong))?;
        // With room for a few fields that steps add.
        let mut map = Map::with_capacity(columns.len() + 4);
        let mut found = 0;
        for cell in Cells::new(&text, self.dialect, quoted) {
            let cell = cell?;
            if let Some(column) = columns.get(found)
                && let Some(value) = self.value(column, &cell)?
            {
                map.append(column.name.clone(), value);
            }
            found += 1;
        }
        if found == columns.len() {
            return Ok(Value::Map(map));
        }
        Err(Wrong { what: format!("expected {} cells, found {found}", columns.len()), place: None })
    }

    fn value(&self, column: &Column, cell: &str) -> Result<Option<Value>, Wrong> {
        if column.number {
            return self.number(column, cell.trim());
        }
        let missing = cell.is_empty() && self.settings.empty == Empty::Missing;
        Ok((!missing).then(|| Value::Text(Text::new(cell))))
    }

    fn number(&self, column: &Column, cell: &str) -> Result<Option<Value>, Wrong> {
        if cell.is_empty() {
            return Ok(None);
        }
        match read_number(cell, self.settings.decimal_comma) {
            Some(number) => Ok(Some(Value::Number(number))),
            None => Err(Wrong { what: format!("`{cell}` in column `{}` is not a number", column.name), place: None }),
        }
    }

    fn undecodable(&self, wrong: super::charset::Undecodable) -> Wrong {
        let what = format!("byte {:02X} is not {}; set `charset`", wrong.byte, self.settings.charset.name());
        Wrong { what, place: Some(format!("byte {}", wrong.at)) }
    }
}

impl From<Unclosed> for Wrong {
    fn from(Unclosed(at): Unclosed) -> Wrong {
        Wrong { what: "a quote is not closed".into(), place: Some(format!("byte {at}")) }
    }
}

impl Wrong {
    fn fault(self, line: u64) -> Fault {
        let place = match self.place {
            Some(place) => format!("line {line} {place}"),
            None => format!("line {line}"),
        };
        Fault::refuse("DECODE-CSV", self.what).at(place)
    }
}

/// A number as files write them: a plus sign and leading zeros are let pass, separators of thousands are not.
fn read_number(cell: &str, decimal_comma: bool) -> Option<Number> {
    if !decimal_comma && let Some(number) = Number::read(cell) {
        return Some(number);
    }
    let (minus, digits) = match cell.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, cell.strip_prefix('+').unwrap_or(cell)),
    };
    let stripped = digits.trim_start_matches('0');
    let zeros = digits.len() - stripped.len();
    let digits = if stripped.starts_with(|next: char| next.is_ascii_digit()) || zeros == 0 {
        stripped
    } else {
        &digits[zeros - 1..]
    };
    let mut plain = String::with_capacity(digits.len() + 1);
    if minus {
        plain.push('-');
    }
    if decimal_comma {
        if digits.contains('.') {
            return None;
        }
        plain.push_str(&digits.replace(',', "."));
    } else {
        plain.push_str(digits);
    }
    Number::read(&plain)
}

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
