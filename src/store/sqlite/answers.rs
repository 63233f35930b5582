//! What systems answered to messages: see [`AnswerWrite`].

use rusqlite::{Connection, params};

use crate::message::{Fault, MessageId, Text, Value, json};
use crate::queue::embedded::faults;
use crate::store::AnswerWrite;

/// # Errors
/// `STORE-STALE` where another answer to the same question was written before.
pub fn write(connection: &Connection, answer: &AnswerWrite, now: i64) -> Result<(), Fault> {
    let written = connection
        .prepare_cached(
            "INSERT INTO answers (message, place, answer, at) VALUES (?, ?, ?, ?)
             ON CONFLICT (message, place) DO UPDATE SET at = at WHERE answer IS excluded.answer",
        )?
        .execute(params![
            answer.message.as_bytes().as_slice(),
            answer.place.as_str(),
            answer.answer.as_ref().map(json::to_text),
            now
        ])?;
    if written == 0 { Err(faults::stale("the answer")) } else { Ok(()) }
}

pub fn read(connection: &Connection, message: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT place, answer FROM answers WHERE message = ?")?;
    let mut rows = statement.query([message.as_bytes().as_slice()])?;
    let mut answers = Vec::new();
    while let Some(row) = rows.next()? {
        let (place, answer): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let answer = answer.map(|text| json::read(text.as_bytes())).transpose();
        answers.push((place.into(), answer.map_err(|_| faults::corrupt("an answer is not readable"))?));
    }
    Ok(answers)
}

/// Forgets those older than `before` among the `most` oldest; whether there may be more.
pub fn sweep(connection: &Connection, before: i64, most: i64) -> Result<bool, Fault> {
    let sql = "DELETE FROM answers WHERE number IN (SELECT number FROM answers ORDER BY number LIMIT ?) AND at <= ?";
    let forgotten = connection.prepare_cached(sql)?.execute(params![most, before])?;
    Ok(i64::try_from(forgotten) == Ok(most))
}
