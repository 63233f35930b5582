//! One segment: a tag and elements, as ranges of bytes. Nothing is copied and nothing is decoded.

use super::{Mark, Tag};

/// A view of one segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The bytes the marks count in.
    bytes: &'a [u8],
    /// The delimiters, the terminator last.
    marks: &'a [Mark],
    /// Where the tag begins.
    start: usize,
    pub tag: Tag,
    /// Whether release characters may stand in the values.
    pub released: bool,
}

/// One element: what stands between two element separators.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    bytes: &'a [u8],
    /// The delimiters inside.
    marks: &'a [Mark],
    start: usize,
    end: usize,
}

/// One component: its raw bytes and where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component<'a> {
    pub raw: &'a [u8],
    /// Where `raw` begins in the buffer of the segment.
    pub at: usize,
}

impl<'a> Segment<'a> {
    /// `marks` must lie in `bytes`, in order, after `start`; the last one is the terminator.
    pub(crate) fn new(bytes: &'a [u8], marks: &'a [Mark], start: usize, tag: Tag, released: bool) -> Segment<'a> {
        Segment { bytes, marks, start, tag, released }
    }

    /// Where the tag begins, and where the terminator stands.
    #[inline]
    pub fn range(&self) -> (usize, usize) {
        (self.start, self.marks.last().map_or(self.start, |mark| mark.at()))
    }

    /// The bytes from the tag up to the terminator, without it.
    #[inline]
    pub fn raw(&self) -> &'a [u8] {
        let (start, end) = self.range();
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The bytes of the tag as they stand, which may be none of a tag.
    #[inline]
    pub fn raw_tag(&self) -> &'a [u8] {
        let end = self.marks.first().map_or(self.start, |mark| mark.at());
        self.bytes.get(self.start..end).unwrap_or_default()
    }

    /// The elements after the tag.
    #[inline]
    pub fn elements(&self) -> Elements<'a> {
        // Components in a tag (explicit nesting of syntax 1) are passed over.
        let first = self.marks.iter().position(|mark| mark.kind() >= Mark::ELEMENT).unwrap_or(self.marks.len());
        Elements { bytes: self.bytes, marks: self.marks.get(first..).unwrap_or_default() }
    }

    /// All values after the tag, each with the kind of the mark behind it.
    #[inline]
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'a [u8], u32)> + use<'a> {
        let (bytes, Elements { marks, .. }) = (self.bytes, self.elements());
        marks.windows(2).map(move |pair| {
            let raw = bytes.get(pair[0].at() + 1..pair[1].at()).unwrap_or_default();
            (raw, pair[1].kind())
        })
    }

    /// Element `number`, counted from 1.
    pub fn element(&self, number: usize) -> Option<Element<'a>> {
        self.elements().nth(number.checked_sub(1)?)
    }

    /// The raw bytes of a component, both counted from 1; empty if it is not there.
    pub fn component(&self, element: usize, component: usize) -> &'a [u8] {
        let number = component.saturating_sub(1);
        self.element(element).and_then(|found| found.components().nth(number)).map_or(&[], |found| found.raw)
    }
}

/// The elements of a segment.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    /// From the separator before the next element on.
    marks: &'a [Mark],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let (before, rest) = self.marks.split_first()?;
        let inside = rest.iter().position(|mark| mark.kind() >= Mark::ELEMENT)?;
        let (marks, left) = rest.split_at(inside);
        self.marks = left;
        Some(Element { bytes: self.bytes, marks, start: before.at() + 1, end: left[0].at() })
    }
}

impl<'a> Element<'a> {
    /// All of it, separators included.
    #[inline]
    pub fn raw(&self) -> &'a [u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    pub fn at(&self) -> usize {
        self.start
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether no separator stands inside.
    #[inline]
    pub fn is_simple(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether there is no value in it at all.
    pub fn is_void(&self) -> bool {
        self.end - self.start == self.marks.len()
    }

    /// The repetitions; one where nothing is repeated.
    #[inline]
    pub fn repetitions(&self) -> Parts<'a> {
        Parts { element: *self, done: false, by: Mark::REPETITION }
    }

    /// The components; those of all repetitions, if there are several.
    #[inline]
    pub fn components(&self) -> impl Iterator<Item = Component<'a>> + use<'a> {
        let parts = Parts { element: *self, done: false, by: Mark::COMPONENT };
        parts.map(|part| Component { raw: part.raw(), at: part.start })
    }
}

/// The parts of an element between separators of a kind.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    element: Element<'a>,
    done: bool,
    by: u32,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.done {
            return None;
        }
        let all = self.element;
        // Components end at repetitions too.
        let Some(cut) = all.marks.iter().position(|mark| mark.kind() >= self.by) else {
            self.done = true;
            return Some(all);
        };
        let end = all.marks[cut].at();
        self.element.marks = &all.marks[cut + 1..];
        self.element.start = end + 1;
        Some(Element { bytes: all.bytes, marks: &all.marks[..cut], start: all.start, end })
    }
}
