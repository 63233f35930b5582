//! A seeded day of messages with kills at every gap, for the model and for the real engines alike.
//!
//! Two stages: the pipeline's queue `web` routes each message to `web.to.a`, to `web.to.b`, to both or to none; each
//! destination delivers to a peer that remembers. `a` gives up into dead letters and its keys go on, `b` holds the key until
//! a person replays. Senders repeat until they are told, the hub is killed before a commit, after it and before its answer,
//! and between a delivery and its settle. Where several instances share the engine, each act is done by any of them, and one
//! that stands still in the middle of a settle goes on later, when others have done its work. In the end:
//! - nothing accepted is lost: the peer of each destination has every message routed to it;
//! - one effect: repeats come under the same idempotency key, which is all the peer needs;
//! - order: the first effects of a key are in the order its messages were sent (for `a`, among those never given up).

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;

use super::conformance::dead_letter;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::later;
use crate::message::Next;
use crate::queue::conformance::Place;
use crate::queue::{Consumer, Decoded, Entry, Window};

const DESTINATIONS: [&str; 2] = ["web.to.a", "web.to.b"];
const WINDOW: Window = Window { entries: 12, bytes: 4096 };

/// Runs one seed to its end and checks the promises; panics name the seed.
pub async fn run<P: Place>(place: &P, seed: u64, messages: usize) {
    println!("seed {seed}");
    let mut scenario = Scenario::new(place, seed, messages);
    let mut idle = 0;
    while !scenario.is_done().await {
        idle = if scenario.act().await { 0 } else { idle + 1 };
        assert!(idle < 3000, "seed {seed}: the hub stands still: {}", scenario.state().await);
    }
    scenario.check();
}

/// A generator from a seed: splitmix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// Settles the same again while that may help, as the hub does.
async fn settle(engine: &Engine, settlement: Settlement) -> Result<(), Fault> {
    let settlement = Arc::new(settlement);
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS {
        outcome = engine.store.settle_shared(settlement.clone()).await;
        if !outcome.as_ref().is_err_and(|fault| matches!(fault.next(), Next::Retry { .. })) {
            break;
        }
    }
    outcome
}

/// A message as its sender has it.
struct Sent {
    id: MessageId,
    key: Option<Text>,
    told: bool,
}

struct Scenario<'a, P> {
    place: &'a P,
    seed: u64,
    dice: Dice,
    hubs: Vec<Option<Hub>>,
    /// Whose turn it is.
    acting: usize,
    /// Settles that did not end in time; they may, later.
    late: Vec<tokio::task::JoinHandle<()>>,
    sent: Vec<Sent>,
    index: HashMap<MessageId, usize>,
    /// What each peer got, repeats included: the idempotency key and the message it belongs to.
    effects: [Vec<(MessageId, usize)>; 2],
    given_up: HashSet<MessageId>,
    /// Attempts at delivery, in words, to be told where a key comes out of order: destination, message, words.
    told: Vec<(usize, usize, String)>,
    /// Entries whose end was heard of; it comes once, or something was stored twice.
    ended: HashSet<(Text, MessageId)>,
    kills: usize,
}

struct Hub {
    engine: Engine,
    /// `web` and its two destinations.
    consumers: BTreeMap<usize, Box<dyn Consumer>>,
    /// Killed from within.
    struck: CancellationToken,
}

/// After so long a settle goes on in the background.
const PATIENCE: Duration = Duration::from_millis(60);
/// Attempts at a settle that may pass.
const ATTEMPTS: usize = 50;

impl<'a, P: Place> Scenario<'a, P> {
    fn new(place: &'a P, seed: u64, messages: usize) -> Scenario<'a, P> {
        let mut dice = Dice(seed);
        let sent: Vec<_> = (0..messages)
            .map(|n| Sent {
                id: MessageId::derive(&[b"web", &n.to_be_bytes()]),
                key: Some(dice.below(6)).filter(|key| *key < 4).map(|key| format!("k{key}").into()),
                told: false,
            })
            .collect();
        let index = sent.iter().enumerate().map(|(n, sent)| (sent.id, n)).collect();
        let effects = [Vec::new(), Vec::new()];
        Scenario {
            place,
            seed,
            dice,
            hubs: (0..place.instances()).map(|_| None).collect(),
            acting: 0,
            late: Vec::new(),
            sent,
            index,
            effects,
            given_up: HashSet::new(),
            told: Vec::new(),
            ended: HashSet::new(),
            kills: 0,
        }
    }

    /// One thing happens; false if nothing did.
    async fn act(&mut self) -> bool {
        self.acting = self.dice.below(self.hubs.len());
        if self.hubs[self.acting].as_ref().is_some_and(|hub| hub.struck.is_cancelled()) {
            return self.kill();
        }
        if self.hubs[self.acting].is_none() {
            let engine = self.place.open().await;
            let struck = self.place.struck();
            self.hubs[self.acting] = Some(Hub { engine, consumers: BTreeMap::new(), struck });
        }
        match self.dice.below(10) {
            0..=2 => self.send().await,
            3 | 4 => self.route().await,
            5..=7 => self.deliver().await,
            8 if self.dice.one_in(4) => self.replay().await,
            8 if self.dice.one_in(6) => self.kill(),
            _ => {
                self.place.clock().advance(Duration::from_secs(1));
                false
            }
        }
    }

    fn engine(&self) -> Engine {
        self.hubs[self.acting].as_ref().expect("the hub runs").engine.clone()
    }

    fn kill(&mut self) -> bool {
        self.kills += 1;
        self.hubs[self.acting] = None;
        true
    }

    /// The settle, possibly killed before it or before its answer. True if the caller hears that it is done.
    async fn settle(&mut self, settlements: Vec<Settlement>) -> bool {
        if self.dice.one_in(25) {
            return !self.kill();
        }
        let engine = self.engine();
        let struck = self.hubs[self.acting].as_ref().expect("the hub runs").struck.clone();
        let settling = async move {
            let settles = settlements.into_iter().map(|settlement| settle(&engine, settlement));
            tokio::select! {
                outcomes = futures_util::future::join_all(settles) => outcomes,
                () = struck.cancelled() => vec![Err(Fault::reconnect("STORE-GONE", "killed"))],
            }
        };
        let outcomes = if self.place.instances() == 1 {
            settling.await
        } else {
            let mut task = tokio::spawn(settling);
            match tokio::time::timeout(PATIENCE, &mut task).await {
                Ok(outcomes) => outcomes.expect("a settle does not panic"),
                Err(_) => {
                    self.late.push(tokio::spawn(async move { drop(task.await) }));
                    return false;
                }
            }
        };
        if outcomes.iter().any(|outcome| outcome.as_ref().is_err_and(|fault| fault.code() == "STORE-STALE")) {
            assert!(self.place.instances() > 1, "seed {}: nobody else is there", self.seed);
            // Work that is another's now: begin anew with what is handed out.
            if let Some(hub) = &mut self.hubs[self.acting] {
                hub.consumers.clear();
            }
            return false;
        }
        let done = outcomes.iter().all(|outcome| self.well(outcome));
        if !done || self.dice.one_in(25) { !self.kill() } else { true }
    }

    /// A store that was killed underneath may say so; any other fault is one of the test.
    fn well<T>(&self, outcome: &Result<T, Fault>) -> bool {
        if let Err(fault) = outcome {
            assert_eq!(fault.code(), "STORE-GONE", "seed {}: {fault}", self.seed);
        }
        outcome.is_ok()
    }

    /// Each key's sender goes on to the next message when it is told about the last.
    async fn send(&mut self) -> bool {
        let mut busy = HashSet::new();
        let mut next = Vec::new();
        for (n, sent) in self.sent.iter().enumerate().filter(|(_, sent)| !sent.told) {
            if sent.key.as_ref().is_none_or(|key| busy.insert(key.clone())) {
                next.push(n);
            }
            if next.len() > 4 {
                break;
            }
        }
        let arrivals: Vec<_> = next.iter().map(|n| self.arrival(*n)).collect();
        if arrivals.is_empty() {
            return false;
        }
        let engine = self.engine();
        let struck = self.hubs[self.acting].as_ref().expect("the hub runs").struck.clone();
        let outcome = tokio::select! {
            outcome = engine.store.intake(arrivals, None) => outcome,
            () = struck.cancelled() => Err(Fault::reconnect("STORE-GONE", "killed")),
        };
        drop(engine);
        if outcome.as_ref().is_err_and(|fault| matches!(fault.next(), Next::Retry { .. })) {
            return true;
        }
        if !self.well(&outcome) || self.dice.one_in(20) {
            return self.kill();
        }
        for (n, accepted) in next.iter().zip(outcome.expect("it is well")) {
            let (Accepted::New(id) | Accepted::Repeat(id)) = accepted else {
                panic!("seed {}: {accepted:?}", self.seed)
            };
            assert_eq!(id, self.sent[*n].id, "seed {}", self.seed);
            self.sent[*n].told = true;
        }
        true
    }

    fn arrival(&self, n: usize) -> Intake {
        let sent = &self.sent[n];
        let until = later(self.place.clock().now(), Duration::from_secs(1_000_000));
        let key = *sent.id.as_bytes();
        let entry = NewEntry {
            queue: "web".into(),
            message: sent.id,
            origin: sent.id,
            key: sent.key.clone(),
            time: Timestamp::UNIX_EPOCH,
            headers: Map::new(),
            body: Bytes::from(vec![b'x'; 1 + n * 37 % 900]),
            start_at: 0,
            due: None,
            decoded: Decoded::default(),
        };
        let claim = Claim { pipeline: "web".into(), key, content: key, message: sent.id, until };
        Intake { claim: Some(claim), stored: Stored::Entry(entry), hops: Vec::new() }
    }

    async fn next(&mut self, queue: usize) -> Vec<Entry> {
        let name = ["web", DESTINATIONS[0], DESTINATIONS[1]][queue];
        let engine = self.engine();
        let hub = self.hubs[self.acting].as_mut().expect("the hub runs");
        let consumer = match hub.consumers.entry(queue) {
            Slot::Occupied(consumer) => consumer.into_mut(),
            Slot::Vacant(place) => match engine.queue.consume(name, WINDOW).await {
                Ok(consumer) => place.insert(consumer),
                Err(fault) => {
                    self.well(&Err::<(), _>(fault));
                    return Vec::new();
                }
            },
        };
        let most = 1 + self.dice.below(5);
        match tokio::time::timeout(Duration::from_millis(2), consumer.next(most)).await {
            Ok(outcome) => outcome.unwrap_or_else(|fault| panic!("seed {}: {fault}", self.seed)),
            Err(_) => Vec::new(),
        }
    }

    /// Where a message goes follows from its id, so a repeat goes the same way.
    fn routes(message: MessageId) -> impl Iterator<Item = usize> {
        let which = message.as_bytes()[0] % 4;
        (0..2).filter(move |destination| which & (1 << destination) != 0)
    }

    async fn route(&mut self) -> bool {
        let entries = self.next(0).await;
        let settlements = entries.iter().map(|entry| {
            let outputs = Self::routes(entry.entry.message).map(|destination| NewEntry {
                queue: DESTINATIONS[destination].into(),
                message: entry.entry.message.child(DESTINATIONS[destination], 0),
                ..entry.entry.clone()
            });
            Settlement { ended: vec![entry.at], outputs: outputs.collect(), ..Settlement::default() }
        });
        let settlements: Vec<_> = settlements.collect();
        let done = !settlements.is_empty() && self.settle(settlements).await;
        if done {
            entries.iter().for_each(|entry| self.ended(entry));
        }
        done
    }

    fn ended(&mut self, entry: &Entry) {
        if self.place.instances() > 1 {
            // Its acknowledgement may be lost: it may come again, under the same id.
            return;
        }
        let new = self.ended.insert((entry.entry.queue.clone(), entry.entry.message));
        assert!(new, "seed {}: {:?} ended twice", self.seed, entry.at);
    }

    async fn deliver(&mut self) -> bool {
        let destination = self.dice.below(2);
        let entries = self.next(1 + destination).await;
        let settlements: Vec<_> = entries.iter().map(|entry| self.attempt(destination, entry)).collect();
        let delivers = |settlement: &Settlement| settlement.retries.is_empty() && settlement.dead.is_empty();
        let delivered: Vec<_> = settlements.iter().map(delivers).collect();
        let done = !settlements.is_empty() && self.settle(settlements).await;
        if done {
            let delivered = entries.iter().zip(delivered).filter(|(_, delivered)| *delivered);
            delivered.for_each(|(entry, _)| self.ended(entry));
        }
        done
    }

    /// The peer takes it (perhaps without our hearing so), asks for a retry, or refuses.
    fn attempt(&mut self, destination: usize, entry: &Entry) -> Settlement {
        let outcome = self.dice.below(12);
        let words = match outcome {
            0..=7 => "delivered",
            8 => "delivered, to be tried again",
            9 => "to be tried again",
            _ => "given up",
        };
        let (origin, at) = (self.index[&entry.entry.origin], entry.at.0);
        let words = format!("{origin} {words} by instance {} as {at:x}, {} attempts", self.acting, entry.attempts);
        self.told.push((destination, origin, words));
        if !(8..12).contains(&outcome) || outcome == 8 {
            self.effects[destination].push((entry.entry.message, origin));
        }
        match outcome {
            0..=7 => Settlement { ended: vec![entry.at], ..Settlement::default() },
            8 | 9 => {
                let due = later(self.place.clock().now(), Duration::from_secs(self.dice.below(20) as u64));
                Settlement { retries: vec![Retry { at: entry.at, due, counts: true }], ..Settlement::default() }
            }
            _ => self.give_up(destination, entry),
        }
    }

    fn give_up(&mut self, destination: usize, entry: &Entry) -> Settlement {
        self.given_up.insert(entry.entry.message);
        let key = entry.entry.key.clone().filter(|_| destination == 1);
        let held = key.map(|key| (entry.entry.queue.clone(), key)).into_iter().collect();
        Settlement { ended: vec![entry.at], dead: vec![dead_letter(&entry.entry)], held, ..Settlement::default() }
    }

    async fn replay(&mut self) -> bool {
        let engine = self.engine();
        let letters = engine.store.dead_letters(DeadFilter { most: 3, ..DeadFilter::default() }).await;
        drop(engine);
        if !self.well(&letters) {
            return self.kill();
        }
        let letters = letters.unwrap_or_default();
        let replays = letters.into_iter().map(|letter| Settlement {
            dead_ended: vec![letter.message],
            outputs: vec![letter.replay],
            ..Settlement::default()
        });
        let replays: Vec<_> = replays.collect();
        !replays.is_empty() && self.settle(replays).await
    }

    /// Nothing is left anywhere, and stays so: what a killed instance held comes back a moment later.
    async fn is_done(&mut self) -> bool {
        let looks = if self.place.instances() > 1 { 3 } else { 1 };
        for look in 0..looks {
            if look > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if !self.is_empty().await {
                return false;
            }
        }
        true
    }

    async fn is_empty(&self) -> bool {
        if self.hubs.iter().all(Option::is_none) || self.sent.iter().any(|sent| !sent.told) {
            return false;
        }
        for hub in self.hubs.iter().flatten() {
            let engine = hub.engine.clone();
            for queue in ["web", DESTINATIONS[0], DESTINATIONS[1]] {
                if engine.queue.depth(queue).await.is_ok_and(|depth| depth.entries > 0) {
                    return false;
                }
            }
            let letters = engine.store.dead_letters(DeadFilter { most: 1, ..DeadFilter::default() }).await;
            if !letters.is_ok_and(|letters| letters.is_empty()) {
                return false;
            }
        }
        true
    }

    async fn state(&self) -> String {
        let mut text = format!("{} not told", self.sent.iter().filter(|sent| !sent.told).count());
        for hub in self.hubs.iter().flatten() {
            for queue in ["web", DESTINATIONS[0], DESTINATIONS[1]] {
                text += &format!(", {queue} {:?}", hub.engine.queue.depth(queue).await);
            }
        }
        text
    }

    fn check(&self) {
        let seed = self.seed;
        for (destination, name) in DESTINATIONS.iter().enumerate() {
            let (mut first, mut seen) = (Vec::new(), HashSet::new());
            for (id, n) in &self.effects[destination] {
                assert_eq!(*id, self.sent[*n].id.child(name, 0), "seed {seed}: another idempotency key");
                if seen.insert(*n) {
                    first.push(*n);
                }
            }
            for (n, sent) in self.sent.iter().enumerate() {
                let routed = Self::routes(sent.id).any(|route| route == destination);
                assert_eq!(seen.contains(&n), routed, "seed {seed}: message {n} at {name}, after {} kills", self.kills);
            }
            let mut last: HashMap<&Text, usize> = HashMap::new();
            for n in first {
                let Some(key) = &self.sent[n].key else { continue };
                if destination == 0 && self.given_up.contains(&self.sent[n].id.child(name, 0)) {
                    continue;
                }
                if let Some(before) = last.insert(key, n) {
                    let of_key = self
                        .told
                        .iter()
                        .filter(|(to, n, _)| *to == destination && self.sent[*n].key.as_ref() == Some(key));
                    let told: Vec<_> = of_key.map(|(_, _, words)| words.as_str()).collect();
                    assert!(before < n, "seed {seed}: {key} at {name}: {n} came after {before}:\n{}", told.join("\n"));
                }
            }
        }
    }
}

/// The seed of `RACCORD_SEED`, or new ones.
pub fn seeds(count: usize) -> Vec<u64> {
    match std::env::var("RACCORD_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let drawn = MessageId::draw();
            let mut dice = Dice(u64::from_be_bytes(drawn.as_bytes()[..8].try_into().expect("an id has 16 bytes")));
            (0..count).map(|_| dice.below(usize::MAX) as u64).collect()
        }
    }
}
