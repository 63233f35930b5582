//! De-duplication keys: taken in the commit that stores what they guard.

use rusqlite::{Connection, OptionalExtension, params};

use crate::message::{Fault, MessageId};
use crate::queue::embedded::{Writing, nanoseconds};
use crate::store::Claim;

/// Rows looked at by one sweep.
const PART: i64 = 2000;

pub enum Seen {
    New,
    /// The same content came before, as this message.
    Same(MessageId),
    Other,
}

/// Takes the key, unless it is taken and its time has not passed. One that is `pending` was taken and never ended: the same
/// content takes it again.
pub fn claim(writing: &Writing<'_>, claim: &Claim, pending: bool) -> Result<Seen, Fault> {
    let connection = writing.connection;
    let key = place(claim);
    let found: Option<([u8; 16], [u8; 16], i64, bool)> = connection
        .prepare_cached("SELECT content, message, until, pending FROM claim WHERE key = ?")?
        .query_row([key.as_bytes().as_slice()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    match found {
        Some((content, message, until, begun)) if until > nanoseconds(writing.now) => match content == claim.content {
            false => Ok(Seen::Other),
            true if begun => put(connection, claim, pending).map(|()| Seen::New),
            true => Ok(Seen::Same(MessageId::from_bytes(message))),
        },
        _ => put(connection, claim, pending).map(|()| Seen::New),
    }
}

/// The taking has come to its end.
pub fn ended(connection: &Connection, claim: &Claim) -> Result<(), Fault> {
    put(connection, claim, false)
}

fn put(connection: &Connection, claim: &Claim, pending: bool) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO claim (key, content, message, until, pending) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![
            place(claim).as_bytes().as_slice(),
            claim.content.as_slice(),
            claim.message.as_bytes().as_slice(),
            nanoseconds(claim.until),
            pending
        ])?;
    Ok(())
}

/// Equal keys of different pipelines are different.
fn place(claim: &Claim) -> MessageId {
    MessageId::derive(&[claim.pipeline.as_bytes(), &claim.key])
}

/// Forgets claims past their time among the next keys after `from`; gives where to go on, or `None` at the end. An index
/// on the time would cost every intake a write.
pub fn sweep(connection: &Connection, from: &[u8], now: i64) -> Result<Option<Vec<u8>>, Fault> {
    let last: Option<Vec<u8>> = connection
        .prepare_cached("SELECT key FROM claim WHERE key > ? ORDER BY key LIMIT 1 OFFSET ?")?
        .query_row(params![from, PART], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("DELETE FROM claim WHERE key > ?1 AND (?2 IS NULL OR key <= ?2) AND until <= ?3")?
        .execute(params![from, last, now])?;
    Ok(last)
}
