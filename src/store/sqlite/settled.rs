//! Marks of entries whose end was committed, though the broker may deliver them again.

use rusqlite::{Connection, OptionalExtension, params};

use crate::message::{Fault, MessageId, Text};
use crate::queue::embedded::faults;

/// Rows looked at by one sweep.
const PART: i64 = 2000;

/// # Errors
/// `STORE-STALE` where its end was told before.
pub fn write(connection: &Connection, entry: &(Text, MessageId), now: i64) -> Result<(), Fault> {
    let marked = connection
        .prepare_cached("INSERT OR IGNORE INTO settled (entry, at) VALUES (?, ?)")?
        .execute(params![place(entry).as_bytes().as_slice(), now])?;
    if marked == 0 { Err(faults::stale("the message")) } else { Ok(()) }
}

pub fn read(connection: &Connection, entries: &[(Text, MessageId)]) -> Result<Vec<bool>, Fault> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM settled WHERE entry = ?")?;
    entries.iter().map(|entry| Ok(statement.exists([place(entry).as_bytes().as_slice()])?)).collect()
}

/// Forgets marks older than `before` among the next after `from`; gives where to go on, or `None` at the end.
pub fn sweep(connection: &Connection, from: &[u8], before: i64) -> Result<Option<Vec<u8>>, Fault> {
    let last: Option<Vec<u8>> = connection
        .prepare_cached("SELECT entry FROM settled WHERE entry > ? ORDER BY entry LIMIT 1 OFFSET ?")?
        .query_row(params![from, PART], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("DELETE FROM settled WHERE entry > ?1 AND (?2 IS NULL OR entry <= ?2) AND at <= ?3")?
        .execute(params![from, last, before])?;
    Ok(last)
}

/// One message may wait in several queues.
fn place((queue, message): &(Text, MessageId)) -> MessageId {
    MessageId::derive(&[queue.as_bytes(), message.as_bytes()])
}
