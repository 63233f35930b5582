//! The queues in the database: parked entries, replays, whatever waits there and not at a broker.
//!
//! Numbers are commit-safe: a transaction that changes a queue locks the queue's row first, takes its numbers from there and
//! holds the lock until it commits. So the entries of a queue commit in the order of their numbers, whoever stores them, and
//! who has read up to a number has missed none below. Its `version` counts those transactions: who applies his own commits
//! in memory sees a gap where somebody else's came between, and reads anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::{Connection, Pool};
use super::faults::Failure;
use super::tables::{map, text_of};
use super::{id_of, uuid_of};
use crate::message::{Fault, MessageId, Text};
use crate::queue::embedded::{faults::stale, headers_text, nanoseconds, timestamp};
use crate::queue::{Decoded, Entry, EntryRef, NewEntry};
use crate::store::{Key, Retry};

const MAKE: &str = "INSERT INTO queue (name) SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING";
const IDS: &str = "SELECT id, name FROM queue WHERE name = ANY($1)";
pub const LOCK: &str = "SELECT id, last, entries, version FROM queue WHERE id = ANY($1) ORDER BY id FOR UPDATE";
pub const SAVE: &str = "UPDATE queue SET last = g.last, entries = g.entries, version = g.version
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS g (id, last, entries, version)
    WHERE queue.id = g.id";
pub const STORE: &str = "INSERT INTO entry
        (queue, number, lane, key, due, attempts, start_at, message, origin, time, stored, headers, body)
    SELECT g.queue, g.number, g.lane, g.key, g.due, g.attempts, g.start_at, g.message, g.origin, g.time, $11, g.headers, g.body
    FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[], $8::uuid[],
        $9::uuid[], $10::bigint[], $12::text[], $13::bytea[])
        AS g (queue, number, lane, key, due, attempts, start_at, message, origin, time, headers, body)";
pub const END: &str = "DELETE FROM entry USING unnest($1::bigint[], $2::bigint[]) AS g (queue, number)
    WHERE entry.queue = g.queue AND entry.number = g.number";
pub const RETRY: &str = "UPDATE entry SET due = g.due, attempts = attempts + g.counts
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS g (queue, number, due, counts)
    WHERE entry.queue = g.queue AND entry.number = g.number";
pub const IDENTITY: &str = "SELECT entry.queue, entry.number, key, message FROM entry
    JOIN unnest($1::bigint[], $2::bigint[]) AS g (queue, number) ON entry.queue = g.queue AND entry.number = g.number";
pub const HOLD: &str = "INSERT INTO held (queue, lane, key, at, message) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (queue, lane) DO UPDATE SET at = excluded.at, message = excluded.message";
pub const RELEASE: &str =
    "DELETE FROM held WHERE queue = $1 AND lane = $2 AND ($3::uuid IS NULL OR message = $3) RETURNING at";

const STATE: &str = "SELECT id, last, version FROM queue WHERE id = ANY($1) ORDER BY id";
const HELD: &str = "SELECT key FROM held WHERE queue = $1";
const STORED: &str = "SELECT number FROM entry WHERE queue = $1 AND number = ANY($2)";
const AHEAD: &str = "SELECT number, key, due, octet_length(body)::bigint FROM entry WHERE queue = $1 AND number > $2
    ORDER BY number LIMIT $3";
const SOME: &str =
    "SELECT number, key, due, octet_length(body)::bigint FROM entry WHERE queue = $1 AND number = ANY($2)";
const LOAD: &str = "SELECT number, key, due, attempts, start_at, message, origin, time, headers, body FROM entry
    WHERE queue = $1 AND number = ANY($2) ORDER BY number";
const BEHIND: &str = "SELECT number FROM entry WHERE queue = $1 AND lane = $2 AND number > $3 AND number <= $4
    ORDER BY number LIMIT $5";
const OLDEST: &str = "SELECT stored FROM entry WHERE queue = $1 ORDER BY number LIMIT 1";
const ENTRIES: &str = "SELECT id, entries FROM queue WHERE name = $1";
const ALL: &str = "SELECT name, entries FROM queue ORDER BY name";
const KEYS: &str = "WITH of AS (SELECT id FROM queue WHERE name = $1),
    waiting AS (SELECT lane, count(*) AS entries, min(number) AS first FROM entry
        WHERE queue = (SELECT id FROM of) AND lane IS NOT NULL GROUP BY lane)
    SELECT coalesce(held.key, (SELECT key FROM entry WHERE queue = (SELECT id FROM of) AND number = waiting.first)) AS key,
        coalesce(waiting.entries, 0), held.lane IS NOT NULL
    FROM waiting FULL JOIN (SELECT * FROM held WHERE queue = (SELECT id FROM of)) AS held ON held.lane = waiting.lane
    ORDER BY key";

/// Ids of queues by name; makes those that are new. Outside any transaction, so that what is known stays true.
pub async fn know(
    connection: &Connection,
    names: BTreeSet<&str>,
    known: &mut HashMap<Text, i64>,
) -> Result<(), Failure> {
    let names: Vec<&str> = names.into_iter().filter(|name| !known.contains_key(*name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    // Asked first: an insert that meets what is there uses up an id.
    find(connection, &names, known).await?;
    let new: Vec<&str> = names.into_iter().filter(|name| !known.contains_key(*name)).collect();
    if new.is_empty() {
        return Ok(());
    }
    connection.execute(MAKE, &[&new]).await?;
    find(connection, &new, known).await
}

/// Adds those of `names` that are there.
pub async fn find(connection: &Connection, names: &[&str], known: &mut HashMap<Text, i64>) -> Result<(), Failure> {
    for row in connection.query(IDS, &[&names]).await? {
        known.insert(row.try_get::<_, &str>(1)?.into(), row.try_get(0)?);
    }
    Ok(())
}

/// A queue as its transaction has it.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    pub last: i64,
    pub entries: i64,
    pub version: i64,
}

pub async fn lock(connection: &Connection, ids: &BTreeSet<i64>) -> Result<BTreeMap<i64, Counters>, Failure> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<i64> = ids.iter().copied().collect();
    let rows = connection.query(LOCK, &[&ids]).await?;
    let counters = rows.iter().map(|row| {
        let counters = Counters { last: row.try_get(1)?, entries: row.try_get(2)?, version: row.try_get(3)? };
        Ok((row.try_get(0)?, counters))
    });
    counters.collect()
}

/// Counts one more transaction of each.
pub async fn save(connection: &Connection, queues: &BTreeMap<i64, Counters>) -> Result<(), Failure> {
    if queues.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Counters) -> i64| queues.values().map(of).collect::<Vec<i64>>();
    let ids: Vec<i64> = queues.keys().copied().collect();
    let (last, entries, versions) =
        (column(|queue| queue.last), column(|queue| queue.entries.max(0)), column(|queue| queue.version + 1));
    connection.execute(SAVE, &[&ids, &last, &entries, &versions]).await.map(drop)
}

/// An entry to store, and where.
pub struct Placed<'a> {
    pub at: EntryRef,
    pub new: &'a NewEntry,
    pub attempts: u32,
    pub due: Option<Timestamp>,
}

pub async fn store(connection: &Connection, all: &[Placed<'_>], now: Timestamp) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    let queues: Vec<i64> = all.iter().map(|placed| placed.at.queue()).collect();
    let numbers: Vec<i64> = all.iter().map(|placed| placed.at.number()).collect();
    let lanes: Vec<Option<Uuid>> = all.iter().map(|placed| placed.new.key.as_deref().map(lane)).collect();
    let keys: Vec<Option<&[u8]>> = all.iter().map(|placed| placed.new.key.as_deref().map(str::as_bytes)).collect();
    let due: Vec<Option<i64>> = all.iter().map(|placed| placed.due.map(nanoseconds)).collect();
    let attempts: Vec<i64> = all.iter().map(|placed| i64::from(placed.attempts)).collect();
    let starts: Vec<i64> = all.iter().map(|placed| i64::from(placed.new.start_at)).collect();
    let messages: Vec<Uuid> = all.iter().map(|placed| uuid_of(placed.new.message)).collect();
    let origins: Vec<Uuid> = all.iter().map(|placed| uuid_of(placed.new.origin)).collect();
    let times: Vec<i64> = all.iter().map(|placed| nanoseconds(placed.new.time)).collect();
    let headers: Vec<String> = all.iter().map(|placed| headers_text(&placed.new.headers)).collect();
    let bodies: Vec<&[u8]> = all.iter().map(|placed| &placed.new.body[..]).collect();
    let stored = nanoseconds(now);
    connection
        .execute(
            STORE,
            &[
                &queues, &numbers, &lanes, &keys, &due, &attempts, &starts, &messages, &origins, &times, &stored,
                &headers, &bodies,
            ],
        )
        .await
        .map(drop)
}

fn places(all: &[EntryRef]) -> (Vec<i64>, Vec<i64>) {
    all.iter().map(|at| (at.queue(), at.number())).unzip()
}

/// # Errors
/// `STORE-STALE` where one was ended before.
pub async fn end(connection: &Connection, all: &[EntryRef]) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    let (queues, numbers) = places(all);
    let ended = connection.execute(END, &[&queues, &numbers]).await?;
    if ended == all.len() as u64 { Ok(()) } else { Err(stale("the message").into()) }
}

/// # Errors
/// `STORE-STALE` where one was ended before.
pub async fn retry(connection: &Connection, all: &[&Retry]) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    let queues: Vec<i64> = all.iter().map(|retry| retry.at.queue()).collect();
    let numbers: Vec<i64> = all.iter().map(|retry| retry.at.number()).collect();
    let due: Vec<i64> = all.iter().map(|retry| nanoseconds(retry.due)).collect();
    let counts: Vec<i64> = all.iter().map(|retry| i64::from(retry.counts)).collect();
    let returned = connection.execute(RETRY, &[&queues, &numbers, &due, &counts]).await?;
    if returned == all.len() as u64 { Ok(()) } else { Err(stale("the message").into()) }
}

/// Key and message of entries.
pub async fn identities(
    connection: &Connection,
    all: &[EntryRef],
) -> Result<HashMap<EntryRef, (Option<Text>, MessageId)>, Failure> {
    if all.is_empty() {
        return Ok(HashMap::new());
    }
    let (queues, numbers) = places(all);
    let rows = connection.query(IDENTITY, &[&queues, &numbers]).await?;
    let identity = |row: &Row| {
        let key = row.try_get::<_, Option<&[u8]>>(2)?.map(text_of).transpose()?;
        Ok((EntryRef::new(row.try_get(0)?, row.try_get(1)?), (key, id_of(row.try_get(3)?))))
    };
    rows.iter().map(identity).collect()
}

/// A key that stops, and the entry that stopped it: a replay of the same message takes its place again.
pub struct Hold<'a> {
    pub queue: i64,
    pub key: &'a Text,
    pub stopped: Option<(EntryRef, MessageId)>,
}

pub async fn hold(connection: &Connection, holds: &[Hold<'_>]) -> Result<(), Failure> {
    let all = holds.iter().map(async |hold| {
        let at = hold.stopped.map(|(at, _)| at.0);
        let message = hold.stopped.map(|(_, message)| uuid_of(message));
        connection.execute(HOLD, &[&hold.queue, &lane(hold.key), &hold.key.as_bytes(), &at, &message]).await.map(drop)
    });
    futures_util::future::join_all(all).await.into_iter().collect()
}

/// Lets a key go on, if it was stopped (by this message): gives the place of what had stopped it.
pub async fn release(
    connection: &Connection,
    (queue, key): (i64, &str),
    by: Option<MessageId>,
) -> Result<Option<Option<EntryRef>>, Failure> {
    let rows = connection.query(RELEASE, &[&queue, &lane(key), &by.map(uuid_of)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(row.try_get::<_, Option<i64>>(0)?.map(EntryRef)))
}

fn lane(key: &str) -> Uuid {
    uuid_of(MessageId::derive(&[key.as_bytes()]))
}

/// Where a queue stands: id, last number, version.
pub async fn states(connection: &Connection, ids: &[i64]) -> Result<Vec<(i64, i64, i64)>, Failure> {
    let rows = connection.query(STATE, &[&ids]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

pub async fn held(connection: &Connection, queue: i64) -> Result<Vec<Text>, Failure> {
    let rows = connection.query(HELD, &[&queue]).await?;
    rows.iter().map(|row| text_of(row.try_get(0)?)).collect()
}

/// Which of these numbers are still there.
pub async fn stored(connection: &Connection, queue: i64, numbers: &[i64]) -> Result<BTreeSet<i64>, Failure> {
    let rows = connection.query(STORED, &[&queue, &numbers]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// What a row says before its bytes are needed.
pub struct Head {
    pub number: i64,
    pub key: Option<Text>,
    pub due: Option<Timestamp>,
    pub bytes: usize,
}

fn head(row: &Row) -> Result<Head, Failure> {
    let bytes: i64 = row.try_get(3)?;
    Ok(Head {
        number: row.try_get(0)?,
        key: row.try_get::<_, Option<&[u8]>>(1)?.map(text_of).transpose()?,
        due: row.try_get::<_, Option<i64>>(2)?.map(timestamp),
        bytes: usize::try_from(bytes).unwrap_or(0),
    })
}

/// Heads after a number, in order.
pub async fn ahead(pool: &Pool, queue: i64, cursor: i64, most: usize) -> Result<Vec<Head>, Fault> {
    let rows = pool.query(AHEAD, &[&queue, &cursor, &(most as i64)]).await?;
    rows.iter().map(head).collect::<Result<_, _>>().map_err(Failure::fault)
}

/// Heads of these numbers, those that are there.
pub async fn heads(pool: &Pool, queue: i64, numbers: &[i64]) -> Result<HashMap<i64, Head>, Fault> {
    let rows = pool.query(SOME, &[&queue, &numbers]).await?;
    let heads = rows.iter().map(|row| head(row).map(|head| (head.number, head)));
    heads.collect::<Result<_, _>>().map_err(Failure::fault)
}

/// The entries of these numbers, those that are there, in order.
pub async fn load(pool: &Pool, queue: i64, name: &Text, numbers: &[i64]) -> Result<Vec<Entry>, Fault> {
    let rows = pool.query(LOAD, &[&queue, &numbers]).await?;
    rows.iter().map(|row| entry(row, queue, name)).collect::<Result<_, _>>().map_err(Failure::fault)
}

fn entry(row: &Row, queue: i64, name: &Text) -> Result<Entry, Failure> {
    let head_number: i64 = row.try_get(0)?;
    let number = |column| row.try_get(column).map(|number: i64| u32::try_from(number).unwrap_or(u32::MAX));
    Ok(Entry {
        at: EntryRef::new(queue, head_number),
        attempts: number(3)?,
        entry: NewEntry {
            queue: name.clone(),
            message: id_of(row.try_get(5)?),
            origin: id_of(row.try_get(6)?),
            key: row.try_get::<_, Option<&[u8]>>(1)?.map(text_of).transpose()?,
            time: timestamp(row.try_get(7)?),
            headers: map(row.try_get(8)?)?,
            body: bytes::Bytes::copy_from_slice(row.try_get(9)?),
            start_at: number(4)?,
            due: row.try_get::<_, Option<i64>>(2)?.map(timestamp),
            decoded: Decoded::default(),
        },
    })
}

/// Numbers of `key` in `(after, until]`, at most `most`.
pub async fn numbers_of(
    pool: &Pool,
    (queue, key): (i64, &str),
    (after, until): (i64, i64),
    most: usize,
) -> Result<Vec<i64>, Fault> {
    let rows = pool.query(BEHIND, &[&queue, &lane(key), &after, &until, &(most as i64)]).await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(fault)
}

/// When the oldest entry was stored.
pub async fn oldest(pool: &Pool, queue: i64) -> Result<Option<Timestamp>, Fault> {
    let rows = pool.query(OLDEST, &[&queue]).await?;
    rows.first().map(|row| row.try_get(0).map(timestamp)).transpose().map_err(fault)
}

/// Id and number of entries, where the queue is known.
pub async fn entries(pool: &Pool, name: &str) -> Result<Option<(i64, u64)>, Fault> {
    let rows = pool.query(ENTRIES, &[&name]).await?;
    let read = |row: &Row| Ok((row.try_get(0)?, unsigned(row.try_get(1)?)));
    rows.first().map(read).transpose().map_err(fault)
}

pub async fn all(pool: &Pool) -> Result<Vec<(Text, u64)>, Fault> {
    let rows = pool.query(ALL, &[]).await?;
    let read = |row: &Row| Ok((row.try_get::<_, &str>(0)?.into(), unsigned(row.try_get(1)?)));
    rows.iter().map(read).collect::<Result<_, _>>().map_err(fault)
}

pub async fn keys(pool: &Pool, name: &str) -> Result<Vec<Key>, Fault> {
    let rows = pool.query(KEYS, &[&name]).await?;
    let read = |row: &Row| {
        Ok(Key { key: text_of(row.try_get(0)?)?, entries: unsigned(row.try_get(1)?), held: row.try_get(2)? })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(Failure::fault)
}

fn fault(error: tokio_postgres::Error) -> Fault {
    Failure::from(error).fault()
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
