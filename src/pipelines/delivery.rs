//! A destination's lane: entries of its queue are delivered, several at a time, and settled.
//!
//! A lane knows only its own peer: a fault of the connection rests the whole lane for a while, a fault of one message only
//! that message and the later ones of its key.
//!
//! Outcomes are settled by a second task, all that wait in one commit, while the next deliveries are under way. So a kill may
//! repeat as many deliveries as the lane's window of the queue holds, each under its own id.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use super::decide::{Decision, Rests, decide};
use super::intake::dead_letter;
use super::mask::People;
use super::process::remembered;
use super::stage::{settle_for_good, settler_ended};
use super::{Condition, Destination, Pipeline, Works};
use crate::message::{Fault, Text, Value, json};
use crate::protocols::{Delivered, Delivery, Prepared, Target};
use crate::queue::{Consumer, Entry, NewEntry};
use crate::steps::{Row, RowTemplate};
use crate::store::{Event, Hop, Retry, RowWrite, Settlement};
use crate::telemetry::{DestinationMetrics, PipelineMetrics};

/// Outcomes waiting while others commit; together they are the next commit.
const SETTLES: usize = 64;

/// The running lane of one destination.
pub struct Lane {
    shared: Arc<Shared>,
    rests: Arc<Rests>,
}

struct Shared {
    pipeline: Arc<Pipeline>,
    destination: Arc<Destination>,
    target: Arc<dyn Target>,
    works: Works,
    metrics: DestinationMetrics,
    pipeline_metrics: PipelineMetrics,
    condition: Condition,
}

/// How a run of deliveries went, for the lane.
#[derive(Default)]
struct Verdict {
    /// The lane rests until then.
    rest: Option<(Timestamp, Fault)>,
    /// What was delivered cannot be settled: the lane begins anew with what the queue hands out.
    lost: Option<Fault>,
    delivered: bool,
}

impl Lane {
    pub fn new(
        pipeline: Arc<Pipeline>,
        destination: Arc<Destination>,
        target: Arc<dyn Target>,
        works: Works,
        condition: Condition,
    ) -> Lane {
        let metrics = works.metrics.destination(&pipeline.name, &destination.name);
        let pipeline_metrics = works.metrics.pipeline(&pipeline.name);
        let shared = Shared { pipeline, destination, target, works, metrics, pipeline_metrics, condition };
        Lane { shared: Arc::new(shared), rests: Arc::default() }
    }

    /// Runs until `stop`; then waits for the deliveries under way.
    pub async fn run(self, stop: CancellationToken) {
        let span = tracing::info_span!("lane", pipeline = %self.shared.pipeline.name, destination = %self.shared.destination.name);
        async {
            while !stop.is_cancelled() {
                let (settlements, settler) = self.settler();
                let worked = self.work(&stop, settlements).await;
                // The work has dropped its end: what it handed over is settled, then the settler ends. Only then may the
                // queue hand out the rest again.
                if settler.await.is_err() {
                    warn!("the settling task failed; what it held is handed out again");
                }
                if let Err(fault) = worked {
                    warn!(code = fault.code(), "the lane starts again: {fault}");
                    self.shared.condition.rests(&fault);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = self.shared.works.clock.sleep(self.rests.failed()) => {}
                    }
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// The task that settles what is sent to it.
    fn settler(&self) -> (mpsc::Sender<Settlement>, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel::<Settlement>(SETTLES);
        let (works, rests) = (self.shared.works.clone(), self.rests.clone());
        let settling = async move {
            while let Some(mut settlement) = receiver.recv().await {
                while let Ok(more) = receiver.try_recv() {
                    settlement.join(more);
                }
                if let Err(fault) = settle_for_good(&works, settlement).await {
                    warn!(code = fault.code(), "what was delivered is not settled, and handed out again: {fault}");
                    return;
                }
                rests.worked();
            }
        };
        (sender, tokio::spawn(settling.in_current_span()))
    }

    async fn work(&self, stop: &CancellationToken, settlements: mpsc::Sender<Settlement>) -> Result<(), Fault> {
        let (batch, concurrency) = self.at_once();
        let window = self.shared.works.memory.window((batch * concurrency * 4).max(256));
        let mut consumer = self.shared.works.engine.queue.consume(&self.shared.destination.queue, window).await?;
        let mut under_way: JoinSet<Verdict> = JoinSet::new();
        let ended = self.take(&mut *consumer, &mut under_way, &settlements, stop).await;
        // Also after a fault: what is under way ends before the lane begins anew, or one message would be under way twice.
        while under_way.join_next().await.is_some() {}
        ended
    }

    /// Deliveries in one call of the target, and calls at once.
    fn at_once(&self) -> (usize, usize) {
        let batch = self.shared.target.batch().max(1);
        (batch, if batch > 1 { 1 } else { self.shared.destination.concurrency })
    }

    /// Takes entries and delivers them until `stop`.
    async fn take(
        &self,
        consumer: &mut dyn Consumer,
        under_way: &mut JoinSet<Verdict>,
        settlements: &mpsc::Sender<Settlement>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let (batch, concurrency) = self.at_once();
        let mut pauses = 0;
        self.shared.metrics.up.set(1);
        self.shared.condition.works();
        loop {
            while under_way.len() >= concurrency {
                let Some(verdict) = under_way.join_next().await else { break };
                self.judge(verdict, &mut pauses, under_way, stop).await?;
            }
            let room = if batch > 1 { batch } else { concurrency - under_way.len() };
            tokio::select! {
                // A verdict first: it may say that the peer is away.
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(verdict) = under_way.join_next(), if !under_way.is_empty() => {
                    self.judge(verdict, &mut pauses, under_way, stop).await?;
                }
                // Perhaps all that may go out is out: nothing more would come.
                () = settlements.closed() => return Err(settler_ended()),
                entries = consumer.next(room) => {
                    let entries = entries?;
                    let runs = if batch > 1 { vec![entries] } else { entries.into_iter().map(|one| vec![one]).collect() };
                    for run in runs {
                        let delivering = self.shared.clone().deliver(run, pauses, settlements.clone());
                        under_way.spawn(delivering.in_current_span());
                    }
                }
            }
        }
    }

    /// After a run: a lane whose peer is away lets the others under way end, then rests.
    async fn judge(
        &self,
        verdict: Result<Verdict, tokio::task::JoinError>,
        pauses: &mut u32,
        under_way: &mut JoinSet<Verdict>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let mut rest = None;
        let mut verdicts = vec![verdict];
        while let Some(verdict) = verdicts.pop() {
            match verdict {
                Ok(verdict) => {
                    if let Some(fault) = verdict.lost {
                        return Err(fault);
                    }
                    if verdict.delivered {
                        *pauses = 0;
                    }
                    if let Some((until, fault)) = verdict.rest {
                        rest = Some((until, fault));
                        while let Some(other) = under_way.join_next().await {
                            verdicts.push(other);
                        }
                    }
                }
                Err(panic) => {
                    return Err(Fault::reconnect(
                        "HUB-DELIVERY",
                        "a delivery task failed; its entries are handed out again",
                    )
                    .cause(panic));
                }
            }
        }
        let Some((until, fault)) = rest else {
            self.shared.condition.works();
            return Ok(());
        };
        self.shared.metrics.up.set(0);
        self.shared.condition.rests(&fault);
        if *pauses == 0 {
            warn!(code = fault.code(), "the lane rests until its peer is well: {fault}");
        }
        *pauses += 1;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.shared.works.clock.sleep_until(until) => {}
        }
        self.shared.metrics.up.set(1);
        Ok(())
    }
}

impl Shared {
    async fn deliver(
        self: Arc<Self>,
        entries: Vec<Entry>,
        pauses: u32,
        settlements: mpsc::Sender<Settlement>,
    ) -> Verdict {
        let deliveries: Vec<Delivery> = entries.iter().map(as_delivery).collect();
        let timer = self.metrics.seconds.start_timer();
        let outcomes = self.target.deliver_told(&deliveries).await;
        timer.observe_duration();
        let now = self.works.clock.now();
        let mut settlement = Settlement::default();
        let mut verdict = Verdict::default();
        let unanswered =
            || Err(Fault::reconnect("HUB-DELIVERY", "the target did not answer each message it was given"));
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(unanswered));
        for (entry, outcome) in entries.into_iter().zip(outcomes) {
            match outcome {
                Ok(delivered) => {
                    verdict.delivered = true;
                    self.delivered(entry, delivered, &mut settlement, now);
                }
                Err(fault) => self.failed(entry, fault, pauses, &mut settlement, &mut verdict, now),
            }
        }
        if settlements.send(settlement).await.is_err() {
            verdict.lost = Some(settler_ended());
        }
        verdict
    }

    /// The end of a delivery, and what its destination remembers of it. A formula of `remember:` that fails changes nothing about
    /// that: the peer has the message, and a repeat would give it a second one. The log tells it, and the journal its code.
    fn delivered(&self, entry: Entry, delivered: Delivered, out: &mut Settlement, now: Timestamp) {
        let Entry { at, entry, .. } = entry;
        self.metrics.delivered.inc();
        // What a peer answers often repeats what it was sent.
        let detail = delivered.detail.filter(|_| self.pipeline.private.is_empty());
        let mut notes: Vec<String> = delivered.note.into_iter().chain(detail).map(|note| note.to_string()).collect();
        if let Some(remember) = &self.destination.remember {
            match self.row(remember, &entry, delivered.result, now) {
                Ok(row) => out.rows.push(row),
                Err(fault) => {
                    let fault =
                        if self.pipeline.private.is_empty() { fault } else { hidden(&self.pipeline, &entry, fault) };
                    warn!(message = %entry.message, code = fault.code(), "delivered, and its row is not remembered: {fault}");
                    notes.push(format!("not remembered: {}", fault.code()));
                }
            }
        }
        let note = (!notes.is_empty()).then(|| notes.join(" ").into());
        out.hops.push(self.hop(&entry, Event::Delivered, note, now));
        out.ended.push(at);
    }

    /// The row that `remember:` makes of a document that was delivered, and of what the peer answered.
    fn row(
        &self,
        remember: &RowTemplate,
        entry: &NewEntry,
        result: Option<Value>,
        now: Timestamp,
    ) -> Result<RowWrite, Fault> {
        let document = json::read(&entry.body)
            .map_err(|error| Fault::refuse("REMEMBER-DOCUMENT", "what was delivered is not JSON").cause(error))?;
        let (of, tables) = ((&self.pipeline.name, entry.message, entry.time), &*self.works.tables);
        let Row { table, key, row, until } = remembered(remember, of, &document, result, tables, now)?;
        Ok(RowWrite { table, key, row, time: entry.time, until: Some(until) })
    }

    fn failed(
        &self,
        entry: Entry,
        fault: Fault,
        pauses: u32,
        out: &mut Settlement,
        verdict: &mut Verdict,
        now: Timestamp,
    ) {
        let Entry { at, attempts, entry } = entry;
        // A peer that refuses often repeats what it was sent.
        let fault = if self.pipeline.private.is_empty() { fault } else { fault.without_detail() };
        match decide(&self.destination.on_error, attempts, pauses, &fault, now) {
            Decision::RetryAt { due } => {
                self.metrics.retries.inc();
                info!(message = %entry.message, code = fault.code(), attempt = attempts + 1, "tried again at {due}: {fault}");
                out.hops.push(self.hop(&entry, Event::Retry, Some(fault.code().into()), now));
                out.retries.push(Retry { at, due, counts: true });
            }
            Decision::Pause { until } => {
                out.retries.push(Retry { at, due: now, counts: false });
                verdict.rest = Some((until, fault));
            }
            Decision::GiveUp { hold_key } => {
                self.metrics.refused.inc();
                self.pipeline_metrics.dead(fault.code());
                warn!(message = %entry.message, code = fault.code(), attempts = attempts + 1, "to dead letters: {fault}");
                out.hops.push(self.hop(&entry, Event::Dead, Some(fault.code().into()), now));
                out.ended.push(at);
                if let Some(key) = entry.key.as_ref().filter(|_| hold_key) {
                    out.held.push((entry.queue.clone(), key.clone()));
                }
                let name = &self.destination.name;
                out.dead.push(dead_letter(entry, &self.pipeline.name, Some(name), &fault, attempts + 1, now));
            }
        }
    }

    fn hop(&self, entry: &NewEntry, event: Event, note: Option<Text>, at: Timestamp) -> Hop {
        Hop {
            origin: entry.origin,
            message: entry.message,
            pipeline: self.pipeline.name.clone(),
            at,
            event,
            destination: Some(self.destination.name.clone()),
            note,
            count: 1,
            track: Vec::new(),
        }
    }
}

/// The fault without the data of people that the document holds.
fn hidden(pipeline: &Pipeline, entry: &NewEntry, fault: Fault) -> Fault {
    match json::read(&entry.body) {
        Ok(document) => People::of(pipeline, &document).hide(fault),
        Err(_) => fault,
    }
}

fn as_delivery(entry: &Entry) -> Delivery {
    Delivery {
        id: entry.entry.message,
        time: entry.entry.time,
        prepared: Prepared { body: entry.entry.body.clone(), address: entry.entry.headers.clone() },
        attempt: entry.attempts + 1,
    }
}
