//! `config/tables/*.csv`: cross-reference tables, as a spreadsheet saves them.
//!
//! The first line names the columns, the first column is the key. Columns are parted by `;` where the first line has one,
//! else by tabulators, else by commas. An empty cell is a value the row does not have. UTF-8, with or without a mark.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::beside::read_bytes;
use super::tables::start_of;
use crate::config::{FileId, Reader, Span};
use crate::formula::Tables;
use crate::message::{Fault, Map, Text, Value};

/// Largest file read.
const MAX_BYTES: usize = 100 << 20;
/// Most memory all tables together may take, by estimate: about 400,000 rows of five columns.
const MAX_MEMORY: usize = 256 << 20;
/// Problems told of one file; where there are more, they are likely all the same.
const MAX_PROBLEMS: usize = 20;

/// The tables of a revision of the configuration, in memory.
#[derive(Debug, Default)]
pub struct CsvTables {
    tables: BTreeMap<Text, Table>,
    memory: usize,
}

#[derive(Debug, Default)]
struct Table {
    columns: Vec<Text>,
    rows: HashMap<Text, Row, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Row {
    cells: Map,
    /// From 1.
    line: u32,
}

impl Tables for CsvTables {
    fn row(&self, table: &str, key: &str) -> Result<Option<&Map>, Fault> {
        let found = self.tables.get(table).ok_or_else(|| {
            Fault::misconfigured(
                "TABLE-UNKNOWN",
                format!("there is no table `{table}`; it would be config/tables/{table}.csv"),
            )
        })?;
        Ok(found.rows.get(key).map(|row| &row.cells))
    }
}

impl CsvTables {
    /// The columns of each table, the key first.
    pub fn columns(&self) -> BTreeMap<Text, Vec<Text>> {
        self.tables.iter().map(|(name, table)| (name.clone(), table.columns.clone())).collect()
    }

    /// Reads one file; its problems are reported under the path `shown`. A table with problems is still there, so that
    /// steps that name it are not blamed too.
    pub(super) fn load(&mut self, name: Text, path: &Path, shown: &Path, reader: &mut Reader<'_>) {
        let mut loading = Loading { memory: self.memory, line: 1, ..Loading::default() };
        let bytes = read_bytes(path, MAX_BYTES).unwrap_or_else(|said| {
            loading.problem(0..0, said, "this file");
            Vec::new()
        });
        let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        if loading.problems.is_empty() {
            loading.load(&bytes, start);
        }
        if !loading.problems.is_empty() {
            let file = reader.files.add(shown, String::from_utf8_lossy(&bytes));
            loading.report(file, reader);
        }
        self.memory = loading.memory;
        self.tables.insert(name, loading.table);
    }
}

/// A file being read.
#[derive(Default)]
struct Loading {
    table: Table,
    memory: usize,
    /// The line, from 1, in which byte `counted` stands.
    line: u32,
    counted: usize,
    problems: Vec<(std::ops::Range<usize>, String, String)>,
    /// How many problems were not kept.
    more: usize,
}

impl Loading {
    fn load(&mut self, bytes: &[u8], start: usize) {
        if let Err(error) = std::str::from_utf8(bytes) {
            let at = error.valid_up_to();
            let label = "save the file as CSV UTF-8";
            return self.problem(at..at + 1, "the file is not UTF-8 text: a character cannot be read", label);
        }
        let content = &bytes[start..];
        let mut rows =
            ReaderBuilder::new().delimiter(delimiter(content)).has_headers(false).flexible(true).from_reader(content);
        let mut record = ByteRecord::new();
        let mut first = true;
        // Reading from memory as bytes does not fail.
        while rows.read_byte_record(&mut record).unwrap_or(false) {
            let span = line_at(bytes, start + record.position().map_or(0, |position| position.byte() as usize));
            if first {
                self.header(&record, span);
                first = false;
            } else if !self.row(&record, span, bytes) {
                return;
            }
        }
        if first {
            self.problem(0..0, "the table is empty", "the first line names the columns");
        }
    }

    fn header(&mut self, record: &ByteRecord, span: std::ops::Range<usize>) {
        for cell in record {
            let name = Text::from(String::from_utf8_lossy(cell).trim());
            if name.is_empty() {
                self.problem(span.clone(), "a column without a name", "the first line names each column");
            } else if self.table.columns.contains(&name) {
                self.problem(span.clone(), format!("column `{name}` stands twice"), "each column has its own name");
            }
            self.table.columns.push(name);
        }
    }

    /// False where there is no room for more.
    fn row(&mut self, record: &ByteRecord, span: std::ops::Range<usize>, bytes: &[u8]) -> bool {
        // Spreadsheets end a table with lines of nothing but separators.
        if record.iter().all(<[u8]>::is_empty) {
            return true;
        }
        let columns = self.table.columns.len();
        if record.len() != columns {
            let said = format!("{} where the first line names {columns} columns", cells(record.len()));
            self.problem(span, said, "a separator too many or too few, or a quote left open");
            return true;
        }
        let cell = |at: usize| Text::from(String::from_utf8_lossy(&record[at]));
        let key = cell(0);
        if key.is_empty() {
            self.problem(span, "a row without a key", format!("`{}` is empty", self.table.columns[0]));
            return true;
        }
        if let Some(before) = self.table.rows.get(&key) {
            let said = format!("key `{key}` stands twice");
            let label = format!("first in line {}", before.line);
            self.problem(span, said, label);
            return true;
        }
        let filled = (0..columns).filter(|at| !record[*at].is_empty());
        let cells: Map = filled.map(|at| (self.table.columns[at].clone(), Value::Text(cell(at)))).collect();
        self.memory += weight(&cells, record);
        if self.memory > MAX_MEMORY {
            let label = "the limit is passed here; keep large tables in a durable table or in a referential";
            self.problem(span, "the tables together take more than 256 MB of memory", label);
            return false;
        }
        let line = self.line_of(span.start, bytes);
        self.table.rows.insert(key, Row { cells, line });
        true
    }

    /// The line of a byte behind those asked for before.
    fn line_of(&mut self, at: usize, bytes: &[u8]) -> u32 {
        self.line += memchr::memchr_iter(b'\n', &bytes[self.counted..at]).count() as u32;
        self.counted = at;
        self.line
    }

    fn problem(&mut self, at: std::ops::Range<usize>, said: impl Into<String>, label: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push((at, said.into(), label.into()));
        } else {
            self.more += 1;
        }
    }

    fn report(&mut self, file: FileId, reader: &mut Reader<'_>) {
        let more = self.more;
        for (at, said, label) in self.problems.drain(..) {
            let span = Span { start: at.start as u32, end: at.end as u32, ..start_of(file) };
            let problem = reader.error(span, said).label(label);
            if more > 0 {
                problem.help(format!("this file has {more} more problems"));
            }
        }
    }
}

fn delimiter(content: &[u8]) -> u8 {
    let first = content.split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.is_empty()).unwrap_or_default();
    if first.contains(&b';') {
        b';'
    } else if first.contains(&b'\t') {
        b'\t'
    } else {
        b','
    }
}

/// The line a record begins in. Its position may stand before the line ends that precede it.
fn line_at(bytes: &[u8], from: usize) -> std::ops::Range<usize> {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let start = bytes[from..].iter().position(|byte| !ends(byte)).map_or(bytes.len(), |skipped| from + skipped);
    let end = bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length);
    start..end
}

fn cells(count: usize) -> String {
    if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") }
}

/// What a row takes: its map, its fields with their bookkeeping, and texts too long to stand in place.
fn weight(cells: &Map, record: &ByteRecord) -> usize {
    let long: usize = record.iter().map(<[u8]>::len).filter(|length| *length > 23).sum();
    let field = size_of::<Text>() + size_of::<Value>() + 24;
    2 * size_of::<Map>() + cells.len() * field + long
}
