//! The lines of a stream, for formats in which a line is a record.

use bytes::Bytes;

use super::stream::{Window, without_end};
use super::{Charset, Record, Records};
use crate::message::{Fault, Value};

/// The bytes of a line without its end, and its number → its document.
pub type DecodeLine<'a> = Box<dyn Fn(&[u8], u64) -> Result<Value, Fault> + Send + 'a>;

pub struct Lines<'a> {
    window: Window<'a>,
    /// The longest line in bytes.
    most: usize,
    charset: Charset,
    code: &'static str,
    decode: DecodeLine<'a>,
    ended: bool,
}

impl<'a> Lines<'a> {
    pub fn new(
        window: Window<'a>,
        most: usize,
        charset: Charset,
        code: &'static str,
        decode: DecodeLine<'a>,
    ) -> Lines<'a> {
        Lines { window, most, charset, code, decode, ended: false }
    }

    /// All documents; the first line that has none is the fault.
    pub fn documents(mut self) -> Result<Vec<Value>, Fault> {
        let mut all = Vec::new();
        while let Some(record) = self.next() {
            all.push(record?.document?);
        }
        Ok(all)
    }

    fn record(&mut self) -> Result<Option<Record>, Fault> {
        loop {
            let line = self.window.line();
            let place = format!("line {line}");
            let Some(length) = self.window.line_length(self.most)? else {
                let raw = self.window.skip_line()?;
                let said = format!("the line is longer than {} bytes", self.most);
                let document = Err(Fault::refuse(self.code, said).at(place.clone()));
                return Ok(Some(Record { raw, header: Bytes::new(), document, place }));
            };
            if length == 0 {
                return Ok(None);
            }
            let text = without_end(&self.window.data()[..length]);
            let mark = self.charset.mark(text);
            let text = &text[*mark.as_ref().unwrap_or(&0)..];
            if text.trim_ascii().is_empty() {
                self.window.consume(length);
                continue;
            }
            let document = match mark {
                Ok(_) => (self.decode)(text, line),
                Err(said) => Err(Fault::refuse(self.code, said).at(place.clone())),
            };
            return Ok(Some(Record { raw: self.window.take(length), header: Bytes::new(), document, place }));
        }
    }
}

impl Records for Lines<'_> {
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
