//! What was not delivered, with its bytes and cause.

use std::collections::HashMap;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::{Connection, Pool};
use super::faults::Failure;
use super::tables::{map, text_of};
use super::{id_of, uuid_of};
use crate::message::{Fault, MessageId, Text};
use crate::queue::embedded::{faults::stale, headers_text, nanoseconds, timestamp};
use crate::queue::{Decoded, NewEntry};
use crate::store::{DeadFilter, DeadLetter};

/// Bytes of bodies in one answer: past it the answer ends early, and the next page goes on.
const PAGE_BYTES: i64 = 16 << 20;

pub const FORGET: &str = "DELETE FROM dead WHERE message = ANY($1)";
pub const INSERT: &str =
    "INSERT INTO dead (message, origin, pipeline, destination, key, time, at, headers, code, cause, step, place, attempts,
        replay_queue, replay_message, replay_origin, replay_key, replay_time, replay_headers, replay_start_at, replay_due,
        body, replay_body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)";
pub const REMOVE: &str = "DELETE FROM dead WHERE message = ANY($1)
    RETURNING message, replay_queue, replay_key, replay_message";
const READ: &str = "SELECT message, origin, pipeline, destination, key, time, at, headers, code, cause, step, place, attempts,
        replay_queue, replay_message, replay_origin, replay_key, replay_time, replay_headers, replay_start_at, replay_due,
        body, replay_body FROM dead WHERE message = ANY($1) ORDER BY number";
const LIST: &str = "SELECT message, octet_length(body)::bigint + coalesce(octet_length(replay_body), 0)::bigint FROM dead
    WHERE number > coalesce((SELECT number FROM dead WHERE message = $1), 0)
      AND ($2::text IS NULL OR pipeline = $2) AND ($3::text IS NULL OR destination = $3) AND ($4::text IS NULL OR code = $4)
    ORDER BY number LIMIT $5";
const COUNT: &str = "SELECT pipeline, count(*) FROM dead GROUP BY pipeline ORDER BY pipeline";

pub async fn write(connection: &Connection, all: &[DeadLetterRef<'_>]) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    // The last word on a message counts.
    let last: HashMap<MessageId, usize> = all.iter().enumerate().map(|(n, dead)| (dead.message, n)).collect();
    let messages: Vec<Uuid> = last.keys().map(|message| uuid_of(*message)).collect();
    let forget = async { connection.execute(FORGET, &[&messages]).await.map(drop) };
    let kept = all.iter().enumerate().filter(|(n, dead)| last.get(&dead.message) == Some(n));
    let inserts = futures_util::future::join_all(kept.map(|(_, dead)| insert(connection, dead)));
    let (forgotten, inserted) = tokio::join!(biased; forget, inserts);
    forgotten?;
    inserted.into_iter().collect()
}

type DeadLetterRef<'a> = std::borrow::Cow<'a, DeadLetter>;

async fn insert(connection: &Connection, dead: &DeadLetter) -> Result<(), Failure> {
    let replay = &dead.replay;
    let replay_body = (replay.body != dead.body).then_some(&replay.body[..]);
    connection
        .execute(
            INSERT,
            &[
                &uuid_of(dead.message),
                &uuid_of(dead.origin),
                &dead.pipeline.as_str(),
                &dead.destination.as_deref(),
                &dead.key.as_deref().map(str::as_bytes),
                &nanoseconds(dead.time),
                &nanoseconds(dead.at),
                &headers_text(&dead.headers),
                &dead.code.as_str(),
                &dead.cause.as_bytes(),
                &dead.step.as_deref().map(str::as_bytes),
                &dead.position.as_deref().map(str::as_bytes),
                &i64::from(dead.attempts),
                &replay.queue.as_str(),
                &uuid_of(replay.message),
                &uuid_of(replay.origin),
                &replay.key.as_deref().map(str::as_bytes),
                &nanoseconds(replay.time),
                &headers_text(&replay.headers),
                &i64::from(replay.start_at),
                &replay.due.map(nanoseconds),
                &&dead.body[..],
                &replay_body,
            ],
        )
        .await
        .map(drop)
}

/// What a removed dead letter would have stored again.
pub struct Removed {
    pub dead: MessageId,
    pub queue: Text,
    pub key: Option<Text>,
    pub message: MessageId,
}

/// # Errors
/// `STORE-STALE` where one was dealt with before.
pub async fn remove(connection: &Connection, messages: &[MessageId]) -> Result<Vec<Removed>, Failure> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let uuids: Vec<Uuid> = messages.iter().map(|message| uuid_of(*message)).collect();
    let rows = connection.query(REMOVE, &[&uuids]).await?;
    if rows.len() != messages.len() {
        return Err(stale("the dead letter").into());
    }
    let removed = rows.iter().map(|row| {
        Ok(Removed {
            dead: id_of(row.try_get(0)?),
            queue: row.try_get::<_, &str>(1)?.into(),
            key: row.try_get::<_, Option<&[u8]>>(2)?.map(text_of).transpose()?,
            message: id_of(row.try_get(3)?),
        })
    });
    removed.collect()
}

pub async fn read(pool: &Pool, message: MessageId) -> Result<Option<DeadLetter>, Fault> {
    let rows = pool.query(READ, &[&vec![uuid_of(message)]]).await?;
    rows.first().map(dead_letter).transpose().map_err(Failure::fault)
}

pub async fn list(pool: &Pool, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
    let (pipeline, destination, code) =
        (filter.pipeline.as_deref(), filter.destination.as_deref(), filter.code.as_deref());
    let after = filter.after.map(uuid_of);
    let heads = pool.query(LIST, &[&after, &pipeline, &destination, &code, &i64::from(filter.most)]).await?;
    let (mut messages, mut bytes) = (Vec::new(), 0_i64);
    for head in &heads {
        let (message, size) = (head.try_get::<_, Uuid>(0), head.try_get::<_, i64>(1));
        let (message, size) = (message.map_err(fault)?, size.map_err(fault)?);
        messages.push(message);
        bytes += size;
        if bytes > PAGE_BYTES {
            break;
        }
    }
    let rows = pool.query(READ, &[&messages]).await?;
    rows.iter().map(dead_letter).collect::<Result<_, _>>().map_err(Failure::fault)
}

pub async fn count(pool: &Pool) -> Result<Vec<(Text, u64)>, Fault> {
    let rows = pool.query(COUNT, &[]).await?;
    let count = |row: &Row| {
        let count: i64 = row.try_get(1)?;
        Ok((row.try_get::<_, &str>(0)?.into(), u64::try_from(count).unwrap_or(0)))
    };
    rows.iter().map(count).collect::<Result<_, tokio_postgres::Error>>().map_err(fault)
}

fn fault(error: tokio_postgres::Error) -> Fault {
    Failure::from(error).fault()
}

fn dead_letter(row: &Row) -> Result<DeadLetter, Failure> {
    let id = |column| row.try_get(column).map(id_of);
    let text = |column| row.try_get::<_, &str>(column).map(Text::new);
    let words = |column| row.try_get::<_, Option<&[u8]>>(column)?.map(text_of).transpose();
    let time = |column| row.try_get(column).map(timestamp);
    let number = |column| row.try_get(column).map(|number: i64| u32::try_from(number).unwrap_or(u32::MAX));
    let body = Bytes::copy_from_slice(row.try_get(21)?);
    let replay = NewEntry {
        queue: text(13)?,
        message: id(14)?,
        origin: id(15)?,
        key: words(16)?,
        time: time(17)?,
        headers: map(row.try_get(18)?)?,
        body: row.try_get::<_, Option<&[u8]>>(22)?.map_or_else(|| body.clone(), Bytes::copy_from_slice),
        start_at: number(19)?,
        due: row.try_get::<_, Option<i64>>(20)?.map(timestamp),
        decoded: Decoded::default(),
    };
    let cause: Option<Text> = words(9)?;
    Ok(DeadLetter {
        message: id(0)?,
        origin: id(1)?,
        pipeline: text(2)?,
        destination: row.try_get::<_, Option<&str>>(3)?.map(Text::new),
        key: words(4)?,
        time: time(5)?,
        at: time(6)?,
        headers: map(row.try_get(7)?)?,
        body,
        code: text(8)?,
        cause: cause.unwrap_or_default().to_string(),
        step: words(10)?.map(|step: Text| step.to_string()),
        position: words(11)?.map(|position: Text| position.to_string()),
        attempts: number(12)?,
        replay,
    })
}
