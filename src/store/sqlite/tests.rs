//! The embedded engine under the suites both engines pass, and what is its own: the file, its folder, its disk.

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::config::Size;
use crate::queue::conformance::Place;
use crate::queue::embedded::Scratch;

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
