//! A settle: outputs published and confirmed, the ledger's commit, the inputs acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::feed::{Became, Begin, From, Input, ToAck, stale};
use super::pump::delayed;
use super::{Gap, Line, Shared, letters, waves};
use crate::clock::later;
use crate::message::{Fault, MessageId, Next, Text};
use crate::queue::broker::{BrokerLane, Envelope, Publication};
use crate::queue::{EntryRef, NewEntry, Sharing};
use crate::store::{GroupWrite, Retry, Settlement};

/// A pause that counts no attempt waits here, if it is not longer; a longer one would hold the broker's deliveries too long.
const SHORT: Duration = Duration::from_secs(5);

/// Inputs of one queue.
type Inputs = (Arc<Line>, Vec<EntryRef>);

/// What became of the inputs of one queue.
type Outcomes = (Arc<Line>, Vec<(EntryRef, Became)>);

/// Publications the broker will never take, by their place, and why.
pub(super) type Refused = Vec<(usize, Fault)>;

/// A settlement as it will be carried out.
#[derive(Default)]
struct Plan {
    outcomes: Vec<Outcomes>,
    publications: Vec<Publication>,
    commit: Settlement,
}

impl Shared {
    pub(super) async fn settle(&self, settlement: Arc<Settlement>) -> Result<(), Fault> {
        let turns = self.turns.take(keys_of(settlement.outputs.iter()), Some(&settlement)).await;
        let outcome = self.carry_out(&settlement).await;
        if outcome.as_ref().is_err_and(|fault| matches!(fault.next(), Next::Retry { .. })) {
            turns.keep_for(&settlement);
        }
        outcome
    }

    async fn carry_out(&self, settlement: &Arc<Settlement>) -> Result<(), Fault> {
        let mut begun = Begun::default();
        let mut plan = self.plan(settlement, &mut begun).await?;
        let done = self.published_before(settlement);
        let refused = match done {
            Some(refused) => refused,
            None => {
                let refused = self.publish_all(&plan.publications).await?;
                self.note_published(settlement, &refused);
                refused
            }
        };
        for (index, fault) in refused {
            let publication = &plan.publications[index];
            let queue = super::lanes::name(&publication.lane);
            let entry = NewEntry { queue, ..publication.envelope.entry.clone() };
            warn!(message = %entry.message, code = fault.code(), "to dead letters: {fault}");
            let (letter, hop) = letters::dead(entry, &fault, publication.envelope.attempts, self.now());
            plan.commit.dead.push(letter);
            plan.commit.hops.push(hop);
        }
        self.gap(Gap::Published).await;
        self.check_fences(&plan.commit)?;
        self.gap(Gap::Committing).await;
        if !is_empty(&plan.commit) {
            let marks = plan.commit.settled.clone();
            if let Err(fault) = self.ledger.settle_shared(Arc::new(plan.commit)).await {
                if fault.code() == "STORE-STALE" {
                    self.forget_settled(&marks, &begun).await?;
                }
                return Err(fault);
            }
        }
        self.gap(Gap::Committed).await;
        begun.done();
        self.apply(plan.outcomes);
        Ok(())
    }

    async fn plan(&self, settlement: &Settlement, begun: &mut Begun) -> Result<Plan, Fault> {
        let now = self.now();
        let mut plan = Plan::default();
        plan.commit.fences.clone_from(&settlement.fences);
        let exact = is_exact(settlement);
        let retries: BTreeMap<EntryRef, &Retry> = settlement.retries.iter().map(|retry| (retry.at, retry)).collect();
        for (line, refs) in self.lines_of(settlement)? {
            let inputs = begin(&line, &refs).await?;
            begun.0.push((line.clone(), refs));
            let mut outcomes = Vec::with_capacity(inputs.len());
            for input in inputs {
                if let Some(fence) = self.fence_of(&line, &input)?
                    && !plan.commit.fences.contains(&fence)
                {
                    plan.commit.fences.push(fence);
                }
                let became = match retries.get(&input.at) {
                    Some(retry) => retry_of(&line, &input, retry, now, &mut plan),
                    None => end_of(&line, &input, settlement, exact, &mut plan),
                };
                outcomes.push((input.at, became));
            }
            plan.outcomes.push((line, outcomes));
        }
        self.plan_outputs(settlement, &mut plan).await?;
        self.plan_rest(settlement, &mut plan).await?;
        Ok(plan)
    }

    /// The queues of a settlement's inputs.
    fn lines_of(&self, settlement: &Settlement) -> Result<Vec<Inputs>, Fault> {
        let refs = settlement.ended.iter().copied().chain(settlement.retries.iter().map(|retry| retry.at));
        let mut left: Vec<EntryRef> = refs.collect();
        let mut found = Vec::new();
        if left.is_empty() {
            return Ok(found);
        }
        let mut lines: Vec<_> = self.lines().values().cloned().collect();
        // All begin in the same order, so that no two wait for each other.
        lines.sort_by(|one, other| one.queue.cmp(&other.queue));
        for line in lines {
            let (here, elsewhere) = {
                let feed = line.feed();
                left.into_iter().partition(|at| feed.has(*at))
            };
            left = elsewhere;
            let here: Vec<EntryRef> = here;
            if !here.is_empty() {
                found.push((line, here));
            }
        }
        if left.is_empty() { Ok(found) } else { Err(stale()) }
    }

    /// The lease under which an input was handed out, if it still holds.
    fn fence_of(&self, line: &Line, input: &Input) -> Result<Option<crate::store::Fence>, Fault> {
        let competes = line.sharing == Sharing::Competing && matches!(input.from, From::Broker { .. });
        if competes || !self.ledger.is_shared() {
            return Ok(None);
        }
        let believed = self.keeper.fence(&line.ledger_name(input.lane)).ok_or_else(stale)?;
        if line.feed().fence(input.lane).as_ref() == Some(&believed) { Ok(Some(believed)) } else { Err(stale()) }
    }

    async fn plan_outputs(&self, settlement: &Settlement, plan: &mut Plan) -> Result<(), Fault> {
        // A replay or a closed group is committed with what it follows from, so it goes through the ledger.
        let in_ledger = !settlement.dead_ended.is_empty() || closes(settlement);
        let now = self.now();
        for output in &settlement.outputs {
            let line = self.line(&output.queue).await?;
            let lane = self.lane_of(&line, output.key.as_ref(), output.message);
            if in_ledger {
                plan.commit.outputs.push(NewEntry { queue: line.ledger_name(lane), ..output.clone() });
            } else {
                plan.publications.push(publication(&line, lane, output, now));
            }
        }
        Ok(())
    }

    async fn plan_rest(&self, settlement: &Settlement, plan: &mut Plan) -> Result<(), Fault> {
        let commit = &mut plan.commit;
        for dead in &settlement.dead {
            let mut dead = dead.clone();
            let line = self.line(&dead.replay.queue).await?;
            let lane = self.lane_of(&line, dead.replay.key.as_ref(), dead.replay.message);
            dead.replay.queue = line.ledger_name(lane);
            commit.dead.push(dead);
        }
        for (queue, key) in &settlement.held {
            let line = self.line(queue).await?;
            let lane = self.lane_of(&line, Some(key), MessageId::derive(&[]));
            commit.held.push((line.ledger_name(lane), key.clone()));
        }
        for group in &settlement.groups {
            if let (GroupWrite::Close { group, .. }, true) = (group, self.ledger.is_shared()) {
                let line = self.line(&group.pipeline).await?;
                let lease = Shared::leading(&line);
                // Who does not consume the queue has the group's window alone to go by.
                if !self.keeper.wants(&lease) {
                    continue;
                }
                let fence = self.keeper.fence(&lease).ok_or_else(stale)?;
                if !commit.fences.contains(&fence) {
                    commit.fences.push(fence);
                }
            }
        }
        commit.dead_ended.clone_from(&settlement.dead_ended);
        commit.hops.clone_from(&settlement.hops);
        commit.rows.clone_from(&settlement.rows);
        commit.groups.clone_from(&settlement.groups);
        commit.cursors.clone_from(&settlement.cursors);
        commit.claimed.clone_from(&settlement.claimed);
        Ok(())
    }

    /// Publishes all, one of each key at a time; gives those the broker will never take (too large), by their place.
    ///
    /// # Errors
    /// The first that was not confirmed, of the others some may be there: `retry` where publishing all again may help.
    pub(super) async fn publish_all(&self, publications: &[Publication]) -> Result<Refused, Fault> {
        let mut refused = Refused::new();
        let keys = publications.iter().filter(|publication| publication.envelope.entry.key.is_some()).count();
        if keys <= 1 {
            if !publications.is_empty() {
                sort_out(0.., self.broker.publish(publications).await, &mut refused)?;
            }
            return Ok(refused);
        }
        let key = |(_, publication): &(usize, Publication)| {
            let key = publication.envelope.entry.key.clone()?;
            Some((publication.lane.queue.clone(), key))
        };
        let numbered = publications.iter().cloned().enumerate().collect();
        for wave in waves(numbered, key) {
            let (places, wave): (Vec<usize>, Vec<Publication>) = wave.into_iter().unzip();
            sort_out(places.into_iter(), self.broker.publish(&wave).await, &mut refused)?;
        }
        Ok(refused)
    }

    /// Leases end by this machine's clock too: a process that was stopped need not ask to know that it is late.
    pub(super) fn check_fences(&self, commit: &Settlement) -> Result<(), Fault> {
        let holds = commit.fences.iter().all(|fence| self.keeper.fence(&fence.lease).as_ref() == Some(fence));
        if holds { Ok(()) } else { Err(stale()) }
    }

    /// Some of the inputs had ended before, and the broker had delivered them again: they are acknowledged, the caller begins
    /// anew with the others.
    async fn forget_settled(&self, marks: &[(Text, MessageId)], begun: &Begun) -> Result<(), Fault> {
        if marks.is_empty() {
            return Ok(());
        }
        let settled = self.ledger.settled(marks).await?;
        let gone: Vec<_> = marks.iter().zip(settled).filter(|(_, settled)| *settled).map(|(mark, _)| mark).collect();
        for (line, refs) in &begun.0 {
            let acks = {
                let mut feed = line.feed();
                let ended: Vec<_> = refs
                    .iter()
                    .filter(|at| {
                        feed.copy(**at)
                            .is_some_and(|copy| gone.iter().any(|(queue, id)| *queue == line.queue && *id == copy))
                    })
                    .map(|at| (*at, Became::Delayed))
                    .collect();
                feed.became(&ended, self.now())
            };
            acknowledge(line, acks);
        }
        Ok(())
    }

    fn apply(&self, outcomes: Vec<Outcomes>) {
        for (line, outcomes) in outcomes {
            let acks = line.feed().became(&outcomes, self.now());
            acknowledge(&line, acks);
            line.parking.notify_one();
        }
    }

    /// A settle that is tried again after its commit failed does not publish twice: what was refused the first time.
    fn published_before(&self, settlement: &Arc<Settlement>) -> Option<Refused> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.retain(|(weak, _)| weak.strong_count() > 0);
        let same = published.iter().find(|(weak, _)| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(settlement)));
        same.map(|(_, refused)| refused.clone())
    }

    fn note_published(&self, settlement: &Arc<Settlement>, refused: &Refused) {
        if !settlement.outputs.is_empty() {
            let note = (Arc::downgrade(settlement), refused.clone());
            self.published.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        }
    }
}

/// Tells what the broker refuses for good from what may pass.
fn sort_out(
    places: impl Iterator<Item = usize>,
    outcomes: Vec<Result<(), Fault>>,
    refused: &mut Refused,
) -> Result<(), Fault> {
    for (place, outcome) in places.zip(outcomes) {
        let Err(fault) = outcome else { continue };
        match fault.next() {
            Next::Refuse => refused.push((place, fault)),
            // The connection comes back by itself; what was decided need not be decided anew.
            Next::Reconnect => return Err(Fault::retry(fault.code(), fault.sentence())),
            Next::Retry { .. } | Next::Misconfigured => return Err(fault),
        }
    }
    Ok(())
}

/// The inputs of one queue, once no other settle of them is under way.
async fn begin(line: &Line, refs: &[EntryRef]) -> Result<Vec<Input>, Fault> {
    loop {
        let ended = line.idle.notified();
        match line.feed().begin(refs) {
            Begin::Begun(inputs) => return Ok(inputs),
            Begin::Gone => return Err(stale()),
            Begin::Busy => {}
        }
        ended.await;
    }
}

/// The keys of entries, with their queues.
pub(super) fn keys_of<'a>(entries: impl Iterator<Item = &'a NewEntry>) -> Vec<(Text, Text)> {
    entries.filter_map(|entry| Some((entry.queue.clone(), entry.key.clone()?))).collect()
}

fn acknowledge(line: &Line, acks: Vec<ToAck>) {
    for ToAck { acks, tags } in acks {
        acks.ack(&tags);
    }
    line.ready.notify_waiters();
    line.idle.notify_waiters();
}

/// An entry for the broker.
pub(super) fn publication(line: &Line, lane: Option<u32>, entry: &NewEntry, now: Timestamp) -> Publication {
    let delay = entry.due.filter(|due| *due > now && lane.is_none());
    Publication {
        lane: BrokerLane { queue: line.queue.clone(), partition: lane },
        envelope: Envelope { entry: entry.clone(), attempts: 0, stored: now, copy: MessageId::draw() },
        delay: delay.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default()),
    }
}

fn end_of(line: &Arc<Line>, input: &Input, settlement: &Settlement, exact: bool, plan: &mut Plan) -> Became {
    match input.from {
        From::Ledger(at) => plan.commit.ended.push(at),
        // What must not be done twice is marked, since the acknowledgement may be lost.
        From::Broker { .. } if exact || input.from.is_void() => {
            plan.commit.settled.push((line.queue.clone(), input.copy));
        }
        From::Broker { .. } => {}
    }
    let holds = |(queue, key): &(Text, Text)| *queue == line.queue && Some(key) == input.entry.key.as_ref();
    if settlement.held.iter().any(holds) { Became::Held } else { Became::Ended }
}

fn retry_of(line: &Arc<Line>, input: &Input, retry: &Retry, now: Timestamp, plan: &mut Plan) -> Became {
    if let From::Ledger(at) = input.from {
        plan.commit.retries.push(Retry { at, ..retry.clone() });
        return Became::Parked;
    }
    if !retry.counts && retry.due <= later(now, SHORT) {
        return Became::Resting(retry.due);
    }
    let mut input = input.clone();
    input.attempts += u32::from(retry.counts);
    input.entry.due = Some(retry.due);
    if input.lane.is_none() {
        plan.publications.push(delayed(&line.queue, &input, now));
        return Became::Delayed;
    }
    plan.commit.settled.push((line.queue.clone(), input.copy));
    let entry = NewEntry { queue: line.ledger_name(input.lane), ..input.entry };
    plan.commit.parked.push((entry, input.attempts));
    Became::Parked
}

fn closes(settlement: &Settlement) -> bool {
    settlement.groups.iter().any(|group| matches!(group, GroupWrite::Close { .. }))
}

/// Whether doing it twice would show.
fn is_exact(settlement: &Settlement) -> bool {
    !settlement.groups.is_empty() || !settlement.dead.is_empty() || !settlement.held.is_empty()
}

fn is_empty(commit: &Settlement) -> bool {
    let Settlement {
        ended,
        retries,
        outputs,
        dead,
        dead_ended,
        hops,
        rows,
        groups,
        cursors,
        held,
        parked,
        claimed,
        settled,
        fences: _,
    } = commit;
    ended.is_empty()
        && retries.is_empty()
        && outputs.is_empty()
        && dead.is_empty()
        && dead_ended.is_empty()
        && hops.is_empty()
        && rows.is_empty()
        && groups.is_empty()
        && cursors.is_empty()
        && held.is_empty()
        && parked.is_empty()
        && claimed.is_empty()
        && settled.is_empty()
}

/// Inputs being settled; out as before if the settle does not come to its end.
#[derive(Default)]
struct Begun(Vec<Inputs>);

impl Begun {
    fn done(&mut self) {
        self.0.clear();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        for (line, refs) in &self.0 {
            line.feed().unbegin(refs);
            line.idle.notify_waiters();
        }
    }
}
