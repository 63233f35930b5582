//! The shorter way, where the ends allow it: a source that can go on from a cursor, steps that need nothing from the world, and
//! one target whose output can be cut back. Each run of records is processed, appended, synced, and committed as one: the
//! source's cursor with the target's point. A kill repeats or skips nothing, and no record passes through the queue.
//!
//! Same promises: what cannot be processed is a dead letter in that same commit, and the journal has one line a run (or one a
//! record, where the pipeline says what to `track`).

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::intake::{dead_letter, track};
use super::process::{Work, decode, process};
use super::{OrderBy, Pipeline, Works};
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::protocols::{Arrival, Receipt, ReceiptOutcome, Target};
use crate::queue::{Decoded, NewEntry};
use crate::steps::{Answer, Ask, World};
use crate::store::{Event, Fence, Hop, Settlement};
use crate::telemetry::{DestinationMetrics, PipelineMetrics};

/// The fence under which a source runs, where it has one.
type Turn = Option<Fence>;

/// A pipeline's shorter way.
pub struct Direct {
    pipeline: Arc<Pipeline>,
    targets: [Arc<dyn Target>; 1],
    works: Works,
    metrics: PipelineMetrics,
    destination: DestinationMetrics,
    /// One run at a time, in order; the turn under which the target was cut back to the last commit. In another turn some
    /// other instance may have written between.
    rewound: Mutex<Option<Turn>>,
    /// Name of the target's point among the cursors.
    point: Text,
}

impl Direct {
    /// The shorter way, where `pipeline` allows it.
    pub fn of(pipeline: &Arc<Pipeline>, targets: &[Arc<dyn Target>], works: &Works) -> Option<Direct> {
        let [target] = targets else { return None };
        let destination = &pipeline.destinations[0];
        let plain = pipeline.dedupe.is_none()
            && matches!(pipeline.order_by, OrderBy::None)
            && !pipeline.steps.needs_world()
            && !destination.steps.needs_world();
        (plain && target.checkpointed().is_some() && pipeline.takes_records()).then(|| Direct {
            pipeline: pipeline.clone(),
            targets: [target.clone()],
            works: works.clone(),
            metrics: works.metrics.pipeline(&pipeline.name),
            destination: works.metrics.destination(&pipeline.name, &destination.name),
            rewound: Mutex::new(None),
            point: format!("direct:{}", destination.queue).into(),
        })
    }

    /// Processes, appends and commits a run, under `turn`.
    pub async fn receive(
        &self,
        arrivals: Vec<Arrival>,
        cursor: Option<(Text, Value)>,
        turn: Turn,
    ) -> Result<Vec<Receipt>, Fault> {
        let mut rewound = self.rewound.lock().await;
        self.rewind(&mut rewound, &turn).await?;
        let now = self.works.clock.now();
        let mut run = Run::default();
        for arrival in arrivals {
            self.one(arrival, now, &mut run).await;
        }
        let appended = self.append(&mut run).await;
        if let Err(fault) = appended {
            *rewound = None;
            return Err(fault);
        }
        if run.delivered > 0 && self.pipeline.track.is_empty() {
            run.settlement.hops.push(self.hop(
                run.first.unwrap_or_else(MessageId::draw),
                run.delivered,
                Vec::new(),
                now,
            ));
        }
        run.settlement.cursors.extend(cursor);
        run.settlement.fences.extend(turn);
        if let Err(fault) = self.works.engine.store.settle(run.settlement).await {
            // Appended but not committed: the next run cuts it off again.
            *rewound = None;
            return Err(fault);
        }
        self.metrics.accepted.inc_by(run.receipts.len() as u64);
        self.destination.delivered.inc_by(u64::from(run.delivered));
        Ok(run.receipts)
    }

    /// The source's input is complete: the output takes its final name.
    pub async fn finished(&self, source: &str, turn: Turn) -> Result<(), Fault> {
        let mut rewound = self.rewound.lock().await;
        self.rewind(&mut rewound, &turn).await?;
        match self.targets[0].checkpointed() {
            Some(target) => {
                target.finish(source).await?;
                let cursors = vec![(self.point.clone(), Value::Null)];
                let fences = turn.into_iter().collect();
                self.works.engine.store.settle(Settlement { cursors, fences, ..Settlement::default() }).await
            }
            None => Ok(()),
        }
    }

    async fn rewind(&self, rewound: &mut Option<Turn>, turn: &Turn) -> Result<(), Fault> {
        if rewound.as_ref() != Some(turn)
            && let Some(target) = self.targets[0].checkpointed()
        {
            let point = self.works.engine.store.cursor(&self.point).await?.filter(|point| *point != Value::Null);
            target.rewind(point.as_ref()).await?;
            *rewound = Some(turn.clone());
        }
        Ok(())
    }

    async fn append(&self, run: &mut Run) -> Result<(), Fault> {
        let Some(target) = self.targets[0].checkpointed() else { return Ok(()) };
        if run.records.is_empty() {
            return Ok(());
        }
        let point = target.append(run.records.split().freeze()).await?;
        run.settlement.cursors.push((self.point.clone(), point));
        Ok(())
    }

    async fn one(&self, mut arrival: Arrival, now: Timestamp, run: &mut Run) {
        let position = arrival.position.as_deref().unwrap_or_default();
        let id = MessageId::derive(&[self.pipeline.name.as_bytes(), b"position", position.as_bytes()]);
        run.first.get_or_insert(id);
        let document = match (arrival.fault.take(), arrival.document.take()) {
            (Some(fault), _) => Err(fault),
            (None, Some(document)) => Ok(document),
            (None, None) => decode(&self.pipeline, &arrival.body, 0),
        };
        let outcome = match document {
            Ok(document) => self.process(id, document, &arrival.headers, now, run).await,
            Err(fault) => Err(fault),
        };
        let outcome = match outcome {
            Ok(()) => ReceiptOutcome::Stored,
            Err(fault) => {
                self.dead(id, arrival, &fault, now, run);
                ReceiptOutcome::Dead
            }
        };
        run.receipts.push(Receipt { id, outcome });
    }

    async fn process(
        &self,
        id: MessageId,
        document: Value,
        headers: &Map,
        now: Timestamp,
        run: &mut Run,
    ) -> Result<(), Fault> {
        let track = track(&self.pipeline, &self.works, id, &document, headers, now)?;
        let work = Work { id, time: now, now, headers, document, start_at: 0, only: None };
        let processed = process(&self.pipeline, &self.targets, &*self.works.tables, &Nothing, work).await?;
        if let Some((_, fault)) = processed.failed.into_iter().next() {
            return Err(fault);
        }
        if processed.routed.is_empty() {
            self.metrics.filtered.inc();
        }
        for routed in processed.routed {
            run.records.put(routed.prepared.body);
            run.delivered += 1;
            if !track.is_empty() {
                run.settlement.hops.push(self.hop(id, 1, track.clone(), now));
            }
        }
        Ok(())
    }

    fn dead(&self, id: MessageId, arrival: Arrival, fault: &Fault, now: Timestamp, run: &mut Run) {
        self.metrics.dead(fault.code());
        let entry = NewEntry {
            queue: self.pipeline.name.clone(),
            message: id,
            origin: id,
            key: None,
            time: now,
            headers: arrival.headers,
            body: arrival.body,
            start_at: 0,
            due: None,
            decoded: Decoded::default(),
        };
        let mut hop = self.hop(id, 1, Vec::new(), now);
        (hop.event, hop.note) = (Event::Dead, Some(fault.code().into()));
        run.settlement.hops.push(hop);
        run.settlement.dead.push(dead_letter(entry, &self.pipeline.name, None, fault, 1, now));
    }

    fn hop(&self, id: MessageId, count: u32, track: Vec<(Text, Text)>, at: Timestamp) -> Hop {
        Hop {
            origin: id,
            message: id,
            pipeline: self.pipeline.name.clone(),
            at,
            event: Event::Delivered,
            destination: Some(self.pipeline.destinations[0].name.clone()),
            note: None,
            count,
            track,
        }
    }
}

/// A run of records on its way to one commit.
#[derive(Default)]
struct Run {
    records: BytesMut,
    receipts: Vec<Receipt>,
    settlement: Settlement,
    first: Option<MessageId>,
    delivered: u32,
}

/// The world of steps that ask nothing.
pub(super) struct Nothing;

#[async_trait::async_trait]
impl World for Nothing {
    async fn answer(&self, _ask: &Ask) -> Result<Answer, Fault> {
        Err(Fault::misconfigured(
            "PIPELINE-DIRECT",
            "a step asked the store on the direct way; this is a defect of raccord",
        ))
    }
}
