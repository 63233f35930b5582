//! Hops, packed: the journal keeps them as a few pages a commit, in either database, each with the hashes that find it.

use crate::message::{MessageId, Text};
use crate::queue::embedded::{nanoseconds, timestamp};
use crate::store::{Event, Hop};

/// Bytes of hops after which a page is closed: what one look-up reads.
const PAGE: usize = 16 << 10;
/// Most hops of one message in an answer.
pub const MOST: usize = 10_000;

/// Some hops, one after the other, and what finds them.
#[derive(Default)]
pub struct Page {
    pub hops: Vec<u8>,
    pub found_by: Vec<i64>,
}

/// Adds hops to the last of the pages, and pages where it is full.
pub fn add(hops: &[Hop], pages: &mut Vec<Page>) {
    for hop in hops {
        if pages.last().is_none_or(|page| page.hops.len() >= PAGE) {
            pages.push(Page { hops: Vec::with_capacity(PAGE), found_by: Vec::new() });
        }
        let Some(page) = pages.last_mut() else { return };
        pack(hop, &mut page.hops);
        for hash in hashes(hop) {
            if page.found_by.last() != Some(&hash) {
                page.found_by.push(hash);
            }
        }
    }
}

/// The hops of a page, in order; `None` where it is damaged.
pub fn unpack(packed: &[u8]) -> Option<Vec<Hop>> {
    let mut unpacker = Unpacker(packed);
    let mut hops = Vec::new();
    while !unpacker.0.is_empty() {
        hops.push(unpacker.hop()?);
    }
    Some(hops)
}

/// What finds a hop: its origin and the values of its track.
pub fn hashes(hop: &Hop) -> impl Iterator<Item = i64> {
    std::iter::once(hash_of_id(hop.origin)).chain(hop.track.iter().map(|(_, value)| hash_of_text(value)))
}

pub fn hash_of_id(id: MessageId) -> i64 {
    let mut half = [0; 8];
    half.copy_from_slice(&id.as_bytes()[..8]);
    i64::from_be_bytes(half)
}

/// FNV-1a: kept in the store, so it never changes.
pub fn hash_of_text(text: &str) -> i64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    i64::from_be_bytes(hash.to_be_bytes())
}

const EVENTS: [Event; 11] = [
    Event::Accepted,
    Event::Repeat,
    Event::Conflict,
    Event::Filtered,
    Event::Joined,
    Event::Routed,
    Event::Delivered,
    Event::Retry,
    Event::Dead,
    Event::Replayed,
    Event::Discarded,
];

fn pack(hop: &Hop, out: &mut Vec<u8>) {
    let event = EVENTS.iter().position(|event| *event == hop.event).unwrap_or(0);
    out.push(u8::try_from(event).unwrap_or(0));
    out.extend_from_slice(hop.origin.as_bytes());
    out.push(u8::from(hop.message != hop.origin));
    if hop.message != hop.origin {
        out.extend_from_slice(hop.message.as_bytes());
    }
    out.extend_from_slice(&nanoseconds(hop.at).to_be_bytes());
    pack_number(u64::from(hop.count), out);
    pack_text(&hop.pipeline, out);
    // An empty text stands for none.
    pack_text(hop.destination.as_deref().unwrap_or_default(), out);
    pack_text(hop.note.as_deref().unwrap_or_default(), out);
    pack_number(hop.track.len() as u64, out);
    for (name, value) in &hop.track {
        pack_text(name, out);
        pack_text(value, out);
    }
}

fn pack_text(text: &str, out: &mut Vec<u8>) {
    pack_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, lowest first.
fn pack_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Unpacker<'a>(&'a [u8]);

impl Unpacker<'_> {
    fn hop(&mut self) -> Option<Hop> {
        let event = *EVENTS.get(usize::from(self.take(1)?[0]))?;
        let origin = self.id()?;
        let message = if self.take(1)?[0] == 0 { origin } else { self.id()? };
        let at = timestamp(i64::from_be_bytes(self.take(8)?.try_into().ok()?));
        let count = u32::try_from(self.number()?).ok()?;
        let pipeline = self.text()?;
        let destination = Some(self.text()?).filter(|text| !text.is_empty());
        let note = Some(self.text()?).filter(|text| !text.is_empty());
        let pairs = self.number()?;
        let mut track = Vec::new();
        for _ in 0..pairs {
            track.push((self.text()?, self.text()?));
        }
        Some(Hop { origin, message, pipeline, at, event, destination, note, count, track })
    }

    fn take(&mut self, bytes: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn id(&mut self) -> Option<MessageId> {
        Some(MessageId::from_bytes(self.take(16)?.try_into().ok()?))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<Text> {
        let bytes = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(bytes)?).ok().map(Text::new)
    }
}
