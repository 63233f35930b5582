//! Any input cut into raw pieces: segment by segment, nothing left out.

use std::io::{self, ErrorKind, Read};

use super::scan::{End, FARTHEST, Found};
use super::sniff::{self, WINDOW, blanks};
use super::{Delimiters, Dialect, Mark, Opening, Scanner, Segment, Tag};

/// Past these an input is refused rather than kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one segment.
    pub segment: usize,
    /// Bytes of one message.
    pub message: usize,
    /// Findings kept of one message; those that follow are only counted.
    pub findings: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segment: 1 << 20, message: 256 << 20, findings: 1000 }
    }
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first segment of an interchange; the delimiters may have changed.
    First,
    Segment,
    /// A terminator with nothing before it.
    Empty,
    /// Bytes that belong to no segment.
    Stray,
    /// Blanks at the end of the input.
    Tail,
    /// No end within the limit.
    TooLong,
}

/// A piece of the input. The `raw` bytes of all pieces, in order, are the input.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    pub kind: Kind,
    /// From the end of the piece before, through blanks, UNA and segment, to the terminator.
    pub raw: &'a [u8],
    /// Where `raw` stands in the input.
    pub offset: u64,
    /// How many bytes of `raw` stand before the tag.
    pub gap: usize,
    /// The segment ends with the input, not with a terminator.
    pub unterminated: bool,
    pub segment: Segment<'a>,
    /// How the interchange it belongs to began.
    pub opening: &'a Opening,
    /// Where `raw` begins in the bytes the marks count in.
    pub(crate) base: usize,
    pub(crate) marks: &'a [Mark],
    /// Surely printable ASCII; if not it may be all the same.
    pub(crate) plain: bool,
}

/// Where a piece begins and ends in the buffer.
struct Cut {
    kind: Kind,
    base: usize,
    tag_at: usize,
    stop: usize,
    unterminated: bool,
    /// Its marks are those from here to the end.
    first_mark: usize,
    end: End,
}

/// Reads segments from any input, within a buffer of its own.
pub struct Segments<R> {
    source: R,
    buffer: Vec<u8>,
    filled: usize,
    /// The first byte not handed out yet.
    start: usize,
    /// Where `buffer` begins in the input.
    offset: u64,
    ended: bool,
    limits: Limits,
    found: Found,
    /// The next segment among `found.ends`, and its first mark.
    next_end: usize,
    next_mark: usize,
    scanner: Option<Scanner>,
    opening: Opening,
    /// Where in the input delimiters were last looked for: not twice at the same place.
    sniffed: Option<u64>,
    fresh: bool,
}

const BUFFER: usize = 64 << 10;

impl<R: Read> Segments<R> {
    pub fn new(source: R, limits: Limits) -> Segments<R> {
        let delimiters = Delimiters::EDIFACT;
        Segments {
            source,
            buffer: vec![0; BUFFER],
            filled: 0,
            start: 0,
            offset: 0,
            ended: false,
            limits: Limits { segment: limits.segment.min(FARTHEST / 4), ..limits },
            found: Found::default(),
            next_end: 0,
            next_mark: 0,
            scanner: None,
            opening: Opening { at: 0, segment: 0, dialect: Dialect::Edifact, delimiters, notes: Vec::new() },
            sniffed: None,
            fresh: false,
        }
    }

    /// How much of the input was handed out.
    pub fn position(&self) -> u64 {
        self.offset + self.start as u64
    }

    /// The same input, read on from another source that stands at [`Segments::position`].
    pub fn going_on<S>(self, source: S) -> Segments<S> {
        let (offset, found) = (self.position(), Found::default());
        let Segments { buffer, limits, scanner, opening, sniffed, fresh, .. } = self;
        Segments {
            source,
            buffer,
            filled: 0,
            start: 0,
            offset,
            ended: false,
            limits,
            found,
            next_end: 0,
            next_mark: 0,
            scanner,
            opening,
            sniffed,
            fresh,
        }
    }

    /// The next piece; `None` at the end of the input.
    ///
    /// # Errors
    /// Only those of the source.
    // Inlined, so that a piece is made where it is used: it is large, and moving it costs as much as finding it.
    #[inline]
    pub fn read(&mut self) -> io::Result<Option<Piece<'_>>> {
        let cut = match self.found_already() {
            Some(tag_at) => self.take(tag_at),
            None => match self.find()? {
                Some(cut) => cut,
                None => return Ok(None),
            },
        };
        Ok(Some(self.piece(cut)))
    }

    /// Where the tag of the next segment begins, if its end was found with those before it and it opens no interchange.
    #[inline]
    fn found_already(&mut self) -> Option<usize> {
        if self.scanner.is_none() || self.fresh || self.next_end == self.found.ends.len() {
            return None;
        }
        let tag_at = self.tag_at();
        (!self.begins_anew(tag_at)).then_some(tag_at)
    }

    #[inline(never)]
    fn find(&mut self) -> io::Result<Option<Cut>> {
        loop {
            if self.scanner.is_none()
                && let Some((kind, end)) = self.open()?
            {
                return Ok(Some(self.outside(kind, end)));
            }
            if self.scanner.is_none() {
                return Ok(None);
            }
            if self.next_end == self.found.ends.len() && !self.more()? {
                let Some((kind, end)) = self.leftover() else { continue };
                return Ok(Some(self.outside(kind, end)));
            }
            let tag_at = self.tag_at();
            if !self.fresh && self.begins_anew(tag_at) {
                continue;
            }
            return Ok(Some(self.take(tag_at)));
        }
    }

    /// Looks for the next interchange; says what to hand out before it, if anything.
    fn open(&mut self) -> io::Result<Option<(Kind, usize)>> {
        self.reset_marks();
        while self.filled - self.start < WINDOW && self.fill()? {}
        let window = &self.buffer[self.start..self.filled];
        if window.is_empty() {
            return Ok(None);
        }
        let blank = blanks(window);
        if blank == window.len() {
            let kind = if self.ended { Kind::Tail } else { Kind::Stray };
            return Ok(Some((kind, self.filled)));
        }
        let here = self.offset + self.start as u64;
        match sniff::sniff(&window[..window.len().min(BUFFER)]) {
            Some(opening) if opening.at == blank => {
                self.sniffed = Some(here);
                self.scanner = Some(Scanner::new(&opening.delimiters, opening.dialect));
                self.opening = opening;
                self.fresh = true;
                self.scan();
                Ok(None)
            }
            Some(opening) => Ok(Some((Kind::Stray, self.start + opening.at))),
            // A tag may stand across the end of the window.
            None => {
                let keep = if self.ended { 0 } else { WINDOW / 2 };
                Ok(Some((Kind::Stray, (self.filled - keep).max(self.start + 1))))
            }
        }
    }

    /// Whether the next segment opens an interchange where none was expected, so that the delimiters must be looked at again.
    #[inline]
    fn begins_anew(&mut self, tag_at: usize) -> bool {
        let tag = self.buffer.get(tag_at..tag_at + 3);
        if !matches!(tag, Some(b"ISA" | b"UNA" | b"UNB")) {
            return false;
        }
        let here = self.offset + self.start as u64;
        let anew = self.sniffed != Some(here);
        if anew {
            self.scanner = None;
            self.sniffed = Some(here);
        }
        anew
    }

    /// Where the tag of the next segment begins; where it ends, if there is none.
    #[inline]
    fn tag_at(&self) -> usize {
        let from = if self.fresh { self.start + self.opening.segment } else { self.start };
        let end = self.found.ends[self.next_end].marks as usize;
        self.blanks_before(from, self.found.marks[end - 1].at())
    }

    #[inline]
    fn take(&mut self, tag_at: usize) -> Cut {
        let end = self.found.ends[self.next_end];
        let first_mark = self.next_mark;
        let last = self.found.marks[end.marks as usize - 1].at();
        let base = self.start;
        let kind = match (self.fresh, tag_at == last) {
            (true, _) => Kind::First,
            (false, true) => Kind::Empty,
            (false, false) => Kind::Segment,
        };
        let unterminated =
            last >= self.filled || (self.ended && self.next_end + 1 == self.found.ends.len() && self.cut(last));
        let stop = if unterminated { self.filled } else { last + 1 };
        self.fresh = false;
        self.start = stop;
        self.next_end += 1;
        self.next_mark = end.marks as usize;
        Cut { kind, base, tag_at, stop, unterminated, first_mark, end }
    }

    /// The piece a cut is; an interchange that ends in it is over.
    #[inline]
    fn piece(&mut self, cut: Cut) -> Piece<'_> {
        let Cut { kind, base, tag_at, stop, unterminated, first_mark, end } = cut;
        let marks = &self.found.marks[first_mark..end.marks as usize];
        // A delimiter may be a blank.
        let before = if tag_at == base { 0 } else { marks.iter().take_while(|mark| mark.at() < tag_at).count() };
        let marks = &marks[before..];
        let buffer = &self.buffer[..self.filled];
        let mut segment = Segment::new(buffer, marks, tag_at, Tag::default(), end.released);
        segment.tag = tag_of(segment.raw_tag());
        let ends = match self.opening.dialect {
            Dialect::Edifact => b"UNZ\0",
            Dialect::X12 => b"IEA\0",
        };
        if segment.tag.as_bytes() == ends {
            self.scanner = None;
        }
        Piece {
            kind,
            raw: &buffer[base..stop],
            offset: self.offset + base as u64,
            gap: tag_at - base,
            unterminated,
            plain: !end.odd,
            segment,
            opening: &self.opening,
            base,
            marks,
        }
    }

    /// Where the tag of a segment begins, that starts at `from` and ends at `to` at the latest.
    #[inline]
    fn blanks_before(&self, from: usize, to: usize) -> usize {
        let bytes = &self.buffer[..to];
        let mut at = from;
        // A terminator of several bytes (`¦` in UTF-8) leaves its last ones here.
        if self.opening.delimiters.segment >= 0xC0 {
            at += bytes[at.min(to)..].iter().take_while(|byte| matches!(**byte, 0x80..=0xBF)).count();
        }
        while at < to && sniff::is_blank(bytes[at]) {
            at += 1;
        }
        at
    }

    /// Whether the last mark was set by [`Self::leftover`], not by a terminator.
    fn cut(&self, last: usize) -> bool {
        self.buffer.get(last) != Some(&self.opening.delimiters.segment)
    }

    /// What is left when the input has ended: a segment without terminator, or blanks.
    fn leftover(&mut self) -> Option<(Kind, usize)> {
        let rest = &self.buffer[self.start..self.filled];
        let skipped = if self.fresh { self.opening.segment } else { 0 };
        let text = rest.iter().rposition(|byte| !sniff::is_blank(*byte)).map_or(0, |at| at + 1);
        if !self.ended {
            self.scanner = None;
            return Some((Kind::TooLong, self.filled));
        }
        if text <= skipped {
            self.scanner = None;
            return (!rest.is_empty()).then_some((Kind::Tail, self.filled));
        }
        let end = self.start + text;
        // A delimiter may be a blank: it is not the end as well.
        let last = self.found.marks.last().map_or(0, |mark| mark.at() + 1);
        self.found.end(end.max(last));
        None
    }

    /// A piece that is no segment, up to `end`.
    fn outside(&mut self, kind: Kind, end: usize) -> Cut {
        let (base, stop) = (self.start, end.clamp(self.start, self.filled));
        self.start = stop;
        self.reset_marks();
        Cut { kind, base, tag_at: stop, stop, unterminated: false, first_mark: 0, end: End::default() }
    }

    /// Reads on until another segment ends; false at the end of the input or past the limit.
    fn more(&mut self) -> io::Result<bool> {
        while self.filled - self.start <= self.limits.segment && self.fill()? {
            self.scan();
            if !self.found.ends.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn scan(&mut self) {
        self.reset_marks();
        let from = if self.fresh { self.start + self.opening.segment } else { self.start };
        if let Some(scanner) = &self.scanner {
            scanner.scan(&self.buffer[..self.filled], from, &mut self.found);
        }
    }

    fn reset_marks(&mut self) {
        self.found.clear();
        (self.next_end, self.next_mark) = (0, 0);
    }

    /// Reads more behind what is kept; false at the end of the input.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.offset += self.start as u64;
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled * 2 > self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let before = self.filled;
        // A source may give little at a time: scanning again for each byte of it would take for ever.
        while self.filled < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.filled > before)
    }
}

/// The tag `raw` is; newlines a mail gateway put in are left out.
#[inline]
pub(crate) fn tag_of(raw: &[u8]) -> Tag {
    let tag = Tag::from_bytes(raw);
    if !tag.is_empty() || raw.len() > 8 || !raw.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return tag;
    }
    let kept: Vec<u8> = raw.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    Tag::from_bytes(&kept)
}
