//! Where a row ends, and its cells.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// How rows are written.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    pub delimiter: u8,
    pub quote: u8,
    pub trim: bool,
}

/// Where the row at the beginning of some bytes ends.
#[derive(Debug, PartialEq)]
pub enum End {
    /// After `length` bytes, the line end included; without any quote the cells need only be cut.
    At { length: usize, quoted: bool },
    /// Not in these bytes.
    Further,
    /// A quoted cell that opens in this row is not closed before the end of the input.
    Open,
    /// Text follows a closing quote, in byte `at`.
    Mangled { at: usize },
}

impl Dialect {
    /// Looks for the end of the row that begins `data`; `last` says nothing follows `data`.
    pub fn end_of_row(&self, data: &[u8], last: bool) -> End {
        let mut at = 0;
        let mut quoted = false;
        loop {
            let Some(found) = memchr2(b'\n', self.quote, &data[at..]).map(|offset| at + offset) else {
                return if last { End::At { length: data.len(), quoted } } else { End::Further };
            };
            if data[found] == b'\n' {
                return End::At { length: found + 1, quoted };
            }
            quoted = true;
            at = found + 1;
            if self.opens(data, found) {
                match self.closing(data, at, last) {
                    Ok(after) => at = after,
                    Err(end) => return end,
                }
            }
        }
    }

    /// A quote opens a cell only where the cell begins; elsewhere it is a character like others (`5" nails`).
    fn opens(&self, data: &[u8], at: usize) -> bool {
        let mut before = &data[..at];
        if self.trim {
            before = trim_blanks_end(before, self.delimiter);
        }
        before.last().is_none_or(|byte| *byte == self.delimiter)
    }

    /// What follows the closing quote of a cell whose content begins at `from`.
    fn closing(&self, data: &[u8], from: usize, last: bool) -> Result<usize, End> {
        let unknown = if last { End::Open } else { End::Further };
        let mut at = from;
        loop {
            let Some(quote) = memchr(self.quote, &data[at..]).map(|offset| at + offset) else { return Err(unknown) };
            at = quote + 1;
            if data.get(at) == Some(&self.quote) {
                at += 1;
                continue;
            }
            while self.trim && data.get(at).is_some_and(|byte| is_blank(*byte) && *byte != self.delimiter) {
                at += 1;
            }
            return match (&data[at..], last) {
                ([], false) | ([b'\r'], false) => Err(End::Further),
                ([] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..], _) => Ok(at),
                ([byte, ..], _) if *byte == self.delimiter => Ok(at),
                _ => Err(End::Mangled { at }),
            };
        }
    }
}

/// A quoted cell that is not closed: the byte its content begins at.
#[derive(Debug)]
pub struct Unclosed(pub usize);

/// The cells of a row that has ended well, from its text without line end.
pub struct Cells<'t> {
    text: &'t str,
    /// Where the next cell begins; beyond the text, none does.
    at: usize,
    dialect: Dialect,
    quoted: bool,
}

impl<'t> Cells<'t> {
    pub fn new(text: &'t str, dialect: Dialect, quoted: bool) -> Cells<'t> {
        Cells { text, at: 0, dialect, quoted }
    }

    fn plain(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let length = memchr(self.dialect.delimiter, rest.as_bytes()).unwrap_or(rest.len());
        self.at += length + 1;
        let cell = &rest[..length];
        if self.dialect.trim { cell.trim_matches([' ', '\t']) } else { cell }
    }

    /// The content of the quoted cell whose opening quote ends before `from`.
    fn unquoted(&mut self, from: usize) -> Result<Cow<'t, str>, Unclosed> {
        let bytes = self.text.as_bytes();
        let (mut at, mut start) = (from, from);
        let mut cell = Cow::Borrowed("");
        loop {
            let quote = at + memchr(self.dialect.quote, &bytes[at..]).ok_or(Unclosed(from))?;
            if bytes.get(quote + 1) == Some(&self.dialect.quote) {
                cell += &self.text[start..=quote];
                (at, start) = (quote + 2, quote + 2);
                continue;
            }
            cell += &self.text[start..quote];
            let after = memchr(self.dialect.delimiter, &bytes[quote + 1..]).unwrap_or(bytes.len() - quote - 1);
            self.at = quote + 1 + after + 1;
            return Ok(cell);
        }
    }
}

impl<'t> Iterator for Cells<'t> {
    type Item = Result<Cow<'t, str>, Unclosed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at > self.text.len() {
            return None;
        }
        if self.quoted {
            let rest = &self.text[self.at..];
            let start = if self.dialect.trim { rest.trim_start_matches([' ', '\t']) } else { rest };
            if start.as_bytes().first() == Some(&self.dialect.quote) {
                let from = self.text.len() - start.len() + 1;
                return Some(self.unquoted(from));
            }
        }
        Some(Ok(Cow::Borrowed(self.plain())))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_blanks_end(mut bytes: &[u8], delimiter: u8) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_blank(*last)
        && *last != delimiter
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cells of the first row, and what is left; or why there is no row.
    fn check(trim: bool, data: &str, expect: Result<(&[&str], &str), End>) {
        let dialect = Dialect { delimiter: b';', quote: b'"', trim };
        let found = match dialect.end_of_row(data.as_bytes(), true) {
            End::At { length, quoted } => {
                let row = data[..length].trim_end_matches(['\r', '\n']);
                let cells: Result<Vec<_>, _> = Cells::new(row, dialect, quoted).collect();
                Ok((cells.expect("the row ends well"), &data[length..]))
            }
            end => Err(end),
        };
        let found = found.as_ref().map(|(cells, rest)| (cells.iter().map(|cell| &**cell).collect::<Vec<_>>(), *rest));
        assert_eq!(found, expect.as_ref().map(|(cells, rest)| (cells.to_vec(), *rest)), "{data:?}");
    }

    #[test]
    fn rows_are_cut_into_cells() {
        check(false, "a;b\nc", Ok((&["a", "b"], "c")));
        check(false, "a;;\r\nc", Ok((&["a", "", ""], "c")));
        check(false, "\"a;1\";\"say \"\"hi\"\"\"\n", Ok((&["a;1", "say \"hi\""], "")));
        check(false, "\"two\nlines\";b\nc", Ok((&["two\nlines", "b"], "c")));
        check(false, "5\" nails;b\n", Ok((&["5\" nails", "b"], "")));
        check(false, "\"\"\nc", Ok((&[""], "c")));
        check(false, " a ; \"b\"\n", Ok((&[" a ", " \"b\""], "")));
        check(true, " a ;\t\"b \" ;c\n", Ok((&["a", "b ", "c"], "")));
    }

    #[test]
    fn bad_quotes_are_found() {
        check(false, "\"a;b\nc", Err(End::Open));
        check(false, "a;\"b\"c\n", Err(End::Mangled { at: 5 }));
        check(false, "\"a\" ;c\n", Err(End::Mangled { at: 3 }));
    }

    #[test]
    fn a_row_cut_by_the_end_of_the_data_is_looked_at_again() {
        let dialect = Dialect { delimiter: b';', quote: b'"', trim: false };
        for data in ["a;b", "\"a", "\"a\"", "\"a\"\r", ""] {
            assert_eq!(dialect.end_of_row(data.as_bytes(), false), End::Further, "{data:?}");
        }
    }
}
