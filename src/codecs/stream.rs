//! What formats made of records share: a bounded window over a stream, which counts bytes and lines.

use std::io::{ErrorKind, Read};

use bytes::Bytes;

use crate::config::choice;
use crate::message::{Fault, Value};

choice! {
    /// What one message is.
    pub enum MessageIs {
        /// Each record of a file is a message of its own. For files of any length.
        Record = "record",
        /// The whole file is one message: a list of its records. For small files that only make sense whole.
        File = "file",
    }
}

choice! {
    /// How a line ends in what is written. Both are always read.
    pub enum LineEnd {
        /// Line feed, as on Linux.
        Lf = "lf",
        /// Carriage return and line feed, as on Windows.
        Crlf = "crlf",
    }
}

impl MessageIs {
    /// The document of a whole message, from those of its records.
    pub fn document(self, mut records: Vec<Value>, code: &'static str) -> Result<Value, Fault> {
        match (self, records.len()) {
            (MessageIs::File, _) => Ok(Value::List(records)),
            (MessageIs::Record, 1) => Ok(records.remove(0)),
            (MessageIs::Record, found) => {
                let said = format!("one message is one record, found {found}; `message: file` reads them as a list");
                Err(Fault::refuse(code, said))
            }
        }
    }
}

impl LineEnd {
    pub fn text(self) -> &'static str {
        match self {
            LineEnd::Lf => "\n",
            LineEnd::Crlf => "\r\n",
        }
    }
}

/// The part of a stream that is in memory: grows only as far as its user asks.
pub struct Window<'a> {
    input: Box<dyn Read + Send + 'a>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    byte: u64,
    line: u64,
}

const CHUNK: usize = 64 * 1024;

/// So much of a record over the limit is kept, to recognise it by.
const KEPT: usize = 4096;

impl<'a> Window<'a> {
    /// A stream of which `byte` bytes, up to line `line`, are behind us.
    pub fn new(input: Box<dyn Read + Send + 'a>, byte: u64, line: u64) -> Window<'a> {
        Window { input, buffer: Vec::new(), start: 0, end: 0, ended: false, byte, line }
    }

    /// What is in memory and not consumed.
    pub fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Nothing stands behind `data`.
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn byte(&self) -> u64 {
        self.byte
    }

    /// From 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads on, to hold at most `most` bytes (or one chunk); `ended` tells when there is no more.
    pub fn more(&mut self, most: usize) -> Result<(), Fault> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // Doubling, so that looking again at what is there stays linear in all.
        let room = self.end.max(CHUNK).min(most.saturating_sub(self.end)).max(CHUNK.saturating_sub(self.end)).max(1);
        if self.buffer.len() < self.end + room {
            self.buffer.resize(self.end + room, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..self.end + room]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let fault = Fault::retry("DECODE-READ", "the rest of the input could not be read").cause(error);
                    return Err(fault.at(format!("byte {}", self.byte)));
                }
            }
            return Ok(());
        }
    }

    /// Reads until `needed` bytes are in memory, or the end.
    pub fn fill(&mut self, needed: usize) -> Result<(), Fault> {
        while self.data().len() < needed && !self.ended {
            self.more(needed)?;
        }
        Ok(())
    }

    pub fn consume(&mut self, bytes: usize) {
        self.line += memchr::memchr_iter(b'\n', &self.data()[..bytes]).count() as u64;
        self.start += bytes;
        self.byte += bytes as u64;
    }

    /// Consumes `bytes` and gives them.
    pub fn take(&mut self, bytes: usize) -> Bytes {
        let taken = Bytes::copy_from_slice(&self.data()[..bytes]);
        self.consume(bytes);
        taken
    }

    /// The length of the line that begins here, with its end; `None` where it is longer than `most`. 0 is the end.
    pub fn line_length(&mut self, most: usize) -> Result<Option<usize>, Fault> {
        let mut seen = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.data()[seen..]) {
                let length = seen + at + 1;
                return Ok((length <= most).then_some(length));
            }
            seen = self.data().len();
            if seen > most {
                return Ok(None);
            }
            if self.ended {
                return Ok(Some(seen));
            }
            self.more(most + 1)?;
        }
    }

    /// Passes over the line that begins here without holding it; gives its first bytes.
    pub fn skip_line(&mut self) -> Result<Bytes, Fault> {
        self.fill(KEPT)?;
        let line = memchr::memchr(b'\n', self.data()).map_or(self.data().len(), |at| at + 1);
        let kept = Bytes::copy_from_slice(&self.data()[..line.min(KEPT)]);
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.data()) {
                self.consume(at + 1);
                return Ok(kept);
            }
            self.consume(self.data().len());
            if self.ended {
                return Ok(kept);
            }
            self.more(CHUNK)?;
        }
    }
}

/// A line without its end.
pub fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_passed_over_without_being_held() {
        let text = [&b"one\n"[..], &vec![b'x'; 10 << 20], b"\nthree"].concat();
        let mut window = Window::new(Box::new(&text[..]), 0, 1);
        assert_eq!(window.line_length(1000).expect("no fault"), Some(4));
        assert_eq!(&window.take(4)[..], b"one\n");
        assert_eq!(window.line_length(1000).expect("no fault"), None);
        assert_eq!(window.skip_line().expect("no fault").len(), KEPT);
        assert_eq!((window.line(), window.byte()), (3, (10 << 20) + 5));
        assert_eq!(window.line_length(1000).expect("no fault"), Some(5));
        assert!(window.buffer.len() <= 2 * CHUNK, "{}", window.buffer.len());
    }
}
