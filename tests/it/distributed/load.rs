//! Orders that keep coming while something breaks, and the judgement at the end: each accepted order had one effect, and
//! each key's came in order.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Answer, PATIENCE, Peer, Random, Request, client};

const SENDERS: u64 = 10;
/// How long nothing may happen before the test says so. Longer than what a broker takes to start.
const STILL: Duration = Duration::from_secs(2 * PATIENCE.as_secs());

/// A pipeline that takes the orders in order and hands them to the peer.
const ORDERS: &str = r"
about: Orders by web hook, to a peer, in order.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: $.key
dedupe: { by: [$.key, $.seq] }
steps:
  - map: { key: $.key, seq: $.seq, doubled: =$.seq * 2 }
to:
  peer: { protocol: http, url: PEER, format: json }
on_error:
  # So many that none is given up, however long the bad luck.
  retry: [50ms, 100ms, 200ms, 400ms, 800ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]
";

/// Orders on their way: `messages` of them over `keys` keys, from senders that send each until it is accepted.
pub struct Load {
    pub peer: Peer,
    ledger: Arc<Ledger>,
    keys: u64,
    messages: u64,
    /// Where instances listen; senders go round.
    addresses: watch::Sender<Vec<SocketAddr>>,
    senders: JoinSet<()>,
}

/// What was accepted and what had an effect, as the outside saw it.
#[derive(Default)]
struct Ledger {
    accepted: AtomicU64,
    arrived: AtomicU64,
    repeats: AtomicU64,
    effects: Mutex<Effects>,
}

#[derive(Default)]
struct Effects {
    by_idempotency_key: HashMap<String, (String, u64)>,
    in_order: Vec<(String, u64)>,
}

impl Load {
    /// A load and its peer, which fails so many requests of a thousand: before the effect, after it, or by hanging up.
    pub async fn new(keys: u64, messages: u64, fails: u64, mut random: Random) -> Load {
        assert!(messages.is_multiple_of(keys), "each key has as many");
        let ledger = Arc::<Ledger>::default();
        let (told, moods) = (ledger.clone(), Mutex::new(random.fork()));
        let peer = Peer::start(move |request| {
            let mut moods = moods.lock().expect("no panic while holding it");
            let (unlucky, mood) = (moods.below(1000) < fails, moods.below(4));
            drop(moods);
            if !unlucky || mood < 2 {
                told.apply(request);
            }
            match (unlucky, mood) {
                (false, _) => Answer::Status(200),
                (true, 0 | 2) => Answer::Status(503),
                (true, _) => Answer::Close,
            }
        })
        .await;
        Load { peer, ledger, keys, messages, addresses: watch::Sender::new(Vec::new()), senders: JoinSet::new() }
    }

    /// The pipeline to put into the instances' folders.
    pub fn pipeline(&self) -> String {
        ORDERS.replace("PEER", &self.peer.url("/orders"))
    }

    /// Begins to send to these instances.
    pub fn begin(&mut self, addresses: &[SocketAddr]) {
        self.listen_at(addresses);
        for sender in 0..SENDERS {
            let (ledger, keys, messages) = (self.ledger.clone(), self.keys, self.messages);
            self.senders.spawn(send(sender, keys, messages, self.addresses.subscribe(), ledger));
        }
    }

    /// Instances listen elsewhere now.
    pub fn listen_at(&self, addresses: &[SocketAddr]) {
        self.addresses.send_replace(addresses.to_vec());
    }

    /// Waits until so many orders were accepted.
    pub async fn accepted(&self, count: u64) {
        moves_to("accepted", count, || self.ledger.accepted.load(Ordering::Relaxed)).await;
    }

    /// Waits until so many orders had their effect.
    pub async fn arrived(&self, count: u64) {
        moves_to("arrived", count, || self.ledger.arrived.load(Ordering::Relaxed)).await;
    }

    /// Orders accepted so far.
    pub fn accepted_so_far(&self) -> u64 {
        self.ledger.accepted.load(Ordering::Relaxed)
    }

    /// Requests so far whose effect was there already.
    pub fn repeats(&self) -> u64 {
        self.ledger.repeats.load(Ordering::Relaxed)
    }

    /// Waits for the last sender and the last effect, then judges: all there, once, each key's in order.
    pub async fn judge(&mut self) {
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a sender found the hub wrong");
        }
        self.arrived(self.messages).await;
        let effects = self.ledger.effects.lock().expect("no panic while holding it");
        let mut by_key: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        effects.in_order.iter().for_each(|(key, seq)| by_key.entry(key).or_default().push(*seq));
        assert_eq!(by_key.len() as u64, self.keys, "keys");
        let wanted: Vec<u64> = (0..self.messages / self.keys).collect();
        for (key, seqs) in by_key {
            let wrong = seqs.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
            let at = wrong.unwrap_or(seqs.len().min(wanted.len()));
            let near = &seqs[at.saturating_sub(3)..(at + 4).min(seqs.len())];
            assert!(seqs == wanted, "{key}: around number {at} came {near:?}, {} in all", seqs.len());
        }
        println!("{} orders, {} requests repeated", self.messages, self.repeats());
    }
}

impl Ledger {
    /// The peer does what the request asks, once for each idempotency key.
    fn apply(&self, request: &Request) {
        let document: Value = serde_json::from_str(&request.body).expect("the hub sends whole JSON");
        let key = document["key"].as_str().expect("a key").to_owned();
        let seq = document["seq"].as_u64().expect("a number");
        assert_eq!(document["doubled"], 2 * seq, "the map was applied");
        let mut effects = self.effects.lock().expect("no panic while holding it");
        match effects.by_idempotency_key.get(&request.idempotency_key) {
            Some(before) => {
                assert_eq!(*before, (key, seq), "two messages under {}", request.idempotency_key);
                self.repeats.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                effects.by_idempotency_key.insert(request.idempotency_key.clone(), (key.clone(), seq));
                effects.in_order.push((key, seq));
                self.arrived.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Sends its share of the keys, each key's messages in order, each until one of the instances accepts it.
async fn send(sender: u64, keys: u64, messages: u64, addresses: watch::Receiver<Vec<SocketAddr>>, ledger: Arc<Ledger>) {
    let client = client();
    let mut turn = usize::try_from(sender).unwrap_or_default();
    for seq in 0..messages / keys {
        for key in (0..keys).filter(|key| key % SENDERS == sender) {
            let body = format!(r#"{{"key":"k{key:03}","seq":{seq},"text":"{:x<200}"}}"#, "");
            loop {
                turn += 1;
                let address = {
                    let addresses = addresses.borrow();
                    if addresses.is_empty() { None } else { Some(addresses[turn % addresses.len()]) }
                };
                let Some(address) = address else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                match client.post(format!("http://{address}/orders")).body(body.clone()).send().await {
                    Ok(response) => match response.status().as_u16() {
                        200 | 202 => break,
                        429 | 503 => sleep(Duration::from_millis(50)).await,
                        status => panic!("{status} {}", response.text().await.unwrap_or_default()),
                    },
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
            ledger.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn moves_to(what: &str, count: u64, now: impl Fn() -> u64) {
    let (mut last, mut still) = (0, Duration::ZERO);
    let step = Duration::from_millis(10);
    while now() < count {
        still = if now() == last { still + step } else { Duration::ZERO };
        last = now();
        assert!(still < STILL, "nothing moves any more after {last} of {count} {what}");
        sleep(step).await;
    }
}
