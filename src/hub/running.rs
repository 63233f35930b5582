//! One pipeline, running: its source under supervision, its stage, a lane for each destination.

use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, warn};

use crate::message::{Fault, Next, Text};
use crate::pipelines::{Gate, Lane, Pipeline, Stage, Works, pause};
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
    health: Health,
}

/// Why the source does not run, while it does not.
type Health = Arc<Mutex<Option<String>>>;

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
        let health = Health::default();
        let source_stop = CancellationToken::new();
        let span = tracing::info_span!("source", pipeline = %self.pipeline.name);
        let mut source = self.source;
        let receiver: Arc<dyn Receiver> = gate.clone();
        source.begin(&receiver, &source_stop);
        let supervised = supervise(
            Supervised {
                pipeline: self.pipeline.clone(),
                surroundings: self.surroundings,
                gate: gate.clone(),
                works: self.works.clone(),
                health: health.clone(),
                stop: source_stop.clone(),
            },
            source,
        );
        Running {
            pipeline: self.pipeline,
            gate,
            works: self.works,
            targets: self.targets,
            source_stop,
            source: tokio::spawn(supervised.instrument(span)),
            work_stop: CancellationToken::new(),
            work: TaskTracker::new(),
            health,
        }
    }
}

impl Running {
    /// Starts the stage and the lanes.
    pub fn work(&self) {
        if self.pipeline.reply.is_some() {
            return;
        }
        let stage = Stage::new(self.pipeline.clone(), self.targets.clone(), self.works.clone());
        self.work.spawn(stage.run(self.work_stop.clone()));
        for (destination, target) in self.pipeline.destinations.iter().zip(&self.targets) {
            let lane = Lane::new(self.pipeline.clone(), destination.clone(), target.clone(), self.works.clone());
            self.work.spawn(lane.run(self.work_stop.clone()));
        }
    }

    pub fn ill(&self) -> Option<String> {
        self.health.lock().expect("no code panics while holding the health").clone()
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

struct Supervised {
    pipeline: Arc<Pipeline>,
    surroundings: Surroundings,
    gate: Arc<Gate>,
    works: Works,
    health: Health,
    stop: CancellationToken,
}

/// Runs a source, and opens it again after a fault, ever less often.
async fn supervise(this: Supervised, mut source: Box<dyn Source>) {
    let up = this.works.metrics.pipeline(&this.pipeline.name).source_up;
    let mut failures = 0;
    loop {
        up.set(1);
        this.well(None);
        let began = this.works.clock.now();
        let ended = source.run(this.gate.clone(), this.stop.clone()).await;
        up.set(0);
        let Err(fault) = ended else { return };
        if this.works.clock.now().duration_since(began).as_secs() > 60 {
            failures = 0;
        }
        this.rest(&fault, &mut failures).await;
        loop {
            if this.stop.is_cancelled() {
                return;
            }
            let name = &this.pipeline.name;
            match this.pipeline.source.open(name, this.pipeline.codec.clone(), &this.surroundings) {
                Ok(opened) => {
                    source = opened;
                    break;
                }
                Err(fault) => this.rest(&fault, &mut failures).await,
            }
        }
    }
}

impl Supervised {
    async fn rest(&self, fault: &Fault, failures: &mut u32) {
        self.well(Some(fault.to_string()));
        if fault.next() == Next::Misconfigured {
            error!(code = fault.code(), "the source needs a person: {fault}");
        } else {
            warn!(code = fault.code(), "the source rests and starts again: {fault}");
        }
        let rest = pause(*failures);
        *failures += 1;
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.works.clock.sleep(rest) => {}
        }
    }

    fn well(&self, why_not: Option<String>) {
        *self.health.lock().expect("no code panics while holding the health") = why_not;
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(&Text::from(self.pipeline.name.as_str())).finish()
    }
}
