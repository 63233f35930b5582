//! Arrivals whose key was taken before: what is kept of them, in whatever database.

use jiff::Timestamp;

use super::{Accepted, DeadLetter, Event, Hop, Intake, Stored};
use crate::message::{MessageId, Text};
use crate::queue::NewEntry;

/// What the journal says of an arrival; its sender could not know what became of it.
pub fn hops(arrival: &Intake, accepted: Accepted) -> Vec<Hop> {
    let (event, message) = match accepted {
        Accepted::New(_) => return arrival.hops.clone(),
        Accepted::Repeat(message) => (Event::Repeat, message),
        Accepted::Conflict(message) => (Event::Conflict, message),
    };
    arrival.hops.first().map(|first| Hop { event, message, ..first.clone() }).into_iter().collect()
}

/// An arrival whose key stands for other content. Its own id, so that both can be looked at and a replay is not taken for
/// a repeat; the same conflict again is the same dead letter.
pub fn conflict(arrival: &Intake, message: MessageId, now: Timestamp) -> DeadLetter {
    let content = arrival.claim.as_ref().map_or([0; 16], |claim| claim.content);
    let id = MessageId::derive(&[b"conflict", message.as_bytes(), &content]);
    let mut dead = match &arrival.stored {
        Stored::Dead(dead) => (**dead).clone(),
        Stored::Entry(entry) => of_entry(arrival, entry, now),
    };
    (dead.message, dead.at) = (id, now);
    dead.code = Text::new_static("DEDUPE-CONFLICT");
    dead.cause = format!(
        "the message {message} came before under the same key with other content; compare both, then replay or discard this one"
    );
    (dead.replay.message, dead.replay.origin) = (id, id);
    dead
}

fn of_entry(arrival: &Intake, entry: &NewEntry, now: Timestamp) -> DeadLetter {
    let pipeline = arrival.claim.as_ref().map_or_else(|| entry.queue.clone(), |claim| claim.pipeline.clone());
    DeadLetter {
        message: entry.message,
        origin: entry.origin,
        pipeline,
        destination: None,
        key: entry.key.clone(),
        time: entry.time,
        at: now,
        headers: entry.headers.clone(),
        body: entry.body.clone(),
        code: Text::default(),
        cause: String::new(),
        step: None,
        position: None,
        attempts: 0,
        replay: entry.clone(),
    }
}
