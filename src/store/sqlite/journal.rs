//! Hops, kept cheaply: each commit appends its hops as a few packed pages; what finds them is built later, sorted.
//!
//! An index on message ids would change one page of the file for each hop, since ids are random. Instead the places of the
//! last hops are kept in memory (and found by reading their pages), and every [`SEGMENT`] places are written at once, in
//! order, as one segment of the index. A search asks each segment.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::message::{Fault, MessageId};
use crate::queue::embedded::{faults, nanoseconds};
use crate::store::Hop;
use crate::store::hops::{self, Page, hash_of_id, hash_of_text, hashes};

/// Places in one segment of the index.
const SEGMENT: usize = 16_384;
/// The writing end, in the writer's thread.
pub struct JournalWriter {
    /// Closed pages of this group, and the one being filled.
    pages: Vec<Page>,
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
            last_page,
            committed_page: last_page,
            last_segment,
            places,
            committed_places,
            sealed: 0,
        })
    }

    pub fn add(&mut self, hops: &[Hop]) {
        hops::add(hops, &mut self.pages);
    }

    /// Writes the group's pages, and a segment of the index when there are places enough.
    pub fn write(&mut self, connection: &Connection, now: Timestamp) -> Result<(), Fault> {
        if self.committed_places >= SEGMENT {
            self.seal(connection)?;
        }
        for page in &self.pages {
            self.last_page += 1;
            connection.prepare_cached("INSERT INTO journal_page (id, at, hops) VALUES (?, ?, ?)")?.execute(params![
                self.last_page,
                nanoseconds(now),
                page.hops
            ])?;
            self.places.extend(page.found_by.iter().map(|hash| (*hash, self.last_page)));
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
        self.pages.clear();
    }

    pub fn undone(&mut self) {
        self.places.truncate(self.committed_places);
        self.sealed = 0;
        self.last_page = self.committed_page;
        self.pages.clear();
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
    let mut found = Vec::new();
    let mut keep = |_: i64, hop: Hop| {
        if hop.origin == origin {
            found.push(hop);
        }
        found.len() < hops::MOST
    };
    for_sealed_pages(connection, hash_of_id(origin), false, &mut keep)?;
    for_open_pages(connection, &mut keep)?;
    Ok(found)
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
    hops::unpack(packed).ok_or_else(|| faults::corrupt("a page of the journal is not readable"))
}
