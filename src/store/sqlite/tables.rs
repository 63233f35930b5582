//! Rows of durable tables: the newest message's word counts, whatever order they are written in.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::message::{Fault, Map, Value, json};
use crate::queue::embedded::{faults, headers_text, nanoseconds};
use crate::store::RowWrite;

pub fn write(connection: &Connection, row: &RowWrite) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO durable_row (name, key, row, time, until) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (name, key) DO UPDATE SET row = excluded.row, time = excluded.time, until = excluded.until
             WHERE excluded.time >= time",
        )?
        .execute(params![
            row.table.as_str(),
            row.key.as_str(),
            headers_text(&row.row),
            nanoseconds(row.time),
            row.until.map(nanoseconds)
        ])?;
    Ok(())
}

pub fn read(connection: &Connection, table: &str, key: &str, now: Timestamp) -> Result<Option<Map>, Fault> {
    let text: Option<String> = connection
        .prepare_cached("SELECT row FROM durable_row WHERE name = ? AND key = ? AND (until IS NULL OR until > ?)")?
        .query_row(params![table, key, nanoseconds(now)], |row| row.get(0))
        .optional()?;
    text.map(|text| map(&text)).transpose()
}

pub fn list(connection: &Connection, table: &str, prefix: &str, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault> {
    let sql = "SELECT row FROM durable_row WHERE name = ?1 AND substr(key, 1, length(?2)) = ?2
        AND (until IS NULL OR until > ?3) ORDER BY time DESC, number DESC LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![table, prefix, nanoseconds(now), most], |row| row.get::<_, String>(0))?;
    rows.map(|text| map(&text?)).collect()
}

/// Forgets rows past their time, at most `most`; how many.
pub fn sweep(connection: &Connection, now: i64, most: i64) -> Result<usize, Fault> {
    let sql = "DELETE FROM durable_row WHERE number IN
        (SELECT number FROM durable_row WHERE until IS NOT NULL AND until <= ? ORDER BY until LIMIT ?)";
    Ok(connection.prepare_cached(sql)?.execute(params![now, most])?)
}

/// A map as the file keeps it.
pub fn map(text: &str) -> Result<Map, Fault> {
    match json::read(text.as_bytes()) {
        Ok(Value::Map(map)) => Ok(map),
        _ => Err(faults::corrupt("a map in it is not readable")),
    }
}
