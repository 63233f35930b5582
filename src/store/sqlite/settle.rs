//! What the writer does for the store: intake and settle, each all or nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::claims::{self, Seen};
use super::journal::JournalWriter;
use super::sweep::Sweeper;
use super::vault::Change;
use super::{Reply, cursors, dead_letters, groups, settled, tables};
use crate::message::{Fault, Text, Value};
use crate::queue::EntryRef;
use crate::queue::embedded::{Released, Work, Writing, faults, nanoseconds};
use crate::store::{Accepted, Claim, Claimed, Intake, Kept, Retention, Settlement, Stored, repeats};

/// Come back after: the quota or the disk may have room again.
const FULL_FOR: Duration = Duration::from_secs(1);

pub enum Operation {
    Intake {
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        accepted: Vec<Accepted>,
        reply: Reply<Vec<Accepted>>,
    },
    Settle {
        settlement: Arc<Settlement>,
        reply: Reply<()>,
    },
    Claim {
        claims: Vec<Claim>,
        claimed: Vec<Claimed>,
        reply: Reply<Vec<Claimed>>,
    },
    Release {
        queue: Text,
        key: Text,
        reply: Reply<()>,
    },
    Sweep {
        now: Timestamp,
        retention: Retention,
        more: bool,
        reply: Reply<bool>,
    },
    Well {
        reply: Reply<()>,
    },
    Vault {
        change: Change,
        kept: Option<Kept>,
        reply: Reply<Option<Kept>>,
    },
}

pub struct StoreWork {
    journal: JournalWriter,
    sweeper: Sweeper,
    /// Most entries of one queue before its intake is refused.
    quota: u64,
}

impl StoreWork {
    pub fn new(connection: &Connection, quota: u64) -> Result<StoreWork, Fault> {
        Ok(StoreWork { journal: JournalWriter::load(connection)?, sweeper: Sweeper::default(), quota })
    }
}

impl Work for StoreWork {
    type Operation = Operation;

    fn apply(&mut self, operation: &mut Operation, writing: &mut Writing<'_>) -> Result<(), Fault> {
        match operation {
            Operation::Intake { arrivals, cursor, accepted, .. } => {
                *accepted = self.intake(arrivals, cursor.as_ref(), writing)?;
                Ok(())
            }
            Operation::Settle { settlement, .. } => self.settle(settlement, writing),
            Operation::Claim { claims, claimed, .. } => {
                room(writing)?;
                *claimed = claims.iter().map(|claim| take(claim, writing)).collect::<Result<_, _>>()?;
                Ok(())
            }
            Operation::Release { queue, key, .. } => {
                if let Released::Held { queue, key, .. } = writing.release(queue, key, None)? {
                    writing.released(queue, key);
                }
                Ok(())
            }
            Operation::Sweep { now, retention, more, .. } => {
                *more = self.sweeper.sweep(writing.connection, *now, *retention)?;
                Ok(())
            }
            Operation::Well { .. } => {
                room(writing)?;
                let sql = "INSERT OR REPLACE INTO fact (name, value) VALUES ('well', coalesce((SELECT value FROM fact WHERE name = 'well'), 0) + 1)";
                writing.connection.prepare_cached(sql)?.execute([])?;
                Ok(())
            }
            Operation::Vault { change, kept, .. } => {
                *kept = change.apply(writing.connection, writing.now)?;
                Ok(())
            }
        }
    }

    fn finish(&mut self, writing: &mut Writing<'_>) -> Result<(), Fault> {
        self.journal.write(writing.connection, writing.now)
    }

    fn undone(&mut self) {
        self.journal.undone();
    }

    fn committed(&mut self) {
        self.journal.committed();
    }

    fn settles(operation: &Operation) -> bool {
        match operation {
            // A token lost for want of room could not be had again.
            Operation::Settle { .. }
            | Operation::Release { .. }
            | Operation::Sweep { .. }
            | Operation::Vault { .. } => true,
            Operation::Intake { .. } | Operation::Claim { .. } | Operation::Well { .. } => false,
        }
    }

    fn reply(operation: Operation, result: Result<(), Fault>) {
        // Whoever has stopped waiting does not want the answer.
        match operation {
            Operation::Intake { accepted, reply, .. } => drop(reply.send(result.map(|()| accepted))),
            Operation::Claim { claimed, reply, .. } => drop(reply.send(result.map(|()| claimed))),
            Operation::Settle { reply, .. } | Operation::Release { reply, .. } | Operation::Well { reply } => {
                drop(reply.send(result));
            }
            Operation::Vault { kept, reply, .. } => drop(reply.send(result.map(|()| kept))),
            Operation::Sweep { more, reply, .. } => drop(reply.send(result.map(|()| more))),
        }
    }
}

impl StoreWork {
    fn intake(
        &mut self,
        arrivals: &[Intake],
        cursor: Option<&(Text, Value)>,
        writing: &mut Writing<'_>,
    ) -> Result<Vec<Accepted>, Fault> {
        room(writing)?;
        for arrival in arrivals {
            self.quota(arrival, writing)?;
        }
        let accepted: Vec<_> = arrivals.iter().map(|arrival| accept(arrival, writing)).collect::<Result<_, _>>()?;
        if let Some((name, value)) = cursor {
            cursors::write(writing.connection, name, value)?;
        }
        for (arrival, accepted) in arrivals.iter().zip(&accepted) {
            match accepted {
                Accepted::New(_) => self.journal.add(&arrival.hops),
                Accepted::Repeat(_) | Accepted::Conflict(_) => self.journal.add(&repeats::hops(arrival, *accepted)),
            }
        }
        Ok(accepted)
    }

    fn quota(&self, arrival: &Intake, writing: &Writing<'_>) -> Result<(), Fault> {
        let Stored::Entry(entry) = &arrival.stored else { return Ok(()) };
        if writing.entries(&entry.queue) < self.quota {
            return Ok(());
        }
        let sentence =
            format!("{} messages wait in {}, which is its quota; nothing was stored", self.quota, entry.queue);
        Err(Fault::retry("STORE-FULL", sentence).after(FULL_FOR))
    }

    fn settle(&mut self, settlement: &Settlement, writing: &mut Writing<'_>) -> Result<(), Fault> {
        for (queue, key) in &settlement.held {
            let stopped = match stopped_by(&settlement.ended, queue, key, writing)? {
                None => stopped_outside(settlement, queue, key, writing)?,
                stopped => stopped,
            };
            writing.hold(queue, key, stopped)?;
        }
        for at in &settlement.ended {
            writing.end(*at)?;
        }
        for retry in &settlement.retries {
            writing.retry(retry.at, retry.due, retry.counts)?;
        }
        let placed = deal_with_dead(settlement, writing)?;
        for (index, output) in settlement.outputs.iter().enumerate() {
            if !placed.contains(&index) {
                writing.store(output)?;
            }
        }
        for (entry, attempts) in &settlement.parked {
            writing.park(entry, *attempts)?;
        }
        let connection = writing.connection;
        let now = nanoseconds(writing.now);
        settlement.settled.iter().try_for_each(|entry| settled::write(connection, entry, now))?;
        settlement.claimed.iter().try_for_each(|claim| claims::ended(connection, claim))?;
        settlement.dead.iter().try_for_each(|dead| dead_letters::write(connection, dead))?;
        settlement.rows.iter().try_for_each(|row| tables::write(connection, row))?;
        settlement.groups.iter().try_for_each(|group| groups::write(connection, group, writing.now))?;
        settlement.cursors.iter().try_for_each(|(name, value)| cursors::write(connection, name, value))?;
        self.journal.add(&settlement.hops);
        Ok(())
    }
}

fn room(writing: &Writing<'_>) -> Result<(), Fault> {
    if writing.open_to_intake { Ok(()) } else { Err(faults::full().after(FULL_FOR)) }
}

fn take(claim: &Claim, writing: &Writing<'_>) -> Result<Claimed, Fault> {
    Ok(match claims::claim(writing, claim, true)? {
        Seen::New => Claimed::Taken,
        Seen::Same(first) => Claimed::Repeat(first),
        Seen::Other => Claimed::Conflict,
    })
}

fn accept(arrival: &Intake, writing: &mut Writing<'_>) -> Result<Accepted, Fault> {
    let message = arrival.message();
    match arrival.claim.as_ref().map(|claim| claims::claim(writing, claim, false)).transpose()? {
        Some(Seen::Same(first)) => return Ok(Accepted::Repeat(first)),
        Some(Seen::Other) => {
            let conflict = repeats::conflict(arrival, message, writing.now);
            dead_letters::write(writing.connection, &conflict)?;
            return Ok(Accepted::Conflict(conflict.message));
        }
        Some(Seen::New) | None => {}
    }
    match &arrival.stored {
        Stored::Entry(entry) => drop(writing.store(entry)?),
        Stored::Dead(dead) => dead_letters::write(writing.connection, dead)?,
    }
    Ok(Accepted::New(message))
}

/// The ended entry of a key that is to be held: a replay takes its place again.
fn stopped_by(
    ended: &[EntryRef],
    queue: &Text,
    key: &Text,
    writing: &Writing<'_>,
) -> Result<Option<(EntryRef, crate::message::MessageId)>, Fault> {
    for at in ended.iter().filter(|at| writing.is_of(**at, queue)) {
        if let Some((found, message)) = writing.identity(*at)?
            && found.as_ref() == Some(key)
        {
            return Ok(Some((*at, message)));
        }
    }
    Ok(None)
}

/// A key may be stopped by an entry that never waited here: its replay gets a place at the end as it is now.
fn stopped_outside(
    settlement: &Settlement,
    queue: &Text,
    key: &Text,
    writing: &mut Writing<'_>,
) -> Result<Option<(EntryRef, crate::message::MessageId)>, Fault> {
    let Some(message) = settlement.stops(queue, key) else { return Ok(None) };
    Ok(Some((writing.draw(queue)?, message)))
}

/// Removes dead letters that are dealt with. Where one had stopped its key, the key goes on, and its replay goes first:
/// gives the outputs that were stored that way.
fn deal_with_dead(settlement: &Settlement, writing: &mut Writing<'_>) -> Result<Vec<usize>, Fault> {
    let mut placed = Vec::new();
    for message in &settlement.dead_ended {
        let replay = dead_letters::remove(writing.connection, *message)?;
        let Some(key) = &replay.key else { continue };
        let Released::Held { queue, key, at } = writing.release(&replay.queue, key, Some(replay.message))? else {
            continue;
        };
        let output = settlement.outputs.iter().position(|output| {
            output.message == replay.message && output.queue == replay.queue && output.key.as_ref() == Some(&key)
        });
        if let (Some(at), Some(index)) = (at, output) {
            writing.store_at(at, &settlement.outputs[index])?;
            placed.push(index);
        }
        writing.released(queue, key);
    }
    Ok(placed)
}
