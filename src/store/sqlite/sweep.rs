//! Forgetting what is past its time, a bounded part at a call, so that no settle waits long behind it.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::{answers, claims, dead_letters, groups, journal, settled, tables};
use crate::message::Fault;
use crate::queue::embedded::nanoseconds;
use crate::store::Retention;

/// Rows of one kind forgotten in one call.
const PART: i64 = 500;
/// Pages given back to the file system in one call.
const PAGES: u32 = 500;

/// Where the walks over the claims and the settled entries stand.
#[derive(Default)]
pub struct Sweeper {
    claims_from: Vec<u8>,
    settled_from: Vec<u8>,
}

impl Sweeper {
    /// True while there may be more.
    pub fn sweep(&mut self, connection: &Connection, now: Timestamp, retention: Retention) -> Result<bool, Fault> {
        let (present, part) = (nanoseconds(now), PART as usize);
        let mut more = tables::sweep(connection, present, PART)? == part;
        more |= dead_letters::sweep(connection, before(now, retention.dead_letters), PART)? == part;
        more |= groups::sweep(connection, before(now, retention.journal), PART)? == part;
        more |= journal::sweep(connection, before(now, retention.journal), PART)?;
        more |= answers::sweep(connection, before(now, retention.answers()), PART)?;
        let claims_from = claims::sweep(connection, &self.claims_from, present)?;
        more |= claims_from.is_some();
        self.claims_from = claims_from.unwrap_or_default();
        let settled_from = settled::sweep(connection, &self.settled_from, before(now, retention.journal))?;
        more |= settled_from.is_some();
        self.settled_from = settled_from.unwrap_or_default();
        let free: u32 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        // Some free pages stay: giving back what the next message takes again is work for nothing.
        if free > 8 * PAGES {
            let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            more = true;
        }
        Ok(more)
    }
}

fn before(now: Timestamp, age: Duration) -> i64 {
    now.checked_sub(age).map_or(i64::MIN, nanoseconds)
}
