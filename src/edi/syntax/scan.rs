//! Finding delimiters, 64 bytes at a time.
//!
//! A block is compared with the five delimiters at once and becomes a word with one bit for each byte (the compiler turns
//! both loops into vector instructions); then only the bits that are set are looked at.

use super::{Delimiters, Dialect};

/// Where a delimiter stands, and which: the place times eight, plus the kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(u32);

/// Places in one buffer must fit beside the kind.
pub(crate) const FARTHEST: usize = (u32::MAX >> 3) as usize;

impl Mark {
    pub const COMPONENT: u32 = 1;
    pub const REPETITION: u32 = 2;
    pub const ELEMENT: u32 = 3;
    pub const SEGMENT: u32 = 4;

    #[inline]
    pub fn new(at: usize, kind: u32) -> Mark {
        debug_assert!(at <= FARTHEST);
        Mark(((at as u32) << 3) | kind)
    }

    #[inline]
    pub fn at(self) -> usize {
        (self.0 >> 3) as usize
    }

    #[inline]
    pub fn kind(self) -> u32 {
        self.0 & 7
    }

    /// The same delimiter in a buffer that begins `by` bytes later (or, wrapping, earlier).
    #[inline]
    #[must_use]
    pub fn moved(self, by: u32) -> Mark {
        Mark(self.0.wrapping_add(by << 3))
    }
}

const RELEASE: u8 = 5;
const BLOCK: usize = 64;

/// The end of a segment among the marks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    /// How many marks there are up to and with this one.
    pub marks: u32,
    /// Whether a release character stands in the segment.
    pub released: bool,
    /// Whether there may be bytes in it that are not printable ASCII: one of its blocks has some.
    pub odd: bool,
}

/// Finds the delimiters of one interchange.
#[derive(Clone)]
pub struct Scanner {
    needles: [u8; 5],
    kinds: [u8; 256],
}

/// What was found so far.
#[derive(Default)]
pub(crate) struct Found {
    pub marks: Vec<Mark>,
    pub ends: Vec<End>,
    /// The byte after a release character, not a delimiter whatever it is.
    literal: Option<usize>,
    released: bool,
    odd: bool,
}

impl Found {
    pub fn clear(&mut self) {
        self.marks.clear();
        self.ends.clear();
        self.literal = None;
        (self.released, self.odd) = (false, false);
    }

    /// Ends the last segment at `at`, where its terminator is missing.
    pub fn end(&mut self, at: usize) {
        self.marks.push(Mark::new(at, Mark::SEGMENT));
        self.ends.push(End { marks: self.marks.len() as u32, released: self.released, odd: self.odd });
        (self.released, self.odd) = (false, true);
    }
}

impl Scanner {
    pub fn new(delimiters: &Delimiters, dialect: Dialect) -> Scanner {
        let release = delimiters.release.filter(|_| dialect == Dialect::Edifact);
        let mut kinds = [0; 256];
        let mut needles = [delimiters.segment; 5];
        // The later entries win where two are equal: the terminator always ends a segment.
        let table = [
            (release, RELEASE),
            (delimiters.repetition, Mark::REPETITION as u8),
            (Some(delimiters.component), Mark::COMPONENT as u8),
            (Some(delimiters.element), Mark::ELEMENT as u8),
            (Some(delimiters.segment), Mark::SEGMENT as u8),
        ];
        for (needle, (byte, kind)) in needles.iter_mut().zip(table) {
            if let Some(byte) = byte {
                *needle = byte;
                kinds[usize::from(byte)] = kind;
            }
        }
        Scanner { needles, kinds }
    }

    /// Adds the delimiters of `bytes` from `from` on; places are those in `bytes`.
    pub(crate) fn scan(&self, bytes: &[u8], from: usize, found: &mut Found) {
        let mut at = from;
        let (blocks, rest) = bytes.get(from..).unwrap_or_default().as_chunks::<BLOCK>();
        for block in blocks {
            self.take(block, at, self.hits(block), found);
            at += BLOCK;
        }
        if !rest.is_empty() {
            let mut block = [b' '; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            let hits = self.hits(&block) & ((1 << rest.len()) - 1);
            self.take(&block, at, hits, found);
        }
    }

    /// One bit for each byte of `block` that is a delimiter.
    #[inline]
    fn hits(&self, block: &[u8; BLOCK]) -> u64 {
        let [a, b, c, d, e] = self.needles;
        let mut flags = [0u8; BLOCK];
        for (flag, byte) in flags.iter_mut().zip(block) {
            *flag = u8::from((*byte == a) | (*byte == b) | (*byte == c) | (*byte == d) | (*byte == e));
        }
        // Eight bytes of 0 or 1 become eight bits: the product brings byte i to bit 56 + i.
        let (words, _) = flags.as_chunks::<8>();
        words
            .iter()
            .rev()
            .fold(0, |bits, word| (bits << 8) | (u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56))
    }

    #[inline]
    fn take(&self, block: &[u8; BLOCK], start: usize, mut hits: u64, found: &mut Found) {
        let odd = block.iter().fold(false, |odd, byte| odd | !(0x20..0x7F).contains(byte));
        found.odd |= odd;
        while hits != 0 {
            let bit = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let (at, kind) = (start + bit, self.kinds[usize::from(block[bit & (BLOCK - 1)])]);
            if found.literal == Some(at) {
                continue;
            }
            if kind == RELEASE {
                found.literal = Some(at + 1);
                found.released = true;
                continue;
            }
            found.marks.push(Mark::new(at, u32::from(kind)));
            if u32::from(kind) == Mark::SEGMENT {
                found.ends.push(End { marks: found.marks.len() as u32, released: found.released, odd: found.odd });
                (found.released, found.odd) = (false, odd);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let mut found = Found::default();
        let delimiters = Delimiters { repetition: Some(b'*'), ..Delimiters::EDIFACT };
        Scanner::new(&delimiters, Dialect::Edifact).scan(text.as_bytes(), 0, &mut found);
        let mut marks = vec![b' '; text.len()];
        found.marks.iter().for_each(|mark| marks[mark.at()] = b" cres"[mark.kind() as usize]);
        assert_eq!(String::from_utf8_lossy(&marks), expect, "{text}");
    }

    #[test]
    fn delimiters_are_found_unless_released() {
        check("A+B:C*D'", " e c r s");
        check("A+?+B??+C?'D'", " e     e    s");
        check("???'+'", "    es");
        let long = "x".repeat(63);
        check(&format!("{long}?'+'"), &format!("{}  es", " ".repeat(63)));
    }

    #[test]
    fn a_released_segment_is_told() {
        let mut found = Found::default();
        Scanner::new(&Delimiters::EDIFACT, Dialect::Edifact).scan(b"A+B'C+?+'D'", 0, &mut found);
        assert_eq!(found.ends.iter().map(|end| end.released).collect::<Vec<_>>(), [false, true, false]);
    }
}
