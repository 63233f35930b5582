//! One message in memory: its bytes as they came, and where everything stands in them.

use std::borrow::Cow;
use std::fmt;

use super::super::charset::Charset;
use super::super::findings::{Findings, Place};
use super::super::syntax::{Component, Delimiters, Dialect, Found, Mark, Piece, Scanner, Segment, Tag, tag_of};

/// One segment among the bytes of its message.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: Tag,
    start: u32,
    first_mark: u32,
    released: bool,
    plain: bool,
}

/// Segments as they came, one after the other, every byte kept.
#[derive(Clone, Debug, Default)]
pub struct Record {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    entries: Vec<Entry>,
    /// Where the bytes begin in the input.
    offset: u64,
}

impl Record {
    pub(crate) fn clear(&mut self, offset: u64) {
        self.bytes.clear();
        self.marks.clear();
        self.entries.clear();
        self.offset = offset;
    }

    /// Adds a piece: its segment, if it is one, and in any case its bytes.
    #[inline]
    pub(crate) fn push(&mut self, piece: &Piece<'_>) {
        if self.bytes.is_empty() {
            self.offset = piece.offset;
        }
        let before = self.bytes.len();
        self.bytes.extend_from_slice(piece.raw);
        if piece.marks.is_empty() || piece.segment.raw().is_empty() {
            return;
        }
        let plain = piece.plain || piece.segment.raw().iter().all(|byte| (0x20..0x7F).contains(byte));
        let entry = Entry {
            tag: piece.segment.tag,
            start: (before + piece.gap) as u32,
            first_mark: self.marks.len() as u32,
            released: piece.segment.released,
            plain,
        };
        // The sender bounds what is kept, so that places fit.
        let by = (before as u32).wrapping_sub(piece.base as u32);
        self.marks.extend(piece.marks.iter().map(|mark| mark.moved(by)));
        self.entries.push(entry);
    }

    /// The segments in `bytes`, which hold nothing else but newlines between them.
    pub(crate) fn scanned(bytes: &[u8], notation: &Notation) -> Record {
        let mut found = Found::default();
        Scanner::new(&notation.delimiters, notation.dialect).scan(bytes, 0, &mut found);
        let mut record = Record { bytes: bytes.to_vec(), ..Record::default() };
        let (mut start, mut first_mark) = (0, 0);
        for end in &found.ends {
            let last = end.marks as usize;
            start += bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let stop = found.marks[last - 1].at();
            let tag_end = found.marks[first_mark as usize].at();
            if start < stop {
                let plain = bytes[start..stop].iter().all(|byte| (0x20..0x7F).contains(byte));
                let tag = tag_of(&bytes[start..tag_end.max(start)]);
                record.entries.push(Entry { tag, start: start as u32, first_mark, released: end.released, plain });
            }
            (start, first_mark) = (stop + 1, end.marks);
        }
        record.marks = found.marks;
        record
    }

    /// Adds another record that follows in the input.
    pub(crate) fn append(&mut self, other: &Record) {
        let (before, marks) = (self.bytes.len() as u32, self.marks.len() as u32);
        self.bytes.extend_from_slice(&other.bytes);
        self.marks.extend(other.marks.iter().map(|mark| mark.moved(before)));
        let entries = other.entries.iter();
        self.entries.extend(entries.map(|entry| Entry {
            start: entry.start + before,
            first_mark: entry.first_mark + marks,
            ..*entry
        }));
    }

    /// Every byte, in order.
    pub fn raw(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the bytes begin in the input.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tag of segment `index`, counted from 0.
    #[inline]
    pub fn tag(&self, index: usize) -> Tag {
        self.entries.get(index).map_or(Tag::default(), |entry| entry.tag)
    }

    /// Segment `index`, counted from 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Segment<'_>> {
        let entry = self.entries.get(index)?;
        let end = self.entries.get(index + 1).map_or(self.marks.len(), |next| next.first_mark as usize);
        let marks = self.marks.get(entry.first_mark as usize..end)?;
        Some(Segment::new(&self.bytes, marks, entry.start as usize, entry.tag, entry.released))
    }

    /// Whether segment `index` holds only printable ASCII.
    #[inline]
    pub fn is_plain(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.plain)
    }

    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The place of segment `index`, counted from 0, as findings tell it.
    pub fn place(&self, message: u32, index: usize) -> Place {
        let Some(entry) = self.entries.get(index) else {
            return Place { message, offset: self.offset + self.bytes.len() as u64, ..Place::default() };
        };
        let (segment, offset) = (index as u32 + 1, self.offset + u64::from(entry.start));
        Place { message, segment, tag: entry.tag, offset, ..Place::default() }
    }
}

/// How the values of an interchange are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notation {
    pub dialect: Dialect,
    pub delimiters: Delimiters,
    pub charset: Charset,
    /// The syntax version of EDIFACT, 1 to 4; 0 for X12 or where none is stated.
    pub syntax: u8,
}

impl Default for Notation {
    fn default() -> Notation {
        Notation { dialect: Dialect::Edifact, delimiters: Delimiters::EDIFACT, charset: Charset::ASCII, syntax: 0 }
    }
}

impl Notation {
    /// The text of a raw component: release characters and newlines within it taken away, decoded.
    pub fn text<'a>(&self, raw: &'a [u8], released: bool) -> Cow<'a, str> {
        let release = self.delimiters.release.filter(|_| released);
        let clean = raw.iter().all(|byte| Some(*byte) != release && !matches!(byte, b'\r' | b'\n'));
        if clean {
            return self.charset.decode(raw).0;
        }
        let bytes: Vec<u8> = unescaped(raw, release).collect();
        Cow::Owned(self.charset.decode(&bytes).0.into_owned())
    }

    /// How many characters a raw component is.
    pub fn count(&self, raw: &[u8], released: bool) -> usize {
        let release = self.delimiters.release.filter(|_| released);
        let literal = release.unwrap_or_default();
        if raw.iter().fold(true, |clean, byte| clean & (b' '..0x80).contains(byte) & (*byte != literal)) {
            return raw.len();
        }
        if !raw.is_ascii() {
            return self.charset.count(&unescaped(raw, release).collect::<Vec<u8>>());
        }
        unescaped(raw, release).count()
    }

    /// The text of a component of `segment`, both counted from 1; empty if it is not there.
    pub fn value<'a>(&self, segment: &Segment<'a>, element: usize, component: usize) -> Cow<'a, str> {
        self.text(segment.component(element, component), segment.released)
    }
}

/// The bytes of a raw component without release characters and newlines.
fn unescaped(raw: &[u8], release: Option<u8>) -> impl Iterator<Item = u8> {
    let mut literal = false;
    raw.iter().copied().filter(move |byte| {
        literal = !literal && Some(*byte) == release;
        !literal && !matches!(byte, b'\r' | b'\n')
    })
}

/// What a message is: `ORDERS:D:96A:UN:EAN008`, `850` of `004010VICS`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MessageType {
    /// `ORDERS`, `850`.
    pub name: String,
    /// `D` (empty for X12).
    pub version: String,
    /// `96A`; of X12 the version of its group, `004010VICS`.
    pub release: String,
    /// `UN`; of X12 the agency of its group, `X`.
    pub agency: String,
    /// `EAN008`: the guideline; of X12 the one ST03 states.
    pub association: String,
}

/// `ORDERS D.96A (EAN008)`, `850 004010`
impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (self.version.is_empty(), self.release.is_empty()) {
            (true, true) => {}
            (true, false) => write!(f, " {}", self.release)?,
            (false, _) => write!(f, " {}.{}", self.version, self.release)?,
        }
        if self.association.is_empty() { Ok(()) } else { write!(f, " ({})", self.association) }
    }
}

/// A message: UNH to UNT, ST to SE.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub kind: MessageType,
    /// Its reference or control number, as UNH or ST states it.
    pub reference: String,
    /// Which message of its interchange, counted from 1.
    pub number: u32,
    pub notation: Notation,
    pub record: Record,
    /// What its envelope and its bytes showed; the tree adds what its definition shows.
    pub findings: Findings,
}

impl Message {
    /// The bytes as they came.
    pub fn raw(&self) -> &[u8] {
        self.record.raw()
    }

    pub fn text<'a>(&self, segment: &Segment<'a>, component: &Component<'a>) -> Cow<'a, str> {
        self.notation.text(component.raw, segment.released)
    }

    /// The place of segment `index`, counted from 0.
    pub fn place(&self, index: usize) -> Place {
        self.record.place(self.number, index)
    }

    /// The place of a segment that is missing before segment `index`: the number is that of the one before it.
    pub fn missing_at(&self, index: usize, tag: Tag) -> Place {
        let segment = u32::try_from(index).unwrap_or(u32::MAX);
        Place { segment, tag, ..self.place(index) }
    }
}
