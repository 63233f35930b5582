//! A source under supervision: it runs, is opened again after a fault, ever less often, and where only one instance may run it,
//! waits for its turn.
//!
//! A turn that has passed on stops the source as a stop would. So does a fault: another instance may reach what this one
//! cannot.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::message::{Fault, Next, Text};
use crate::pipelines::{Gate, Pipeline, Rests, Works};
use crate::protocols::{Receiver, Source, Surroundings};
use crate::store::Hold;

/// A source that ran so long was well: its next rest is short again.
const WELL_AFTER_SECONDS: i64 = 60;
/// A turn that does not come within so long is another instance's: it would be free otherwise.
const TAKEN_AFTER: Duration = Duration::from_secs(5);

/// Longest rest that a peer can ask for.
const LONGEST_SAID: Duration = Duration::from_secs(3600);

/// What a source does now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Doing {
    #[default]
    Runs,
    /// Another instance runs it.
    Waits,
    /// It cannot run, and why.
    Rests(String),
}

/// [`Doing`], told by the supervisor to those who ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<Doing>>);

impl Told {
    pub fn doing(&self) -> Doing {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, doing: Doing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }
}

/// What the names of turns to run a source begin with, among all that instances hold.
pub(super) const SOURCES: &str = "source:";

/// The turn to run a pipeline's source, by its name among all instances.
pub(super) fn turn_of(pipeline: &str) -> Text {
    format!("{SOURCES}{pipeline}").into()
}

pub(super) struct Supervised {
    pub pipeline: Arc<Pipeline>,
    pub surroundings: Surroundings,
    pub gate: Arc<Gate>,
    pub works: Works,
    pub told: Told,
    pub stop: CancellationToken,
}

/// How a run of the source ended, where it did not fail.
enum Ended {
    Stopped,
    /// The turn has passed on.
    Lost,
}

impl Supervised {
    /// Runs `source`, and those opened after it, until the stop.
    pub async fn run(self, source: Box<dyn Source>) {
        let (mut source, rests) = (Some(source), Rests::default());
        while let Some(turn) = self.turn(&rests).await {
            let began = self.works.clock.now();
            let ended = self.run_in(&turn, source.take()).await;
            // Passed on before any rest.
            drop(turn);
            if self.works.clock.now().duration_since(began).as_secs() > WELL_AFTER_SECONDS {
                rests.worked();
            }
            match ended {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Lost) => info!("the turn of this source is over; it goes on here when it is had again"),
                Err(fault) => self.rest(&fault, &rests).await,
            }
        }
    }

    /// Waits for this instance's turn; `None` where the stop comes first.
    async fn turn(&self, rests: &Rests) -> Option<Hold> {
        if !self.pipeline.source.alone() {
            return (!self.stop.is_cancelled()).then(|| Hold::new(None, CancellationToken::new(), None));
        }
        let name = turn_of(&self.pipeline.name);
        while !self.stop.is_cancelled() {
            if self.told.doing() == Doing::Runs {
                self.told.tell(Doing::Waits);
            }
            let mut holding = self.works.engine.instances.hold(&name);
            let held = tokio::select! {
                () = self.stop.cancelled() => return None,
                held = &mut holding => Some(held),
                () = self.works.clock.sleep(TAKEN_AFTER) => None,
            };
            let held = match held {
                Some(held) => held,
                None => {
                    // What kept it from running here is the other instance's affair now.
                    self.told.tell(Doing::Waits);
                    tokio::select! {
                        () = self.stop.cancelled() => return None,
                        held = holding => held,
                    }
                }
            };
            match held {
                Ok(hold) => return Some(hold),
                Err(fault) => self.rest(&fault, rests).await,
            }
        }
        None
    }

    /// Runs the source, opened anew where none is given, until it ends, is to stop, or the turn has passed on.
    async fn run_in(&self, turn: &Hold, source: Option<Box<dyn Source>>) -> Result<Ended, Fault> {
        let mut source = match source {
            Some(source) => source,
            None => self.pipeline.source.open(&self.pipeline.name, self.pipeline.codec.clone(), &self.surroundings)?,
        };
        let receiver: Arc<dyn Receiver> = match &turn.fence {
            Some(_) => self.gate.clone().under(turn),
            None => self.gate.clone(),
        };
        let up = self.works.metrics.pipeline(&self.pipeline.name).source_up;
        up.set(1);
        self.told.tell(Doing::Runs);
        let stop = self.stop.child_token();
        let ended = {
            let mut running = source.run(receiver, stop.clone());
            tokio::select! {
                ended = &mut running => ended,
                () = turn.lost.cancelled() => {
                    stop.cancel();
                    running.await
                }
            }
        };
        up.set(0);
        if turn.lost.is_cancelled() && !self.stop.is_cancelled() {
            // Whatever it met on its way out came of that.
            return Ok(Ended::Lost);
        }
        ended.map(|()| Ended::Stopped)
    }

    async fn rest(&self, fault: &Fault, rests: &Rests) {
        self.told.tell(Doing::Rests(fault.to_string()));
        if fault.next() == Next::Misconfigured {
            error!(code = fault.code(), "the source needs a person: {fault}");
        } else {
            warn!(code = fault.code(), "the source rests and starts again: {fault}");
        }
        let said = match fault.next() {
            Next::Retry { after } => after.unwrap_or_default().min(LONGEST_SAID),
            Next::Reconnect | Next::Refuse | Next::Misconfigured => Duration::ZERO,
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.works.clock.sleep(rests.failed().max(said)) => {}
        }
    }
}
