//! What follows from a run of operations, as few statements: looked at together first, then written together.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::claims::{self, Seen};
use super::connection::Connection;
use super::dead_letters::{self, Removed};
use super::faults::Failure;
use super::queues::{self, Counters, Hold, Placed};
use super::{answers, groups, journal, leases, tables};
use crate::message::{Fault, MessageId, Text, Value};
use crate::queue::embedded::faults::stale;
use crate::queue::embedded::{nanoseconds, timestamp};
use crate::queue::waiting::Change;
use crate::queue::{Entry, EntryRef, NewEntry};
use crate::store::hops::{self, Page};
use crate::store::{
    Accepted, AnswerWrite, DeadLetter, Fence, GroupWrite, Intake, Retry, RowWrite, Settlement, Stored, repeats,
};

/// Come back after: the quota may have room again.
const FULL_FOR: Duration = Duration::from_secs(1);

pub enum Operation {
    Intake {
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
        reply: oneshot::Sender<Result<Vec<Accepted>, Fault>>,
    },
    Settle {
        settlement: Arc<Settlement>,
        reply: oneshot::Sender<Result<(), Fault>>,
    },
    Release {
        queue: Text,
        key: Text,
        reply: oneshot::Sender<Result<(), Fault>>,
    },
}

impl Operation {
    pub fn reply(self, result: Result<Vec<Accepted>, Fault>) {
        // Whoever has stopped waiting does not want the answer.
        match self {
            Operation::Intake { reply, .. } => drop(reply.send(result)),
            Operation::Settle { reply, .. } | Operation::Release { reply, .. } => drop(reply.send(result.map(drop))),
        }
    }

    /// Bytes it holds, about.
    pub fn weight(&self) -> usize {
        let dead = |dead: &DeadLetter| dead.body.len() + dead.replay.body.len();
        match self {
            Operation::Intake { arrivals, .. } => arrivals
                .iter()
                .map(|arrival| match &arrival.stored {
                    Stored::Entry(entry) => entry.body.len(),
                    Stored::Dead(letter) => dead(letter),
                })
                .sum(),
            Operation::Settle { settlement, .. } => {
                let outputs = settlement.outputs.iter().map(|entry| entry.body.len()).sum::<usize>();
                let parked = settlement.parked.iter().map(|(entry, _)| entry.body.len()).sum::<usize>();
                outputs + parked + settlement.dead.iter().map(dead).sum::<usize>()
            }
            Operation::Release { .. } => 0,
        }
    }

    /// Queues by name.
    pub fn names<'a>(&'a self, names: &mut BTreeSet<&'a str>) {
        match self {
            Operation::Intake { arrivals, .. } => {
                for arrival in arrivals {
                    if let Stored::Entry(entry) = &arrival.stored {
                        names.insert(&entry.queue);
                    }
                }
            }
            Operation::Settle { settlement, .. } => {
                names.extend(settlement.outputs.iter().map(|entry| entry.queue.as_str()));
                names.extend(settlement.parked.iter().map(|(entry, _)| entry.queue.as_str()));
                names.extend(settlement.held.iter().map(|(queue, _)| queue.as_str()));
            }
            // Releasing what never was does nothing, and makes nothing.
            Operation::Release { .. } => {}
        }
    }
}

/// Whether operations may be written as one: what one undoes of another must come in turn.
pub fn go_together(operations: &[&Operation]) -> bool {
    let (mut holds, mut releases) = (false, false);
    let (mut dead, mut dealt_with) = (HashSet::new(), HashSet::new());
    for operation in operations {
        match operation {
            Operation::Intake { .. } => {}
            Operation::Settle { settlement, .. } => {
                holds |= !settlement.held.is_empty();
                releases |= !settlement.dead_ended.is_empty();
                dead.extend(settlement.dead.iter().map(|dead| dead.message));
                dealt_with.extend(settlement.dead_ended.iter().copied());
            }
            Operation::Release { .. } => releases = true,
        }
    }
    !(holds && releases) && dead.is_disjoint(&dealt_with)
}

/// What the writer knows.
pub struct Known<'a> {
    pub queues: &'a HashMap<Text, i64>,
    /// Queues with a consumer in this process.
    pub consumed: &'a HashSet<i64>,
    /// Most entries of one queue before its intake is refused.
    pub quota: u64,
    pub now: Timestamp,
}

/// What a transaction did to a queue: its version before, and what that means for the consumer.
pub struct Touched {
    pub queue: i64,
    pub before: i64,
    pub changes: Vec<Change>,
}

#[derive(Default)]
pub struct Applied {
    /// One for each operation.
    pub accepted: Vec<Vec<Accepted>>,
    pub touched: Vec<Touched>,
}

/// Writes operations inside the transaction of `connection`. After a failure that is an operation's own, what was written is
/// to be undone.
pub async fn apply(connection: &Connection, operations: &[&Operation], known: &Known<'_>) -> Result<Applied, Failure> {
    let asked = Asked::of(operations, known);
    if asked.is_plain(operations) {
        // Nothing that is written depends on what is found: all in one go.
        let plan = Plan::make(operations, Found::default(), known)?;
        let (found, written) = tokio::join!(asked.look(connection, known), plan.write(connection, known));
        found?;
        written?;
        return Ok(plan.applied());
    }
    let mut found = asked.look(connection, known).await?;
    found.replays(connection, &asked, known).await?;
    let plan = Plan::make(operations, found, known)?;
    plan.write(connection, known).await?;
    Ok(plan.applied())
}

/// What is to be looked at, locked and claimed first.
#[derive(Default)]
struct Asked<'a> {
    fences: Vec<&'a Fence>,
    queues: BTreeSet<i64>,
    dead_ended: Vec<MessageId>,
    settled: Vec<&'a (Text, MessageId)>,
    claimed: Vec<&'a crate::store::Claim>,
    /// Of intakes, in turn.
    claims: Vec<&'a crate::store::Claim>,
    /// Ended by settlements that stop a key.
    stopping: Vec<EntryRef>,
    releases: Vec<(&'a Text, &'a Text)>,
}

impl<'a> Asked<'a> {
    fn of(operations: &[&'a Operation], known: &Known<'_>) -> Asked<'a> {
        let mut asked = Asked::default();
        let mut names = BTreeSet::new();
        for operation in operations {
            operation.names(&mut names);
            match operation {
                Operation::Intake { arrivals, fence, .. } => {
                    asked.claims.extend(arrivals.iter().filter_map(|arrival| arrival.claim.as_ref()));
                    asked.fence(fence.iter());
                }
                Operation::Settle { settlement, .. } => asked.settlement(settlement),
                Operation::Release { queue, key, .. } => {
                    names.insert(queue);
                    asked.releases.push((queue, key));
                }
            }
        }
        asked.queues.extend(names.into_iter().filter_map(|name| known.queues.get(name)));
        asked
    }

    fn settlement(&mut self, settlement: &'a Settlement) {
        self.fence(settlement.fences.iter());
        self.queues.extend(settlement.ended.iter().map(|at| at.queue()));
        self.queues.extend(settlement.retries.iter().map(|retry| retry.at.queue()));
        self.dead_ended.extend(&settlement.dead_ended);
        self.settled.extend(&settlement.settled);
        self.claimed.extend(&settlement.claimed);
        if !settlement.held.is_empty() {
            self.stopping.extend(&settlement.ended);
        }
    }

    fn fence(&mut self, fences: impl Iterator<Item = &'a Fence>) {
        for fence in fences {
            if !self.fences.contains(&fence) {
                self.fences.push(fence);
            }
        }
    }

    fn is_plain(&self, operations: &[&Operation]) -> bool {
        self.queues.is_empty()
            && self.dead_ended.is_empty()
            && self.releases.is_empty()
            && operations.iter().all(|operation| matches!(operation, Operation::Settle { .. }))
    }

    async fn look(&self, connection: &Connection, known: &Known<'_>) -> Result<Found, Failure> {
        // In this order they are sent, one after the other without a pause.
        let (fenced, queues, removed, settled, claimed, seen, stopping) = tokio::join!(
            biased;
            leases::check(connection, &self.fences),
            queues::lock(connection, &self.queues),
            dead_letters::remove(connection, &self.dead_ended),
            claims::settle(connection, &self.settled, known.now),
            claims::end(connection, &self.claimed),
            claims::take(connection, &self.claims, false, known.now),
            queues::identities(connection, &self.stopping)
        );
        fenced?;
        let queues = queues?;
        let removed = removed?;
        settled?;
        claimed?;
        Ok(Found { queues, removed, seen: seen?, stopping: stopping?, ..Found::default() })
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    queues: BTreeMap<i64, Counters>,
    removed: Vec<Removed>,
    seen: Vec<Seen>,
    stopping: HashMap<EntryRef, (Option<Text>, MessageId)>,
    /// Keys that go on after a dead letter that had stopped them, with its place.
    replays: HashMap<MessageId, (i64, Option<EntryRef>)>,
    /// Keys that were held and are released: queue and key.
    released: HashSet<(Text, Text)>,
    /// Queues the writer had not met yet.
    ids: HashMap<Text, i64>,
}

impl Found {
    /// Lets keys go on that were stopped by what is dealt with now, or that a person released.
    async fn replays(&mut self, connection: &Connection, asked: &Asked<'_>, known: &Known<'_>) -> Result<(), Failure> {
        let mut ids = HashMap::new();
        let of_replays: Vec<&str> =
            self.removed.iter().filter(|removed| removed.key.is_some()).map(|removed| removed.queue.as_str()).collect();
        let unknown: Vec<&str> = of_replays.iter().filter(|name| !known.queues.contains_key(**name)).copied().collect();
        let unknown: Vec<&str> = unknown
            .into_iter()
            .chain(
                asked.releases.iter().map(|(queue, _)| queue.as_str()).filter(|name| !known.queues.contains_key(*name)),
            )
            .collect();
        if !unknown.is_empty() {
            queues::find(connection, &unknown, &mut ids).await?;
        }
        let id = |name: &Text| known.queues.get(name).or_else(|| ids.get(name)).copied();
        let missing: BTreeSet<i64> = of_replays
            .into_iter()
            .chain(asked.releases.iter().map(|(queue, _)| queue.as_str()))
            .filter_map(|name| id(&name.into()))
            .filter(|id| !self.queues.contains_key(id))
            .collect();
        let locked = queues::lock(connection, &missing).await?;
        self.queues.extend(locked);
        for removed in &self.removed {
            let (Some(key), Some(queue)) = (&removed.key, id(&removed.queue)) else { continue };
            if let Some(at) = queues::release(connection, (queue, key), Some(removed.message)).await? {
                self.replays.insert(removed.dead, (queue, at));
            }
        }
        for (queue, key) in &asked.releases {
            let Some(id) = id(queue) else { continue };
            if queues::release(connection, (id, key), None).await?.is_some() {
                self.released.insert(((*queue).clone(), (*key).clone()));
            }
        }
        self.ids = ids;
        Ok(())
    }
}

/// What is to be written, as it follows from what was found.
#[derive(Default)]
struct Plan<'a> {
    queues: BTreeMap<i64, Counters>,
    before: BTreeMap<i64, i64>,
    changes: BTreeMap<i64, Vec<Change>>,
    holds: Vec<Hold<'a>>,
    ended: Vec<EntryRef>,
    retries: Vec<&'a Retry>,
    stores: Vec<Placed<'a>>,
    dead: Vec<Cow<'a, DeadLetter>>,
    rows: Vec<&'a RowWrite>,
    answers: Vec<&'a AnswerWrite>,
    groups: Vec<&'a GroupWrite>,
    cursors: Vec<&'a (Text, Value)>,
    pages: Vec<Page>,
    accepted: Vec<Vec<Accepted>>,
}

impl<'a> Plan<'a> {
    fn make(operations: &[&'a Operation], mut found: Found, known: &Known<'_>) -> Result<Plan<'a>, Failure> {
        let mut plan = Plan { queues: std::mem::take(&mut found.queues), ..Plan::default() };
        plan.before = plan.queues.iter().map(|(id, queue)| (*id, queue.version)).collect();
        let mut seen = std::mem::take(&mut found.seen).into_iter();
        for operation in operations {
            let mut accepted = Vec::new();
            match operation {
                Operation::Intake { arrivals, cursor, .. } => {
                    for arrival in arrivals {
                        plan.quota(arrival, known)?;
                    }
                    for arrival in arrivals {
                        let seen = arrival.claim.as_ref().and_then(|_| seen.next());
                        accepted.push(plan.accept(arrival, seen, known)?);
                    }
                    plan.cursors.extend(cursor);
                }
                Operation::Settle { settlement, .. } => plan.settle(settlement, &found, known)?,
                Operation::Release { queue, key, .. } => {
                    if found.released.contains(&(queue.clone(), key.clone()))
                        && let Some(id) = known.queues.get(queue).or_else(|| found.ids.get(queue))
                    {
                        plan.change(*id, Change::Released { key: key.clone() });
                    }
                }
            }
            plan.accepted.push(accepted);
        }
        // A queue that was locked and not touched after all keeps its version.
        plan.queues.retain(|id, _| plan.changes.contains_key(id));
        Ok(plan)
    }

    fn quota(&self, arrival: &Intake, known: &Known<'_>) -> Result<(), Fault> {
        let Stored::Entry(entry) = &arrival.stored else { return Ok(()) };
        let counters = known.queues.get(&entry.queue).and_then(|id| self.queues.get(id));
        let entries = counters.map_or(0, |queue| u64::try_from(queue.entries).unwrap_or(0));
        if entries < known.quota {
            return Ok(());
        }
        let sentence =
            format!("{} messages wait in {}, which is its quota; nothing was stored", known.quota, entry.queue);
        Err(Fault::retry("STORE-FULL", sentence).after(FULL_FOR))
    }

    fn accept(&mut self, arrival: &'a Intake, seen: Option<Seen>, known: &Known<'_>) -> Result<Accepted, Failure> {
        let message = arrival.message();
        let accepted = match seen {
            Some(Seen::Same(first)) => Accepted::Repeat(first),
            Some(Seen::Other) => {
                let conflict = repeats::conflict(arrival, message, known.now);
                let accepted = Accepted::Conflict(conflict.message);
                self.dead.push(Cow::Owned(conflict));
                accepted
            }
            Some(Seen::New) | None => {
                match &arrival.stored {
                    Stored::Entry(entry) => self.store(entry, 0, known)?,
                    Stored::Dead(dead) => self.dead.push(Cow::Borrowed(dead)),
                }
                Accepted::New(message)
            }
        };
        hops::add(&repeats::hops(arrival, accepted), &mut self.pages);
        Ok(accepted)
    }

    fn settle(&mut self, settlement: &'a Settlement, found: &Found, known: &Known<'_>) -> Result<(), Failure> {
        for (queue, key) in &settlement.held {
            let id = *known.queues.get(queue).ok_or_else(|| stale("the queue"))?;
            let stopped = settlement.ended.iter().filter(|at| at.queue() == id).find_map(|at| {
                found
                    .stopping
                    .get(at)
                    .filter(|(found, _)| found.as_ref() == Some(key))
                    .map(|(_, message)| (*at, *message))
            });
            // It may never have waited here: its replay gets a place at the end as it is now.
            let stopped = match (stopped, settlement.stops(queue, key)) {
                (None, Some(message)) => {
                    let queue = self.queue(id)?;
                    queue.last += 1;
                    Some((EntryRef::new(id, queue.last), message))
                }
                (stopped, _) => stopped,
            };
            self.holds.push(Hold { queue: id, key, stopped });
            self.change(id, Change::Held { key: key.clone() });
        }
        for at in &settlement.ended {
            self.queue(at.queue())?.entries -= 1;
            self.ended.push(*at);
            self.change(at.queue(), Change::Ended { number: at.number() });
        }
        for retry in &settlement.retries {
            self.queue(retry.at.queue())?;
            self.retries.push(retry);
            // As the database has it, so that a restart wakes it at the same time.
            let due = timestamp(nanoseconds(retry.due));
            self.change(retry.at.queue(), Change::Returned { number: retry.at.number(), due });
        }
        let placed = self.deal_with_dead(settlement, found)?;
        for (index, output) in settlement.outputs.iter().enumerate() {
            if !placed.contains(&index) {
                self.store(output, 0, known)?;
            }
        }
        for (entry, attempts) in &settlement.parked {
            self.store(entry, *attempts, known)?;
        }
        self.dead.extend(settlement.dead.iter().map(Cow::Borrowed));
        self.rows.extend(&settlement.rows);
        self.answers.extend(&settlement.answers);
        self.groups.extend(&settlement.groups);
        self.cursors.extend(&settlement.cursors);
        hops::add(&settlement.hops, &mut self.pages);
        Ok(())
    }

    /// Where a dead letter had stopped its key, the key goes on, and its replay goes first: gives the outputs that are stored
    /// that way.
    fn deal_with_dead(&mut self, settlement: &'a Settlement, found: &Found) -> Result<Vec<usize>, Failure> {
        let mut placed = Vec::new();
        for message in &settlement.dead_ended {
            let Some((queue, at)) = found.replays.get(message) else { continue };
            let Some(removed) = found.removed.iter().find(|removed| removed.dead == *message) else { continue };
            let Some(key) = &removed.key else { continue };
            let output = settlement.outputs.iter().position(|output| {
                output.message == removed.message && output.queue == removed.queue && output.key.as_ref() == Some(key)
            });
            if let (Some(at), Some(index)) = (at, output) {
                self.queue(*queue)?.entries += 1;
                self.stores.push(Placed { at: *at, new: &settlement.outputs[index], attempts: 0, due: None });
                self.change(*queue, Change::Again { number: at.number(), key: Some(key.clone()) });
                placed.push(index);
            }
            self.change(*queue, Change::Released { key: key.clone() });
        }
        Ok(placed)
    }

    fn store(&mut self, new: &'a NewEntry, attempts: u32, known: &Known<'_>) -> Result<(), Failure> {
        let id = *known.queues.get(&new.queue).ok_or_else(|| stale("the queue"))?;
        let queue = self.queue(id)?;
        queue.last += 1;
        queue.entries += 1;
        let at = EntryRef::new(id, queue.last);
        let due = new.due.filter(|due| *due > known.now);
        self.stores.push(Placed { at, new, attempts, due });
        let entry = known.consumed.contains(&id).then(|| Box::new(owned(at, new, attempts, due)));
        self.change(id, Change::Stored { number: at.number(), entry });
        Ok(())
    }

    fn queue(&mut self, id: i64) -> Result<&mut Counters, Failure> {
        self.queues.get_mut(&id).ok_or_else(|| stale("the message").into())
    }

    fn change(&mut self, queue: i64, change: Change) {
        self.changes.entry(queue).or_default().push(change);
    }

    async fn write(&self, connection: &Connection, known: &Known<'_>) -> Result<(), Failure> {
        let now = known.now;
        let outcomes = tokio::join!(
            biased;
            queues::hold(connection, &self.holds),
            queues::end(connection, &self.ended),
            queues::retry(connection, &self.retries),
            queues::store(connection, &self.stores, now),
            queues::save(connection, &self.queues),
            dead_letters::write(connection, &self.dead),
            tables::write(connection, &self.rows),
            tables::write_cursors(connection, &self.cursors),
            journal::write(connection, &self.pages, now),
            groups::write(connection, &self.groups, now),
            answers::write(connection, &self.answers, now)
        );
        outcomes.0?;
        outcomes.1?;
        outcomes.2?;
        outcomes.3?;
        outcomes.4?;
        outcomes.5?;
        outcomes.6?;
        outcomes.7?;
        outcomes.8?;
        outcomes.9?;
        outcomes.10
    }

    fn applied(self) -> Applied {
        let before = self.before;
        let touched = self.changes.into_iter().map(|(queue, changes)| {
            let before = before.get(&queue).copied().unwrap_or(0);
            Touched { queue, before, changes }
        });
        Applied { touched: touched.collect(), accepted: self.accepted }
    }
}

/// As a reader of the database would get it. The body is copied, so that a small one does not keep a large buffer alive.
fn owned(at: EntryRef, new: &NewEntry, attempts: u32, due: Option<Timestamp>) -> Entry {
    let body = bytes::Bytes::copy_from_slice(&new.body);
    Entry { at, attempts, entry: NewEntry { body, due, time: timestamp(nanoseconds(new.time)), ..new.clone() } }
}
