//! Hops, kept cheaply: each commit appends its hops as a few packed pages; what finds them is built later, sorted.
//!
//! An index on message ids would change one page of the file for each hop, since ids are random. Instead the places of the
//! last hops are kept in memory (and found by reading their pages), and every [`SEGMENT`] places are written at once, in
//! order, as one segment of the index. A search asks each segment.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::{Event, Hop};
use crate::message::{Fault, MessageId, Text};
use crate::queue::embedded::{faults, nanoseconds, timestamp};

/// Bytes of hops after which a page is closed: what one look-up reads.
const PAGE: usize = 16 << 10;
/// Places in one segment of the index.
const SEGMENT: usize = 16_384;
/// Most hops of one message in an answer.
const MOST_HOPS: usize = 10_000;

/// The writing end, in the writer's thread.
pub struct JournalWriter {
    /// Closed pages of this group, and the one being filled.
    pages: Vec<Vec<u8>>,
    /// What finds the hops of each page, in the same order.
    hashes: Vec<Vec<i64>>,
    last_page: i64,
    committed_page: i64,
    last_segment: i64,
    /// Places not in the index yet: hash and page.
    places: Vec<(i64, i64)>,
    committed_places: usize,
    /// How many of `places` this transaction has put into the index.
    sealed: usize,
}

impl JournalWriter {
    pub fn load(connection: &Connection) -> Result<JournalWriter, Fault> {
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let last_page = one("SELECT coalesce(max(id), 0) FROM journal_page")?
            .max(one("SELECT coalesce(max(last_page), 0) FROM journal_segment")?);
        let last_segment = one("SELECT coalesce(max(id), 0) FROM journal_segment")?;
        let mut places = Vec::new();
        for_open_pages(connection, |page, hop| {
            places.extend(hashes(&hop).map(|hash| (hash, page)));
            true
        })?;
        let committed_places = places.len();
        Ok(JournalWriter {
            pages: Vec::new(),
            hashes: Vec::new(),
            last_page,
            committed_page: last_page,
            last_segment,
            places,
            committed_places,
            sealed: 0,
        })
    }

    pub fn add(&mut self, hops: &[Hop]) {
        for hop in hops {
            if self.pages.last().is_none_or(|page| page.len() >= PAGE) {
                self.pages.push(Vec::with_capacity(PAGE));
                self.hashes.push(Vec::new());
            }
            let (Some(page), Some(found_by)) = (self.pages.last_mut(), self.hashes.last_mut()) else { return };
            pack(hop, page);
            for hash in hashes(hop) {
                if found_by.last() != Some(&hash) {
                    found_by.push(hash);
                }
            }
        }
    }

    /// Writes the group's pages, and a segment of the index when there are places enough.
    pub fn write(&mut self, connection: &Connection, now: Timestamp) -> Result<(), Fault> {
        if self.committed_places >= SEGMENT {
            self.seal(connection)?;
        }
        for (page, found_by) in self.pages.iter().zip(&self.hashes) {
            self.last_page += 1;
            connection.prepare_cached("INSERT INTO journal_page (id, at, hops) VALUES (?, ?, ?)")?.execute(params![
                self.last_page,
                nanoseconds(now),
                page
            ])?;
            self.places.extend(found_by.iter().map(|hash| (*hash, self.last_page)));
        }
        Ok(())
    }

    pub fn committed(&mut self) {
        self.places.drain(..self.sealed);
        if self.sealed > 0 {
            self.last_segment += 1;
        }
        self.sealed = 0;
        self.committed_places = self.places.len();
        self.committed_page = self.last_page;
        self.clear();
    }

    pub fn undone(&mut self) {
        self.places.truncate(self.committed_places);
        self.sealed = 0;
        self.last_page = self.committed_page;
        self.clear();
    }

    fn clear(&mut self) {
        self.pages.clear();
        self.hashes.clear();
    }

    fn seal(&mut self, connection: &Connection) -> Result<(), Fault> {
        let segment = self.last_segment + 1;
        connection
            .prepare_cached("INSERT INTO journal_segment (id, last_page) VALUES (?, ?)")?
            .execute([segment, self.committed_page])?;
        let mut places = self.places[..self.committed_places].to_vec();
        places.sort_unstable();
        places.dedup();
        let mut insert =
            connection.prepare_cached("INSERT INTO journal_index (segment, hash, page) VALUES (?, ?, ?)")?;
        for (hash, page) in places {
            insert.execute([segment, hash, page])?;
        }
        self.sealed = self.committed_places;
        Ok(())
    }
}

/// The hops of a message and its descendants, oldest first.
pub fn read(connection: &Connection, origin: MessageId) -> Result<Vec<Hop>, Fault> {
    let mut hops = Vec::new();
    let mut keep = |_: i64, hop: Hop| {
        if hop.origin == origin {
            hops.push(hop);
        }
        hops.len() < MOST_HOPS
    };
    for_sealed_pages(connection, hash_of_id(origin), false, &mut keep)?;
    for_open_pages(connection, &mut keep)?;
    Ok(hops)
}

/// Origins whose track has `value`, newest first.
pub fn search(connection: &Connection, value: &str, most: u32) -> Result<Vec<MessageId>, Fault> {
    let most = most as usize;
    let has = |hop: &Hop| hop.track.iter().any(|(_, tracked)| tracked == value);
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for_open_pages(connection, |_, hop| {
        if has(&hop) {
            open.push(hop.origin);
        }
        true
    })?;
    for origin in open.into_iter().rev() {
        add(&mut found, origin, most);
    }
    for_sealed_pages(connection, hash_of_text(value), true, |_, hop| {
        if has(&hop) {
            add(&mut found, hop.origin, most);
        }
        found.len() < most
    })?;
    Ok(found)
}

/// Origins of the last hops, newest first.
pub fn recent(connection: &Connection, most: u32) -> Result<Vec<MessageId>, Fault> {
    let (mut found, mut seen) = (Vec::new(), std::collections::HashSet::new());
    let mut statement = connection.prepare_cached("SELECT id, hops FROM journal_page ORDER BY id DESC")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for hop in unpack(row)?.into_iter().rev() {
            if found.len() == most as usize {
                return Ok(found);
            }
            if seen.insert(hop.origin) {
                found.push(hop.origin);
            }
        }
    }
    Ok(found)
}

/// Forgets pages older than `before`, at most `most`, and the segments that stood for them only; true while there is more.
pub fn sweep(connection: &Connection, before: i64, most: i64) -> Result<bool, Fault> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM journal_page WHERE id IN (SELECT id FROM journal_page ORDER BY id LIMIT ?2) AND at <= ?1",
        )?
        .execute(params![before, most])?;
    let first: i64 =
        connection
            .query_row("SELECT coalesce(min(id), 9223372036854775807) FROM journal_page", [], |row| row.get(0))?;
    let places = connection
        .prepare_cached(
            "DELETE FROM journal_index WHERE segment =
             (SELECT id FROM journal_segment WHERE last_page < ? ORDER BY id LIMIT 1)",
        )?
        .execute([first])?;
    connection
        .prepare_cached(
            "DELETE FROM journal_segment WHERE id =
             (SELECT id FROM journal_segment WHERE last_page < ? ORDER BY id LIMIT 1)",
        )?
        .execute([first])?;
    Ok(forgotten == usize::try_from(most).unwrap_or(0) || places > 0)
}

fn add(found: &mut Vec<MessageId>, origin: MessageId, most: usize) {
    if found.len() < most && !found.contains(&origin) {
        found.push(origin);
    }
}

/// Every hop of the pages the index names, until `each` says stop.
fn for_sealed_pages(
    connection: &Connection,
    hash: i64,
    newest_first: bool,
    mut each: impl FnMut(i64, Hop) -> bool,
) -> Result<(), Fault> {
    let order = if newest_first { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT p.id, p.hops FROM journal_segment s CROSS JOIN journal_index i ON i.segment = s.id AND i.hash = ?
         CROSS JOIN journal_page p ON p.id = i.page ORDER BY s.id {order}, i.page {order}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([hash])?;
    while let Some(row) = rows.next()? {
        let mut hops = unpack(row)?;
        if newest_first {
            hops.reverse();
        }
        let page = row.get(0)?;
        for hop in hops {
            if !each(page, hop) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Every hop of the pages that no segment stands for yet, oldest first.
fn for_open_pages(connection: &Connection, mut each: impl FnMut(i64, Hop) -> bool) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, hops FROM journal_page
         WHERE id > (SELECT coalesce(max(last_page), 0) FROM journal_segment) ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let page = row.get(0)?;
        for hop in unpack(row)? {
            if !each(page, hop) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn unpack(row: &rusqlite::Row<'_>) -> Result<Vec<Hop>, Fault> {
    let packed = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    let mut unpacker = Unpacker(packed);
    let mut hops = Vec::new();
    while !unpacker.0.is_empty() {
        hops.push(unpacker.hop().ok_or_else(|| faults::corrupt("a page of the journal is not readable"))?);
    }
    Ok(hops)
}

fn hashes(hop: &Hop) -> impl Iterator<Item = i64> {
    std::iter::once(hash_of_id(hop.origin)).chain(hop.track.iter().map(|(_, value)| hash_of_text(value)))
}

fn hash_of_id(id: MessageId) -> i64 {
    let mut half = [0; 8];
    half.copy_from_slice(&id.as_bytes()[..8]);
    i64::from_be_bytes(half)
}

/// FNV-1a: kept in the file, so it never changes.
fn hash_of_text(text: &str) -> i64 {
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
