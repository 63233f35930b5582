//! De-duplication keys, taken in one step (intake) or two (before and after a broker has the entry), and marks of entries
//! whose end was committed.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::Connection;
use super::faults::{self, Failure};
use super::{id_of, uuid_of};
use crate::message::{MessageId, Text};
use crate::queue::embedded::{faults::stale, nanoseconds};
use crate::store::Claim;

#[derive(Clone, Copy, Debug)]
pub enum Seen {
    New,
    /// The same content came before, as this message.
    Same(MessageId),
    Other,
}

pub const INSERT: &str = "INSERT INTO claim (key, content, message, until, pending)
    SELECT g.key, g.content, g.message, g.until, $5
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) AS g (key, content, message, until)
    ON CONFLICT (key) DO NOTHING RETURNING key";
const FIND: &str =
    "SELECT key, content, message, until, pending FROM claim WHERE key = ANY($1) ORDER BY key FOR UPDATE";
pub const UPDATE: &str = "UPDATE claim SET content = g.content, message = g.message, until = g.until, pending = $5
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) AS g (key, content, message, until)
    WHERE claim.key = g.key";
pub const END: &str = "INSERT INTO claim (key, content, message, until, pending)
    SELECT g.key, g.content, g.message, g.until, false
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) AS g (key, content, message, until)
    ON CONFLICT (key) DO UPDATE SET content = excluded.content, message = excluded.message, until = excluded.until,
        pending = false";
pub const SETTLE: &str = "INSERT INTO settled (entry, at) SELECT g, $2 FROM unnest($1::uuid[]) AS g ORDER BY g
    ON CONFLICT (entry) DO NOTHING";
pub const SETTLED: &str = "SELECT entry FROM settled WHERE entry = ANY($1)";

/// What is known of a key, as the claims of one call are looked at in turn.
struct Known {
    content: Uuid,
    message: Uuid,
    until: i64,
    pending: bool,
    /// Put there by this very call, and not told to anyone yet.
    fresh: bool,
}

/// Takes keys, unless they are taken and their time has not passed. One that is pending was taken and never ended: the same
/// content takes it again. Keys are touched in their order, so that two transactions do not wait for each other.
pub async fn take(
    connection: &Connection,
    claims: &[&Claim],
    pending: bool,
    now: Timestamp,
) -> Result<Vec<Seen>, Failure> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let mut firsts = BTreeMap::new();
    for claim in claims {
        firsts.entry(place(claim)).or_insert(*claim);
    }
    let inserted = run(connection, INSERT, &firsts, Some(pending)).await?;
    let mut known = HashMap::new();
    for row in &inserted {
        let key: Uuid = row.try_get(0)?;
        if let Some(claim) = firsts.get(&key) {
            known.insert(key, Known { fresh: true, ..known_of(claim, pending) });
        }
    }
    let others: Vec<Uuid> = firsts.keys().filter(|key| !known.contains_key(*key)).copied().collect();
    if !others.is_empty() {
        for row in connection.query(FIND, &[&others]).await? {
            known.insert(row.try_get(0)?, read(&row)?);
        }
    }
    let mut changed = BTreeMap::new();
    let mut seen = Vec::with_capacity(claims.len());
    for claim in claims {
        let key = place(claim);
        // Swept between the two statements: once more.
        let found = known.get_mut(&key).ok_or_else(|| Failure::Again(faults::busy()))?;
        seen.push(look(claim, found, now));
        if matches!(seen.last(), Some(Seen::New)) && !std::mem::take(&mut found.fresh) {
            *found = known_of(claim, pending);
            changed.insert(key, *claim);
        }
    }
    if !changed.is_empty() {
        run(connection, UPDATE, &changed, Some(pending)).await?;
    }
    Ok(seen)
}

fn look(claim: &Claim, found: &Known, now: Timestamp) -> Seen {
    if found.fresh || found.until <= nanoseconds(now) {
        Seen::New
    } else if found.content != Uuid::from_bytes(claim.content) {
        Seen::Other
    } else if found.pending {
        Seen::New
    } else {
        Seen::Same(id_of(found.message))
    }
}

fn known_of(claim: &Claim, pending: bool) -> Known {
    let (content, message) = (Uuid::from_bytes(claim.content), uuid_of(claim.message));
    Known { content, message, until: nanoseconds(claim.until), pending, fresh: false }
}

fn read(row: &Row) -> Result<Known, Failure> {
    Ok(Known {
        content: row.try_get(1)?,
        message: row.try_get(2)?,
        until: row.try_get(3)?,
        pending: row.try_get(4)?,
        fresh: false,
    })
}

/// The taking of these has come to its end.
pub async fn end(connection: &Connection, claims: &[&Claim]) -> Result<(), Failure> {
    if claims.is_empty() {
        return Ok(());
    }
    let last: BTreeMap<Uuid, &Claim> = claims.iter().map(|claim| (place(claim), *claim)).collect();
    run(connection, END, &last, None).await.map(drop)
}

async fn run(
    connection: &Connection,
    sql: &'static str,
    claims: &BTreeMap<Uuid, &Claim>,
    pending: Option<bool>,
) -> Result<Vec<Row>, Failure> {
    let keys: Vec<Uuid> = claims.keys().copied().collect();
    let contents: Vec<Uuid> = claims.values().map(|claim| Uuid::from_bytes(claim.content)).collect();
    let messages: Vec<Uuid> = claims.values().map(|claim| uuid_of(claim.message)).collect();
    let until: Vec<i64> = claims.values().map(|claim| nanoseconds(claim.until)).collect();
    match pending {
        Some(pending) => connection.query(sql, &[&keys, &contents, &messages, &until, &pending]).await,
        None => connection.query(sql, &[&keys, &contents, &messages, &until]).await,
    }
}

/// Equal keys of different pipelines are different.
fn place(claim: &Claim) -> Uuid {
    uuid_of(MessageId::derive(&[claim.pipeline.as_bytes(), &claim.key]))
}

/// Marks the ends of entries.
///
/// # Errors
/// `STORE-STALE` where one was told before.
pub async fn settle(connection: &Connection, entries: &[&(Text, MessageId)], now: Timestamp) -> Result<(), Failure> {
    if entries.is_empty() {
        return Ok(());
    }
    let places: Vec<Uuid> = entries.iter().map(|entry| settled_place(entry)).collect();
    let marked = connection.execute(SETTLE, &[&places, &nanoseconds(now)]).await?;
    if marked == places.len() as u64 { Ok(()) } else { Err(stale("the message").into()) }
}

/// One message may wait in several queues.
pub fn settled_place((queue, message): &(Text, MessageId)) -> Uuid {
    uuid_of(MessageId::derive(&[queue.as_bytes(), message.as_bytes()]))
}
