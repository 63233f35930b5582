//! One message's life: taken in, decoded, through the steps, to each destination, settled.
//!
//! `spec` is what a pipeline's YAML says, `load` reads a whole hub's folder. `intake` stores what sources bring, `stage` runs the
//! steps, `delivery` brings messages to their targets, `decide` says what follows from a fault. `direct` and `relay` are shorter ways
//! where the ends allow them. `calls` asks systems what steps want to know. `process` is the pure middle that production, `cases` and `simulation` share.

mod calls;
mod cases;
mod condition;
mod dead_letters;
mod decide;
mod delivery;
mod direct;
mod intake;
mod lanes;
mod load;
mod mask;
mod memory;
mod numbers;
mod pending;
mod process;
mod relay;
mod reply;
mod spec;
mod stage;

pub use calls::Calls;
pub use cases::{CaseOutcome, case_shape, run_cases};
pub use condition::Condition;
pub use dead_letters::{discard, is_unread, replay, replay_through};
pub use decide::{Decision, Rests, decide, pause};
pub use delivery::Lane;
pub use direct::Direct;
pub use intake::Gate;
pub use load::{Configuration, Loaded, load, load_hub, refuses};
pub use mask::{mask, pseudonym};
pub use memory::Memory;
pub use process::document;
pub use relay::Relay;
pub use spec::{Dedupe, Destination, Names, OnError, OrderBy, Pipeline, Then, shape};
pub use stage::Stage;

use std::sync::Arc;

use crate::clock::Clock;
use crate::formula::Tables;
use crate::store::Engine;
use crate::telemetry::Metrics;

/// What every part of a running pipeline uses.
#[derive(Clone)]
pub struct Works {
    pub engine: Engine,
    pub clock: Clock,
    pub metrics: Metrics,
    pub tables: Arc<dyn Tables>,
    pub calls: Arc<Calls>,
    pub memory: Arc<Memory>,
    /// Most entries in a queue before what fills it is slowed down.
    pub quota: u64,
}
