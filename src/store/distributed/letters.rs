//! Dead letters the engine itself makes: of what no hub has written, and of what the broker will never take.

use jiff::Timestamp;

use super::lanes::queue_of;
use crate::message::{Fault, Text};
use crate::queue::NewEntry;
use crate::store::{DeadLetter, Event, Hop};

/// The dead letter of an entry that cannot be in its queue, and its line in the journal. `entry.queue` is a lane's name.
pub fn dead(entry: NewEntry, fault: &Fault, attempts: u32, now: Timestamp) -> (DeadLetter, Hop) {
    let queue = queue_of(&entry.queue);
    // A pipeline's queue has its name, a destination's both names.
    let (pipeline, destination) = match queue.split_once(".to.") {
        Some((pipeline, destination)) => (Text::from(pipeline), Some(Text::from(destination))),
        None => (queue.clone(), None),
    };
    let hop = Hop {
        origin: entry.origin,
        message: entry.message,
        pipeline: pipeline.clone(),
        at: now,
        event: Event::Dead,
        destination: destination.clone(),
        note: Some(fault.code().into()),
        count: 1,
        track: Vec::new(),
    };
    let letter = DeadLetter {
        message: entry.message,
        origin: entry.origin,
        pipeline,
        destination,
        key: entry.key.clone(),
        time: entry.time,
        at: now,
        headers: entry.headers.clone(),
        body: entry.body.clone(),
        code: fault.code().into(),
        cause: fault.sentence(),
        step: None,
        position: None,
        attempts,
        replay: entry,
    };
    (letter, hop)
}
