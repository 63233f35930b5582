//! Tests of sources that run on one instance at a time: two instances in one process, on one store, with a table of turns that
//! the tests hold in their hand.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::running::{Opened, Running};
use super::supervise::Doing;
use crate::clock::Clock;
use crate::config::{Environment, QueueSettings};
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::pipelines::{Calls, Configuration, Memory, Works, load};
use crate::protocols::http::Routes;
use crate::protocols::{NoConnections, Surroundings};
use crate::queue::embedded::Scratch;
use crate::steps::{Group, GroupKey};
use crate::store::{
    Accepted, DeadFilter, DeadLetter, DueGroup, Engine, Fence, Hold, Hop, Instance, Instances, Intake, Kept, Retention,
    Settlement, Store, Vault,
};
use crate::telemetry::Metrics;

/// Who has each turn, how often it has passed on, and how to tell its holder.
#[derive(Default)]
struct Turns {
    held: Mutex<HashMap<String, (Option<CancellationToken>, i64)>>,
    changed: Notify,
}

impl Turns {
    /// Takes a turn from whoever has it, as when its instance is taken for dead.
    fn take_away(&self, name: &str) {
        if let Some((holder, _)) = self.held.lock().expect("no test panics here").get_mut(name)
            && let Some(lost) = holder.take()
        {
            lost.cancel();
        }
        self.changed.notify_waiters();
    }

    fn is_current(&self, fence: &Fence) -> bool {
        let held = self.held.lock().expect("no test panics here");
        held.get(fence.lease.as_str()).is_some_and(|(_, epoch)| *epoch == fence.epoch)
    }

    fn try_take(self: &Arc<Turns>, name: &str) -> Option<Hold> {
        let (lost, given_up) = (CancellationToken::new(), CancellationToken::new());
        let mut held = self.held.lock().expect("no test panics here");
        let (holder, epoch) = held.entry(name.to_owned()).or_default();
        if holder.is_some() {
            return None;
        }
        *holder = Some(lost.clone());
        *epoch += 1;
        let fence = Fence { lease: name.into(), epoch: *epoch };
        let (turns, mine, gone, name) = (self.clone(), *epoch, given_up.clone(), name.to_owned());
        tokio::spawn(async move {
            gone.cancelled().await;
            if let Some((holder, epoch)) = turns.held.lock().expect("no test panics here").get_mut(&name)
                && *epoch == mine
            {
                *holder = None;
            }
            turns.changed.notify_waiters();
        });
        Some(Hold::new(Some(fence), lost, Some(given_up.drop_guard())))
    }
}

#[async_trait]
impl Instances for Arc<Turns> {
    async fn hold(&self, name: &str) -> Result<Hold, Fault> {
        loop {
            let changed = self.changed.notified();
            if let Some(hold) = self.try_take(name) {
                return Ok(hold);
            }
            changed.await;
        }
    }

    async fn living(&self) -> Result<Vec<Instance>, Fault> {
        Ok(Vec::new())
    }
}

/// A store that checks fences, as a shared one does.
struct Fenced {
    store: Arc<dyn Store>,
    turns: Arc<Turns>,
    /// Those that commits came with, in order.
    seen: Mutex<Vec<Option<i64>>>,
}

impl Fenced {
    fn check(&self, fence: Option<&Fence>) -> Result<(), Fault> {
        self.seen.lock().expect("no test panics here").push(fence.map(|fence| fence.epoch));
        match fence {
            Some(fence) if !self.turns.is_current(fence) => Err(Fault::reconnect("STORE-STALE", "an old turn")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Fenced {
    async fn intake(&self, arrivals: Vec<Intake>, cursor: Option<(Text, Value)>) -> Result<Vec<Accepted>, Fault> {
        self.intake_under(arrivals, cursor, None).await
    }

    async fn intake_under(
        &self,
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
    ) -> Result<Vec<Accepted>, Fault> {
        self.check(fence.as_ref())?;
        self.store.intake(arrivals, cursor).await
    }

    async fn settle_shared(&self, settlement: Arc<Settlement>) -> Result<(), Fault> {
        self.check(settlement.fences.first())?;
        self.store.settle_shared(settlement).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        self.store.cursor(name).await
    }

    async fn row(&self, table: &str, key: &str, now: Timestamp) -> Result<Option<Map>, Fault> {
        self.store.row(table, key, now).await
    }

    async fn rows(&self, table: &str, prefix: &str, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault> {
        self.store.rows(table, prefix, now, most).await
    }

    async fn answers(&self, message: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault> {
        self.store.answers(message).await
    }

    async fn group(&self, key: &GroupKey) -> Result<Group, Fault> {
        self.store.group(key).await
    }

    async fn due_groups(&self, pipeline: &str, now: Timestamp, most: u32) -> Result<Vec<DueGroup>, Fault> {
        self.store.due_groups(pipeline, now, most).await
    }

    async fn dead_letters(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
        self.store.dead_letters(filter).await
    }

    async fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>, Fault> {
        self.store.dead_letter(message).await
    }

    async fn dead_count(&self) -> Result<Vec<(Text, u64)>, Fault> {
        self.store.dead_count().await
    }

    async fn journal(&self, origin: MessageId) -> Result<Vec<Hop>, Fault> {
        self.store.journal(origin).await
    }

    async fn search(&self, value: &str, most: u32) -> Result<Vec<MessageId>, Fault> {
        self.store.search(value, most).await
    }

    async fn recent(&self, most: u32) -> Result<Vec<MessageId>, Fault> {
        self.store.recent(most).await
    }

    async fn release(&self, queue: &str, key: &str) -> Result<(), Fault> {
        self.store.release(queue, key).await
    }

    async fn sweep(&self, now: Timestamp, retention: Retention) -> Result<bool, Fault> {
        self.store.sweep(now, retention).await
    }

    async fn well(&self) -> Result<(), Fault> {
        self.store.well().await
    }
}

#[async_trait]
impl Vault for Fenced {
    async fn kept(&self, name: &str) -> Result<Kept, Fault> {
        self.store.kept(name).await
    }

    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<Kept>, Fault> {
        self.store.take_turn(name, holder, lives).await
    }

    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault> {
        self.store.keep(name, holder, version, value).await
    }

    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault> {
        self.store.pass_on(name, holder).await
    }
}

const TURN: &str = "source:prices";

/// A folder with one pipeline, and instances of it that share a store.
struct Shop {
    scratch: Scratch,
    configuration: Configuration,
    turns: Arc<Turns>,
    store: Arc<Fenced>,
    works: Works,
}

impl Shop {
    fn open(pipeline: &str) -> Shop {
        let scratch = Scratch::make();
        let write = |relative: &str, text: &str| {
            let path = scratch.0.join(relative);
            std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders can be made");
            std::fs::write(path, text).expect("files can be written");
        };
        write("config/raccord.yaml", "name: shop\n");
        write("pipelines/prices/pipeline.yaml", pipeline);
        let mut loaded = load(&scratch.0, &Environment::default());
        let said = crate::config::render(&loaded.files, &loaded.problems, false);
        let configuration = loaded.configuration.take().unwrap_or_else(|| panic!("{said}"));
        let clock = Clock::real();
        let opened = crate::store::open(&scratch.0.join("data"), &QueueSettings::default(), clock.clone());
        let engine = opened.unwrap_or_else(|fault| panic!("{fault}"));
        let turns = Arc::<Turns>::default();
        let store = Arc::new(Fenced { store: engine.store, turns: turns.clone(), seen: Mutex::default() });
        let engine = Engine { queue: engine.queue, store: store.clone(), instances: Arc::new(turns.clone()) };
        let works = Works {
            engine,
            clock,
            metrics: Metrics::default(),
            tables: configuration.tables.clone(),
            calls: Arc::new(Calls::new(Arc::new(NoConnections), Clock::real())),
            memory: Arc::new(Memory::new(1 << 20)),
            quota: 1000,
        };
        Shop { scratch, configuration, turns, store, works }
    }

    /// An instance that runs the pipeline's source.
    fn instance(&self) -> Running {
        let surroundings = Surroundings {
            clock: self.works.clock.clone(),
            folder: self.scratch.0.clone(),
            routes: Arc::new(Routes::default()),
            pipelines: Arc::new(super::Registry::default()),
            vault: self.store.clone(),
            connections: Arc::new(NoConnections),
            metrics: Metrics::default(),
        };
        let works = Works { metrics: Metrics::default(), ..self.works.clone() };
        let opened = Opened::open(&self.configuration.pipelines["prices"], &works, &surroundings);
        opened.unwrap_or_else(|fault| panic!("{fault}")).receive()
    }

    /// Drops a file and waits until it is put away.
    async fn drop_file(&self, name: &str) {
        let folder = self.scratch.0.join("in");
        std::fs::write(folder.join(name), "sku,price\nA,1\nB,2\n").expect("files can be written");
        wait_until(name, || folder.join("done").join(name).exists()).await;
    }

    fn epochs(&self) -> Vec<Option<i64>> {
        let mut seen = self.store.seen.lock().expect("no test panics here").clone();
        seen.dedup();
        seen
    }

    fn path(&self, relative: &str) -> std::path::PathBuf {
        self.scratch.0.join(relative)
    }
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came: {what}");
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

const SOURCE: &str = "from: { protocol: file, folder: in, quiet_for: 20ms, poll: 50ms, format: csv }";

#[tokio::test]
async fn a_source_that_looks_for_files_runs_on_one_instance_and_moves() {
    let to = "to: { erp: { protocol: http, url: 'http://127.0.0.1:1', format: json } }";
    let shop = Shop::open(&format!("about: x\n{SOURCE}\norder_by: $.sku\ndedupe: none\n{to}\n"));
    let first = shop.instance();
    wait_until("the first runs", || first.source() == Doing::Runs).await;
    let second = shop.instance();
    wait_until("the second waits", || second.source() == Doing::Waits).await;
    shop.drop_file("one.csv").await;
    assert_eq!(shop.epochs(), [Some(1)], "stored under the first turn");

    shop.turns.take_away(TURN);
    wait_until("one of them waits and the other runs", || {
        let doing = [first.source(), second.source()];
        doing.contains(&Doing::Runs) && doing.contains(&Doing::Waits)
    })
    .await;
    shop.drop_file("two.csv").await;
    assert_eq!(shop.epochs(), [Some(1), Some(2)], "stored under the second turn");

    let (runs, waits) = if first.source() == Doing::Runs { (first, second) } else { (second, first) };
    runs.stop().await;
    wait_until("the other runs", || waits.source() == Doing::Runs).await;
    shop.drop_file("three.csv").await;
    assert_eq!(shop.epochs(), [Some(1), Some(2), Some(3)], "a stop passes the turn on");
    waits.stop().await;
    let entries = shop.works.engine.queue.entries("prices").await.expect("it can be told");
    assert_eq!(entries, 6, "each row once");
}

#[tokio::test]
async fn what_an_instance_brings_after_its_turn_is_not_stored() {
    let to = "to: { erp: { protocol: http, url: 'http://127.0.0.1:1', format: json } }";
    let shop = Shop::open(&format!("about: x\n{SOURCE}\norder_by: none\ndedupe: none\n{to}\n"));
    let instance = shop.instance();
    let arrival = || crate::protocols::Arrival {
        body: "sku,price\nA,1\n".into(),
        document: None,
        headers: Map::new(),
        position: None,
        fault: None,
    };
    instance.stop_source();
    wait_until("the turn is free", || {
        shop.turns.held.lock().expect("no panic").get(TURN).is_none_or(|(holder, _)| holder.is_none())
    })
    .await;
    // Woken without having noticed that its turn has passed: the commit notices.
    let hold = shop.turns.try_take(TURN).expect("the turn is free");
    let asleep = Hold::new(hold.fence.clone(), CancellationToken::new(), None);
    let gate = instance.gate.clone().under(&asleep);
    let stored = gate.receive(vec![arrival()], Some(("file:prices".into(), Value::from("x")))).await;
    assert!(stored.is_ok(), "{stored:?}");
    drop(hold);
    wait_until("the turn is free", || {
        shop.turns.held.lock().expect("no panic").get(TURN).is_some_and(|(holder, _)| holder.is_none())
    })
    .await;
    let other = shop.turns.try_take(TURN).expect("the turn is free");
    let before = shop.works.engine.store.cursor("file:prices").await.expect("it can be read");
    let stale = gate.receive(vec![arrival()], Some(("file:prices".into(), Value::from("y")))).await;
    assert_eq!(stale.expect_err("it is another's turn").code(), "STORE-STALE");
    assert_eq!(shop.works.engine.store.cursor("file:prices").await.expect("it can be read"), before);
    drop(other);
    instance.stop().await;
}

#[tokio::test]
async fn the_shorter_way_goes_on_from_what_another_instance_committed() {
    let to =
        "to: { out: { protocol: file, folder: out, name: \"=$headers.file_name\", mode: append, format: ndjson } }";
    let shop = Shop::open(&format!("about: x\n{SOURCE}\norder_by: none\ndedupe: none\n{to}\n"));
    let first = shop.instance();
    wait_until("the first runs", || first.source() == Doing::Runs).await;
    let second = shop.instance();
    for (number, name) in ["one.csv", "two.csv", "three.csv", "four.csv"].iter().enumerate() {
        shop.drop_file(name).await;
        let doing = [first.source(), second.source()];
        assert_eq!(doing.iter().filter(|doing| **doing == Doing::Runs).count(), 1, "{doing:?}");
        shop.turns.take_away(TURN);
        wait_until("a turn later", || {
            let epoch = shop.turns.held.lock().expect("no panic")[TURN].1;
            epoch == i64::try_from(number).expect("small") + 2
        })
        .await;
        wait_until("one runs", || [first.source(), second.source()].contains(&Doing::Runs)).await;
    }
    first.stop().await;
    second.stop().await;
    assert!(shop.epochs().iter().all(Option::is_some), "{:?}", shop.epochs());
    let written = std::fs::read_dir(shop.path("out")).expect("it is there").flatten();
    let total: usize = written.map(|entry| lines(&entry.path())).sum();
    assert_eq!(total, 4 * 2, "each row once");
}
