//! The suites against a real server, and what only this database can show.

mod encrypted;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::writer::{Gap, Kill};
use super::*;
use crate::config::Secret;
use crate::message::Next;
use crate::parts;
use crate::parts::postgres::Database;
use crate::queue::NewEntry;
use crate::queue::conformance::{Place, bodies, consume, end, entry, nothing_comes, settle, store, take};
use crate::store::conformance::LedgerPlace;
use crate::store::{Alone, Engine, scenario};

static KILLS: Mutex<Option<HashMap<String, Arc<Kill>>>> = Mutex::new(None);

/// Kills that tests have set for a schema.
pub fn kill_of(schema: &str) -> Option<Arc<Kill>> {
    KILLS.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(schema)
}

fn kill(schema: &str, kill: Kill) {
    let mut kills = KILLS.lock().unwrap_or_else(PoisonError::into_inner);
    kills.get_or_insert_default().insert(schema.to_owned(), Arc::new(kill));
}

/// A schema of its own, in a database of its own.
struct Schema {
    database: Database,
    settings: PostgresSettings,
    clock: Clock,
    /// Kills each engine opened there.
    dice: Option<Mutex<scenario::Dice>>,
}

impl Schema {
    fn new() -> Schema {
        Schema::on(parts::postgres::Postgres::shared().database())
    }

    fn on(database: Database) -> Schema {
        let place = database.place();
        let settings = PostgresSettings {
            addresses: vec![place.address.into()],
            database: place.database.into(),
            user: place.user.into(),
            password: Some(Secret::new(place.password)),
            tls: None,
            schema: format!("test {}", MessageId::draw()).into(),
            connections: 8,
            statement_within: std::time::Duration::from_secs(30),
        };
        Schema { database, settings, clock: Clock::simulated(Timestamp::UNIX_EPOCH), dice: None }
    }

    async fn ledger_of(&self) -> Arc<Postgres> {
        if let Some(dice) = &self.dice {
            let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
            let gap = if dice.below(2) == 0 { Gap::BeforeCommit } else { Gap::AfterCommit };
            kill(&self.settings.schema, Kill { gap, commits_left: (dice.below(60) as i64).into() });
        }
        Postgres::open(&self.settings, 1_000_000, Path::new("."), self.clock.clone()).await.expect("the database opens")
    }
}

#[async_trait]
impl Place for Schema {
    async fn open(&self) -> Engine {
        let ledger = self.ledger_of().await;
        Engine { queue: ledger.clone(), store: ledger, instances: Arc::new(Alone) }
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[async_trait]
impl LedgerPlace for Schema {
    async fn ledger(&self) -> Arc<dyn Ledger> {
        self.ledger_of().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_conforms() {
    crate::queue::conformance::run(Schema::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms() {
    crate::store::conformance::run(Schema::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_conforms() {
    crate::store::conformance::ledger(Schema::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_when_killed() {
    for seed in scenario::seeds(3) {
        let place = Schema { dice: Some(Mutex::new(scenario::Dice(!seed))), ..Schema::new() };
        scenario::run(&place, seed, 60).await;
    }
}

/// What one process stores, the consumer of another hands out in its order, replays and releases included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_queue() {
    let place = Schema::new();
    let (here, there) = (place.open().await, place.open().await);
    store(&there, &[entry("q", Some("k"), "k1"), entry("q", Some("k"), "k2")]).await;
    let mut consumer = consume(&here, "q").await;
    let first = take(&mut consumer, 1).await;
    // One is out while somebody else stores: it does not come again, and the new ones stand behind it.
    store(&there, &[entry("q", Some("k"), "k3"), entry("q", Some("l"), "l1")]).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["l1"]);
    nothing_comes(&mut consumer).await;
    let dead = crate::store::conformance::dead_letter(&first[0].entry);
    let held = vec![("q".into(), "k".into())];
    let stop = Settlement { ended: vec![first[0].at], dead: vec![dead.clone()], held, ..Settlement::default() };
    settle(&here, stop).await;
    nothing_comes(&mut consumer).await;
    let replay = Settlement { dead_ended: vec![dead.message], outputs: vec![dead.replay], ..Settlement::default() };
    settle(&there, replay).await;
    for expected in ["k1", "k2", "k3"] {
        let next = take(&mut consumer, 1).await;
        assert_eq!(bodies(&next), [expected]);
        end(&here, &next).await;
    }
    let again = there.store.settle(Settlement { ended: vec![first[0].at], ..Settlement::default() }).await;
    assert_eq!(again.expect_err("it was ended").code(), "STORE-STALE");
}

/// Two processes store into the same queues at once: their numbers commit in order, so a reader misses none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_side_by_side_lose_nothing() {
    let place = Schema::new();
    let (here, there) = (place.open().await, place.open().await);
    let mut consumer = consume(&here, "a").await;
    let write = |engine: &Engine, who: &'static str| {
        let engine = engine.clone();
        tokio::spawn(async move {
            for n in 0..100 {
                let body = format!("{who}{n}");
                // In both orders, as a deadlock would have it.
                let mut entries = vec![entry("a", None, &body), entry("b", None, &body)];
                if who == "there" {
                    entries.reverse();
                }
                store(&engine, &entries).await;
            }
        })
    };
    let writers = [write(&here, "here"), write(&there, "there")];
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 200 {
        let came = take(&mut consumer, 1).await;
        assert!(seen.insert(came[0].at), "handed out once");
        end(&here, &came).await;
    }
    for writer in writers {
        writer.await.expect("it writes");
    }
    assert_eq!(here.queue.entries("a").await.expect("they can be counted"), 0);
    assert_eq!(there.queue.entries("b").await.expect("they can be counted"), 200);
}

/// Sessions are cut again and again while work goes on: every settle takes place once, whatever was lost with a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_session_loses_and_repeats_nothing() {
    let place = Schema::new();
    let engine = place.open().await;
    let mut consumer = consume(&engine, "q").await;
    let cutting = async {
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(70)).await;
            tokio::task::block_in_place(|| place.database.cut_sessions());
        }
    };
    let working = async {
        for n in 0..400 {
            // The same again after a fault that says nothing was kept.
            while let Err(fault) = engine.store.settle(stores(n)).await {
                assert_eq!(fault.code(), "STORE-IO", "{fault}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::join!(cutting, working);
    let mut seen = Vec::new();
    while seen.len() < 400 {
        match consumer.next(10).await {
            Ok(came) => {
                end(&engine, &came).await;
                seen.extend(bodies(&came));
            }
            Err(fault) => assert_eq!(fault.code(), "STORE-IO", "{fault}"),
        }
    }
    nothing_comes(&mut consumer).await;
    assert_eq!(seen, (0..400).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(engine.queue.entries("q").await.expect("they can be counted"), 0);
}

fn stores(n: usize) -> Settlement {
    Settlement { outputs: vec![entry("q", None, &n.to_string())], ..Settlement::default() }
}

/// A server that is killed and comes back: callers hear `STORE-IO`, then go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_found_again() {
    let server = parts::postgres::Postgres::private(&parts::postgres::Options::default());
    let place = Schema::on(server.database());
    let engine = place.open().await;
    let mut consumer = consume(&engine, "q").await;
    settle(&engine, stores(1)).await;
    tokio::task::block_in_place(|| server.kill9());
    let fault = engine.store.settle(stores(2)).await.expect_err("nobody is there");
    assert!(matches!((fault.code(), fault.next()), ("STORE-IO", Next::Retry { .. })), "{fault}");
    assert_eq!(engine.store.well().await.expect_err("nobody is there").code(), "STORE-IO");
    tokio::task::block_in_place(|| server.start());
    while engine.store.settle(stores(2)).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    engine.store.well().await.expect("it is well again");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Ok(came) = consumer.next(10).await {
            seen.extend(bodies(&came));
        }
    }
    assert_eq!(seen, ["1", "2"]);
}

/// A full disk refuses with `STORE-FULL`, loses nothing, and room brings it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_says_so() {
    let server = parts::postgres::Postgres::private(&parts::postgres::Options {
        disk_mb: Some(160),
        ..parts::postgres::Options::default()
    });
    let place = Schema::on(server.database());
    let engine = place.open().await;
    settle(&engine, stores(0)).await;
    tokio::task::block_in_place(|| server.fill_disk());
    let (body, mut accepted) = ("x".repeat(200_000), 1);
    let fault = loop {
        let outputs = vec![entry("q", None, &format!("{accepted}{body}"))];
        match engine.store.settle(Settlement { outputs, ..Settlement::default() }).await {
            Ok(()) => accepted += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault.next(), Next::Retry { .. }), "{fault}");
    tokio::task::block_in_place(|| server.free_disk());
    while engine.store.well().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let entries = engine.queue.entries("q").await.expect("they can be counted");
    assert_eq!(entries, accepted, "after {fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_is_told_why() {
    let place = Schema::new();
    let refused = async |settings: PostgresSettings, code: &str, words: &str| {
        let fault = Postgres::open(&settings, 1, Path::new("."), Clock::real()).await.err().expect("it is refused");
        assert_eq!(fault.code(), code, "{fault}");
        let said = fault.to_string();
        assert!(said.contains(words) && !said.contains("db error"), "{said}");
    };
    let good = || place.settings.clone();
    let wrong = PostgresSettings { password: Some(Secret::new("wrong")), ..good() };
    refused(wrong, "STORE-LOGIN", "`store.postgres.user` and `password`").await;
    refused(PostgresSettings { database: "nowhere".into(), ..good() }, "STORE-LOGIN", "create it").await;
    refused(PostgresSettings { addresses: Vec::new(), ..good() }, "STORE-LOGIN", "names no server").await;
    refused(PostgresSettings { addresses: vec!["host:port".into()], ..good() }, "STORE-LOGIN", "host:port").await;
    refused(
        PostgresSettings { addresses: vec!["127.0.0.1:1".into()], ..good() },
        "STORE-IO",
        "and `store.postgres.addresses`",
    )
    .await;
    // Of several addresses the first that answers is taken.
    let second = PostgresSettings { addresses: vec!["127.0.0.1:1".into(), good().addresses[0].clone()], ..good() };
    Postgres::open(&second, 1, Path::new("."), Clock::real()).await.expect("the second server is there");
    let sql = format!("INSERT INTO \"{}\".version VALUES (99)", good().schema);
    tokio::task::block_in_place(|| place.database.query(&sql));
    refused(good(), "STORE-VERSION", "schema 99").await;
}

/// What is missing is told with the statement that gives it, and that statement is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_told_with_what_gives_it() {
    let place = Schema::new();
    let user = format!("{}_hub", place.database.name());
    place.database.query(&format!("create role {user} login password '{user}'"));
    let settings = PostgresSettings {
        user: user.as_str().into(),
        password: Some(Secret::new(user.as_str())),
        ..place.settings.clone()
    };
    let schema = settings.schema.clone();
    let refused = async || {
        let opened = Postgres::open(&settings, 1, Path::new("."), Clock::real()).await;
        let fault = opened.err().expect("a right is missing");
        assert_eq!((fault.code(), fault.next()), ("STORE-LOGIN", Next::Misconfigured), "{fault}");
        let said = fault.to_string();
        let statement = said.split_once("gives it by `").and_then(|(_, rest)| rest.split_once('`'));
        statement.unwrap_or_else(|| panic!("no statement: {said}")).0.to_owned()
    };
    let grant = refused().await;
    assert_eq!(grant, format!("GRANT CREATE ON DATABASE \"{}\" TO \"{user}\"", place.database.name()));
    // A schema that somebody else has made.
    place.database.query(&format!("create schema \"{schema}\""));
    let grant = refused().await;
    assert_eq!(grant, format!("GRANT USAGE, CREATE ON SCHEMA \"{schema}\" TO \"{user}\""));
    place.database.query(&grant);
    Postgres::open(&settings, 1, Path::new("."), Clock::real()).await.expect("nothing is missing now");
    place.database.query(&format!("drop owned by {user} cascade; drop role {user}"));
}

/// Instances that start at once make the schema once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_start_at_once() {
    let place = Schema::new();
    let opened = futures_util::future::join_all((0..6).map(|_| place.open())).await;
    for (n, engine) in opened.iter().enumerate() {
        settle(engine, stores(n)).await;
    }
    assert_eq!(opened[0].queue.entries("q").await.expect("they can be counted"), 6);
}

/// What comes from outside may be long and hold anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_any_length_and_character_are_kept() {
    let place = Schema::new();
    let engine = place.open().await;
    let key = format!("\0é'\"{}", "k".repeat(20_000));
    let new = NewEntry { headers: [("x", "a\0b")].into_iter().collect(), ..entry("q", Some(&key), "1") };
    let mut dead = crate::store::conformance::dead_letter(&new);
    (dead.cause, dead.step) = ("because\0".to_owned(), Some("\0".to_owned()));
    let row = crate::store::RowWrite {
        table: "t".into(),
        key: key.as_str().into(),
        row: [("a", "\0")].into_iter().collect(),
        time: Timestamp::UNIX_EPOCH,
        until: None,
    };
    settle(
        &engine,
        Settlement {
            outputs: vec![new.clone()],
            dead: vec![dead.clone()],
            rows: vec![row.clone()],
            ..Settlement::default()
        },
    )
    .await;
    assert_eq!(take(&mut consume(&engine, "q").await, 1).await[0].entry, new);
    assert_eq!(engine.store.dead_letter(dead.message).await.expect("it can be read"), Some(dead));
    assert_eq!(engine.store.row("t", &key, Timestamp::UNIX_EPOCH).await.expect("it can be read"), Some(row.row));
}

/// What the journal costs: see docs/decisions/0005-postgres-journal.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_the_journal() {
    let place = Schema::new();
    let engine = place.open().await;
    let begun = std::time::Instant::now();
    let settles = (0..200_000_usize).map(|n| {
        let message = MessageId::derive(&[&(n / 2).to_be_bytes()]);
        let hop = crate::store::Hop {
            destination: Some("erp".into()),
            track: vec![("order".into(), format!("#{}", n / 2).into())],
            ..crate::store::conformance::hop(message, crate::store::Event::Routed)
        };
        Settlement { hops: vec![hop], ..Settlement::default() }
    });
    use futures_util::StreamExt;
    futures_util::stream::iter(settles)
        .map(|settlement| engine.store.settle(settlement))
        .buffer_unordered(512)
        .for_each(async |outcome| outcome.expect("it is settled"))
        .await;
    let seconds = begun.elapsed().as_secs_f64();
    let of_us = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let ticks: Vec<f64> = of_us
        .rsplit(')')
        .next()
        .map(|rest| rest.split_whitespace().filter_map(|n| n.parse().ok()).collect())
        .unwrap_or_default();
    println!(
        "{:.0} messages/s, hub and generator {:.2} s of CPU",
        100_000.0 / seconds,
        (ticks[10] + ticks[11]) / 100.0
    );
    let sessions = place
        .database
        .query("SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    let mut server = 0.0;
    for pid in sessions.iter().filter_map(|row| row[0].clone()) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ticks: Vec<f64> = stat
            .rsplit(')')
            .next()
            .map(|rest| rest.split_whitespace().filter_map(|n| n.parse().ok()).collect())
            .unwrap_or_default();
        if ticks.len() > 11 {
            server += (ticks[10] + ticks[11]) / 100.0;
        }
    }
    println!("sessions {server:.2} s of CPU");
}
