//! Groups of `aggregate`: members by message id, so a repeat joins once; windows counted, so a group closes once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::message::{Fault, Value, json};
use crate::queue::embedded::{faults, nanoseconds, timestamp};
use crate::steps::{Group, GroupKey};
use crate::store::{DueGroup, GroupWrite};

/// Most members read with one group; `aggregate` bounds its groups far below.
const MEMBERS: i64 = 1_000_000;

pub fn write(connection: &Connection, write: &GroupWrite, now: Timestamp) -> Result<(), Fault> {
    match write {
        GroupWrite::Join { group, message, member, at, closes } => {
            let number = number(connection, group, now)?;
            let joined = connection
                .prepare_cached("INSERT OR IGNORE INTO member (grouping, message, value) VALUES (?, ?, ?)")?
                .execute(params![number, message.as_bytes().as_slice(), json::to_text(member)])?;
            if joined > 0 {
                connection
                    .prepare_cached(
                        "UPDATE grouping SET opened = coalesce(opened, ?2), closes = coalesce(?3, closes), touched = ?4
                         WHERE number = ?1",
                    )?
                    .execute(params![number, nanoseconds(*at), closes.map(nanoseconds), nanoseconds(now)])?;
            }
            Ok(())
        }
        GroupWrite::Close { group, window } => {
            let number = number(connection, group, now)?;
            let window = i64::try_from(*window).unwrap_or(i64::MAX - 1);
            let closed = connection
                .prepare_cached(
                    "UPDATE grouping SET window = window + 1, opened = NULL, closes = NULL, touched = ?3
                     WHERE number = ?1 AND window = ?2",
                )?
                .execute(params![number, window, nanoseconds(now)])?;
            if closed == 0 {
                return Err(faults::stale("the group"));
            }
            connection.prepare_cached("DELETE FROM member WHERE grouping = ?")?.execute([number])?;
            Ok(())
        }
    }
}

pub fn read(connection: &Connection, key: &GroupKey) -> Result<Group, Fault> {
    // One snapshot for the group and its members.
    let snapshot = connection.unchecked_transaction()?;
    let found: Option<(i64, i64, Option<i64>)> = snapshot
        .prepare_cached("SELECT number, window, opened FROM grouping WHERE pipeline = ? AND step = ? AND key = ?")?
        .query_row(params![key.pipeline.as_str(), key.step.as_str(), key.key.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match found {
        Some((number, window, opened)) => group(&snapshot, number, window, opened),
        None => Ok(Group { window: unsigned(first_window(&snapshot)?), ..Group::default() }),
    }
}

pub fn due(connection: &Connection, pipeline: &str, now: Timestamp, most: u32) -> Result<Vec<DueGroup>, Fault> {
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(
        "SELECT number, window, opened, pipeline, step, key FROM grouping
         WHERE closes IS NOT NULL AND closes <= ? AND pipeline = ? ORDER BY closes LIMIT ?",
    )?;
    let mut rows = statement.query(params![nanoseconds(now), pipeline, most])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, String>(column);
        let key = GroupKey { pipeline: text(3)?.into(), step: text(4)?.into(), key: text(5)?.into() };
        due.push(DueGroup { key, group: group(&snapshot, row.get(0)?, row.get(1)?, row.get(2)?)? });
    }
    Ok(due)
}

/// Forgets empty groups that nobody joined since `before`, at most `most`. A key that comes back starts at a window none of
/// the forgotten had reached, so the ids of its closed groups stay new.
pub fn sweep(connection: &Connection, before: i64, most: i64) -> Result<usize, Fault> {
    let which = "SELECT number FROM grouping WHERE opened IS NULL AND touched <= ?1 ORDER BY touched LIMIT ?2";
    let highest: Option<i64> = connection
        .prepare_cached(&format!("SELECT max(window) FROM grouping WHERE number IN ({which})"))?
        .query_row(params![before, most], |row| row.get(0))?;
    let Some(highest) = highest else { return Ok(0) };
    connection
        .prepare_cached(
            "INSERT INTO fact (name, value) VALUES ('first_window', ?1)
             ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute([highest])?;
    let forgotten = connection
        .prepare_cached(&format!("DELETE FROM grouping WHERE number IN ({which})"))?
        .execute(params![before, most])?;
    Ok(forgotten)
}

fn number(connection: &Connection, key: &GroupKey, now: Timestamp) -> Result<i64, Fault> {
    let names = params![key.pipeline.as_str(), key.step.as_str(), key.key.as_str()];
    let found = connection
        .prepare_cached("SELECT number FROM grouping WHERE pipeline = ? AND step = ? AND key = ?")?
        .query_row(names, |row| row.get(0))
        .optional()?;
    if let Some(number) = found {
        return Ok(number);
    }
    let values = params![
        key.pipeline.as_str(),
        key.step.as_str(),
        key.key.as_str(),
        first_window(connection)?,
        nanoseconds(now)
    ];
    connection
        .prepare_cached("INSERT INTO grouping (pipeline, step, key, window, touched) VALUES (?, ?, ?, ?, ?)")?
        .execute(values)?;
    Ok(connection.last_insert_rowid())
}

fn first_window(connection: &Connection) -> Result<i64, Fault> {
    let sql = "SELECT value FROM fact WHERE name = 'first_window'";
    let found = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

fn group(connection: &Connection, number: i64, window: i64, opened: Option<i64>) -> Result<Group, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT value FROM member WHERE grouping = ? ORDER BY number LIMIT ?")?;
    let mut rows = statement.query(params![number, MEMBERS])?;
    let mut members: Vec<Value> = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        members.push(json::read(text.as_bytes()).map_err(|_| faults::corrupt("a member of a group is not readable"))?);
    }
    Ok(Group { window: unsigned(window), opened: opened.map(timestamp), members })
}

fn unsigned(window: i64) -> u64 {
    u64::try_from(window).unwrap_or(0)
}
