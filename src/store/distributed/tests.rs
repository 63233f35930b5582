//! The engine under both suites and the seeded day, on a simulated broker: with SQLite as its ledger, and with the model's,
//! which two instances share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Weak};

use super::simulated::{Gaps, NoGaps, SimulatedBroker};
use super::*;
use crate::config::QueueSettings;
use crate::queue::conformance::Place;
use crate::queue::embedded::Scratch;
use crate::store::conformance::LedgerPlace;
use crate::store::model::Model;
use crate::store::scenario::{self, Dice};
use crate::store::{conformance, open_sqlite_ledger};

/// How long a lease lives in these tests.
const LIVES: Duration = Duration::from_millis(40);

fn options(name: &str, clock: &Clock) -> Options {
    Options { name: name.into(), quota: 1_000_000, clock: clock.clone(), lives: LIVES }
}

/// A broker, and a file beside it.
struct OnSqlite {
    broker: SimulatedBroker,
    scratch: Scratch,
    clock: Clock,
    former: Mutex<Option<Weak<dyn Ledger>>>,
}

impl OnSqlite {
    fn new() -> OnSqlite {
        OnSqlite {
            // One partition: the suite expects entries of different keys in the order they were stored.
            broker: SimulatedBroker::new(1, 0, 0),
            scratch: Scratch::make(),
            clock: Clock::simulated(Timestamp::UNIX_EPOCH),
            former: Mutex::default(),
        }
    }

    async fn sqlite(&self) -> Arc<dyn Ledger> {
        let former = self.former.lock().expect("the test does not panic here").take();
        while former.as_ref().is_some_and(|former| former.strong_count() > 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let folder = self.scratch.0.join("data");
        let ledger = open_sqlite_ledger(&folder, &QueueSettings::default(), self.clock.clone()).expect("it opens");
        *self.former.lock().expect("the test does not panic here") = Some(Arc::downgrade(&ledger));
        ledger
    }
}

#[async_trait]
impl Place for OnSqlite {
    async fn open(&self) -> Engine {
        let ledger = self.sqlite().await;
        start(Arc::new(self.broker.clone()), ledger, options("hub", &self.clock), Arc::new(NoGaps))
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[async_trait]
impl LedgerPlace for OnSqlite {
    async fn ledger(&self) -> Arc<dyn Ledger> {
        self.sqlite().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_conforms() {
    crate::queue::conformance::run(OnSqlite::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms() {
    conformance::run(OnSqlite::new).await;
}

/// Two instances on one broker and one ledger, killed and paused at the gaps of every settle.
struct Shared2 {
    broker: SimulatedBroker,
    model: Model,
    dice: Mutex<Dice>,
    struck: Mutex<CancellationToken>,
}

impl Shared2 {
    fn new(seed: u64) -> Shared2 {
        Shared2 {
            broker: SimulatedBroker::new(3, seed ^ 0x5555, 40),
            model: Model::new(),
            dice: Mutex::new(Dice(!seed)),
            struck: Mutex::default(),
        }
    }
}

/// One instance's fate.
struct Fate {
    dice: Mutex<Dice>,
    struck: CancellationToken,
    paused: Mutex<Option<Instant>>,
    broker: SimulatedBroker,
    dead: AtomicBool,
}

#[async_trait]
impl Gaps for Fate {
    async fn at(&self, gap: Gap) {
        let drawn = self.dice.lock().expect("no panic").below(1200);
        match drawn {
            _ if gap == Gap::Beat => {}
            0..40 => {
                self.dead.store(true, Ordering::Relaxed);
                self.struck.cancel();
            }
            40..60 => *self.paused.lock().expect("no panic") = Some(Instant::now() + LIVES * 3),
            60..65 => self.broker.restart(),
            _ => {}
        }
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let until = *self.paused.lock().expect("no panic");
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }
}

#[async_trait]
impl Place for Shared2 {
    async fn open(&self) -> Engine {
        let struck = CancellationToken::new();
        *self.struck.lock().expect("no panic") = struck.clone();
        let mut dice = self.dice.lock().expect("no panic");
        let fate = Fate {
            dice: Mutex::new(Dice(dice.below(usize::MAX >> 1) as u64)),
            struck,
            paused: Mutex::default(),
            broker: self.broker.clone(),
            dead: AtomicBool::new(false),
        };
        start(Arc::new(self.broker.clone()), Arc::new(self.model.clone()), options("hub", self.clock()), Arc::new(fate))
    }

    fn clock(&self) -> &Clock {
        self.model.clock()
    }

    fn instances(&self) -> usize {
        2
    }

    fn struck(&self) -> CancellationToken {
        self.struck.lock().expect("no panic").clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_keep_the_promises_when_killed_and_paused() {
    for seed in scenario::seeds(10) {
        scenario::run(&Shared2::new(seed), seed, 60).await;
    }
}
