//! Entries as the file has them.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{faults, timestamp};
use crate::message::{Fault, MessageId, Text, Value, json};
use crate::queue::{Decoded, Entry, EntryRef, NewEntry};

const COLUMNS: &str = "number, key, due, length(body), attempts, start_at, message, origin, time, headers, body";

/// What a row says before its bytes are needed.
pub struct Head {
    pub number: i64,
    pub key: Option<Text>,
    pub due: Option<jiff::Timestamp>,
    pub bytes: usize,
}

/// The entry with this number, unless `fits` refuses its size.
pub enum Loaded {
    Missing,
    NoRoom,
    Entry(Box<Entry>),
}

/// Reads rows after `cursor` in order, at most `most`, until `each` says stop.
pub fn scan(
    connection: &Connection,
    (queue, name): (i64, &Text),
    cursor: i64,
    most: usize,
    mut each: impl FnMut(&Head, &dyn Fn() -> Result<Entry, Fault>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let sql = format!("SELECT {COLUMNS} FROM entry_{queue} WHERE number > ? ORDER BY number LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![cursor, most as i64])?;
    while let Some(row) = rows.next()? {
        let head = head(row)?;
        if !each(&head, &|| entry(row, queue, name, &head))? {
            break;
        }
    }
    Ok(())
}

pub fn load(
    connection: &Connection,
    (queue, name): (i64, &Text),
    number: i64,
    fits: impl FnOnce(usize) -> bool,
) -> Result<Loaded, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM entry_{queue} WHERE number = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([number])?;
    let Some(row) = rows.next()? else { return Ok(Loaded::Missing) };
    let head = head(row)?;
    if !fits(head.bytes) {
        return Ok(Loaded::NoRoom);
    }
    Ok(Loaded::Entry(Box::new(entry(row, queue, name, &head)?)))
}

/// Numbers of `key` in `(after, until]`, at most `most`.
pub fn numbers_of(
    connection: &Connection,
    queue: i64,
    key: &str,
    (after, until): (i64, i64),
    most: usize,
) -> Result<Vec<i64>, Fault> {
    let sql = format!(
        "SELECT number FROM entry_{queue} WHERE number > ? AND number <= ? AND key = ? ORDER BY number LIMIT ?"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let numbers = statement.query_map(params![after, until, key, most as i64], |row| row.get(0))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// The keys of a queue, each with how many of its entries wait and whether a person must let it go on.
pub fn keys(connection: &Connection, queue: i64) -> Result<Vec<(Text, u64, bool)>, Fault> {
    let sql = format!(
        "SELECT key, sum(entries), max(held) FROM
            (SELECT key, count(*) AS entries, 0 AS held FROM entry_{queue} WHERE key IS NOT NULL GROUP BY key
             UNION ALL SELECT key, 0, 1 FROM held WHERE queue = ?)
         GROUP BY key ORDER BY key"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let keys = statement.query_map([queue], |row| {
        let entries = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        Ok((row.get::<_, String>(0)?.into(), entries, row.get(2)?))
    })?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// When the oldest entry was stored.
pub fn oldest(connection: &Connection, queue: i64) -> Result<Option<jiff::Timestamp>, Fault> {
    let sql = format!("SELECT stored FROM entry_{queue} ORDER BY number LIMIT 1");
    let stored: Option<i64> = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(stored.map(timestamp))
}

fn head(row: &Row<'_>) -> Result<Head, Fault> {
    let bytes: i64 = row.get(3)?;
    Ok(Head {
        number: row.get(0)?,
        key: row.get_ref(1)?.as_str_or_null().map_err(rusqlite::Error::from)?.map(Text::new),
        due: row.get::<_, Option<i64>>(2)?.map(timestamp),
        bytes: usize::try_from(bytes).unwrap_or(0),
    })
}

fn entry(row: &Row<'_>, queue: i64, name: &Text, head: &Head) -> Result<Entry, Fault> {
    let message = MessageId::from_bytes(row.get(6)?);
    let headers = match row.get_ref(9)?.as_str_or_null().map_err(rusqlite::Error::from)? {
        None => crate::message::Map::new(),
        Some(text) => match json::read(text.as_bytes()) {
            Ok(Value::Map(map)) => map,
            _ => return Err(faults::corrupt("the headers of a message are not readable")),
        },
    };
    let body = row.get_ref(10)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(Entry {
        at: EntryRef::new(queue, head.number),
        attempts: row.get(4)?,
        entry: NewEntry {
            queue: name.clone(),
            message,
            origin: row.get::<_, Option<[u8; 16]>>(7)?.map_or(message, MessageId::from_bytes),
            key: head.key.clone(),
            time: timestamp(row.get(8)?),
            headers,
            body: Bytes::copy_from_slice(body),
            start_at: row.get(5)?,
            due: head.due,
            decoded: Decoded::default(),
        },
    })
}
