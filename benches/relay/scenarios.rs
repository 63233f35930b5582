//! What runs beside what.

use std::time::Instant;

use serde_json::Value;

use super::Options;
use super::hub::{self, PLAIN, Wants};
use super::lanes::Lanes;
use super::parts::postgres::{self, Postgres};
use super::parts::rabbitmq::{self, Rabbit};
use super::process::{Process, cpu_seconds, fresh_folder, peak_kb};
use super::report::{Measured, Report, Side, Target};

/// A name, and what runs under it on queues of a kind.
type Scenario = (&'static str, fn(&Options, &str) -> Report);

pub const SCENARIOS: &[Scenario] =
    &[("noise", noise), ("direct", direct), ("instances", instances), ("backlog", backlog)];

/// Nine tenths of the bare relay's rate, in 6 s of processor time per 100,000 and 40 MB.
const DIRECT: Target = Target { ratio: Some(0.9), cpu: Some(6.0), peak_mb: Some(40.0) };

/// The rate with a million waiting, as a part of that with ten thousand.
const BACKLOG: Target = Target { ratio: Some(0.9), cpu: None, peak_mb: None };

/// The bare relay beside itself: how far two sides that are the same differ here.
fn noise(options: &Options, queues: &str) -> Report {
    let rabbit = broker();
    let mut lanes = Lanes::new(&rabbit, queues);
    let mut sides = ["bare relay", "the same again"].map(|what| Side::new(what, Target::default()));
    for _ in 0..options.rounds {
        for side in &mut sides {
            lanes.fill(options.messages);
            side.rounds.push(measure(&rabbit, &lanes, options.messages, || vec![bare(&lanes, "each")]));
            agree(&[lanes.samples()]);
            lanes.empty();
        }
    }
    Report { title: format!("{queues} queues: the bare relay beside itself"), sides: sides.into(), notes: Vec::new() }
}

/// The bare relay, then the hub without and with its memory of keys and its order, in turn.
fn direct(options: &Options, queues: &str) -> Report {
    let rabbit = broker();
    let mut lanes = Lanes::new(&rabbit, queues);
    let variants = [
        ("hub: journal", PLAIN, DIRECT),
        ("hub: journal, dedupe", Wants { dedupe: "$.id", ..PLAIN }, Target::default()),
        ("hub: journal, order by customer", Wants { order_by: "$.customer.id", ..PLAIN }, Target::default()),
    ];
    let relays = [("bare relay", "each"), ("bare relay, acks by the hundred", "many")];
    let mut sides: Vec<Side> = relays.iter().map(|(what, _)| Side::new(*what, Target::default())).collect();
    sides.extend(variants.iter().map(|(what, _, target)| Side::new(*what, *target)));
    let mut samples: Vec<Vec<Value>> = Vec::new();
    let mut filled = 0.0;
    for _ in 0..options.rounds {
        for (index, side) in sides.iter_mut().enumerate() {
            filled = lanes.fill(options.messages);
            let start = || match index.checked_sub(relays.len()) {
                None => vec![bare(&lanes, relays[index].1)],
                Some(variant) => vec![hub::start(&hub::folder("direct", &lanes, variants[variant].1, None))],
            };
            side.rounds.push(measure(&rabbit, &lanes, options.messages, start));
            samples.push(lanes.samples());
            lanes.empty();
        }
    }
    agree(&samples);
    let notes = vec![format!("The queue was filled at {filled:.0}/s, windows of 1,000.")];
    Report {
        title: format!("{queues} queues: RabbitMQ → 20 fields mapped, routed by content → RabbitMQ"),
        sides,
        notes,
    }
}

/// One, two and four instances of the hub that share queue and store.
fn instances(options: &Options, queues: &str) -> Report {
    let (rabbit, postgres) = (broker(), Postgres::private(&postgres::Options::default()));
    let mut lanes = Lanes::new(&rabbit, queues);
    let counts = [1, 2, 4];
    let mut sides = vec![Side::new("bare relay", Target::default())];
    sides.extend(
        counts.iter().map(|count| Side::new(format!("hub: {count} instances on PostgreSQL"), Target::default())),
    );
    for _ in 0..options.rounds {
        for (index, side) in sides.iter_mut().enumerate() {
            lanes.fill(options.messages);
            let database = postgres.database();
            let start = || match index.checked_sub(1) {
                None => vec![bare(&lanes, "each")],
                Some(which) => (1..=counts[which])
                    .map(|number| {
                        hub::start(&hub::folder(&format!("instance-{number}"), &lanes, PLAIN, Some(&database)))
                    })
                    .collect(),
            };
            side.rounds.push(measure(&rabbit, &lanes, options.messages, start));
            lanes.empty();
        }
    }
    Report { title: format!("{queues} queues: instances of the hub"), sides, notes: Vec::new() }
}

/// A large backlog drains as fast as a small one, in the same memory.
fn backlog(options: &Options, queues: &str) -> Report {
    let rabbit = broker();
    let mut lanes = Lanes::new(&rabbit, queues);
    let mut sides = Vec::new();
    for (count, target) in [(10_000, Target::default()), (options.backlog, BACKLOG)] {
        let mut side = Side::new(format!("hub: {count} waiting"), target);
        lanes.fill(count);
        let start = || vec![hub::start(&hub::folder("backlog", &lanes, PLAIN, None))];
        side.rounds.push(measure(&rabbit, &lanes, count, start));
        lanes.empty();
        sides.push(side);
    }
    Report { title: format!("{queues} queues: a backlog drains"), sides, notes: Vec::new() }
}

fn broker() -> Rabbit {
    Rabbit::private(&rabbitmq::Options { for_speed: true, ..rabbitmq::Options::default() })
}

/// The bare relay, as a process of its own.
fn bare(lanes: &Lanes, acks: &str) -> Process {
    let mut command = std::process::Command::new(std::env::current_exe().expect("a program knows where it stands"));
    command.args(["bare", acks, &lanes.vhost.url()]);
    Process::start(&mut command, fresh_folder("bare").join("bare.log"))
}

/// Starts a side and measures it from the first message that arrives to the last.
fn measure(rabbit: &Rabbit, lanes: &Lanes, count: usize, start: impl FnOnce() -> Vec<Process>) -> Measured {
    let processes = start();
    let said = || processes.iter().map(Process::log).collect::<String>();
    lanes.wait_arrived(1, said);
    let used = || processes.iter().map(|process| cpu_seconds(process.id())).sum::<f64>();
    let (before, from) = (lanes.arrived(), Instant::now());
    let (own, brokers) = (used(), cpu_seconds(rabbit.process_id()));
    lanes.wait_arrived(count, said);
    let (seconds, own, brokers) =
        (from.elapsed().as_secs_f64(), used() - own, cpu_seconds(rabbit.process_id()) - brokers);
    let moved = (count - before) as f64;
    let peak = processes.iter().map(|process| peak_kb(process.id())).max().unwrap_or_default();
    // A side that repeats would go on; give it the time to.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(lanes.arrived(), count, "each message arrives once where nothing breaks");
    Measured {
        rate: moved / seconds,
        cpu: own * 100_000.0 / moved,
        peak_mb: peak as f64 / 1024.0,
        broker_cpu: brokers * 100_000.0 / moved,
    }
}

/// Both sides send the same documents, ids apart.
fn agree(samples: &[Vec<Value>]) {
    for sample in samples.iter().flatten() {
        assert_eq!(sample.as_object().map(serde_json::Map::len), Some(20), "{sample}");
        assert_eq!(sample["lines"].as_array().map(Vec::len), Some(5), "{sample}");
        let (gross, net, vat) = (sample["gross"].as_f64(), sample["net"].as_f64(), sample["vat"].as_f64());
        let [Some(gross), Some(net), Some(vat)] = [gross, net, vat] else { panic!("not numbers: {sample}") };
        assert!((gross - net - vat).abs() < 0.001, "{sample}");
    }
}
