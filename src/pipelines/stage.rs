//! The pipeline's stage: entries of the pipeline's queue go through the steps and are settled.
//!
//! One task a pipeline takes a run of entries, processes them in order, and hands their settlement to a second task, which
//! settles one after the other while the next run is processed. What a run remembers or gathers is seen by the next before it is
//! committed (`pending.rs`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use super::calls::Recorded;
use super::decide::{Decision, Rests, decide, pause};
use super::intake::dead_letter;
use super::pending::{LiveWorld, Pending};
use super::process::{Processed, Work, decode, document, process};
use super::{Condition, Destination, Pipeline, Then, Works};
use crate::message::{Fault, Map, MessageId, Next, Text, Value, json};
use crate::protocols::Target;
use crate::queue::{Consumer, Decoded, Entry, EntryRef, NewEntry};
use crate::steps::{Effect, GroupKey};
use crate::store::{DueGroup, Event, GroupWrite, Hop, Retry, RowWrite, Settlement};
use crate::telemetry::PipelineMetrics;

/// Entries processed and settled together.
const RUN: usize = 256;
/// Entries processed at the same time and settled together, where steps wait for systems: so many that one slow system holds up
/// a run no longer than one answer may take.
const CALLING_RUN: usize = 16;
/// Settlements waiting while one commits.
const SETTLES: usize = 2;
/// How often groups that close by time are looked for.
const GROUP_TICK: Duration = Duration::from_secs(1);
/// Names the only destination of a replay in an entry's headers.
pub(super) const ONLY: &str = "@only";

/// A run's number, and all that follows from it.
type Decided = (u64, Settlement);

/// The running stage of one pipeline.
pub struct Stage {
    pipeline: Arc<Pipeline>,
    targets: Vec<Arc<dyn Target>>,
    works: Works,
    metrics: PipelineMetrics,
    pending: Pending,
    has_groups: bool,
    /// Steps ask systems.
    calls: bool,
    /// Steps change what later messages see.
    changes: bool,
    /// Runs in a row that found a system away.
    pauses: u32,
    condition: Condition,
    rests: Arc<Rests>,
}

impl Stage {
    /// `targets` are the opened targets, in the order of the pipeline's destinations.
    pub fn new(pipeline: Arc<Pipeline>, targets: Vec<Arc<dyn Target>>, works: Works, condition: Condition) -> Stage {
        let metrics = works.metrics.pipeline(&pipeline.name);
        let has_groups = pipeline.steps.has("aggregate");
        let has = |verb: &str| pipeline.all_steps().any(|steps| steps.has(verb));
        let (calls, changes) = (has("call"), has("remember") || has("aggregate"));
        let (pending, rests) = (Pending::default(), Arc::default());
        Stage { pipeline, targets, works, metrics, pending, has_groups, calls, changes, pauses: 0, condition, rests }
    }

    /// Runs until `stop`; then finishes what it holds.
    pub async fn run(mut self, stop: CancellationToken) {
        let span = tracing::info_span!("stage", pipeline = %self.pipeline.name);
        async {
            while !stop.is_cancelled() {
                let (settlements, settler) = self.settler();
                if let Err(fault) = self.work(&stop, settlements).await {
                    warn!(code = fault.code(), "the stage rests and starts again: {fault}");
                    self.condition.rests(&fault);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = self.works.clock.sleep(self.rests.failed()) => {}
                    }
                }
                // The work has dropped its end: what it handed over is settled, then the settler ends.
                if settler.await.is_err() {
                    warn!("the settling task failed; entries that were not settled are handed out again");
                }
                self.pending = Pending::default();
            }
        }
        .instrument(span)
        .await;
    }

    /// The task that settles, in order, what is sent to it.
    fn settler(&self) -> (mpsc::Sender<Decided>, tokio::task::JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel::<Decided>(SETTLES);
        let (works, pending, rests) = (self.works.clone(), self.pending.clone(), self.rests.clone());
        let settling = async move {
            while let Some((run, settlement)) = receiver.recv().await {
                if let Err(fault) = settle_for_good(&works, settlement).await {
                    warn!(code = fault.code(), "what was decided is dropped and decided anew: {fault}");
                    return;
                }
                pending.committed(run);
                rests.worked();
            }
        };
        (sender, tokio::spawn(settling.in_current_span()))
    }

    async fn work(&mut self, stop: &CancellationToken, settlements: mpsc::Sender<Decided>) -> Result<(), Fault> {
        let window = self.works.memory.window(RUN * 4);
        let mut consumer = self.works.engine.queue.consume(&self.pipeline.name, window).await?;
        // Groups of an `aggregate` that an edit took away still close in their time.
        let left = self.works.engine.store.due_groups(&self.pipeline.name, Timestamp::MAX, 1).await?;
        self.has_groups |= !left.is_empty();
        self.condition.works();
        loop {
            self.wait_for_room(stop).await?;
            let entries = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                entries = consumer.next(if self.calls { CALLING_RUN } else { RUN }) => entries?,
                // Perhaps all that may go out is out: nothing more would come.
                () = settlements.closed() => return Err(settler_ended()),
                () = self.works.clock.sleep(GROUP_TICK), if self.has_groups => Vec::new(),
            };
            let (run, mut settlement) = (self.pending.begin(), Settlement::default());
            if self.has_groups && self.closes_groups(&*consumer) {
                self.close_due_groups(&mut settlement).await?;
            }
            if entries.is_empty() && settlement.outputs.is_empty() {
                continue;
            }
            self.entries(entries, &mut settlement).await;
            if settlements.send((run, settlement)).await.is_err() {
                return Err(settler_ended());
            }
        }
    }

    /// Back-pressure: a destination at its quota stops the stage, and so, in time, the source.
    async fn wait_for_room(&self, stop: &CancellationToken) -> Result<(), Fault> {
        let mut told = false;
        loop {
            let mut full = None;
            for destination in &self.pipeline.destinations {
                if self.works.engine.queue.entries(&destination.queue).await? >= self.works.quota {
                    full = Some(destination.name.clone());
                }
            }
            let Some(destination) = full else { return Ok(()) };
            if !std::mem::replace(&mut told, true) {
                warn!(%destination, "the destination's queue is at its quota: the pipeline waits");
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.works.clock.sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// One after the other; but what waits for systems waits together, unless a message may see what another one changes.
    async fn entries(&mut self, entries: Vec<Entry>, settlement: &mut Settlement) {
        let process = async |mut entry: Entry| {
            let decoded = entry.entry.decoded.take();
            let processed = self.process(&entry.entry, decoded).await;
            (entry, processed)
        };
        if self.calls && !self.changes {
            for (entry, processed) in join_all(entries.into_iter().map(process)).await {
                self.entry(entry, processed, settlement);
            }
        } else {
            for entry in entries {
                let (entry, processed) = process(entry).await;
                self.entry(entry, processed, settlement);
            }
        }
        if settlement.retries.iter().any(|retry| !retry.counts) {
            self.pauses = self.pauses.saturating_add(1);
        } else if !settlement.ended.is_empty() {
            self.pauses = 0;
            self.condition.works();
        }
    }

    fn entry(&self, entry: Entry, processed: Result<Processed, Fault>, settlement: &mut Settlement) {
        let now = self.works.clock.now();
        let Entry { at, attempts, entry } = entry;
        match processed {
            Ok(processed) => {
                if let Some((decision, fault)) = self.tried_again(&processed, attempts, now) {
                    self.again(at, &entry, decision, &fault, settlement, now);
                    return;
                }
                self.metrics.processed.inc();
                settlement.ended.push(at);
                self.keep(&entry, processed, settlement, now);
            }
            Err(fault) => self.failed(at, attempts, entry, &fault, settlement, now),
        }
    }

    /// A replay for a destination that an edit took away would go nowhere in silence.
    fn knows(&self, only: Option<&str>) -> Result<(), Fault> {
        match only.filter(|only| !self.pipeline.destinations.iter().any(|to| to.name == *only)) {
            Some(gone) => {
                Err(Fault::refuse("PIPELINE-DESTINATION", format!("the pipeline has no destination `{gone}` any more")))
            }
            None => Ok(()),
        }
    }

    async fn process(&self, entry: &NewEntry, decoded: Option<Value>) -> Result<Processed, Fault> {
        let document = match decoded {
            Some(document) => document,
            None if entry.start_at == 0 => document(&self.pipeline, &entry.body, (entry.message, entry.time))?,
            None => decode(&self.pipeline, &entry.body, entry.start_at)?,
        };
        let (headers, only) = without_only(&entry.headers);
        self.knows(only.as_deref())?;
        let work = Work {
            id: entry.message,
            time: entry.time,
            now: self.works.clock.now(),
            headers: &headers,
            document,
            start_at: entry.start_at as usize,
            only: only.as_deref(),
        };
        let recorded = Recorded::new(&self.works, entry.message, entry.time);
        let world = LiveWorld { works: &self.works, pending: &self.pending, message: entry.message, recorded };
        process(&self.pipeline, &self.targets, &*self.works.tables, &world, work).await
    }

    /// What was made of a message, into the settlement.
    fn keep(&self, entry: &NewEntry, processed: Processed, settlement: &mut Settlement, now: Timestamp) {
        // The last member closes the group it joins.
        let joins = |effect: &Effect| matches!(effect, Effect::Join { .. } | Effect::Close { .. });
        let joined = processed.effects.iter().any(joins);
        // Known by now only: the journal finds the message by it.
        let track = |effect: &Effect| match effect {
            Effect::Track { name, value } => Some((name.clone(), value.clone())),
            _ => None,
        };
        let mut track: Vec<(Text, Text)> = processed.effects.iter().filter_map(track).collect();
        if processed.routed.is_empty() && processed.failed.is_empty() {
            let event = if joined { Event::Joined } else { Event::Filtered };
            if !joined {
                self.metrics.filtered.inc();
            }
            let hop = self.hop(entry, entry.message, event, None, None, now);
            settlement.hops.push(Hop { track: std::mem::take(&mut track), ..hop });
        }
        for routed in processed.routed {
            let to = &routed.destination;
            let id = entry.message.child(&to.name, routed.index);
            let hop = self.hop(entry, id, Event::Routed, Some(to.name.clone()), None, now);
            settlement.hops.push(Hop { track: std::mem::take(&mut track), ..hop });
            settlement.outputs.push(NewEntry {
                queue: to.queue.clone(),
                message: id,
                origin: entry.origin,
                key: entry.key.clone(),
                time: entry.time,
                headers: routed.prepared.address,
                body: routed.prepared.body,
                start_at: 0,
                due: None,
                decoded: Decoded::default(),
            });
        }
        for (destination, fault) in processed.failed {
            self.failed_for(entry, &destination, &fault, settlement, now);
        }
        for (index, effect) in processed.effects.into_iter().enumerate() {
            self.effect(entry, index, effect, settlement);
        }
    }

    fn effect(&self, entry: &NewEntry, index: usize, effect: Effect, settlement: &mut Settlement) {
        match effect {
            Effect::Remember { table, key, row, until, time } => {
                let time = time.unwrap_or(entry.time);
                self.pending.remember(&table, &key, &row, time);
                settlement.rows.push(RowWrite { table, key, row, time, until: Some(until) });
            }
            Effect::Join { group, member, closes } => {
                self.pending.join(&group, &member, entry.time);
                // One message may join a group several times: each member has an id of its own, the same for a repeat.
                let (message, at) = (entry.message.child(&group.step, index), entry.time);
                settlement.groups.push(GroupWrite::Join { group, message, member, at, closes });
            }
            Effect::Close { group, window, document } => {
                self.close(group, window, document, entry.time, entry.key.clone(), settlement);
            }
            Effect::Log { text } => info!(message = %entry.message, "{text}"),
            Effect::Track { .. } => {}
            Effect::Exchange { partner, document, state, note } => {
                self.works.metrics.exchanged(&partner, &document, &state);
                match state.as_str() {
                    "rejected" | "overdue" | "gap" | "conflict" | "unexpected" | "untaken" => {
                        warn!(message = %entry.message, %partner, %document, "{state}: {note}")
                    }
                    _ => info!(message = %entry.message, %partner, %document, "{state}: {note}"),
                }
            }
        }
    }

    /// A closed group goes on after its step, under an id that any repeat of the closing shares.
    fn close(
        &self,
        group: GroupKey,
        window: u64,
        document: Value,
        time: Timestamp,
        key: Option<Text>,
        settlement: &mut Settlement,
    ) {
        self.pending.close(&group, window);
        // The step was there when the group was opened; if an edit moved it since, the group goes on after it all the same,
        // and at the end if it was removed.
        let start_at = self.pipeline.steps.after(&group.step).unwrap_or(self.pipeline.steps.len());
        let id = MessageId::derive(&[
            group.pipeline.as_bytes(),
            group.step.as_bytes(),
            group.key.as_bytes(),
            &window.to_be_bytes(),
        ]);
        settlement.outputs.push(NewEntry {
            queue: self.pipeline.name.clone(),
            message: id,
            origin: id,
            key,
            time,
            headers: Map::new(),
            body: json::to_text(&document).into(),
            start_at: u32::try_from(start_at).unwrap_or(u32::MAX),
            due: None,
            decoded: Decoded::default(),
        });
        settlement.groups.push(GroupWrite::Close { group, window });
    }

    /// Groups are closed where their members come in. A group that an edit left without its step has no such place any more:
    /// whoever is first closes it, and what the others decided is stale.
    fn closes_groups(&self, consumer: &dyn Consumer) -> bool {
        consumer.leads() || !self.pipeline.steps.has("aggregate")
    }

    async fn close_due_groups(&mut self, settlement: &mut Settlement) -> Result<(), Fault> {
        let now = self.works.clock.now();
        let due = self.works.engine.store.due_groups(&self.pipeline.name, now, 100).await?;
        for DueGroup { key, group: due } in due {
            // What this stage decided since stands over what the store had.
            let group = self.pending.group(&key).unwrap_or_else(|| due.clone());
            if group.members.is_empty() || group.window != due.window {
                continue;
            }
            let document: Map =
                [("key", Value::from(key.key.clone())), ("items", Value::List(group.members))].into_iter().collect();
            let opened = group.opened.unwrap_or(now);
            self.close(key, group.window, document.into(), opened, self.pipeline.only_key(), settlement);
        }
        Ok(())
    }

    /// The pipeline's own steps failed: wait, or give up with the original bytes.
    fn failed(
        &self,
        at: EntryRef,
        attempts: u32,
        entry: NewEntry,
        fault: &Fault,
        settlement: &mut Settlement,
        now: Timestamp,
    ) {
        match decide(&self.pipeline.on_error, attempts, self.pauses, fault, now) {
            again @ (Decision::RetryAt { .. } | Decision::Pause { .. }) => {
                self.again(at, &entry, again, fault, settlement, now);
            }
            Decision::GiveUp { hold_key } => {
                self.metrics.dead(fault.code());
                warn!(message = %entry.message, code = fault.code(), "to dead letters: {fault}");
                settlement.ended.push(at);
                settlement.hops.push(self.hop(
                    &entry,
                    entry.message,
                    Event::Dead,
                    None,
                    Some(fault.code().into()),
                    now,
                ));
                if let Some(key) = entry.key.as_ref().filter(|_| hold_key) {
                    settlement.held.push((entry.queue.clone(), key.clone()));
                }
                settlement.dead.push(dead_letter(entry, &self.pipeline.name, None, fault, attempts + 1, now));
            }
        }
    }

    /// The whole message is handed out again: a retry counts as an attempt and stands in the journal, a rest until a system is
    /// well again does not.
    fn again(
        &self,
        at: EntryRef,
        entry: &NewEntry,
        decision: Decision,
        fault: &Fault,
        settlement: &mut Settlement,
        now: Timestamp,
    ) {
        match decision {
            Decision::RetryAt { due } => {
                info!(message = %entry.message, code = fault.code(), "tried again at {due}: {fault}");
                let note = Some(fault.code().into());
                settlement.hops.push(self.hop(entry, entry.message, Event::Retry, None, note, now));
                settlement.retries.push(Retry { at, due, counts: true });
            }
            Decision::Pause { until } => {
                self.condition.rests(fault);
                if self.pauses == 0 && settlement.retries.iter().all(|retry| retry.counts) {
                    warn!(code = fault.code(), "messages wait until what a step asks is well: {fault}");
                }
                settlement.retries.push(Retry { at, due: until, counts: false });
            }
            Decision::GiveUp { .. } => {}
        }
    }

    /// When the whole message is tried again, where a destination's own steps met a fault that may pass (a system is away, the
    /// store was busy) and the destination has attempts left. Nothing of it is settled then, so that no other destination gets
    /// it twice.
    fn tried_again(&self, processed: &Processed, attempts: u32, now: Timestamp) -> Option<(Decision, Fault)> {
        let again = |(destination, fault): &(Arc<Destination>, Fault)| {
            let waits = match fault.next() {
                Next::Retry { .. } | Next::Reconnect => true,
                Next::Misconfigured => destination.steps.has("call"),
                Next::Refuse => false,
            };
            match decide(&destination.on_error, attempts, self.pauses, fault, now) {
                again @ (Decision::RetryAt { .. } | Decision::Pause { .. }) if waits => Some((again, fault.clone())),
                _ => None,
            }
        };
        // A retry before a rest: its attempts are counted, so that it comes to an end.
        let order = |decision: &Decision| match decision {
            Decision::RetryAt { due } => (1, *due),
            Decision::Pause { until } => (0, *until),
            Decision::GiveUp { .. } => (0, now),
        };
        processed.failed.iter().filter_map(again).max_by_key(|(decision, _)| order(decision))
    }

    /// One destination's own steps failed: the others go on, and a replay does only what was left undone.
    fn failed_for(
        &self,
        entry: &NewEntry,
        destination: &Arc<Destination>,
        fault: &Fault,
        settlement: &mut Settlement,
        now: Timestamp,
    ) {
        self.metrics.dead(fault.code());
        let id = entry.message.child(&destination.name, usize::MAX);
        warn!(message = %entry.message, destination = %destination.name, code = fault.code(), "to dead letters: {fault}");
        let name = destination.name.clone();
        settlement.hops.push(self.hop(entry, id, Event::Dead, Some(name.clone()), Some(fault.code().into()), now));
        // Its replay comes through this queue, so the key waits here.
        if let Some(key) = entry.key.as_ref().filter(|_| destination.on_error.then == Then::HoldKey) {
            settlement.held.push((entry.queue.clone(), key.clone()));
        }
        let mut replay = entry.clone();
        replay.headers.insert(ONLY, name.clone());
        let mut dead = dead_letter(replay, &self.pipeline.name, Some(&name), fault, 1, now);
        dead.message = id;
        settlement.dead.push(dead);
    }

    fn hop(
        &self,
        entry: &NewEntry,
        message: MessageId,
        event: Event,
        to: Option<Text>,
        note: Option<Text>,
        at: Timestamp,
    ) -> Hop {
        let pipeline = self.pipeline.name.clone();
        Hop { origin: entry.origin, message, pipeline, at, event, destination: to, note, count: 1, track: Vec::new() }
    }
}

/// The headers as formulas and other pipelines see them, and the only destination of a replay, which is nobody else's.
fn without_only(headers: &Map) -> (Cow<'_, Map>, Option<Text>) {
    match headers.get(ONLY).and_then(Value::as_text) {
        None => (Cow::Borrowed(headers), None),
        Some(only) => {
            let mut rest = headers.clone();
            rest.remove(ONLY);
            (Cow::Owned(rest), Some(only.into()))
        }
    }
}

/// Settles, however long the store takes to be well again: the outcome is decided, and until it is on disk nothing else is
/// taken, which slows the source down.
///
/// # Errors
/// `STORE-STALE`, `STORE-GONE`: somebody else settled an input, or the engine has stopped. Nothing of it is kept; the work begins
/// anew with what the queue hands out.
pub(super) async fn settle_for_good(works: &Works, settlement: Settlement) -> Result<(), Fault> {
    let settlement = Arc::new(settlement);
    let mut failures = 0;
    loop {
        let Err(fault) = works.engine.store.settle_shared(settlement.clone()).await else { return Ok(()) };
        if !matches!(fault.next(), Next::Retry { .. }) {
            return Err(fault);
        }
        warn!(code = fault.code(), "cannot settle, trying again: {fault}");
        works.clock.sleep(pause(failures)).await;
        failures += 1;
    }
}

/// What was sent to the settling task since is dropped: it must be handed out again.
pub(super) fn settler_ended() -> Fault {
    Fault::reconnect("HUB-SETTLER", "the settling task has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_destination_of_a_replay_does_not_travel_on() {
        let headers = Map::from_iter([("store", "lyon"), (ONLY, "stock")]);
        let (rest, only) = without_only(&headers);
        assert_eq!((rest.into_owned(), only.as_deref()), (Map::from_iter([("store", "lyon")]), Some("stock")));
        assert_eq!(without_only(&Map::new()).1, None);
    }
}
