//! The elements of one name in a long file, one in memory at a time.

use bytes::Bytes;

use super::super::stream::Window;
use super::super::{Record, Records};
use super::scan::{Mark, mark};
use super::{Namespaces, Xml, charset, decode, line_and_column};
use crate::message::{Fault, Value};

pub struct Elements<'a> {
    xml: &'a Xml,
    /// The element that is a message.
    name: &'a str,
    window: Window<'a>,
    envelope: Option<Envelope>,
    /// The last thing closed is the root: at the end of the input, it is whole.
    closed: bool,
    ended: bool,
}

/// What stands around the elements.
#[derive(Clone)]
pub struct Envelope {
    /// `<?xml ...?>`, which names the character set: each element needs it to be read alone.
    declaration: Bytes,
    root: Bytes,
}

/// How far the element at the window's beginning has been looked through.
struct Progress {
    seen: usize,
    depth: usize,
}

impl<'a> Elements<'a> {
    pub fn new(xml: &'a Xml, name: &'a str, window: Window<'a>) -> Elements<'a> {
        Elements { xml, name, window, envelope: None, closed: false, ended: false }
    }

    pub fn resumed(xml: &'a Xml, name: &'a str, window: Window<'a>, envelope: Envelope) -> Elements<'a> {
        // A root that is itself the element has been closed by the reading before.
        let closed = xml.is_record(&envelope.root, name);
        Elements { xml, name, window, envelope: Some(envelope), closed, ended: false }
    }

    /// Reads up to the root element, once.
    pub fn envelope(&mut self) -> Result<Envelope, Fault> {
        if let Some(envelope) = &self.envelope {
            return Ok(envelope.clone());
        }
        self.window.fill(1024)?;
        if matches!(self.window.data(), [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, b'<', ..] | [b'<', 0, ..]) {
            return Err(self.fault("a UTF-16 file is not cut into records; have it sent as UTF-8"));
        }
        if self.window.data().starts_with(b"\xEF\xBB\xBF") {
            self.window.consume(3);
        }
        let declaration = self.window.take(charset::declaration(self.window.data()));
        loop {
            let root = match self.mark()? {
                None => return Err(self.fault("there is no root element")),
                Some(Mark::Open(_, name) | Mark::Empty(_, name)) => Bytes::copy_from_slice(name),
                Some(Mark::Text(length) | Mark::Other(length)) => {
                    self.window.consume(length);
                    continue;
                }
                Some(Mark::Close(..) | Mark::Doctype | Mark::Further) => return Err(self.out_of_place()),
            };
            let envelope = Envelope { declaration, root };
            self.envelope = Some(envelope.clone());
            return Ok(envelope);
        }
    }

    /// The mark at the window's beginning, whole; `None` at the end of the input.
    fn mark(&mut self) -> Result<Option<Mark<'_>>, Fault> {
        let most = self.xml.settings.max_record.bytes();
        loop {
            let cut = self.window.data().is_empty() || mark(self.window.data()) == Mark::Further;
            if !cut {
                return Ok(Some(mark(self.window.data())));
            }
            if self.window.ended() {
                return if self.window.data().is_empty() { Ok(None) } else { Err(self.truncated()) };
            }
            if self.window.data().len() > most {
                return Err(self.fault("a mark is longer than `max_record`"));
            }
            self.window.more(most + 1)?;
        }
    }

    fn record(&mut self) -> Result<Option<Record>, Fault> {
        let Envelope { declaration, root } = self.envelope()?;
        loop {
            let (xml, name, was_closed) = (self.xml, self.name, self.closed);
            let (length, closed) = match self.mark()? {
                None if was_closed => return Ok(None),
                None => return Err(self.truncated()),
                Some(Mark::Open(_, found) | Mark::Empty(_, found)) if xml.is_record(found, name) => {
                    self.closed = found == root;
                    return self.element(declaration).map(Some);
                }
                Some(Mark::Empty(length, found) | Mark::Close(length, found)) => (length, found == root),
                Some(Mark::Open(length, _)) => (length, false),
                // Blanks and comments may follow the root.
                Some(Mark::Text(length) | Mark::Other(length)) => (length, was_closed),
                Some(Mark::Doctype | Mark::Further) => return Err(self.out_of_place()),
            };
            self.closed = closed;
            self.window.consume(length);
        }
    }

    /// The element that begins the window.
    fn element(&mut self, header: Bytes) -> Result<Record, Fault> {
        let line = self.window.line();
        let place = format!("line {line}");
        let most = self.xml.settings.max_record.bytes();
        let mut progress = Progress { seen: 0, depth: 0 };
        loop {
            self.advance(&mut progress)?;
            if progress.depth == 0 && progress.seen > 0 && progress.seen <= most {
                let raw = self.window.take(progress.seen);
                let document = self.document(&header, &raw, line);
                return Ok(Record { raw, header, document, place });
            }
            if progress.seen > most || self.window.data().len() > most {
                let raw = Bytes::copy_from_slice(&self.window.data()[..self.window.data().len().min(4096)]);
                self.pass_over(progress)?;
                let said = format!("the element is longer than `max_record` ({most} bytes)");
                let document = Err(Fault::refuse("DECODE-XML", said).at(place.clone()));
                return Ok(Record { raw, header, document, place });
            }
            if self.window.ended() {
                return Err(self.truncated());
            }
            self.window.more(most + 1)?;
        }
    }

    /// Looks through the marks in memory, up to the end of the element.
    fn advance(&self, progress: &mut Progress) -> Result<(), Fault> {
        loop {
            let data = &self.window.data()[progress.seen..];
            if data.is_empty() || (progress.seen > 0 && progress.depth == 0) {
                return Ok(());
            }
            let length = match mark(data) {
                Mark::Further => return Ok(()),
                Mark::Doctype => return Err(self.out_of_place()),
                Mark::Text(length) | Mark::Other(length) | Mark::Empty(length, _) => length,
                Mark::Open(length, found) => {
                    progress.depth += usize::from(self.xml.is_record(found, self.name));
                    length
                }
                Mark::Close(length, found) => {
                    progress.depth -= usize::from(self.xml.is_record(found, self.name));
                    length
                }
            };
            progress.seen += length;
        }
    }

    /// Passes over the rest of an element without holding it.
    fn pass_over(&mut self, mut progress: Progress) -> Result<(), Fault> {
        self.window.consume(progress.seen);
        while progress.depth > 0 || progress.seen == 0 {
            if self.mark()?.is_none() {
                return Err(self.truncated());
            }
            progress.seen = 0;
            self.advance(&mut progress)?;
            self.window.consume(progress.seen);
        }
        Ok(())
    }

    fn document(&self, header: &[u8], raw: &[u8], line: u64) -> Result<Value, Fault> {
        let alone = [header, raw].concat();
        let place = format!("line {line}");
        let text = charset::decode(&alone).map_err(|fault| Fault::refuse("DECODE-XML", fault.sentence()).at(place))?;
        decode::document(&text, &self.xml.settings, &self.xml.lists).map_err(|wrong| {
            let place = match line_and_column(&text, wrong.at) {
                (1, _) => format!("line {line}"),
                (below, column) => format!("line {} column {column}", line + below as u64 - 1),
            };
            Fault::refuse("DECODE-XML", wrong.what).at(place)
        })
    }

    fn truncated(&self) -> Fault {
        self.fault("the file ends before its root element is closed (truncated?)")
    }

    fn out_of_place(&self) -> Fault {
        let said =
            "a DOCTYPE or another declaration is not accepted here: no entity is expanded and no other file is read";
        self.fault(said)
    }

    fn fault(&self, what: &str) -> Fault {
        Fault::refuse("DECODE-XML", what).at(format!("line {}", self.window.line()))
    }
}

impl Records for Elements<'_> {
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

impl Xml {
    fn is_record(&self, found: &[u8], name: &str) -> bool {
        let local = match self.settings.namespaces {
            Namespaces::Keep => found,
            Namespaces::Strip => found.rsplit(|byte| *byte == b':').next().unwrap_or(found),
        };
        local == name.as_bytes()
    }
}
