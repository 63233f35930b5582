//! What systems answered to messages: see [`AnswerWrite`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::connection::{Connection, Pool};
use super::faults::{self, Failure};
use super::uuid_of;
use crate::message::{Fault, MessageId, Text, Value, json};
use crate::queue::embedded::faults::stale;
use crate::queue::embedded::nanoseconds;
use crate::store::AnswerWrite;

pub const WRITE: &str = "INSERT INTO answers (message, place, answer, at)
    SELECT message, place, answer, $4 FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (message, place, answer)
    ON CONFLICT (message, place) DO UPDATE SET at = answers.at WHERE answers.answer IS NOT DISTINCT FROM excluded.answer
    RETURNING 1";
const READ: &str = "SELECT place, answer FROM answers WHERE message = $1";

/// # Errors
/// `STORE-STALE` where another answer to the same question was written before.
pub async fn write(connection: &Connection, answers: &[&AnswerWrite], now: Timestamp) -> Result<(), Failure> {
    if answers.is_empty() {
        return Ok(());
    }
    // One row a question.
    let mut each: BTreeMap<(MessageId, &str), Option<String>> = BTreeMap::new();
    for write in answers {
        let answer = write.answer.as_ref().map(json::to_text);
        if let Some(before) = each.insert((write.message, &write.place), answer.clone())
            && before != answer
        {
            return Err(stale("the answer").into());
        }
    }
    let messages: Vec<Uuid> = each.keys().map(|(message, _)| uuid_of(*message)).collect();
    let places: Vec<&str> = each.keys().map(|(_, place)| *place).collect();
    let texts: Vec<Option<&str>> = each.values().map(Option::as_deref).collect();
    let written = connection.execute(WRITE, &[&messages, &places, &texts, &nanoseconds(now)]).await?;
    if written == each.len() as u64 { Ok(()) } else { Err(stale("the answer").into()) }
}

pub async fn read(pool: &Pool, message: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault> {
    let rows = pool.query(READ, &[&uuid_of(message)]).await?;
    let read = |row: &tokio_postgres::Row| -> Result<(Text, Option<Value>), Failure> {
        let (place, answer): (&str, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
        let answer = answer.map(|text| json::read(text.as_bytes())).transpose();
        Ok((place.into(), answer.map_err(|_| faults::corrupt("an answer is not readable"))?))
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(Failure::fault)
}
