//! Rows of durable tables, cursors of sources, and how texts and maps are kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::connection::{Connection, Pool};
use super::faults::{self, Failure};
use super::uuid_of;
use crate::message::{Fault, Map, MessageId, Text, Value, json};
use crate::queue::embedded::{headers_text, nanoseconds};
use crate::store::RowWrite;

pub const WRITE: &str = "INSERT INTO durable_row (place, name, key, content, time, until)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[])
    ON CONFLICT (place) DO UPDATE SET content = excluded.content, time = excluded.time, until = excluded.until
    WHERE excluded.time >= durable_row.time";
const READ: &str = "SELECT content FROM durable_row WHERE place = $1 AND (until IS NULL OR until > $2)";
const LIST: &str = "SELECT content FROM durable_row WHERE name = $1 AND left(name, 1) = '@'
    AND substring(key from 1 for $2) = $3 AND (until IS NULL OR until > $4) ORDER BY time DESC LIMIT $5";
pub const WRITE_CURSORS: &str = "INSERT INTO source_cursor (name, value) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const READ_CURSOR: &str = "SELECT value FROM source_cursor WHERE name = $1";

pub async fn write(connection: &Connection, rows: &[&RowWrite]) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    // One row a place, as if they had been written in turn.
    let mut last: BTreeMap<Uuid, &RowWrite> = BTreeMap::new();
    for row in rows {
        let kept = last.entry(place(&row.table, &row.key)).or_insert(row);
        if row.time >= kept.time {
            *kept = row;
        }
    }
    let places: Vec<Uuid> = last.keys().copied().collect();
    let names: Vec<&str> = last.values().map(|row| row.table.as_str()).collect();
    let keys: Vec<&[u8]> = last.values().map(|row| row.key.as_bytes()).collect();
    let contents: Vec<String> = last.values().map(|row| headers_text(&row.row)).collect();
    let times: Vec<i64> = last.values().map(|row| nanoseconds(row.time)).collect();
    let until: Vec<Option<i64>> = last.values().map(|row| row.until.map(nanoseconds)).collect();
    connection.execute(WRITE, &[&places, &names, &keys, &contents, &times, &until]).await.map(drop)
}

pub async fn read(pool: &Pool, table: &str, key: &str, now: Timestamp) -> Result<Option<Map>, Fault> {
    let rows = pool.query(READ, &[&place(table, key), &nanoseconds(now)]).await?;
    let read = |row: &tokio_postgres::Row| map(row.try_get(0)?);
    rows.first().map(read).transpose().map_err(Failure::fault)
}

pub async fn list(pool: &Pool, table: &str, prefix: &str, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault> {
    let prefix = prefix.as_bytes();
    let length = i32::try_from(prefix.len()).unwrap_or(i32::MAX);
    let rows = pool.query(LIST, &[&table, &length, &prefix, &nanoseconds(now), &i64::from(most)]).await?;
    let read = |row: &tokio_postgres::Row| map(row.try_get(0)?);
    rows.iter().map(read).collect::<Result<_, Failure>>().map_err(Failure::fault)
}

fn place(table: &str, key: &str) -> Uuid {
    uuid_of(MessageId::derive(&[table.as_bytes(), key.as_bytes()]))
}

pub async fn write_cursors(connection: &Connection, cursors: &[&(Text, Value)]) -> Result<(), Failure> {
    if cursors.is_empty() {
        return Ok(());
    }
    let last: BTreeMap<&str, &Value> = cursors.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let names: Vec<&str> = last.keys().copied().collect();
    let values: Vec<String> = last.values().map(|value| json::to_text(value)).collect();
    connection.execute(WRITE_CURSORS, &[&names, &values]).await.map(drop)
}

pub async fn read_cursor(pool: &Pool, name: &str) -> Result<Option<Value>, Fault> {
    let rows = pool.query(READ_CURSOR, &[&name]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let text: &str = row.try_get(0).map_err(Failure::from).map_err(Failure::fault)?;
    json::read(text.as_bytes()).map(Some).map_err(|_| faults::corrupt("a cursor is not readable"))
}

/// A map as the database keeps it.
pub fn map(text: &str) -> Result<Map, Failure> {
    match json::read(text.as_bytes()) {
        Ok(Value::Map(map)) => Ok(map),
        _ => Err(faults::corrupt("a map in the database is not readable").into()),
    }
}

/// A text kept as bytes.
pub fn text_of(bytes: &[u8]) -> Result<Text, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| faults::corrupt("a text in the database is not readable"))?;
    Ok(Text::new(text))
}
