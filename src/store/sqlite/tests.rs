//! The embedded engine under the suites both engines pass, and what is its own: the file, its folder, its disk.

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::config::Size;
use crate::queue::conformance::Place;
use crate::queue::embedded::{Crash, Gap, Scratch};
use crate::store::scenario;

pub struct Folder {
    scratch: Scratch,
    clock: Clock,
}

impl Folder {
    pub fn new() -> Folder {
        Folder { scratch: Scratch::new(), clock: Clock::simulated(Timestamp::UNIX_EPOCH) }
    }

    fn path(&self) -> PathBuf {
        self.scratch.0.join("data")
    }
}

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> Engine {
        open(&self.path(), &settings(), self.clock.clone()).expect("the engine opens")
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

pub fn settings() -> QueueSettings {
    QueueSettings { reserve: Size(1 << 20), ..QueueSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_conforms() {
    crate::queue::conformance::run(Folder::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms() {
    crate::store::conformance::run(Folder::new).await;
}

/// A folder whose engine is killed inside its commits: what a killed process leaves is opened next.
struct Killed {
    scratch: Scratch,
    clock: Clock,
    state: std::sync::Mutex<(scenario::Dice, usize, Option<Arc<Crash>>)>,
}

impl Killed {
    fn new(seed: u64) -> Killed {
        let state = std::sync::Mutex::new((scenario::Dice(!seed), 0, None));
        Killed { scratch: Scratch::new(), clock: Clock::simulated(Timestamp::UNIX_EPOCH), state }
    }

    fn next(&self) -> (PathBuf, Arc<Crash>) {
        let mut state = self.state.lock().expect("the test does not panic here");
        let (dice, generation, former) = &mut *state;
        if former.as_ref().is_some_and(|crash| crash.struck()) {
            *generation += 1;
        }
        let from = self.scratch.0.join(format!("{generation}"));
        let gap = if dice.below(2) == 0 { Gap::BeforeCommit } else { Gap::AfterCommit };
        let to = self.scratch.0.join(format!("{}", *generation + 1));
        let crash = Arc::new(Crash { gap, groups_left: (dice.below(60) as i64).into(), from: from.clone(), to });
        *former = Some(crash.clone());
        (from, crash)
    }
}

#[async_trait]
impl Place for Killed {
    async fn open(&self) -> Engine {
        let (folder, crash) = self.next();
        let store = SqliteStore::open(&folder, &settings(), self.clock.clone(), Some(crash)).expect("the engine opens");
        store.engine()
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_when_killed() {
    for seed in scenario::seeds(12) {
        scenario::run(&Killed::new(seed), seed, 60).await;
    }
}
