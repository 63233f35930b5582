//! One pipeline, running: its source under supervision, its stage, a lane for each destination.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error};

use super::supervise::{Doing, Supervised, Told};
use crate::message::{Fault, Text};
use crate::pipelines::{Condition, Gate, Lane, Pipeline, Stage, Works};
use crate::protocols::{Receiver, Source, Surroundings, Target};

/// A pipeline made ready: its ends are open, nothing runs.
pub(super) struct Opened {
    pub pipeline: Arc<Pipeline>,
    works: Works,
    surroundings: Surroundings,
    source: Box<dyn Source>,
    targets: Vec<Arc<dyn Target>>,
}

/// A running pipeline.
pub(super) struct Running {
    pub pipeline: Arc<Pipeline>,
    pub gate: Arc<Gate>,
    works: Works,
    targets: Vec<Arc<dyn Target>>,
    source_stop: CancellationToken,
    source: JoinHandle<()>,
    work_stop: CancellationToken,
    work: TaskTracker,
    told: Told,
    /// Of the pipeline's queue, then of each destination's.
    conditions: Vec<(Text, Condition)>,
}

impl Opened {
    /// Opens source and targets: what cannot work is told now, before anything is changed.
    pub fn open(pipeline: &Arc<Pipeline>, works: &Works, surroundings: &Surroundings) -> Result<Opened, Fault> {
        let mut targets = Vec::with_capacity(pipeline.destinations.len());
        for destination in &pipeline.destinations {
            targets.push(destination.target.open(&destination.queue, destination.codec.clone(), surroundings)?);
        }
        let source = pipeline.source.open(&pipeline.name, pipeline.codec.clone(), surroundings)?;
        Ok(Opened {
            pipeline: pipeline.clone(),
            works: works.clone(),
            surroundings: surroundings.clone(),
            source,
            targets,
        })
    }

    /// Starts the source. Messages wait in the queue until [`Running::work`].
    pub fn receive(self) -> Running {
        let gate = Arc::new(Gate::new(self.pipeline.clone(), self.works.clone(), &self.targets));
        let told = Told::default();
        let source_stop = CancellationToken::new();
        let span = tracing::info_span!("source", pipeline = %self.pipeline.name);
        let mut source = self.source;
        let receiver: Arc<dyn Receiver> = gate.clone();
        source.begin(&receiver, &source_stop);
        let supervised = Supervised {
            pipeline: self.pipeline.clone(),
            surroundings: self.surroundings,
            gate: gate.clone(),
            works: self.works.clone(),
            told: told.clone(),
            stop: source_stop.clone(),
        };
        let queues = [&self.pipeline.name].into_iter().chain(self.pipeline.destinations.iter().map(|to| &to.queue));
        let conditions = queues.map(|queue| (queue.clone(), Condition::default())).collect();
        Running {
            pipeline: self.pipeline,
            gate,
            works: self.works,
            targets: self.targets,
            source_stop,
            source: tokio::spawn(supervised.run(source).instrument(span)),
            work_stop: CancellationToken::new(),
            work: TaskTracker::new(),
            told,
            conditions,
        }
    }
}

impl Running {
    /// Starts the stage and the lanes.
    pub fn work(&self) {
        if self.pipeline.reply.is_some() {
            return;
        }
        let mut conditions = self.conditions.iter().map(|(_, condition)| condition.clone());
        let mut condition = || conditions.next().unwrap_or_default();
        let stage = Stage::new(self.pipeline.clone(), self.targets.clone(), self.works.clone(), condition());
        self.work.spawn(stage.run(self.work_stop.clone()));
        for (destination, target) in self.pipeline.destinations.iter().zip(&self.targets) {
            let (pipeline, works) = (self.pipeline.clone(), self.works.clone());
            let lane = Lane::new(pipeline, destination.clone(), target.clone(), works, condition());
            self.work.spawn(lane.run(self.work_stop.clone()));
        }
    }

    /// What the source does.
    pub fn source(&self) -> Doing {
        self.told.doing()
    }

    /// Queues whose entries are not taken now, with why.
    pub fn resting(&self) -> Vec<(Text, String)> {
        self.conditions.iter().filter_map(|(queue, condition)| Some((queue.clone(), condition.why()?))).collect()
    }

    pub fn stop_source(&self) {
        self.source_stop.cancel();
    }

    /// Stops the source, then lets stage and lanes end what they hold.
    pub async fn stop(self) {
        self.source_stop.cancel();
        if self.source.await.is_err_and(|error| error.is_panic()) {
            error!(pipeline = %self.pipeline.name, "the source failed while stopping");
        }
        self.work_stop.cancel();
        self.work.close();
        self.work.wait().await;
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(&Text::from(self.pipeline.name.as_str())).finish()
    }
}
