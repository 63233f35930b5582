//! The shorter way from one broker to another: a source that can be given again what it did not acknowledge, steps that need
//! nothing from the world, and one target that confirms many messages at a time. A run of messages is processed, delivered
//! and confirmed; then one commit keeps its hops and dead letters; then the source acknowledges. Nothing passes a queue.
//!
//! Same promises: until the commit the source's broker holds the message, after it the target has it. A kill between delivery
//! and acknowledgment repeats a run under the same ids, which is why it takes a stated `dedupe: none` and arrivals that their
//! source identifies. Whatever cannot go straight through (no id of its own, a peer that is away, a fault that may pass) is
//! left to the ordinary way, where retries wait in a queue.
//!
//! Several runs are under way at once: while one waits for its confirms and its commit, the next is processed.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::decide::{Decision, decide};
use super::direct::Nothing;
use super::intake::{dead_letter, track};
use super::mask::People;
use super::process::{Processed, Work, decode, process};
use super::stage::{ONLY, settle_for_good};
use super::{Destination, OrderBy, Pipeline, Works};
use crate::message::{Fault, MessageId, Text};
use crate::protocols::{Arrival, Delivery, Receipt, ReceiptOutcome, Target};
use crate::queue::{Decoded, NewEntry};
use crate::steps::Effect;
use crate::store::{Event, Hop, Settlement};
use crate::telemetry::{DestinationMetrics, PipelineMetrics};

/// Runs under way at once.
const RUNS: usize = 4;

/// A pipeline's shorter way.
pub struct Relay {
    pipeline: Arc<Pipeline>,
    targets: [Arc<dyn Target>; 1],
    works: Works,
    metrics: PipelineMetrics,
    destination: DestinationMetrics,
    runs: Semaphore,
    rest: Mutex<Rest>,
}

/// While the peer is away, all goes the ordinary way.
#[derive(Default)]
struct Rest {
    until: Option<Timestamp>,
    pauses: u32,
}

/// What became of a run.
#[derive(Default)]
pub(super) struct Relayed {
    /// For each arrival, in order; `None` for those that are left.
    pub receipts: Vec<Option<Receipt>>,
    /// Those that go the ordinary way, with their place in the run.
    pub left: Vec<(usize, Arrival)>,
}

impl Relay {
    /// The shorter way, where `pipeline` allows it.
    pub fn of(pipeline: &Arc<Pipeline>, targets: &[Arc<dyn Target>], works: &Works) -> Option<Relay> {
        let [target] = targets else { return None };
        let destination = &pipeline.destinations[0];
        let repeats_are_harmless = pipeline.dedupe.is_none() && pipeline.repeats_considered;
        let plain = repeats_are_harmless
            && matches!(pipeline.order_by, OrderBy::None)
            && !pipeline.steps.needs_world()
            && !destination.steps.needs_world();
        (plain && pipeline.source.acknowledges() && target.confirms_together()).then(|| Relay {
            pipeline: pipeline.clone(),
            targets: [target.clone()],
            works: works.clone(),
            metrics: works.metrics.pipeline(&pipeline.name),
            destination: works.metrics.destination(&pipeline.name, &destination.name),
            runs: Semaphore::new(RUNS),
            rest: Mutex::default(),
        })
    }

    /// Processes, delivers and commits a run.
    ///
    /// # Errors
    /// The store has stopped or was taken over: what was delivered will come again, under the same ids.
    pub(super) async fn receive(&self, arrivals: Vec<Arrival>) -> Result<Relayed, Fault> {
        let Ok(_turn) = self.runs.acquire().await else { return Ok(all_left(arrivals)) };
        let now = self.works.clock.now();
        let pauses = match self.resting(now) {
            Ok(pauses) => pauses,
            Err(()) => return Ok(all_left(arrivals)),
        };
        let mut run = Run { relayed: Relayed::default(), passing: Vec::new(), deliveries: Vec::new(), now };
        let mut settlement = Settlement::default();
        for arrival in arrivals {
            self.one(arrival, &mut run, &mut settlement).await;
        }
        let outcomes = self.deliver(&run.deliveries).await;
        self.judge(&mut run, outcomes, pauses, &mut settlement);
        let delivered = settlement.hops.iter().filter(|hop| hop.event == Event::Delivered).count();
        if !settlement.hops.is_empty() {
            settle_for_good(&self.works, settlement).await?;
        }
        self.metrics.accepted.inc_by(run.relayed.receipts.iter().flatten().count() as u64);
        self.destination.delivered.inc_by(delivered as u64);
        Ok(run.relayed)
    }

    /// One arrival: through the steps, and its deliveries to those of the run.
    async fn one(&self, arrival: Arrival, run: &mut Run, settlement: &mut Settlement) {
        let place = run.relayed.receipts.len();
        run.relayed.receipts.push(None);
        let Some(position) = arrival.position.as_deref().filter(|_| arrival.document.is_none()) else {
            run.relayed.left.push((place, arrival));
            return;
        };
        let id = MessageId::derive(&[self.pipeline.name.as_bytes(), b"position", position.as_bytes()]);
        let read = match &arrival.fault {
            Some(fault) => Err(fault.clone()),
            None => decode(&self.pipeline, &arrival.body, 0).and_then(|document| {
                let track = track(&self.pipeline, &self.works, id, &document, &arrival.headers, run.now);
                let track = track.map_err(|fault| People::of(&self.pipeline, &document).hide(fault))?;
                Ok((document, track))
            }),
        };
        let (document, track) = match read {
            Ok(read) => read,
            Err(fault) => {
                // As at intake, which has no attempts and no policy.
                self.dead(
                    self.entry(id, arrival),
                    &fault,
                    Dead { attempts: 0, ..Dead::default() },
                    run.now,
                    settlement,
                );
                run.relayed.receipts[place] = Some(Receipt { id, outcome: ReceiptOutcome::Dead });
                return;
            }
        };
        let work =
            Work { id, time: run.now, now: run.now, headers: &arrival.headers, document, start_at: 0, only: None };
        let processed = process(&self.pipeline, &self.targets, &*self.works.tables, &Nothing, work).await;
        let passing = Passing { place, id, arrival, track, count: 0 };
        match processed {
            Ok(processed) => self.routed(passing, processed, run, settlement),
            Err(fault) if gives_up(&self.pipeline.on_error, &fault, run.now) => {
                self.metrics.processed.inc();
                let entry = self.entry(id, passing.arrival);
                self.dead(entry, &fault, Dead { track: passing.track, ..Dead::default() }, run.now, settlement);
                run.relayed.receipts[place] = Some(Receipt { id, outcome: ReceiptOutcome::Stored });
            }
            Err(_) => run.relayed.left.push((place, passing.arrival)),
        }
    }

    /// What the steps made of an arrival.
    fn routed(&self, mut passing: Passing, processed: Processed, run: &mut Run, settlement: &mut Settlement) {
        let (place, id) = (passing.place, passing.id);
        if let Some((destination, fault)) = processed.failed.into_iter().next() {
            if !gives_up(&destination.on_error, &fault, run.now) {
                run.relayed.left.push((place, passing.arrival));
                return;
            }
            let mut entry = self.entry(id, passing.arrival);
            entry.headers.insert(ONLY, destination.name.clone());
            let message = Some(id.child(&destination.name, usize::MAX));
            let dead = Dead { message, to: Some(&destination), track: passing.track, attempts: 1 };
            self.dead(entry, &fault, dead, run.now, settlement);
            run.relayed.receipts[place] = Some(Receipt { id, outcome: ReceiptOutcome::Stored });
            return;
        }
        for effect in processed.effects {
            if let Effect::Log { text } = effect {
                info!(message = %id, "{text}");
            }
        }
        for routed in processed.routed {
            let id = id.child(&routed.destination.name, routed.index);
            run.deliveries.push(Delivery { id, time: run.now, prepared: routed.prepared, attempt: 1 });
            passing.count += 1;
        }
        run.passing.push(passing);
    }

    async fn deliver(&self, deliveries: &[Delivery]) -> Vec<Result<Option<Text>, Fault>> {
        if deliveries.is_empty() {
            return Vec::new();
        }
        let timer = self.destination.seconds.start_timer();
        let outcomes = self.targets[0].deliver_all(deliveries).await;
        timer.observe_duration();
        outcomes
    }

    /// What follows from the outcomes, one for each delivery of the run.
    fn judge(
        &self,
        run: &mut Run,
        outcomes: Vec<Result<Option<Text>, Fault>>,
        pauses: u32,
        settlement: &mut Settlement,
    ) {
        let destination = &self.pipeline.destinations[0];
        let unanswered =
            || Err(Fault::reconnect("HUB-DELIVERY", "the target did not answer each message it was given"));
        let mut outcomes = outcomes.into_iter().chain(std::iter::repeat_with(unanswered));
        let mut deliveries = std::mem::take(&mut run.deliveries).into_iter();
        let (mut rest, mut well) = (None, false);
        for passing in std::mem::take(&mut run.passing) {
            let own: Vec<_> = deliveries.by_ref().take(passing.count).zip(outcomes.by_ref()).collect();
            let mut stays = false;
            for fault in own.iter().filter_map(|(_, outcome)| outcome.as_ref().err()) {
                match decide(&destination.on_error, 0, pauses, fault, run.now) {
                    Decision::GiveUp { .. } => {}
                    Decision::RetryAt { .. } => stays = true,
                    Decision::Pause { until } => {
                        stays = true;
                        rest = Some((until, fault.clone()));
                    }
                }
            }
            well |= own.iter().any(|(_, outcome)| outcome.is_ok());
            if stays {
                run.relayed.left.push((passing.place, passing.arrival));
            } else {
                run.relayed.receipts[passing.place] = Some(Receipt { id: passing.id, outcome: ReceiptOutcome::Stored });
                self.passed(passing, own, run.now, settlement);
            }
        }
        self.rests(rest, well);
    }

    /// All that was made of an arrival is delivered, or given up.
    fn passed(
        &self,
        passing: Passing,
        own: Vec<(Delivery, Result<Option<Text>, Fault>)>,
        now: Timestamp,
        settlement: &mut Settlement,
    ) {
        self.metrics.processed.inc();
        let destination = &self.pipeline.destinations[0];
        let mut track = passing.track;
        if own.is_empty() {
            self.metrics.filtered.inc();
            settlement.hops.push(self.hop(passing.id, passing.id, Event::Filtered, None, None, track, now));
            return;
        }
        for (delivery, outcome) in own {
            let track = std::mem::take(&mut track);
            match outcome {
                Ok(note) => {
                    let to = Some(destination.name.clone());
                    settlement.hops.push(self.hop(passing.id, delivery.id, Event::Delivered, to, note, track, now));
                }
                Err(fault) => {
                    let fault = if self.pipeline.private.is_empty() { fault } else { fault.without_detail() };
                    self.destination.refused.inc();
                    let entry = NewEntry {
                        queue: destination.queue.clone(),
                        message: delivery.id,
                        origin: passing.id,
                        key: None,
                        time: delivery.time,
                        headers: delivery.prepared.address,
                        body: delivery.prepared.body,
                        start_at: 0,
                        due: None,
                        decoded: Decoded::default(),
                    };
                    let dead = Dead { to: Some(destination), track, ..Dead::default() };
                    self.dead(entry, &fault, dead, now, settlement);
                }
            }
        }
    }

    fn dead(&self, entry: NewEntry, fault: &Fault, dead: Dead<'_>, now: Timestamp, settlement: &mut Settlement) {
        let message = dead.message.unwrap_or(entry.message);
        self.metrics.dead(fault.code());
        warn!(%message, code = fault.code(), "to dead letters: {fault}");
        let to = dead.to.map(|to| &to.name);
        let note = Some(fault.code().into());
        settlement.hops.push(self.hop(entry.origin, message, Event::Dead, to.cloned(), note, dead.track, now));
        let mut letter = dead_letter(entry, &self.pipeline.name, to, fault, dead.attempts, now);
        letter.message = message;
        settlement.dead.push(letter);
    }

    /// How often the peer was away in a row; `Err` while it is taken to be so still.
    fn resting(&self, now: Timestamp) -> Result<u32, ()> {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.until.is_some_and(|until| now < until) { Err(()) } else { Ok(rest.pauses) }
    }

    fn rests(&self, until: Option<(Timestamp, Fault)>, well: bool) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if well {
            rest.pauses = 0;
        }
        match until {
            Some((until, fault)) => {
                if rest.pauses == 0 {
                    warn!(code = fault.code(), "the peer is away, messages wait in the queue meanwhile: {fault}");
                }
                rest.pauses = rest.pauses.saturating_add(1);
                rest.until = Some(until);
            }
            None if well => rest.until = None,
            None => {}
        }
    }

    /// The entry that intake would have stored.
    fn entry(&self, id: MessageId, arrival: Arrival) -> NewEntry {
        NewEntry {
            queue: self.pipeline.name.clone(),
            message: id,
            origin: id,
            key: None,
            time: self.works.clock.now(),
            headers: arrival.headers,
            body: arrival.body,
            start_at: 0,
            due: None,
            decoded: Decoded::default(),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a hop has as many fields")]
    fn hop(
        &self,
        origin: MessageId,
        message: MessageId,
        event: Event,
        to: Option<Text>,
        note: Option<Text>,
        track: Vec<(Text, Text)>,
        at: Timestamp,
    ) -> Hop {
        Hop { origin, message, pipeline: self.pipeline.name.clone(), at, event, destination: to, note, count: 1, track }
    }
}

fn all_left(arrivals: Vec<Arrival>) -> Relayed {
    Relayed { receipts: arrivals.iter().map(|_| None).collect(), left: arrivals.into_iter().enumerate().collect() }
}

/// Whether a fault ends a message at its first attempt.
fn gives_up(policy: &super::OnError, fault: &Fault, now: Timestamp) -> bool {
    matches!(decide(policy, 0, 0, fault, now), Decision::GiveUp { .. })
}

/// A run on its way.
struct Run {
    relayed: Relayed,
    passing: Vec<Passing>,
    /// Those of each passing arrival, one after the other.
    deliveries: Vec<Delivery>,
    now: Timestamp,
}

/// An arrival whose deliveries are in the run.
struct Passing {
    place: usize,
    id: MessageId,
    /// As it came, for the ordinary way.
    arrival: Arrival,
    track: Vec<(Text, Text)>,
    count: usize,
}

/// How a message was given up.
struct Dead<'a> {
    /// The dead letter's id, where it is not the entry's.
    message: Option<MessageId>,
    to: Option<&'a Arc<Destination>>,
    track: Vec<(Text, Text)>,
    attempts: u32,
}

impl Default for Dead<'_> {
    fn default() -> Self {
        Dead { message: None, to: None, track: Vec::new(), attempts: 1 }
    }
}

#[cfg(test)]
mod tests;
