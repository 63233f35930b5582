//! What people do with dead letters: replay them, or discard them. Both are settled, and stand in the journal.

use std::sync::Arc;

use jiff::Timestamp;

use super::Gate;
use crate::message::{Fault, MessageId, Text};
use crate::store::{DeadLetter, Event, Hop, Settlement, Store};

/// Puts a dead letter back where it failed: the same ids, so the same idempotency keys. Where it held
/// its key, it takes its old place ahead of it.
///
/// # Errors
/// `DEAD-UNKNOWN` where there is no such dead letter.
pub async fn replay(store: &dyn Store, message: MessageId, now: Timestamp) -> Result<DeadLetter, Fault> {
    replay_through(store, message, |_| None, now).await
}

/// [`replay`], where what failed before it had an identity goes through the gate of its pipeline and gets one.
///
/// # Errors
/// As [`replay`], and `STORE-FULL` where nothing can be taken in.
pub async fn replay_through(
    store: &dyn Store,
    message: MessageId,
    gate: impl Fn(&str) -> Option<Arc<Gate>>,
    now: Timestamp,
) -> Result<DeadLetter, Fault> {
    let dead = find(store, message).await?;
    // Taken in first, ended then: a kill between leaves the dead letter, and its next replay is a repeat of this one.
    let anew = match gate(&dead.pipeline).filter(|_| failed_at_intake(&dead)) {
        Some(gate) => gate.again(&dead).await?,
        None => false,
    };
    let settlement = Settlement {
        outputs: if anew { Vec::new() } else { vec![dead.replay.clone()] },
        dead_ended: vec![message],
        hops: vec![hop(&dead, Event::Replayed, None, now)],
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
