//! The embedded engine on its real access pattern, beside a bare loop that appends and syncs the same bytes.
//!
//! `cargo bench --bench engine -- FOLDER [MESSAGES] [BACKLOG]`. A message of 1.5 KB comes in, is settled into one output with
//! two hops, and the output is ended: three operations a message, each its own, all three at work at once. Compare the
//! lines of one run; a number alone says nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use raccord::clock::Clock;
use raccord::config::QueueSettings;
use raccord::message::{Map, MessageId, Text};
use raccord::queue::{Decoded, NewEntry, Window};
use raccord::store::{Claim, Engine, Event, Hop, Intake, Settlement, Stored, open};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: usize = 1500;
const IN_FLIGHT: usize = 512;

#[derive(Clone, Copy)]
struct Pattern {
    name: &'static str,
    keys: Option<usize>,
    hops: bool,
    claims: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let folder = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from).join("raccord-bench");
    let number = |index: usize, default| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (messages, backlog) = (number(1, 100_000), number(2, 0));
    let only = arguments.get(3);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    bare(&folder, messages);
    let base = Pattern { name: "no key", keys: None, hops: true, claims: false };
    for pattern in [
        base,
        Pattern { name: "no key, no hops", hops: false, ..base },
        Pattern { name: "key, 5000 of them", keys: Some(5000), ..base },
        Pattern { name: "key, 50 of them", keys: Some(50), ..base },
        Pattern { name: "no key, de-duplicated", claims: true, ..base },
    ] {
        if only.is_none_or(|only| pattern.name == only) {
            runtime.block_on(measure(&folder, pattern, messages, backlog));
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// Appends what the engine must at least write, in groups of 256, and syncs each.
fn bare(folder: &Path, messages: usize) {
    fresh(folder);
    let mut file = std::fs::File::create(folder.join("bare")).expect("a file");
    let group = vec![b'x'; 256 * BODY * 2];
    let start = Instant::now();
    for _ in 0..messages / 256 {
        file.write_all(&group).expect("it is written");
        file.sync_data().expect("it is synced");
    }
    report("bare append and sync, 2 bodies a message", messages, start, folder);
}

async fn measure(folder: &Path, pattern: Pattern, messages: usize, backlog: usize) {
    fresh(folder);
    let settings = QueueSettings { quota: u32::MAX, ..QueueSettings::default() };
    let engine = open(folder, &settings, Clock::real()).expect("the engine opens");
    let start = Instant::now();
    for part in 0..backlog / 250 {
        let arrivals = (0..250).map(|n| arrival(pattern, part * 250 + n)).collect();
        engine.store.intake(arrivals, None).await.expect("the backlog is stored");
    }
    if backlog > 0 {
        report("  backlog stored, 250 a call", backlog, start, folder);
    }
    println!("  {:?} CPU s before", cpu_ticks());
    let start = Instant::now();
    let intake = tokio::spawn(intake(engine.clone(), pattern, backlog, messages));
    let settle = tokio::spawn(settle(engine.clone(), "p", Some("p.to.erp"), pattern, messages));
    let end = tokio::spawn(settle_(engine.clone(), pattern, messages));
    for outcome in join_all([intake, settle, end]).await {
        outcome.expect("the stage ends");
    }
    report(&format!("{}, backlog {backlog}", pattern.name), messages, start, folder);
}

async fn settle_(engine: Engine, pattern: Pattern, messages: usize) {
    settle(engine, "p.to.erp", None, pattern, messages).await;
}

async fn intake(engine: Engine, pattern: Pattern, from: usize, messages: usize) {
    let mut flying = FuturesUnordered::new();
    for n in 0..messages {
        let arrivals = vec![arrival(pattern, from + n)];
        let engine = &engine;
        flying.push(async move { engine.store.intake(arrivals, None).await.expect("it is stored") });
        if flying.len() >= IN_FLIGHT {
            flying.next().await;
        }
    }
    while flying.next().await.is_some() {}
}

async fn settle(engine: Engine, queue: &str, output: Option<&str>, pattern: Pattern, messages: usize) {
    let window = Window { entries: 1024, bytes: 16 << 20 };
    let mut consumer = engine.queue.consume(queue, window).await.expect("it can be consumed");
    let (mut flying, mut done) = (FuturesUnordered::new(), 0);
    while done < messages {
        let entries = tokio::select! {
            Some(()) = flying.next(), if !flying.is_empty() => { done += 1; continue }
            entries = consumer.next(256), if flying.len() < IN_FLIGHT => entries.expect("entries come"),
        };
        for entry in entries {
            let mut settlement = Settlement { ended: vec![entry.at], ..Settlement::default() };
            if let Some(output) = output {
                let message = entry.entry.message.child("erp", 0);
                settlement.outputs.push(NewEntry { queue: output.into(), message, ..entry.entry.clone() });
                if pattern.hops {
                    let routed = hop(entry.entry.origin, Event::Routed, None);
                    settlement.hops = vec![routed.clone(), Hop { destination: Some("erp".into()), ..routed }];
                }
            }
            let store = &engine.store;
            flying.push(async move { store.settle(settlement).await.expect("it is settled") });
        }
    }
}

fn arrival(pattern: Pattern, n: usize) -> Intake {
    let message = MessageId::derive(&[&n.to_be_bytes()]);
    let entry = NewEntry {
        queue: "p".into(),
        message,
        origin: message,
        key: pattern.keys.map(|keys| Text::from(format!("customer {}", n % keys))),
        time: Timestamp::UNIX_EPOCH,
        headers: Map::new(),
        body: Bytes::from(vec![b'x'; BODY]),
        start_at: 0,
        due: None,
        decoded: Decoded::default(),
    };
    let key = *message.as_bytes();
    let claim = Claim { pipeline: "p".into(), key, content: key, message, until: Timestamp::MAX };
    let hops = if pattern.hops { vec![hop(message, Event::Accepted, Some(format!("#{n}")))] } else { Vec::new() };
    Intake { claim: pattern.claims.then_some(claim), stored: Stored::Entry(entry), hops }
}

fn hop(origin: MessageId, event: Event, order: Option<String>) -> Hop {
    Hop {
        origin,
        message: origin,
        pipeline: "p".into(),
        at: Timestamp::UNIX_EPOCH,
        event,
        destination: None,
        note: None,
        count: 1,
        track: order.map(|order| (Text::new_static("order"), order.into())).into_iter().collect(),
    }
}

fn fresh(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("the folder can be made");
}

fn report(what: &str, messages: usize, start: Instant, folder: &Path) {
    let rate = messages as f64 / start.elapsed().as_secs_f64();
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len() >> 20);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("?").trim().to_owned();
    let (process, writer) = cpu_ticks();
    println!(
        "{what:<45} {rate:>9.0} messages/s; file {} MB, wal {} MB, memory {memory}; CPU so far {process} s, writer {writer} s",
        size("raccord.db"),
        size("raccord.db-wal")
    );
}

/// Seconds of processor used by the process and by the writer's thread: what a machine shared with others still tells.
fn cpu_ticks() -> (f64, f64) {
    let seconds = |path: &Path| -> f64 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let fields = text.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let writer = tasks
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "store"));
    (seconds(Path::new("/proc/self/stat")), writer.map_or(0.0, |task| seconds(&task.join("stat"))))
}
