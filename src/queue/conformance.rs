//! What every queue keeps, whatever it is made of: the engines' tests run these cases, written against the traits alone.
//!
//! Entries come in and go out through a settle, so the cases drive a whole engine; the queue's is what they check.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Consumer, Decoded, Entry, NewEntry, Window};
use crate::clock::{Clock, later};
use crate::message::{Map, MessageId, Text};
use crate::store::{Accepted, Engine, Intake, Retry, Settlement, Stored};

/// A place where an engine keeps its data: opened again after a stop or a kill, it is the same engine.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the engine; a former one of this place has been dropped.
    async fn open(&self) -> Engine;
    /// Simulated; shared by all engines of this place.
    fn clock(&self) -> &Clock;

    /// How many engines of this place the seeded day runs at a time.
    fn instances(&self) -> usize {
        1
    }

    /// Cancelled when the engine opened last is killed from within.
    fn struck(&self) -> CancellationToken {
        CancellationToken::new()
    }
}

pub const WINDOW: Window = Window { entries: 64, bytes: 1 << 20 };

/// All cases, each in a place of its own.
pub async fn run<P: Place>(new_place: impl Fn() -> P) {
    what_is_stored_is_handed_out(&new_place()).await;
    a_key_keeps_its_order_and_others_pass(&new_place()).await;
    a_retry_waits_and_its_key_behind_it(&new_place()).await;
    a_delayed_entry_waits(&new_place()).await;
    nothing_is_lost_by_a_stop(&new_place()).await;
    a_held_key_waits_for_a_person(&new_place()).await;
    a_replay_of_a_held_key_goes_first(&new_place()).await;
    a_second_consumer_replaces_the_first(&new_place()).await;
    a_settle_of_what_is_gone_changes_nothing(&new_place()).await;
    the_window_bounds_what_is_out(&new_place()).await;
    the_depth_tells(&new_place()).await;
    a_dropped_wait_loses_nothing(&new_place()).await;
}

pub fn entry(queue: &str, key: Option<&str>, body: &str) -> NewEntry {
    let message = MessageId::derive(&[queue.as_bytes(), body.as_bytes()]);
    NewEntry {
        queue: queue.into(),
        message,
        origin: message,
        key: key.map(Text::from),
        time: jiff::Timestamp::UNIX_EPOCH,
        headers: [("x", "1")].into_iter().collect::<Map>(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        start_at: 0,
        due: None,
        decoded: Decoded::default(),
    }
}

pub async fn store(engine: &Engine, entries: &[NewEntry]) {
    let arrivals = entries
        .iter()
        .map(|entry| Intake { claim: None, stored: Stored::Entry(entry.clone()), hops: Vec::new() })
        .collect();
    let accepted = engine.store.intake(arrivals, None).await.expect("the intake is taken");
    let expected: Vec<_> = entries.iter().map(|entry| Accepted::New(entry.message)).collect();
    assert_eq!(accepted, expected);
}

pub async fn settle(engine: &Engine, settlement: Settlement) {
    engine.store.settle(settlement).await.expect("the settle is taken");
}

pub async fn end(engine: &Engine, entries: &[Entry]) {
    settle(engine, Settlement { ended: entries.iter().map(|entry| entry.at).collect(), ..Settlement::default() }).await;
}

pub async fn retry(engine: &Engine, entry: &Entry, clock: &Clock, delay: Duration, counts: bool) {
    let due = later(clock.now(), delay);
    let retries = vec![Retry { at: entry.at, due, counts }];
    settle(engine, Settlement { retries, ..Settlement::default() }).await;
}

pub async fn consume(engine: &Engine, queue: &str) -> Box<dyn Consumer> {
    engine.queue.consume(queue, WINDOW).await.expect("the queue can be consumed")
}

/// The next `count` entries, in the order they come.
pub async fn take(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Entry> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = consumer.next(count - taken.len());
        let next = tokio::time::timeout(Duration::from_secs(60), next).await;
        taken.extend(next.unwrap_or_else(|_| panic!("{} of {count} entries came", taken.len())).expect("entries come"));
    }
    taken
}

/// No entry comes by itself.
pub async fn nothing_comes(consumer: &mut Box<dyn Consumer>) {
    let next = tokio::time::timeout(Duration::from_millis(50), consumer.next(10)).await;
    if let Ok(entries) = next {
        panic!("nothing was to come, but {:?}", entries.map(|entries| bodies(&entries)));
    }
}

pub fn bodies(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.entry.body).into_owned()).collect()
}

async fn what_is_stored_is_handed_out<P: Place>(place: &P) {
    let engine = place.open().await;
    let new = entry("a", None, "one");
    store(&engine, &[new.clone(), entry("b", None, "elsewhere")]).await;
    let mut consumer = consume(&engine, "a").await;
    let taken = take(&mut consumer, 1).await;
    assert_eq!((&taken[0].entry, taken[0].attempts), (&new, 0));
    // Stored while consumed, through a settle.
    let outputs = vec![entry("a", None, "two"), entry("c", None, "new queue")];
    settle(&engine, Settlement { ended: vec![taken[0].at], outputs: outputs.clone(), ..Settlement::default() }).await;
    let taken = take(&mut consumer, 1).await;
    assert_eq!(taken[0].entry, outputs[0]);
    assert_eq!(bodies(&take(&mut consume(&engine, "c").await, 1).await), ["new queue"]);
    end(&engine, &taken).await;
    nothing_comes(&mut consumer).await;
    // A queue that did not exist when it was consumed.
    let mut early = consume(&engine, "later").await;
    nothing_comes(&mut early).await;
    store(&engine, &[entry("later", None, "now")]).await;
    assert_eq!(bodies(&take(&mut early, 1).await), ["now"]);
}

async fn a_key_keeps_its_order_and_others_pass<P: Place>(place: &P) {
    let engine = place.open().await;
    let new = |key, body| entry("q", key, body);
    store(
        &engine,
        &[new(Some("k"), "k1"), new(Some("k"), "k2"), new(Some("l"), "l1"), new(None, "n1"), new(Some("k"), "k3")],
    )
    .await;
    let mut consumer = consume(&engine, "q").await;
    let first = take(&mut consumer, 3).await;
    assert_eq!(bodies(&first), ["k1", "l1", "n1"]);
    nothing_comes(&mut consumer).await;
    end(&engine, &first[..1]).await;
    let second = take(&mut consumer, 1).await;
    assert_eq!(bodies(&second), ["k2"]);
    store(&engine, &[new(Some("k"), "k4")]).await;
    nothing_comes(&mut consumer).await;
    end(&engine, &second).await;
    let third = take(&mut consumer, 1).await;
    assert_eq!(bodies(&third), ["k3"]);
    end(&engine, &third).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["k4"]);
}

async fn a_retry_waits_and_its_key_behind_it<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let new = |key, body| entry("q", key, body);
    store(&engine, &[new(Some("k"), "k1"), new(None, "n1"), new(Some("k"), "k2")]).await;
    let mut consumer = consume(&engine, "q").await;
    let first = take(&mut consumer, 2).await;
    retry(&engine, &first[0], place.clock(), Duration::from_secs(60), true).await;
    retry(&engine, &first[1], place.clock(), Duration::from_secs(30), false).await;
    nothing_comes(&mut consumer).await;
    store(&engine, &[new(Some("l"), "l1")]).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["l1"]);
    drop(consumer);
    drop(engine);
    engine = place.open().await;
    consumer = consume(&engine, "q").await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["l1"]);
    nothing_comes(&mut consumer).await;
    place.clock().advance(Duration::from_secs(30));
    let back = take(&mut consumer, 1).await;
    assert_eq!((bodies(&back), back[0].attempts), (vec!["n1".to_owned()], 0));
    nothing_comes(&mut consumer).await;
    place.clock().advance(Duration::from_secs(30));
    let back = take(&mut consumer, 1).await;
    assert_eq!((bodies(&back), back[0].attempts), (vec!["k1".to_owned()], 1));
    nothing_comes(&mut consumer).await;
    retry(&engine, &back[0], place.clock(), Duration::from_secs(1), true).await;
    place.clock().advance(Duration::from_secs(1));
    let back = take(&mut consumer, 1).await;
    assert_eq!((bodies(&back), back[0].attempts), (vec!["k1".to_owned()], 2));
    end(&engine, &back).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["k2"]);
}

async fn a_delayed_entry_waits<P: Place>(place: &P) {
    let engine = place.open().await;
    let due = Some(later(place.clock().now(), Duration::from_secs(5)));
    let delayed = |key, body| NewEntry { due, ..entry("q", key, body) };
    store(
        &engine,
        &[delayed(None, "n1"), delayed(Some("k"), "k1"), entry("q", Some("k"), "k2"), entry("q", None, "n2")],
    )
    .await;
    let mut consumer = consume(&engine, "q").await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["n2"]);
    nothing_comes(&mut consumer).await;
    store(&engine, &[delayed(None, "n3")]).await;
    nothing_comes(&mut consumer).await;
    place.clock().advance(Duration::from_secs(5));
    let mut came = take(&mut consumer, 3).await;
    came.sort_by_key(|entry| entry.at);
    assert_eq!(bodies(&came), ["n1", "k1", "n3"]);
    end(&engine, &came).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["k2"]);
}

async fn nothing_is_lost_by_a_stop<P: Place>(place: &P) {
    let engine = place.open().await;
    let all: Vec<_> = (0..500).map(|n| entry("q", Some(&format!("k{}", n % 7)), &format!("{n}"))).collect();
    store(&engine, &all).await;
    let mut consumer = consume(&engine, "q").await;
    let out = take(&mut consumer, 7).await;
    end(&engine, &out[..3]).await;
    drop(consumer);
    drop(engine);
    let engine = place.open().await;
    let mut consumer = consume(&engine, "q").await;
    let mut seen = Vec::new();
    while seen.len() < 497 {
        let came = take(&mut consumer, 1).await;
        end(&engine, &came).await;
        seen.extend(came.into_iter().map(|entry| entry.at));
    }
    nothing_comes(&mut consumer).await;
    let ended: Vec<_> = out[..3].iter().map(|entry| entry.at).collect();
    assert!(seen.iter().all(|at| !ended.contains(at)));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 497);
}

async fn a_held_key_waits_for_a_person<P: Place>(place: &P) {
    let mut engine = place.open().await;
    store(&engine, &[entry("q", Some("k"), "k1"), entry("q", Some("k"), "k2"), entry("q", Some("l"), "l1")]).await;
    let mut consumer = consume(&engine, "q").await;
    let first = take(&mut consumer, 2).await;
    let held = vec![("q".into(), "k".into())];
    settle(&engine, Settlement { ended: vec![first[0].at], held, ..Settlement::default() }).await;
    nothing_comes(&mut consumer).await;
    drop(consumer);
    drop(engine);
    engine = place.open().await;
    consumer = consume(&engine, "q").await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["l1"]);
    store(&engine, &[entry("q", Some("k"), "k3")]).await;
    nothing_comes(&mut consumer).await;
    engine.store.release("q", "k").await.expect("the key can be released");
    let next = take(&mut consumer, 1).await;
    assert_eq!(bodies(&next), ["k2"]);
    end(&engine, &next).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["k3"]);
    engine.store.release("q", "nobody").await.expect("releasing what is not held does nothing");
}

async fn a_replay_of_a_held_key_goes_first<P: Place>(place: &P) {
    for stop_between in [false, true] {
        let mut engine = place.open().await;
        store(&engine, &[entry("q", Some("k"), "k1"), entry("q", Some("k"), "k2")]).await;
        let mut consumer = consume(&engine, "q").await;
        let first = take(&mut consumer, 1).await;
        let dead = super::super::store::conformance::dead_letter(&first[0].entry);
        let held = vec![("q".into(), "k".into())];
        let settlement =
            Settlement { ended: vec![first[0].at], dead: vec![dead.clone()], held, ..Settlement::default() };
        settle(&engine, settlement).await;
        if stop_between {
            drop(consumer);
            drop(engine);
            engine = place.open().await;
            consumer = consume(&engine, "q").await;
        }
        nothing_comes(&mut consumer).await;
        let replay = Settlement { dead_ended: vec![dead.message], outputs: vec![dead.replay], ..Settlement::default() };
        settle(&engine, replay).await;
        for expected in ["k1", "k2"] {
            let next = take(&mut consumer, 1).await;
            assert_eq!(bodies(&next), [expected]);
            end(&engine, &next).await;
        }
        nothing_comes(&mut consumer).await;
    }
}

async fn a_second_consumer_replaces_the_first<P: Place>(place: &P) {
    let engine = place.open().await;
    store(&engine, &[entry("q", Some("k"), "k1")]).await;
    let mut first = consume(&engine, "q").await;
    let out = take(&mut first, 1).await;
    let mut second = consume(&engine, "q").await;
    assert_eq!(first.next(1).await.expect_err("the first has been replaced").code(), "QUEUE-REPLACED");
    assert_eq!(take(&mut second, 1).await, out);
    // The first's late drop takes nothing from the second.
    drop(first);
    end(&engine, &out).await;
    store(&engine, &[entry("q", Some("k"), "k2")]).await;
    assert_eq!(bodies(&take(&mut second, 1).await), ["k2"]);
}

async fn a_settle_of_what_is_gone_changes_nothing<P: Place>(place: &P) {
    let engine = place.open().await;
    store(&engine, &[entry("q", None, "1"), entry("q", None, "2")]).await;
    let mut consumer = consume(&engine, "q").await;
    let out = take(&mut consumer, 2).await;
    end(&engine, &out[..1]).await;
    let outputs = vec![entry("q", None, "twice")];
    let ended = vec![out[1].at, out[0].at];
    let fault = engine.store.settle(Settlement { ended, outputs, ..Settlement::default() }).await;
    assert_eq!(fault.expect_err("one of them is gone").code(), "STORE-STALE");
    nothing_comes(&mut consumer).await;
    end(&engine, &out[1..]).await;
    assert_eq!(engine.queue.depth("q").await.expect("the depth is known").entries, 0);
}

async fn the_window_bounds_what_is_out<P: Place>(place: &P) {
    let engine = place.open().await;
    let all: Vec<_> = (0..20).map(|n| entry("q", None, &format!("{n:0>1000}"))).collect();
    store(&engine, &all).await;
    for (window, most) in [(Window { entries: 5, bytes: 1 << 20 }, 5), (Window { entries: 64, bytes: 3500 }, 3)] {
        let mut consumer = engine.queue.consume("q", window).await.expect("the queue can be consumed");
        let out = take(&mut consumer, most).await;
        nothing_comes(&mut consumer).await;
        end(&engine, &out[..1]).await;
        assert_eq!(take(&mut consumer, 1).await.len(), 1);
        nothing_comes(&mut consumer).await;
    }
    // One that is larger than the window goes alone.
    let mut consumer =
        engine.queue.consume("q", Window { entries: 9, bytes: 10 }).await.expect("the queue can be consumed");
    let out = take(&mut consumer, 1).await;
    nothing_comes(&mut consumer).await;
    end(&engine, &out).await;
    take(&mut consumer, 1).await;
}

async fn the_depth_tells<P: Place>(place: &P) {
    let mut engine = place.open().await;
    assert_eq!(engine.queue.depth("nowhere").await.expect("the depth is known"), super::Depth::default());
    let stored = place.clock().now();
    store(&engine, &[entry("q", Some("k"), "k1"), entry("q", Some("k"), "k2"), entry("q", None, "n1")]).await;
    let mut consumer = consume(&engine, "q").await;
    let out = take(&mut consumer, 2).await;
    place.clock().advance(Duration::from_secs(9));
    let depth = engine.queue.depth("q").await.expect("the depth is known");
    assert_eq!((depth.entries, depth.waiting, depth.oldest), (3, 0, Some(stored)));
    retry(&engine, &out[0], place.clock(), Duration::from_secs(60), true).await;
    end(&engine, &out[1..]).await;
    let depth = engine.queue.depth("q").await.expect("the depth is known");
    assert_eq!((depth.entries, depth.waiting), (2, 2));
    drop(consumer);
    drop(engine);
    engine = place.open().await;
    assert_eq!(engine.queue.depth("q").await.expect("the depth is known").entries, 2);
}

async fn a_dropped_wait_loses_nothing<P: Place>(place: &P) {
    let engine = place.open().await;
    let all: Vec<_> = (0..200).map(|n| entry("q", None, &n.to_string())).collect();
    store(&engine, &all).await;
    let mut consumer = consume(&engine, "q").await;
    let mut seen = 0;
    while seen < 200 {
        let came = tokio::select! {
            biased;
            () = tokio::task::yield_now() => Vec::new(),
            came = consumer.next(3) => came.expect("entries come"),
        };
        seen += came.len();
        if !came.is_empty() {
            end(&engine, &came).await;
        } else {
            let came = take(&mut consumer, 1).await;
            seen += 1;
            end(&engine, &came).await;
        }
    }
    nothing_comes(&mut consumer).await;
}
