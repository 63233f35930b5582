//! What people do with dead letters: replay them, or discard them. Both are settled, and stand in the journal.

use jiff::Timestamp;

use crate::message::{Fault, MessageId, Text};
use crate::store::{DeadLetter, Event, Hop, Settlement, Store};

/// Puts a dead letter back where it failed: the same ids, so the same idempotency keys. Where it held
/// its key, it takes its old place ahead of it.
///
/// # Errors
/// `DEAD-UNKNOWN` where there is no such dead letter.
pub async fn replay(store: &dyn Store, message: MessageId, now: Timestamp) -> Result<DeadLetter, Fault> {
    let dead = find(store, message).await?;
    let settlement = Settlement {
        outputs: vec![dead.replay.clone()],
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
