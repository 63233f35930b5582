//! Numbers that leave no gap and are never used twice: allocated in a commit of their own before what carries them leaves.
//!
//! The commit says which message has the number, and which number the message has. Whatever repeats the message (a kill between
//! what was published and what was committed) finds its number again; another message, of an instance that woke up late, is
//! refused the number as stale and takes the next.

use jiff::Timestamp;

use super::Works;
use super::stage::settle_for_good;
use crate::clock::later;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::steps::{Beside, Counter, Number, key_text};
use crate::store::{AnswerWrite, RowWrite, Settlement};

const PLACE: &str = "@number";
/// Counters are kept for as long as anybody counts.
const FOREVER: std::time::Duration = std::time::Duration::from_secs(100 * 366 * 86_400);

/// The number of a message: the one it has, or the next. With the rows that were written for it.
///
/// # Errors
/// `STORE-STALE` (reconnect): another message has taken the number meanwhile.
pub(super) async fn allocate(
    works: &Works,
    counter: &Counter,
    message: MessageId,
    row: Option<Map>,
) -> Result<(Number, Vec<RowWrite>), Fault> {
    let known = works.engine.store.answers(message).await?;
    let place = Text::from(format!("{PLACE} {}", counter.key));
    if let Some(Some(had)) = known.into_iter().find(|(of, _)| *of == place).map(|(_, answer)| answer) {
        let at = had.get("at").and_then(Value::as_text).and_then(|at| at.parse().ok());
        let value = had.get("number").and_then(Value::plain).and_then(|number| number.parse().ok());
        if let (Some(value), Some(at)) = (value, at) {
            return Ok((Number { value, at }, Vec::new()));
        }
    }
    let read = |column: &str| row.as_ref().and_then(|row| row.get(column)?.plain()?.parse::<u64>().ok()).unwrap_or(0);
    let (last, round) = (read("last"), read("round"));
    let (value, round) = match &row {
        None => (counter.first.clamp(1, counter.largest), 0),
        Some(_) if last >= counter.largest => (1, round + 1),
        Some(_) => (last + 1, round),
    };
    let at = works.clock.now();
    let before = row.as_ref().and_then(|row| row.get("at")?.as_text()?.parse::<Timestamp>().ok());
    // Newer than the row it takes the place of, whatever the clock says.
    let time = before.map_or(at, |before| at.max(later(before, std::time::Duration::from_nanos(1))));
    let has = Map::from_iter([("number", value.to_string()), ("at", at.to_string())]);
    let owner = MessageId::derive(&[
        b"number",
        counter.table.as_bytes(),
        counter.key.as_bytes(),
        &round.to_be_bytes(),
        &value.to_be_bytes(),
    ]);
    let answers = vec![
        AnswerWrite { message, place, answer: Some(has.into()) },
        AnswerWrite { message: owner, place: PLACE.into(), answer: Some(message.to_string().into()) },
    ];
    let row = Map::from_iter([("last", value.to_string()), ("round", round.to_string()), ("at", time.to_string())]);
    let (table, key) = (counter.table.clone(), counter.key.clone());
    let mut rows = vec![RowWrite { table, key, row, time, until: Some(later(time, FOREVER)) }];
    if let Some(Beside { table, key, row, keep }) = &counter.beside {
        let mut row = row.clone();
        row.insert("interchange", value.to_string());
        row.insert("at", at.to_string());
        let key = key_text(&[Value::from(key.clone()), Value::text(value.to_string())]).unwrap_or_default();
        rows.push(RowWrite { table: table.clone(), key, row, time: at, until: Some(later(at, *keep)) });
    }
    settle_for_good(works, Settlement { answers, rows: rows.clone(), ..Settlement::default() }).await?;
    Ok((Number { value, at }, rows))
}
