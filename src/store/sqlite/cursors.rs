//! Where sources go on from.

use rusqlite::{Connection, OptionalExtension, params};

use crate::message::{Fault, Value, json};
use crate::queue::embedded::faults;

pub fn write(connection: &Connection, name: &str, value: &Value) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO cursor (name, value) VALUES (?, ?)")?
        .execute(params![name, json::to_text(value)])?;
    Ok(())
}

pub fn read(connection: &Connection, name: &str) -> Result<Option<Value>, Fault> {
    let text: Option<String> = connection
        .prepare_cached("SELECT value FROM cursor WHERE name = ?")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    text.map(|text| json::read(text.as_bytes()).map_err(|_| faults::corrupt("a cursor is not readable"))).transpose()
}
