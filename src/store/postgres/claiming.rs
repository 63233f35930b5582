//! The task that takes claims for this process: all that wait at once, in a commit that need not be synced. It has a
//! connection of its own, so that nobody waits for a settle's sync before publishing.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::claims::{self, Seen};
use super::connection::{Connection, Connector};
use super::faults::{self, Failure};
use crate::clock::Clock;
use crate::message::Fault;
use crate::queue::embedded::GROUP;
use crate::store::{Claim, Claimed};

/// Times a transaction is done again. A claim may be repeated: whoever has it gets it again.
const TRIES: usize = 5;

pub struct Wanted {
    pub claims: Vec<Claim>,
    pub reply: oneshot::Sender<Result<Vec<Claimed>, Fault>>,
}

/// Until every sender is gone.
pub async fn run(connector: Arc<Connector>, mut wanted: mpsc::Receiver<Wanted>, clock: Clock) {
    let mut connection = None;
    while let Some(first) = wanted.recv().await {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = wanted.try_recv()
        {
            group.push(next);
        }
        let all: Vec<&Claim> = group.iter().flat_map(|wanted| &wanted.claims).collect();
        let outcome = take(&connector, &mut connection, &all, &clock).await;
        let mut seen = outcome.as_ref().map(|seen| seen.iter().copied()).ok();
        for Wanted { claims, reply } in group {
            let answer = match (&outcome, &mut seen) {
                (Ok(_), Some(seen)) => Ok(seen.by_ref().take(claims.len()).map(claimed).collect()),
                (Err(fault), _) => Err(fault.clone()),
                (Ok(_), None) => Err(faults::lost()),
            };
            // Whoever has stopped waiting does not want the answer.
            let _ = reply.send(answer);
        }
    }
}

fn claimed(seen: Seen) -> Claimed {
    match seen {
        Seen::New => Claimed::Taken,
        Seen::Same(first) => Claimed::Repeat(first),
        Seen::Other => Claimed::Conflict,
    }
}

async fn take(
    connector: &Connector,
    connection: &mut Option<Connection>,
    claims: &[&Claim],
    clock: &Clock,
) -> Result<Vec<Seen>, Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let current = match connection.take() {
            Some(current) => current,
            None => {
                let new = connector.connect().await?;
                new.prepare(&[claims::INSERT, claims::UPDATE]).await.map_err(Failure::fault)?;
                new
            }
        };
        match transact(&current, claims, clock).await {
            Ok(seen) => {
                *connection = Some(current);
                return Ok(seen);
            }
            // The connection goes, and its transaction with it.
            Err(Failure::Fault(fault)) => return Err(fault),
            Err(Failure::Again(fault) | Failure::Lost(fault)) if tries >= TRIES => return Err(fault),
            Err(Failure::Again(_) | Failure::Lost(_)) => {}
        }
    }
}

async fn transact(connection: &Connection, all: &[&Claim], clock: &Clock) -> Result<Vec<Seen>, Failure> {
    let begin = connection.batch("BEGIN; SET LOCAL synchronous_commit = off");
    let (begun, seen) = tokio::join!(biased; begin, claims::take(connection, all, true, clock.now()));
    begun?;
    let seen = seen?;
    connection.batch("COMMIT").await?;
    Ok(seen)
}
