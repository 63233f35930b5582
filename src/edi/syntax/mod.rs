//! Bytes to segments: delimiters are looked for on bytes, whatever the character set; values stay where they are.
//!
//! [`Segments`] cuts any input into raw pieces, [`Segment`] is the view of one of them.

mod delimiters;
mod scan;
mod segment;
mod segments;
mod sniff;

pub(crate) use delimiters::shown;
pub use delimiters::{Delimiters, Dialect};
pub(crate) use scan::{FARTHEST, Found};
pub use scan::{Mark, Scanner};
pub use segment::{Component, Element, Parts, Segment};
pub(crate) use segments::tag_of;
pub use segments::{Kind, Limits, Piece, Segments};
pub use sniff::{Opening, sniff};

/// A name of up to four bytes: a segment tag (`NAD`, `N1`), a data element (`3035`) or a composite (`C082`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag([u8; 4]);

impl Tag {
    /// The first four bytes of `name`; the empty tag if they are not plain letters and digits.
    pub const fn new(name: &str) -> Tag {
        Tag::from_bytes(name.as_bytes())
    }

    #[inline]
    pub const fn from_bytes(name: &[u8]) -> Tag {
        let mut tag = [0; 4];
        let mut at = 0;
        while at < name.len() {
            if at == 4 || !name[at].is_ascii_alphanumeric() {
                return Tag([0; 4]);
            }
            tag[at] = name[at];
            at += 1;
        }
        Tag(tag)
    }

    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(4);
        // Only letters and digits are let in.
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }

    /// The letters, filled up with zeros.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    pub fn is_empty(self) -> bool {
        self.0[0] == 0
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
