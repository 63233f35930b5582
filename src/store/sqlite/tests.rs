//! The embedded engine under the suites both engines pass, and what is its own: the file, its folder, its disk.

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::config::Size;
use crate::message::Next;
use crate::queue::conformance::{Place, consume, end, entry, retry, settle, store, take};
use crate::queue::embedded::{Crash, Gap, Scratch};
use crate::store::{Claim, Event, Stored, scenario};

pub struct Folder {
    scratch: Scratch,
    clock: Clock,
}

impl Folder {
    pub fn new() -> Folder {
        Folder { scratch: Scratch::make(), clock: Clock::simulated(Timestamp::UNIX_EPOCH) }
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

#[async_trait]
impl crate::store::conformance::LedgerPlace for Folder {
    async fn ledger(&self) -> Arc<dyn Ledger> {
        open_ledger(&self.path(), &settings(), self.clock.clone()).expect("the engine opens")
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_conforms() {
    crate::store::conformance::ledger(Folder::new).await;
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
        Killed { scratch: Scratch::make(), clock: Clock::simulated(Timestamp::UNIX_EPOCH), state }
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
    for seed in scenario::seeds(6) {
        scenario::run(&Killed::new(seed), seed, 60).await;
    }
}

/// A small disk of its own, unmounted after the test.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn new(options: &str) -> SmallDisk {
        let scratch = Scratch::make();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&scratch.0)
            .status()
            .is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small disk: run it as root, or in `unshare --map-root-user --mount`");
        SmallDisk(scratch)
    }

    fn remount(&self, options: &str) {
        let status =
            std::process::Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0.0).status();
        assert!(status.is_ok_and(|status| status.success()), "the disk can be mounted again");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

/// Opening `folder` is refused with this code, in a sentence that has these words.
fn refused(folder: &Path, code: &str, words: &str) {
    let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
    let fault = open(folder, &settings(), clock).err().expect("opening is refused");
    assert_eq!((fault.code(), fault.next()), (code, Next::Misconfigured), "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
}

#[tokio::test]
async fn one_hub_a_folder() {
    let place = Folder::new();
    let engine = place.open().await;
    refused(&place.path(), "STORE-LOCKED", &format!("process {} already runs", std::process::id()));
    drop(engine);
    place.open().await;
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let place = Folder::new();
    drop(place.open().await);
    let connection = rusqlite::Connection::open(place.path().join("raccord.db")).expect("it opens");
    connection.execute_batch("PRAGMA user_version = 99").expect("it can be changed");
    drop(connection);
    refused(&place.path(), "STORE-VERSION", "schema 99");
}

#[tokio::test]
async fn a_damaged_file_says_so() {
    let place = Folder::new();
    drop(place.open().await);
    std::fs::write(place.path().join("raccord.db"), vec![b'x'; 100_000]).expect("it can be written");
    refused(&place.path(), "STORE-CORRUPT", "restore it from a backup");
}

#[tokio::test]
async fn damage_inside_stops_the_lane_and_not_the_hub() {
    let place = Folder::new();
    let engine = place.open().await;
    store(&engine, &[entry("q", None, "1"), entry("other", None, "2")]).await;
    drop(engine);
    let connection = rusqlite::Connection::open(place.path().join("raccord.db")).expect("it opens");
    for change in
        ["headers = 'no'", "headers = NULL, message = x'01'", "message = 7", "message = zeroblob(16), start_at = -1"]
    {
        connection.execute_batch(&format!("UPDATE entry_1 SET {change}")).expect("it can be changed");
        let engine = place.open().await;
        let fault = consume(&engine, "q").await.next(1).await.expect_err(change);
        assert_eq!((fault.code(), fault.next()), ("STORE-CORRUPT", Next::Misconfigured), "{change}: {fault}");
        assert_eq!(take(&mut consume(&engine, "other").await, 1).await.len(), 1);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_so() {
    let disk = SmallDisk::new("size=20m");
    let folder = disk.0.0.join("data");
    drop(open(&folder, &settings(), Clock::real()).expect("the engine opens"));
    disk.remount("ro");
    refused(&folder, "STORE-READONLY", "the right to write");
    disk.remount("rw");
    open(&folder, &settings(), Clock::real()).expect("the engine opens");
}

#[tokio::test]
async fn a_quota_holds_the_intake_back() {
    let place = Folder::new();
    let engine =
        open(&place.path(), &QueueSettings { quota: 3, ..settings() }, Clock::real()).expect("the engine opens");
    let all: Vec<_> = (0..4).map(|n| entry("q", None, &n.to_string())).collect();
    store(&engine, &all[..2]).await;
    store(&engine, &all[2..3]).await;
    let more = vec![Intake { claim: None, stored: Stored::Entry(all[3].clone()), hops: Vec::new() }];
    let fault = engine.store.intake(more.clone(), None).await.expect_err("the queue is full");
    assert!(matches!((fault.code(), fault.next()), ("STORE-FULL", Next::Retry { after: Some(_) })), "{fault}");
    let mut consumer = consume(&engine, "q").await;
    end(&engine, &take(&mut consumer, 1).await).await;
    engine.store.intake(more, None).await.expect("there is room again");
}

/// Fills a small disk: intakes are refused, what was accepted is settled all the same, and room brings the intake back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_still_settles() {
    let disk = SmallDisk::new("size=24m");
    let folder = disk.0.0.join("data");
    let settings = QueueSettings { reserve: Size(4 << 20), ..QueueSettings::default() };
    let engine = open(&folder, &settings, Clock::real()).expect("the engine opens");
    let body = "x".repeat(20_000);
    let mut accepted = 0;
    let fault = loop {
        let arrival = Intake {
            claim: None,
            stored: Stored::Entry(entry("q", None, &format!("{accepted}{body}"))),
            hops: Vec::new(),
        };
        match engine.store.intake(vec![arrival], None).await {
            Ok(_) => accepted += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!((fault.code(), fault.next()), ("STORE-FULL", Next::Retry { .. })), "{fault}");
    assert!(engine.store.well().await.is_err());
    // Somebody else takes the rest: only the ballast is left.
    let other = disk.0.0.join("other");
    let mut filler = std::fs::File::create(&other).expect("a file can be made");
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    drop(filler);
    let mut consumer = consume(&engine, "q").await;
    for n in 0..accepted {
        let out = take(&mut consumer, 1).await;
        assert!(out[0].entry.body.starts_with(n.to_string().as_bytes()));
        // The first take more room than they give back, whatever was free inside the file.
        let body = if n < 12 { body.repeat(2) } else { String::new() };
        let outputs = vec![entry("q.to.erp", None, &format!("{n}{body}"))];
        settle(&engine, Settlement { ended: vec![out[0].at], outputs, ..Settlement::default() }).await;
    }
    assert!(!folder.join("reserve").exists(), "the ballast was needed, or this test shows nothing");
    assert_eq!(engine.queue.depth("q.to.erp").await.expect("the depth is known").entries, accepted);
    std::fs::remove_file(&other).expect("the file can be removed");
    store(&engine, &[entry("q", None, "there is room again")]).await;
    assert!(folder.join("reserve").exists(), "the ballast is kept again");
    engine.store.well().await.expect("the store is well");
}

/// Past the bound of what waits in memory the lane pauses, and goes on when the waiting are due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_with_too_many_waiting_pauses() {
    let place = Folder::new();
    let engine = place.open().await;
    for part in 0..10 {
        let key = |n: usize| n.is_multiple_of(2).then(|| format!("k{part} {n}"));
        let some: Vec<_> = (0..100).map(|n| entry("q", key(n).as_deref(), &format!("{part} {n}"))).collect();
        store(&engine, &some).await;
    }
    let mut consumer = consume(&engine, "q").await;
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 1000 {
        let next = tokio::time::timeout(std::time::Duration::from_millis(100), consumer.next(10)).await;
        let Ok(entries) = next else {
            let waiting = engine.queue.depth("q").await.expect("the depth is known").waiting;
            assert!((250..500).contains(&waiting), "{waiting} wait in memory");
            place.clock.advance(std::time::Duration::from_secs(60));
            continue;
        };
        for entry in entries.expect("entries come") {
            if seen.insert(entry.at) {
                retry(&engine, &entry, &place.clock, std::time::Duration::from_secs(60), true).await;
            } else {
                end(&engine, &[entry]).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_swept_leaves_the_file() {
    let place = Folder::new();
    let engine = place.open().await;
    let day = std::time::Duration::from_secs(86_400);
    let until = crate::clock::later(place.clock.now(), day);
    for part in 0..20_u16 {
        let arrival = |n: u16| {
            let new = entry("q", None, &format!("{part} {n}"));
            let mut key = [0; 16];
            key[..4].copy_from_slice(&[part.to_be_bytes(), n.to_be_bytes()].concat());
            let claim = Claim { pipeline: "q".into(), key, content: key, message: new.message, until };
            let hop = crate::store::conformance::hop(new.message, Event::Accepted);
            Intake { claim: Some(claim), stored: Stored::Entry(new), hops: vec![hop; 2] }
        };
        engine.store.intake((0..1000).map(arrival).collect(), None).await.expect("the intake is taken");
    }
    place.clock.advance(day * 2);
    let retention = Retention { journal: day, dead_letters: day };
    while engine.store.sweep(place.clock.now(), retention).await.expect("it can be swept") {}
    drop(engine);
    let connection = rusqlite::Connection::open(place.path().join("raccord.db")).expect("it opens");
    for table in ["claim", "journal_page", "journal_segment", "journal_index"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: i64 = connection.query_row(&sql, [], |row| row.get(0)).expect("it can be counted");
        assert_eq!(left, 0, "{table}");
    }
    drop(connection);
    let engine = place.open().await;
    let new = MessageId::derive(&[b"new"]);
    let hops = vec![crate::store::conformance::hop(new, Event::Routed)];
    settle(&engine, Settlement { hops, ..Settlement::default() }).await;
    assert_eq!(engine.store.journal(new).await.expect("it can be read").len(), 1);
}

#[tokio::test]
async fn an_idle_consumer_does_not_read() {
    let place = Folder::new();
    let open = || SqliteStore::open(&place.path(), &settings(), place.clock.clone(), None).expect("the engine opens");
    let store_of = open();
    let file = store_of.file.clone();
    let engine = store_of.engine();
    store(&engine, &[entry("q", Some("k"), "1"), entry("q", Some("k"), "2"), entry("q", None, "3")]).await;
    let mut consumer = consume(&engine, "q").await;
    let out = take(&mut consumer, 2).await;
    // A full window, an entry behind a busy key, then one that waits, then nothing at all.
    let idle = async |file: &File<StoreWork>, consumer: &mut Box<dyn crate::queue::Consumer>, what: &str| {
        crate::queue::conformance::nothing_comes(consumer).await;
        let before = file.readings("q");
        crate::queue::conformance::nothing_comes(consumer).await;
        assert_eq!(file.readings("q"), before, "{what}");
    };
    idle(&file, &mut consumer, "behind a busy key").await;
    let mut narrow =
        engine.queue.consume("q", crate::queue::Window { entries: 1, bytes: 1 }).await.expect("it can be consumed");
    take(&mut narrow, 1).await;
    idle(&file, &mut narrow, "a full window").await;
    consumer = consume(&engine, "q").await;
    take(&mut consumer, 2).await;
    retry(&engine, &out[0], &place.clock, std::time::Duration::from_secs(60), true).await;
    idle(&file, &mut consumer, "a retry waits").await;
    place.clock.advance(std::time::Duration::from_secs(60));
    end(&engine, &take(&mut consumer, 1).await).await;
    end(&engine, &take(&mut consumer, 1).await).await;
    end(&engine, &out[1..]).await;
    idle(&file, &mut consumer, "nothing is left").await;
    drop((consumer, narrow, engine, file));
    let store_of = open();
    let (file, engine) = (store_of.file.clone(), store_of.engine());
    let mut consumer = consume(&engine, "q").await;
    idle(&file, &mut consumer, "nothing was left").await;
    assert!(file.readings("q") > 0, "it looked once");
}
