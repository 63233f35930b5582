//! The engine under both suites and the seeded day, on a simulated broker: with SQLite as its ledger, and with the model's,
//! which two instances share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Weak};

use super::simulated::{Gaps, NoGaps, SimulatedBroker};
use super::*;
use crate::config::{PostgresSettings, QueueSettings, RabbitSettings, Secret};
use crate::queue::conformance::{Place, consume, end, entry, nothing_comes, retry, store, take};
use crate::queue::embedded::Scratch;
use crate::queue::rabbitmq::Rabbit;
use crate::store::conformance::LedgerPlace;
use crate::store::model::Model;
use crate::store::scenario::{self, Dice};
use crate::store::{conformance, open_postgres, open_sqlite_ledger};

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

    fn is_sudden(&self) -> bool {
        true
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

/// Two engines on one broker and one ledger.
fn two(partitions: u32) -> (Model, Engine, Engine) {
    let (broker, model) = (SimulatedBroker::new(partitions, 0, 0), Model::new());
    let engine = |name: &str| {
        // Nobody is paused: a busy machine must not look like it.
        let options = Options { lives: Duration::from_secs(2), ..options(name, model.clock()) };
        start(Arc::new(broker.clone()), Arc::new(model.clone()), options, Arc::new(NoGaps))
    };
    let (one, other) = (engine("one"), engine("other"));
    (model, one, other)
}

async fn holding(engine: &Engine, count: usize) {
    let started = Instant::now();
    loop {
        let living = engine.instances.living().await.expect("it is known");
        if living.len() == count {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{living:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn any_instance_takes_what_has_no_order() {
    let (model, one, other) = two(3);
    for engine in [&one, &other] {
        engine.queue.declare("c", Sharing::Competing).await.expect("it is declared");
    }
    let all: Vec<_> = (0..100).map(|n| entry("c", None, &n.to_string())).collect();
    store(&one, &all).await;
    let (mut first, mut second) = (consume(&one, "c").await, consume(&other, "c").await);
    let (here, there) = (take(&mut first, 1).await, take(&mut second, 1).await);
    assert_ne!(here[0].entry.message, there[0].entry.message);
    // One is tried again later, by anybody; the other has ended.
    retry(&one, &here[0], model.clock(), Duration::from_secs(30), true).await;
    end(&other, &there).await;
    let mut left: std::collections::HashSet<_> = all.iter().map(|entry| entry.message).collect();
    left.remove(&there[0].entry.message);
    let mut advanced = false;
    while !left.is_empty() {
        if left.len() == 1 && !advanced {
            advanced = true;
            model.clock().advance(Duration::from_secs(30));
        }
        let (engine, came) = tokio::select! {
            came = first.next(3) => (&one, came.expect("entries come")),
            came = second.next(3) => (&other, came.expect("entries come")),
        };
        for came in &came {
            assert!(left.remove(&came.entry.message), "{} came twice", came.entry.message);
            assert_eq!(came.attempts, u32::from(came.entry.message == here[0].entry.message));
        }
        end(engine, &came).await;
    }
    nothing_comes(&mut first).await;
    nothing_comes(&mut second).await;
}

#[tokio::test]
async fn a_lost_connection_rests_and_counts_no_attempt() {
    let (model, one, _other) = two(1);
    store(&one, &[entry("q", Some("k"), "k1"), entry("q", Some("k"), "k2")]).await;
    let mut consumer = consume(&one, "q").await;
    let out = take(&mut consumer, 1).await;
    retry(&one, &out[0], model.clock(), Duration::from_secs(2), false).await;
    nothing_comes(&mut consumer).await;
    model.clock().advance(Duration::from_secs(2));
    assert_eq!(take(&mut consumer, 1).await, out);
    assert!(model.keys("q#0").await.expect("it is known").is_empty(), "a short rest stays in memory");
}

#[tokio::test]
async fn what_the_broker_never_takes_is_a_dead_letter_and_can_be_replayed() {
    let (_model, one, _other) = two(1);
    store(&one, &[entry("web", None, "small")]).await;
    let mut consumer = consume(&one, "web").await;
    let came = take(&mut consumer, 1).await;
    let large = entry("web.to.erp", None, &"x".repeat(2 << 20));
    let outputs = vec![large.clone(), entry("web.to.erp", None, "beside")];
    let settlement = Settlement { ended: vec![came[0].at], outputs, ..Settlement::default() };
    one.store.settle(settlement).await.expect("the settle is taken");
    let mut erp = consume(&one, "web.to.erp").await;
    let beside = take(&mut erp, 1).await;
    assert_eq!(crate::queue::conformance::bodies(&beside), ["beside"]);
    // The other is larger than the window, so it goes alone.
    end(&one, &beside).await;
    let letter = one.store.dead_letter(large.message).await.expect("it can be read").expect("it is there");
    assert_eq!((letter.code.as_str(), letter.destination.as_deref()), ("AMQP-LIMIT", Some("erp")));
    let replay = Settlement { dead_ended: vec![letter.message], outputs: vec![letter.replay], ..Settlement::default() };
    one.store.settle(replay).await.expect("the settle is taken");
    assert_eq!(take(&mut erp, 1).await[0].entry, large);
    // At intake its sender is told.
    let arrivals = vec![Intake { claim: None, stored: crate::store::Stored::Entry(large), hops: Vec::new() }];
    assert_eq!(one.store.intake(arrivals, None).await.expect_err("it is too large").code(), "AMQP-LIMIT");
}

#[tokio::test]
async fn each_of_two_has_its_part_and_the_last_has_all() {
    let (_model, one, other) = two(4);
    let (_first, _second) = (consume(&one, "q").await, consume(&other, "q").await);
    holding(&one, 2).await;
    let (engines, mut held) = ([&one, &other], [0, 0]);
    let started = Instant::now();
    while held != [2, 2] {
        assert!(started.elapsed() < Duration::from_secs(20), "{held:?}");
        tokio::time::sleep(LIVES).await;
        for (engine, held) in engines.iter().zip(&mut held) {
            let living = engine.instances.living().await.expect("it is known");
            *held = living.iter().filter(|instance| instance.this).map(|instance| instance.holds.len()).sum();
        }
    }
    let hold = other.instances.hold("source:price-list");
    let hold = tokio::time::timeout(Duration::from_secs(20), hold).await.expect("it is free").expect("it is given");
    assert!(hold.fence.is_some());
    drop(hold);
    other.instances.leave().await;
    drop((_second, other));
    let alone = one.instances.hold("source:price-list");
    tokio::time::timeout(Duration::from_secs(20), alone).await.expect("it is free").expect("it is given");
    holding(&one, 1).await;
}

#[tokio::test]
async fn who_stood_still_commits_nothing() {
    let (model, one, other) = two(1);
    store(&one, &[entry("q", Some("k"), "k1")]).await;
    let mut consumer = consume(&one, "q").await;
    let out = take(&mut consumer, 1).await;
    // Another takes the lease behind its back, as after a long pause.
    let name = Text::from("q#0");
    let held = one.instances.living().await.expect("it is known");
    assert_eq!(held[0].holds, std::slice::from_ref(&name));
    model.steal(&name);
    let outputs = vec![entry("elsewhere", None, "twice")];
    let settlement = Settlement {
        ended: vec![out[0].at],
        cursors: vec![("x".into(), Value::from(1_i64))],
        outputs,
        ..Settlement::default()
    };
    assert_eq!(one.store.settle(settlement).await.expect_err("it is late").code(), "STORE-STALE");
    assert_eq!(one.store.cursor("x").await.expect("it is known"), None);
    drop(other);
}

/// A real broker with a real database beside it.
struct Real {
    vhost: crate::parts::rabbitmq::Vhost,
    database: crate::parts::postgres::Database,
    partitions: u32,
    clock: Clock,
    instances: usize,
}

impl Real {
    fn new(partitions: u32, instances: usize) -> Real {
        Real {
            vhost: crate::parts::rabbitmq::Rabbit::shared().vhost(),
            database: crate::parts::postgres::Postgres::shared().database(),
            partitions,
            clock: Clock::simulated(Timestamp::UNIX_EPOCH),
            instances,
        }
    }

    fn rabbit(&self) -> RabbitSettings {
        let api = self.vhost.rabbit().api();
        RabbitSettings {
            addresses: vec![Text::new(format!("{}:{}", self.vhost.rabbit().host(), self.vhost.rabbit().port()))],
            vhost: Text::new(self.vhost.name()),
            user: Some(Text::new(&api.user)),
            password: Some(Secret::new(api.password.as_str())),
            tls: None,
            heartbeat: Duration::from_secs(10),
            confirm_within: Duration::from_secs(20),
            unconfirmed: 1000,
            declare: true,
            partitions: self.partitions,
            prefix: "raccord".into(),
        }
    }

    fn postgres(&self) -> PostgresSettings {
        let place = self.database.place();
        PostgresSettings {
            addresses: vec![Text::new(&place.address)],
            database: Text::new(self.database.name()),
            user: Text::new(&place.user),
            password: Some(Secret::new(place.password.as_str())),
            tls: None,
            schema: "raccord".into(),
            connections: 8,
            statement_within: Duration::from_secs(30),
        }
    }
}

#[async_trait]
impl Place for Real {
    async fn open(&self) -> Engine {
        let folder = std::path::Path::new(".");
        let postgres = self.postgres();
        let ledger = open_postgres(&postgres, 1_000_000, folder, self.clock.clone()).await.expect("the database opens");
        let ladder = vec![Duration::from_millis(100)];
        let metrics = crate::telemetry::BrokerMetrics::default();
        let broker = Rabbit::with_ladder(&self.rabbit(), folder, "hub", self.clock.clone(), metrics, ladder);
        let options = Options { lives: Duration::from_secs(3), ..options("hub", &self.clock) };
        start(broker.expect("the settings are sound"), ledger, options, Arc::new(NoGaps))
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn instances(&self) -> usize {
        self.instances
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_conforms_on_rabbitmq_and_postgresql() {
    crate::queue::conformance::run(|| Real::new(1, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms_on_rabbitmq_and_postgresql() {
    conformance::run(|| Real::new(1, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_keep_the_promises_on_rabbitmq_and_postgresql() {
    for seed in scenario::seeds(1) {
        scenario::run(&Real::new(3, 2), seed, 60).await;
    }
}
