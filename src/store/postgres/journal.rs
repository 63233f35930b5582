//! Hops, as packed pages: each says what finds it, and one index over all pages keeps that.

use std::collections::HashSet;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::connection::{Connection, Pool};
use super::faults::{self, Failure};
use crate::message::{Fault, MessageId};
use crate::queue::embedded::nanoseconds;
use crate::store::Hop;
use crate::store::hops::{self, Page, hash_of_id, hash_of_text};

/// Pages read at a time.
const PART: i64 = 16;
/// Most pages looked at in one search.
const PAGES: i64 = 20_000;

pub const INSERT: &str = "INSERT INTO journal_page (at, found_by, hops) VALUES ($1, $2, $3)";
const FIND: &str = "SELECT id FROM journal_page WHERE found_by @> ARRAY[$1::bigint] ORDER BY id DESC LIMIT $2";
const READ: &str = "SELECT id, hops FROM journal_page WHERE id = ANY($1) ORDER BY id";
const LAST: &str = "SELECT id, hops FROM journal_page WHERE id < $1 ORDER BY id DESC LIMIT $2";

pub async fn write(connection: &Connection, pages: &[Page], now: Timestamp) -> Result<(), Failure> {
    let now = nanoseconds(now);
    let inserts =
        pages.iter().map(async |page| connection.execute(INSERT, &[&now, &page.found_by, &page.hops]).await.map(drop));
    futures_util::future::join_all(inserts).await.into_iter().collect()
}

/// The hops of a message and its descendants, oldest first.
pub async fn read(pool: &Pool, origin: MessageId) -> Result<Vec<Hop>, Fault> {
    let mut pages = find(pool, hash_of_id(origin)).await?;
    pages.reverse();
    let mut found = Vec::new();
    for part in pages.chunks(PART as usize) {
        for row in pool.query(READ, &[&part]).await? {
            found.extend(unpack(&row)?.into_iter().filter(|hop| hop.origin == origin));
        }
        if found.len() >= hops::MOST {
            found.truncate(hops::MOST);
            break;
        }
    }
    Ok(found)
}

/// Origins whose track has `value`, newest first.
pub async fn search(pool: &Pool, value: &str, most: u32) -> Result<Vec<MessageId>, Fault> {
    let pages = find(pool, hash_of_text(value)).await?;
    let mut found = Newest::new(most);
    for part in pages.chunks(PART as usize) {
        for row in pool.query(READ, &[&part]).await?.iter().rev() {
            for hop in unpack(row)?.iter().rev().filter(|hop| hop.track.iter().any(|(_, tracked)| tracked == value)) {
                if found.add(hop.origin) {
                    return Ok(found.all);
                }
            }
        }
    }
    Ok(found.all)
}

/// Origins of the last hops, newest first.
pub async fn recent(pool: &Pool, most: u32) -> Result<Vec<MessageId>, Fault> {
    let mut found = Newest::new(most);
    let mut before = i64::MAX;
    loop {
        let rows = pool.query(LAST, &[&before, &PART]).await?;
        let Some(last) = rows.last() else { return Ok(found.all) };
        before = last.try_get(0).map_err(Failure::from).map_err(Failure::fault)?;
        for row in &rows {
            for hop in unpack(row)?.iter().rev() {
                if found.add(hop.origin) {
                    return Ok(found.all);
                }
            }
        }
    }
}

struct Newest {
    all: Vec<MessageId>,
    seen: HashSet<MessageId>,
    most: usize,
}

impl Newest {
    fn new(most: u32) -> Newest {
        Newest { all: Vec::new(), seen: HashSet::new(), most: most as usize }
    }

    /// True when there are enough.
    fn add(&mut self, origin: MessageId) -> bool {
        if self.all.len() < self.most && self.seen.insert(origin) {
            self.all.push(origin);
        }
        self.all.len() >= self.most
    }
}

/// Pages that may have it, newest first.
async fn find(pool: &Pool, hash: i64) -> Result<Vec<i64>, Fault> {
    let rows = pool.query(FIND, &[&hash, &PAGES]).await?;
    let ids: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
    ids.map_err(|error: tokio_postgres::Error| Failure::from(error).fault())
}

fn unpack(row: &Row) -> Result<Vec<Hop>, Fault> {
    let packed: &[u8] = row.try_get(1).map_err(Failure::from).map_err(Failure::fault)?;
    hops::unpack(packed).ok_or_else(|| faults::corrupt("a page of the journal is not readable"))
}
