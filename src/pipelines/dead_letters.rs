//! What people do with dead letters: replay them, or discard them. Both are settled, and stand in the journal.

use std::sync::Arc;

use jiff::Timestamp;

use super::Gate;
use crate::message::{Fault, MessageId, Text};
use crate::protocols::Surroundings;
use crate::queue::NewEntry;
use crate::store::{DeadLetter, Event, Hop, Settlement, Store};

/// Puts a dead letter back where it failed: the same ids, so the same idempotency keys. Where it held
/// its key, it takes its old place ahead of it.
///
/// # Errors
/// `DEAD-UNKNOWN` where there is no such dead letter.
pub async fn replay(store: &dyn Store, message: MessageId, now: Timestamp) -> Result<DeadLetter, Fault> {
    let dead = find(store, message).await?;
    let outputs = vec![dead.replay.clone()];
    settle(store, dead, outputs, None, now).await
}

/// [`replay`], where what failed before it had an identity goes through the gate of its pipeline and gets one; of what its source
/// could make nothing, the source makes what it does now. That may be another message: the journal says which.
///
/// # Errors
/// As [`replay`], and what the source finds wrong now, or `STORE-FULL` where nothing can be taken in.
pub async fn replay_through(
    store: &dyn Store,
    message: MessageId,
    gate: impl Fn(&str) -> Option<Arc<Gate>>,
    around: &Surroundings,
) -> Result<DeadLetter, Fault> {
    let now = around.clock.now();
    let dead = find(store, message).await?;
    // Taken in first, ended then: a kill between leaves the dead letter, and its next replay is a repeat of this one.
    let anew = match gate(&dead.pipeline).filter(|_| failed_at_intake(&dead)) {
        Some(gate) => gate.again(&dead, around).await?,
        None => None,
    };
    let outputs = if anew.is_some() { Vec::new() } else { vec![dead.replay.clone()] };
    let other = anew.iter().flatten().find(|id| **id != message);
    let note = other.map(|id| format!("as {id}").into());
    settle(store, dead, outputs, note, now).await
}

async fn settle(
    store: &dyn Store,
    dead: DeadLetter,
    outputs: Vec<NewEntry>,
    note: Option<Text>,
    now: Timestamp,
) -> Result<DeadLetter, Fault> {
    let settlement = Settlement {
        outputs,
        dead_ended: vec![dead.message],
        hops: vec![hop(&dead, Event::Replayed, note, now)],
        ..Settlement::default()
    };
    store.settle(settlement).await?;
    Ok(dead)
}

/// Gives a dead letter up for good, with the reason a person gave. Its key, if it was held, goes on.
///
/// # Errors
/// `DEAD-UNKNOWN` where there is no such dead letter.
pub async fn discard(store: &dyn Store, message: MessageId, why: &str, now: Timestamp) -> Result<DeadLetter, Fault> {
    let dead = find(store, message).await?;
    let settlement = Settlement {
        dead_ended: vec![message],
        hops: vec![hop(&dead, Event::Discarded, Some(why.into()), now)],
        ..Settlement::default()
    };
    store.settle(settlement).await?;
    Ok(dead)
}

/// Whether it never came past the gate. A conflict did: what it is was known.
fn failed_at_intake(dead: &DeadLetter) -> bool {
    dead.attempts == 0 && dead.destination.is_none() && dead.code != "DEDUPE-CONFLICT"
}

/// Whether its source could make nothing of it: it never was a document, in which people's data could be found.
pub fn is_unread(dead: &DeadLetter) -> bool {
    failed_at_intake(dead) && dead.step.is_none()
}

async fn find(store: &dyn Store, message: MessageId) -> Result<DeadLetter, Fault> {
    let unknown = || Fault::refuse("DEAD-UNKNOWN", format!("there is no dead letter {message}"));
    store.dead_letter(message).await?.ok_or_else(unknown)
}

fn hop(dead: &DeadLetter, event: Event, note: Option<Text>, at: Timestamp) -> Hop {
    Hop {
        origin: dead.origin,
        message: dead.message,
        pipeline: dead.pipeline.clone(),
        at,
        event,
        destination: dead.destination.clone(),
        note,
        count: 1,
        track: Vec::new(),
    }
}
