//! The rows of a stream, one in memory at a time.

use bytes::Bytes;

use super::super::stream::{Window, without_end};
use super::super::{Record, Records};
use super::cells::{Cells, End};
use super::{Column, Csv, Wrong, repeated};
use crate::message::{Fault, Text, Value};

pub struct Rows<'a> {
    pub csv: &'a Csv,
    pub window: Window<'a>,
    pub header: Option<Header>,
    ended: bool,
}

/// The first line of a file, or what the settings say where there is none.
pub struct Header {
    bytes: Bytes,
    columns: Vec<Column>,
}

/// A row that stands at the beginning of the window.
struct Row {
    line: u64,
    length: usize,
    /// Longer than allowed: only a part of it is in the window.
    too_long: bool,
    document: Result<Value, Fault>,
}

impl<'a> Rows<'a> {
    pub fn new(csv: &'a Csv, window: Window<'a>) -> Rows<'a> {
        Rows { csv, window, header: None, ended: false }
    }

    /// Reads the header, once.
    ///
    /// # Errors
    /// A header that cannot be read, repeats a column or lacks one the settings name.
    pub fn open(&mut self) -> Result<(), Fault> {
        if self.header.is_some() {
            return Ok(());
        }
        // Before the first cell is looked at, which may be quoted.
        self.window.fill(3)?;
        let wrong = |what: String| Wrong { what, place: None }.fault(1);
        let mark = self.csv.settings.charset.mark(self.window.data()).map_err(wrong)?;
        self.window.consume(mark);
        self.header = Some(if self.csv.settings.header {
            self.read_header()?
        } else {
            let columns = self.csv.settings.columns.iter().cloned();
            Header { bytes: Bytes::new(), columns: columns.map(|name| self.csv.column(name)).collect() }
        });
        Ok(())
    }

    /// All documents; the first row that has none is the fault.
    pub fn documents(&mut self) -> Result<Vec<Value>, Fault> {
        self.open()?;
        let mut all = Vec::new();
        while let Some(row) = self.row()? {
            all.push(row.document?);
            self.window.consume(row.length);
        }
        Ok(all)
    }

    fn read_header(&mut self) -> Result<Header, Fault> {
        loop {
            let line = self.window.line();
            let fault = |wrong: Wrong| wrong.fault(line);
            let Some((length, quoted)) = self.end_of_row()?.map_err(fault)? else {
                return Ok(Header { bytes: Bytes::new(), columns: Vec::new() });
            };
            let row = self.csv.unmarked(&self.window.data()[..length]).map_err(fault)?;
            if row.is_empty() {
                self.window.consume(length);
                continue;
            }
            let columns = self.csv.header(row, quoted).map_err(fault)?;
            let mut bytes = self.window.take(length);
            if !bytes.ends_with(b"\n") {
                bytes = [&bytes[..], b"\n"].concat().into();
            }
            return Ok(Header { bytes, columns });
        }
    }

    /// Where the row at the window's beginning ends and whether it has quotes; `None` at the end of the input.
    fn end_of_row(&mut self) -> Result<Result<Option<(usize, bool)>, Wrong>, Fault> {
        let most = self.csv.settings.max_record.bytes();
        loop {
            let data = self.window.data();
            let end = self.csv.dialect.end_of_row(data, self.window.ended());
            return Ok(match end {
                End::At { length: 0, .. } => Ok(None),
                End::At { length, quoted } if length <= most => Ok(Some((length, quoted))),
                End::Further if data.len() <= most => {
                    self.window.more(most + 1)?;
                    continue;
                }
                End::At { .. } | End::Further => {
                    Err(Wrong { what: format!("the row is longer than `max_record` ({most} bytes)"), place: None })
                }
                End::Open => Err(Wrong { what: "a quote is opened and never closed".into(), place: None }),
                End::Mangled { at } => Err(mangled(&data[..at], self.window.line())),
            });
        }
    }

    fn row(&mut self) -> Result<Option<Row>, Fault> {
        loop {
            let line = self.window.line();
            let (length, quoted) = match self.end_of_row()? {
                Ok(None) => return Ok(None),
                Ok(Some(end)) => end,
                Err(wrong) => return self.bad_row(line, wrong).map(Some),
            };
            let row = &self.window.data()[..length];
            // With a header no row begins a file.
            let row = if self.csv.settings.header { Ok(without_end(row)) } else { self.csv.unmarked(row) };
            if row.as_ref().is_ok_and(|row| row.is_empty()) {
                self.window.consume(length);
                continue;
            }
            let columns = self.header.as_ref().map_or(&[][..], |header| &header.columns);
            let document =
                row.and_then(|row| self.csv.document(row, quoted, columns)).map_err(|wrong| wrong.fault(line));
            return Ok(Some(Row { line, length, too_long: false, document }));
        }
    }

    /// A row without an end costs its first line: what follows is most likely good rows, not the rest of a cell.
    fn bad_row(&mut self, line: u64, wrong: Wrong) -> Result<Row, Fault> {
        let length = self.window.line_length(self.csv.settings.max_record.bytes())?;
        let document = Err(wrong.fault(line));
        Ok(Row { line, length: length.unwrap_or(0), too_long: length.is_none(), document })
    }

    fn record(&mut self) -> Result<Option<Record>, Fault> {
        self.open()?;
        let Some(row) = self.row()? else { return Ok(None) };
        let raw = if row.too_long { self.window.skip_line()? } else { self.window.take(row.length) };
        let header = self.header.as_ref().map_or_else(Bytes::new, |header| header.bytes.clone());
        Ok(Some(Record { raw, header, document: row.document, place: format!("line {}", row.line) }))
    }
}

impl Records for Rows<'_> {
    fn next(&mut self) -> Option<Result<Record, Fault>> {
        if self.ended {
            return None;
        }
        let next = self.record().transpose();
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

/// `before` reaches from the row's beginning, on `line`, to the text nobody expected.
fn mangled(before: &[u8], line: u64) -> Wrong {
    let rule = "a quote inside a cell is written twice";
    match memchr::memchr_iter(b'\n', before).count() as u64 {
        0 => Wrong {
            what: format!("text follows a closing quote; {rule}"),
            place: Some(format!("column {}", String::from_utf8_lossy(before).chars().count() + 1)),
        },
        below => {
            Wrong { what: format!("text follows a quote that is closed on line {}; {rule}", line + below), place: None }
        }
    }
}

impl Csv {
    /// The first line of a file without its mark and its end.
    fn unmarked<'r>(&self, row: &'r [u8]) -> Result<&'r [u8], Wrong> {
        let row = without_end(row);
        let mark = self.settings.charset.mark(row).map_err(|what| Wrong { what, place: None })?;
        Ok(&row[mark..])
    }

    fn header(&self, row: &[u8], quoted: bool) -> Result<Vec<Column>, Wrong> {
        let text = self.settings.charset.decode(row).map_err(|wrong| self.undecodable(wrong))?;
        let names = Cells::new(&text, self.dialect, quoted).map(|cell| cell.map(|cell| Text::new(&*cell)));
        let names: Vec<Text> = names.collect::<Result<_, _>>()?;
        let wrong = |what: String| Wrong { what, place: None };
        if let Some(name) = repeated(&names) {
            return Err(wrong(format!("column `{name}` stands twice in the header")));
        }
        let needed = self.settings.columns.iter().chain(&self.settings.numbers);
        if let Some(lacking) = needed.into_iter().find(|name| !names.contains(name)) {
            let found = names.join(&format!("{} ", char::from(self.dialect.delimiter)));
            return Err(wrong(format!("the header has no column `{lacking}`: {found}")));
        }
        Ok(names.into_iter().map(|name| self.column(name)).collect())
    }
}
