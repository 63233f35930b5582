//! The hub is killed with SIGKILL again and again while messages pass to a peer that fails at random: every accepted message
//! arrives, in order within its key, with one effect.
//!
//! Kills are placed by progress (messages accepted, requests at the peer), not by the clock: however slow the machine, they
//! fall between the first message and the last delivery. `RACCORD_SEED` repeats a run's choices, `RACCORD_LONG=1` makes it
//! five times as long.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::harness::{Answer, Folder, HubProcess, PATIENCE, Peer, Random, Request, client, get};

const KEYS: u64 = 200;
const SENDERS: u64 = 50;

const ORDERS: &str = r"
about: Orders by web hook, to a peer that fails, to files and to another pipeline.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: $.key
dedupe: { by: [$.key, $.seq] }
steps:
  - map: { key: $.key, seq: $.seq, doubled: =$.seq * 2 }
to:
  peer: { protocol: http, url: ${PEER}, format: json }
  files:
    protocol: file
    folder: out/one
    name: =concat($.key, '-', $.seq, '.json')
    format: json
  growing: { protocol: file, folder: out, name: orders.ndjson, mode: append, format: ndjson }
  audit: { protocol: raccord, pipeline: audit, format: json }
on_error:
  # So many that none is given up, however long the bad luck.
  retry: [50ms, 100ms, 200ms, 400ms, 800ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]
";

const AUDIT: &str = r"
about: What the orders' pipeline hands over, line by line.
from: { protocol: raccord, format: json }
order_by: $.key
dedupe: none
to:
  trail: { protocol: file, folder: out, name: audit.ndjson, mode: append, format: ndjson }
on_error: { retry: [100ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s] }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_the_hub_loses_and_doubles_nothing() {
    let mut random = Random::new();
    let long = std::env::var_os("RACCORD_LONG").is_some();
    let (messages, kills) = if long { (100_000, 250) } else { (20_000, 50) };
    let ledger = Arc::new(Ledger::default());
    let peer = moody_peer(ledger.clone(), random.fork()).await;
    let folder =
        Folder::hub("crash", &[("orders", &ORDERS.replace("${PEER}", &peer.url("/orders"))), ("audit", AUDIT)]);

    let mut hub = HubProcess::start(&folder).await;
    let (tell, address) = watch::channel(hub.address);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| tokio::spawn(send(sender, messages, address.clone(), ledger.clone(), random.fork())))
        .collect();
    // Each message is one event when it is accepted and one when the peer first has it.
    let mut moments: Vec<u64> = (0..kills).map(|_| random.below(2 * messages * 95 / 100)).collect();
    moments.sort_unstable();
    let mut killed = 0;
    for moment in moments {
        ledger.reaches(moment).await;
        sleep(Duration::from_millis(random.below(200))).await;
        hub.kill9();
        killed += 1;
        hub = HubProcess::spawn_run(&folder);
        // Now and then again while it starts.
        while random.below(5) == 0 {
            sleep(Duration::from_millis(random.below(300))).await;
            hub.kill9();
            killed += 1;
            hub = HubProcess::spawn_run(&folder);
        }
        hub.wait_ready().await;
        tell.send_replace(hub.address);
    }
    for sender in senders {
        sender.await.expect("a sender found the hub wrong");
    }
    all_is_delivered(hub.address).await;
    println!("{messages} messages, {killed} kills, {} requests at the peer", peer.requests().len());
    let log = folder.read("hub.log");
    assert!(!log.contains("panicked"), "{}", folder.path("hub.log").display());

    let expected = messages_by_key(messages);
    ledger.check_peer(&expected);
    check_files(&folder, &expected);
    check_growing(&folder, "out/orders.ndjson", &expected);
    check_growing(&folder, "out/audit.ndjson", &expected);
    let dead = folder.asked(&["dead", "list"]);
    assert_eq!(dead, Value::Array(Vec::new()), "nothing is given up");
    assert!(hub.terminate().await.success());
}

/// What was accepted and what had an effect, as the outside saw it.
#[derive(Default)]
struct Ledger {
    events: AtomicU64,
    /// The first effect of each idempotency key, in the order they came: message key and number.
    effects: Mutex<Effects>,
}

#[derive(Default)]
struct Effects {
    by_idempotency_key: HashMap<String, (String, u64)>,
    in_order: Vec<(String, u64)>,
}

impl Ledger {
    fn event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    async fn reaches(&self, events: u64) {
        let (mut last, mut still) = (0, 0);
        loop {
            let now = self.events.load(Ordering::Relaxed);
            if now >= events {
                return;
            }
            still = if now == last { still + 1 } else { 0 };
            assert!(still < 100 * PATIENCE.as_secs(), "nothing moves any more after {now} of {events} events");
            last = now;
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The peer does what the request asks, once for each idempotency key.
    fn apply(&self, request: &Request) {
        let document: Value = serde_json::from_str(&request.body).expect("the hub sends whole JSON");
        let (key, seq) = key_and_seq(&document);
        assert_eq!(document["doubled"], 2 * seq, "the map was applied");
        let mut effects = self.effects.lock().expect("no panic while holding it");
        match effects.by_idempotency_key.get(&request.idempotency_key) {
            Some(before) => assert_eq!(*before, (key, seq), "two messages under {}", request.idempotency_key),
            None => {
                effects.by_idempotency_key.insert(request.idempotency_key.clone(), (key.clone(), seq));
                effects.in_order.push((key, seq));
                drop(effects);
                self.event();
            }
        }
    }

    fn check_peer(&self, expected: &BTreeMap<String, Vec<u64>>) {
        let effects = self.effects.lock().expect("no panic while holding it");
        check_order("the peer's effects", effects.in_order.iter().cloned(), expected);
    }
}

/// A peer that fails one request in twenty: before the effect, after it, or by taking its time.
async fn moody_peer(ledger: Arc<Ledger>, random: Random) -> Peer {
    let random = Mutex::new(random);
    Peer::start(move |request| {
        let mood = random.lock().expect("no panic while holding it").below(1000);
        match mood {
            0..15 => return Answer::Status(500),
            15..25 => return Answer::Status(503),
            25..32 => return Answer::Close,
            _ => ledger.apply(request),
        }
        match mood {
            32..38 => Answer::Status(500),
            38..46 => Answer::Close,
            46..50 => Answer::Late(Duration::from_secs(1), 200),
            _ => Answer::Status(200),
        }
    })
    .await
}

/// Sends its share of the keys, each key's messages in order, each until it is accepted.
async fn send(
    sender: u64,
    messages: u64,
    mut address: watch::Receiver<SocketAddr>,
    ledger: Arc<Ledger>,
    mut random: Random,
) {
    let client = client();
    for seq in 0..messages / KEYS {
        for key in (0..KEYS).filter(|key| key % SENDERS == sender) {
            let body = format!(r#"{{"key":"k{key:03}","seq":{seq},"text":"{:x<200}"}}"#, "");
            let id = accepted(&client, &body, &mut address).await;
            ledger.event();
            // Senders that doubt send again; it is the same message.
            if random.below(20) == 0 {
                assert_eq!(accepted(&client, &body, &mut address).await, id, "{body}");
            }
        }
    }
}

async fn accepted(client: &reqwest::Client, body: &str, address: &mut watch::Receiver<SocketAddr>) -> String {
    loop {
        let url = format!("http://{}/orders", *address.borrow_and_update());
        match client.post(url).body(body.to_owned()).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let Ok(said) = response.text().await else { continue };
                match status {
                    200 | 202 => {
                        let said: Value = serde_json::from_str(&said).expect("the answer is JSON");
                        return said["id"].as_str().expect("it holds the id").to_owned();
                    }
                    503 => sleep(Duration::from_millis(20)).await,
                    _ => panic!("{status} {said}"),
                }
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits until every queue is empty, and stays so.
async fn all_is_delivered(address: SocketAddr) {
    let (mut last, mut still, mut empty) = (0.0, 0, 0);
    while empty < 3 {
        let waiting = match get(address, "/metrics").await {
            Some((200, metrics)) => entries(&metrics),
            _ => f64::NAN,
        };
        empty = if waiting == 0.0 { empty + 1 } else { 0 };
        still = if waiting == last { still + 1 } else { 0 };
        last = waiting;
        assert!(still < 4 * PATIENCE.as_secs(), "{waiting} entries do not move any more");
        sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(get(address, "/health/ready").await.map(|(status, _)| status), Some(200));
}

fn entries(metrics: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with("raccord_queue_entries{"));
    let values: Vec<f64> =
        lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse().expect("a number")).collect();
    assert!(values.len() >= 6, "each queue is measured:\n{metrics}");
    values.iter().sum()
}

fn messages_by_key(messages: u64) -> BTreeMap<String, Vec<u64>> {
    (0..KEYS).map(|key| (format!("k{key:03}"), (0..messages / KEYS).collect())).collect()
}

fn key_and_seq(document: &Value) -> (String, u64) {
    let key = document["key"].as_str().expect("a key").to_owned();
    (key, document["seq"].as_u64().expect("a number"))
}

/// Each expected message once, and each key's in order.
fn check_order(what: &str, found: impl Iterator<Item = (String, u64)>, expected: &BTreeMap<String, Vec<u64>>) {
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    found.for_each(|(key, seq)| by_key.entry(key).or_default().push(seq));
    assert_eq!(by_key.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}: keys");
    for (key, seqs) in &by_key {
        let wanted = &expected[key];
        let at =
            seqs.iter().zip(wanted).position(|(found, wanted)| found != wanted).unwrap_or(seqs.len().min(wanted.len()));
        let near = |list: &[u64]| list[at.saturating_sub(3)..(at + 4).min(list.len())].to_vec();
        assert!(
            seqs == wanted,
            "{what}, {key}, from number {at}: found {:?} instead of {:?}",
            near(seqs),
            near(wanted)
        );
    }
}

fn check_files(folder: &Folder, expected: &BTreeMap<String, Vec<u64>>) {
    let wanted: BTreeSet<String> =
        expected.iter().flat_map(|(key, seqs)| seqs.iter().map(move |seq| format!("{key}-{seq}.json"))).collect();
    let found: BTreeSet<String> = folder.names("out/one").into_iter().collect();
    assert_eq!(found.symmetric_difference(&wanted).collect::<Vec<_>>(), Vec::<&String>::new(), "files in out/one");
    for name in &found {
        let document: Value = serde_json::from_str(&folder.read(&format!("out/one/{name}"))).expect("a whole file");
        let (key, seq) = key_and_seq(&document);
        assert_eq!(*name, format!("{key}-{seq}.json"));
    }
}

/// A file of lines: none torn, none twice, each key's in order.
fn check_growing(folder: &Folder, file: &str, expected: &BTreeMap<String, Vec<u64>>) {
    let text = folder.read(file);
    assert!(text.ends_with('\n'), "{file}: the last line is whole");
    let read = |line: &str| -> (String, u64) {
        let document =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}: a torn line: {error}: {line}"));
        key_and_seq(&document)
    };
    check_order(file, text.lines().map(read), expected);
}
