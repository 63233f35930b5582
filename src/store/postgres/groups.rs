//! Groups of `aggregate`: members by message id, so a repeat joins once; windows counted (`turn`), so a group closes once.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::{Connection, Pool};
use super::faults::{self, Failure};
use super::uuid_of;
use crate::message::{Fault, MessageId, Value, json};
use crate::queue::embedded::{faults::stale, nanoseconds, timestamp};
use crate::steps::{Group, GroupKey};
use crate::store::{DueGroup, GroupWrite};

// An upsert, so that the group is locked until the commit, and not swept meanwhile.
pub const OPEN: &str = "INSERT INTO gathering (place, pipeline, step, key, turn, touched)
    SELECT g.place, g.pipeline, g.step, g.key, coalesce((SELECT value FROM fact WHERE name = 'first_window'), 0), $5
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS g (place, pipeline, step, key)
    ON CONFLICT (place) DO UPDATE SET touched = excluded.touched";
pub const JOIN: &str = "WITH given AS (
        SELECT g.*, gathering.number FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[])
            WITH ORDINALITY AS g (place, message, value, at, closes, turn)
        JOIN gathering ON gathering.place = g.place),
    joined AS (
        INSERT INTO member (gathering, message, value) SELECT number, message, value FROM given ORDER BY turn
        ON CONFLICT (gathering, message) DO NOTHING RETURNING gathering, message),
    summed AS (
        SELECT number, (array_agg(at ORDER BY turn))[1] AS at,
            (array_agg(closes ORDER BY turn DESC) FILTER (WHERE closes IS NOT NULL))[1] AS closes
        FROM given WHERE (number, message) IN (SELECT gathering, message FROM joined) GROUP BY number)
    UPDATE gathering SET opened = coalesce(gathering.opened, summed.at), closes = coalesce(summed.closes, gathering.closes)
    FROM summed WHERE gathering.number = summed.number";
pub const CLOSE: &str = "WITH closed AS (
        UPDATE gathering SET turn = turn + 1, opened = NULL, closes = NULL, touched = $3 WHERE place = $1 AND turn = $2
        RETURNING number),
    emptied AS (DELETE FROM member WHERE gathering IN (SELECT number FROM closed))
    SELECT number FROM closed";
const READ: &str = "SELECT turn, opened, (SELECT array_agg(value ORDER BY number) FROM member WHERE member.gathering = gathering.number)
    FROM gathering WHERE place = $1";
const FIRST: &str = "SELECT coalesce((SELECT value FROM fact WHERE name = 'first_window'), 0)";
const DUE: &str = "SELECT turn, opened, (SELECT array_agg(value ORDER BY number) FROM member WHERE member.gathering = gathering.number),
    pipeline, step, key FROM gathering
    WHERE closes IS NOT NULL AND closes <= $1 AND pipeline = $2 ORDER BY closes LIMIT $3";

/// Writes in turn: joins that follow each other go together.
pub async fn write(connection: &Connection, writes: &[&GroupWrite], now: Timestamp) -> Result<(), Failure> {
    for run in writes.chunk_by(|one, two| joins(one) && joins(two)) {
        match run {
            [GroupWrite::Close { group, window }] => close(connection, group, *window, now).await?,
            joins => join(connection, joins, now).await?,
        }
    }
    Ok(())
}

fn joins(write: &GroupWrite) -> bool {
    matches!(write, GroupWrite::Join { .. })
}

async fn open(connection: &Connection, groups: BTreeMap<Uuid, &GroupKey>, now: Timestamp) -> Result<(), Failure> {
    let places: Vec<Uuid> = groups.keys().copied().collect();
    let pipelines: Vec<&str> = groups.values().map(|key| key.pipeline.as_str()).collect();
    let steps: Vec<&str> = groups.values().map(|key| key.step.as_str()).collect();
    let keys: Vec<&[u8]> = groups.values().map(|key| key.key.as_bytes()).collect();
    connection.execute(OPEN, &[&places, &pipelines, &steps, &keys, &nanoseconds(now)]).await.map(drop)
}

async fn join(connection: &Connection, writes: &[&GroupWrite], now: Timestamp) -> Result<(), Failure> {
    let (mut groups, mut seen) = (BTreeMap::new(), HashSet::new());
    let (mut places, mut messages, mut values, mut times, mut ends) = (vec![], vec![], vec![], vec![], vec![]);
    for write in writes {
        let GroupWrite::Join { group, message, member, at, closes } = write else { continue };
        let place = place(group);
        groups.insert(place, group);
        if seen.insert((place, *message)) {
            places.push(place);
            messages.push(uuid_of(*message));
            values.push(json::to_text(member));
            times.push(nanoseconds(*at));
            ends.push(closes.map(nanoseconds));
        }
    }
    let join = async { connection.execute(JOIN, &[&places, &messages, &values, &times, &ends]).await };
    let (opened, joined) = tokio::join!(biased; open(connection, groups, now), join);
    opened?;
    joined.map(drop)
}

async fn close(connection: &Connection, group: &GroupKey, window: u64, now: Timestamp) -> Result<(), Failure> {
    let (place, window) = (place(group), i64::try_from(window).unwrap_or(i64::MAX - 1));
    let close = async { connection.query(CLOSE, &[&place, &window, &nanoseconds(now)]).await };
    let (opened, closed) = tokio::join!(biased; open(connection, [(place, group)].into(), now), close);
    opened?;
    if closed?.is_empty() { Err(stale("the group").into()) } else { Ok(()) }
}

pub async fn read(pool: &Pool, key: &GroupKey) -> Result<Group, Fault> {
    if let Some(row) = pool.query(READ, &[&place(key)]).await?.first() {
        return group(row).map_err(Failure::fault);
    }
    let rows = pool.query(FIRST, &[]).await?;
    let window = rows.first().map_or(Ok(0), |row| row.try_get(0));
    Ok(Group { window: unsigned(window.map_err(Failure::from).map_err(Failure::fault)?), ..Group::default() })
}

pub async fn due(pool: &Pool, pipeline: &str, now: Timestamp, most: u32) -> Result<Vec<DueGroup>, Fault> {
    let rows = pool.query(DUE, &[&nanoseconds(now), &pipeline, &i64::from(most)]).await?;
    let due = rows.iter().map(|row| {
        let text = |column| row.try_get::<_, &str>(column);
        let key = super::tables::text_of(row.try_get(5)?)?;
        let key = GroupKey { pipeline: text(3)?.into(), step: text(4)?.into(), key };
        Ok(DueGroup { key, group: group(row)? })
    });
    due.collect::<Result<_, Failure>>().map_err(Failure::fault)
}

fn place(key: &GroupKey) -> Uuid {
    uuid_of(MessageId::derive(&[key.pipeline.as_bytes(), key.step.as_bytes(), key.key.as_bytes()]))
}

fn group(row: &Row) -> Result<Group, Failure> {
    let values: Option<Vec<&str>> = row.try_get(2)?;
    let read = |text: &str| {
        json::read(text.as_bytes()).map_err(|_| Failure::from(faults::corrupt("a member of a group is not readable")))
    };
    let members: Vec<Value> = values.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()?;
    let opened: Option<i64> = row.try_get(1)?;
    Ok(Group { window: unsigned(row.try_get(0)?), opened: opened.map(timestamp), members })
}

fn unsigned(window: i64) -> u64 {
    u64::try_from(window).unwrap_or(0)
}
