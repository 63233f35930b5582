//! What was not delivered, with its bytes and cause.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::tables::map;
use crate::message::{Fault, MessageId, Text};
use crate::queue::embedded::{faults, headers_text, nanoseconds, timestamp};
use crate::queue::{Decoded, NewEntry};
use crate::store::{DeadFilter, DeadLetter};

/// Bytes of bodies in one answer: past it the answer ends early, and the next page goes on.
const PAGE_BYTES: usize = 16 << 20;

const COLUMNS: &str =
    "message, origin, pipeline, destination, key, time, at, headers, code, cause, step, position, attempts,
    replay_queue, replay_message, replay_origin, replay_key, replay_time, replay_headers, replay_start_at, replay_due,
    body, replay_body";

pub fn write(connection: &Connection, dead: &DeadLetter) -> Result<(), Fault> {
    let replay = &dead.replay;
    let replay_body = (replay.body != dead.body).then_some(&replay.body[..]);
    let sql = format!(
        "INSERT OR REPLACE INTO dead ({COLUMNS})
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    connection.prepare_cached(&sql)?.execute(params![
        dead.message.as_bytes().as_slice(),
        dead.origin.as_bytes().as_slice(),
        dead.pipeline.as_str(),
        dead.destination.as_deref(),
        dead.key.as_deref(),
        nanoseconds(dead.time),
        nanoseconds(dead.at),
        headers_text(&dead.headers),
        dead.code.as_str(),
        dead.cause,
        dead.step,
        dead.position,
        dead.attempts,
        replay.queue.as_str(),
        replay.message.as_bytes().as_slice(),
        replay.origin.as_bytes().as_slice(),
        replay.key.as_deref(),
        nanoseconds(replay.time),
        headers_text(&replay.headers),
        replay.start_at,
        replay.due.map(nanoseconds),
        &dead.body[..],
        replay_body,
    ])?;
    Ok(())
}

/// What a removed dead letter would have stored again.
pub struct Removed {
    pub queue: Text,
    pub key: Option<Text>,
    pub message: MessageId,
}

/// # Errors
/// `STORE-STALE` where it was dealt with before.
pub fn remove(connection: &Connection, message: MessageId) -> Result<Removed, Fault> {
    let sql = "DELETE FROM dead WHERE message = ? RETURNING replay_queue, replay_key, replay_message";
    let removed: Option<(String, Option<String>, [u8; 16])> = connection
        .prepare_cached(sql)?
        .query_row([message.as_bytes().as_slice()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((queue, key, replay)) = removed else { return Err(faults::stale("the dead letter")) };
    Ok(Removed { queue: queue.into(), key: key.map(Text::from), message: MessageId::from_bytes(replay) })
}

pub fn read(connection: &Connection, message: MessageId) -> Result<Option<DeadLetter>, Fault> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM dead WHERE message = ?"))?;
    let mut rows = statement.query([message.as_bytes().as_slice()])?;
    rows.next()?.map(dead_letter).transpose()
}

pub fn list(connection: &Connection, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dead
         WHERE number > coalesce((SELECT number FROM dead WHERE message = ?1), 0)
           AND (?2 IS NULL OR pipeline = ?2) AND (?3 IS NULL OR destination = ?3) AND (?4 IS NULL OR code = ?4)
         ORDER BY number LIMIT ?5"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        filter.after.as_ref().map(|id| id.as_bytes().as_slice()),
        filter.pipeline.as_deref(),
        filter.destination.as_deref(),
        filter.code.as_deref(),
        filter.most
    ])?;
    let (mut letters, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let letter = dead_letter(row)?;
        bytes += letter.body.len() + letter.replay.body.len();
        letters.push(letter);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(letters)
}

pub fn count(connection: &Connection) -> Result<Vec<(Text, u64)>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT pipeline, count(*) FROM dead GROUP BY pipeline ORDER BY pipeline")?;
    let counts = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let counts: Vec<_> = counts.collect::<Result<_, _>>()?;
    Ok(counts.into_iter().map(|(pipeline, count)| (pipeline.into(), u64::try_from(count).unwrap_or(0))).collect())
}

/// Forgets those given up before `before`, at most `most`, in the order they were given up. One that stops a key stays.
pub fn sweep(connection: &Connection, before: i64, most: i64) -> Result<usize, Fault> {
    let sql = "DELETE FROM dead WHERE number IN (SELECT number FROM dead
        WHERE at <= ? AND NOT EXISTS (SELECT 1 FROM held WHERE held.message = dead.replay_message) ORDER BY number LIMIT ?)";
    Ok(connection.prepare_cached(sql)?.execute(params![before, most])?)
}

fn dead_letter(row: &Row<'_>) -> Result<DeadLetter, Fault> {
    let id = |column| row.get::<_, [u8; 16]>(column).map(MessageId::from_bytes);
    let text = |column| row.get::<_, String>(column).map(Text::from);
    let optional = |column| row.get::<_, Option<String>>(column);
    let time = |column| row.get::<_, i64>(column).map(timestamp);
    let body = Bytes::from(row.get::<_, Vec<u8>>(21)?);
    let replay = NewEntry {
        queue: text(13)?,
        message: id(14)?,
        origin: id(15)?,
        key: optional(16)?.map(Text::from),
        time: time(17)?,
        headers: map(&text(18)?)?,
        body: row.get::<_, Option<Vec<u8>>>(22)?.map_or_else(|| body.clone(), Bytes::from),
        start_at: row.get(19)?,
        due: row.get::<_, Option<i64>>(20)?.map(timestamp),
        decoded: Decoded::default(),
    };
    Ok(DeadLetter {
        message: id(0)?,
        origin: id(1)?,
        pipeline: text(2)?,
        destination: optional(3)?.map(Text::from),
        key: optional(4)?.map(Text::from),
        time: time(5)?,
        at: time(6)?,
        headers: map(&text(7)?)?,
        body,
        code: text(8)?,
        cause: row.get(9)?,
        step: optional(10)?,
        position: optional(11)?,
        attempts: row.get(12)?,
        replay,
    })
}
