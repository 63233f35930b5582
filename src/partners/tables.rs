//! What is remembered of exchanges, as rows of the hub's own tables. No table of `config/tables` can have these names.
//!
//! A row that was read and is written back counts as the newest, whatever the time of the message that does it: [`write`].

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::later;
use crate::message::{Fault, Map, Text, Value};
use crate::steps::{Answer, Ask, Effect, key_text};
use crate::store::Store;

/// The last number: by partner and direction.
pub const NUMBERS: &str = "@partner.numbers";
/// Interchanges of theirs: by partner and number.
pub const SEEN: &str = "@partner.seen";
/// Interchanges of ours, with the state of each document: by partner and number.
pub const SENT: &str = "@partner.sent";

/// How long what was sent is remembered.
pub const KEEP: Duration = Duration::from_secs(90 * 86_400);
/// Numbers are kept for as long as anybody counts.
const FOREVER: Duration = Duration::from_secs(100 * 366 * 86_400);
/// Under this column stands the time of the row.
const AT: &str = "at";

/// A row's key.
pub fn key(parts: &[&str]) -> Text {
    let parts: Vec<Value> = parts.iter().map(|part| Value::text(*part)).collect();
    key_text(&parts).unwrap_or_default()
}

/// The question for a row.
pub fn ask(table: &'static str, parts: &[&str]) -> Ask {
    let by =
        parts.iter().enumerate().map(|(at, part)| (format!("part{}", at + 1).into(), Value::text(*part))).collect();
    Ask::Row { table: Text::new_static(table), key: key(parts), by }
}

/// The answer to [`ask`].
pub fn row(answer: Option<Answer>) -> Option<Map> {
    match answer {
        Some(Answer::Row(row)) => row,
        _ => None,
    }
}

/// When a row was written.
pub fn time_of(row: &Map) -> Option<Timestamp> {
    row.get(AT)?.as_text()?.parse().ok()
}

/// Writes a row in the place of `before`, which was read: it is newer than that.
pub fn write(
    table: &'static str,
    parts: &[&str],
    before: Option<&Map>,
    mut row: Map,
    time: Timestamp,
    keep: Option<Duration>,
) -> Effect {
    let stored = before.and_then(time_of);
    let after = stored.map(|stored| later(stored, Duration::from_nanos(1)));
    let time = after.map_or(time, |after| after.max(time));
    row.insert(AT, time.to_string());
    let until = later(time, keep.unwrap_or(FOREVER));
    Effect::Remember { table: Text::new_static(table), key: key(parts), row, until, time: Some(time) }
}

/// A number as it is looked up: without the zeros it is filled with.
pub fn plain_number(number: &str) -> &str {
    let number = number.trim();
    let plain = number.trim_start_matches('0');
    if plain.is_empty() { number } else { plain }
}

/// Documents that were sent, of at most `most` interchanges, the newest first: partner, document, interchange, reference, when it
/// was sent, when an acknowledgment is due, state and reason.
///
/// # Errors
/// Those of the store.
pub async fn sent(store: &dyn Store, partner: Option<&str>, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault> {
    let prefix = partner.map(|partner| {
        let key = key(&[partner]);
        format!("{},", key.trim_end_matches(']'))
    });
    let rows = store.rows(SENT, prefix.as_deref().unwrap_or_default(), now, most).await?;
    let mut sent = Vec::new();
    for row in rows {
        let documents = row.get("documents").and_then(Value::as_list).unwrap_or_default();
        for document in documents.iter().filter_map(Value::as_map) {
            let mut line = document.clone();
            line.remove("body");
            for column in ["partner", "interchange", "sent_at", "due"] {
                if let Some(value) = row.get(column) {
                    line.insert(column, value.clone());
                }
            }
            sent.push(line);
        }
    }
    Ok(sent)
}
