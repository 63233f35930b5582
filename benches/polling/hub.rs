//! The hub's poll, in this process: a manifest and a connection as files, the source they make, and a receiver that counts or
//! stores.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;
use raccord::clock::Clock;
use raccord::config::{Environment, Files, QueueSettings, Reader, parse, render};
use raccord::message::{Fault, MessageId, Text, Value};
use raccord::protocols::{Arrival, Receipt, ReceiptOutcome, Receiver, SourceSettings, Surroundings};
use raccord::queue::{Decoded, NewEntry};
use raccord::store::{Accepted, Claim, Engine, Event, Hop, Intake, Stored, open};
use tokio_util::sync::CancellationToken;

const MANIFEST: &str = r#"
system: Shop
roles: [shop]
verified: { against: the benchmark }
settings:
  url: { type: url }
base: $connection.url
operations:
  record.changed:
    kind: poll
    every: 1h
    request:
      get: /records
      query: { page: $page.number }
    items: $.data
    next:
      number: { pages: $.pages }
    cursor: { value: $item.id }
    id: "=concat($item.id, '@', $item.changed)"
    document:
      number: $item.number
      changed: $item.changed
      status: $item.status
      currency: $item.currency
      total: =number($item.total)
      store: $item.store.id
      customer: $item.customer.name
      email: $item.customer.email
      first: $item.lines[0].sku
      net: "=round(number($item.total) / 1.2, 2)"
"#;

/// Seconds until all `records` are with the receiver.
#[tokio::main(worker_threads = 2)]
pub async fn poll(url: &str, folder: &Path, side: &str, records: usize) -> f64 {
    let source = source(url, folder);
    let around = Surroundings::without_hub(Clock::real(), folder.to_owned());
    let settings = QueueSettings { quota: u32::MAX, ..QueueSettings::default() };
    let engine = (side == "store").then(|| open(folder, &settings, Clock::real()).expect("the engine opens"));
    let stop = CancellationToken::new();
    let taking = Arc::new(Taking { engine, records, count: AtomicUsize::new(0), complete: stop.clone() });
    let codec = raccord::codecs::json_documents();
    let mut source = source.open("orders", codec, &around).expect("the source opens");
    let begin = Instant::now();
    source.run(taking.clone(), stop).await.expect("the poll goes well");
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!(taking.count.load(Ordering::Relaxed), records, "each record once");
    seconds
}

fn source(url: &str, folder: &Path) -> Arc<dyn SourceSettings> {
    fs::create_dir_all(folder.join("connectors")).expect("a folder");
    fs::create_dir_all(folder.join("config/connections")).expect("a folder");
    fs::write(folder.join("connectors/bench.yaml"), MANIFEST).expect("a manifest");
    let connection = format!("system: bench\nurl: {url}\n");
    fs::write(folder.join("config/connections/shop.yaml"), connection).expect("a connection");
    let (files, environment) = (Files::default(), Environment::default());
    let mut reader = Reader::new(&files, &environment);
    let connectors = raccord::connectors::load(folder, &mut reader);
    let from = "connection: shop\noperation: record.changed\n";
    let file = files.add("pipelines/orders/pipeline.yaml", from);
    let node = parse(file, from, &mut reader.problems).expect("YAML");
    let mut map = reader.map(&node).expect("a map");
    let source = connectors.read_source(&mut map, &mut reader);
    source.unwrap_or_else(|| panic!("{}", render(&files, &reader.problems, false)))
}

/// Counts what comes, and stores it where there is an engine, as the intake of a pipeline does.
struct Taking {
    engine: Option<Engine>,
    records: usize,
    count: AtomicUsize,
    complete: CancellationToken,
}

#[async_trait]
impl Receiver for Taking {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        let count = arrivals.len();
        let receipts = match &self.engine {
            None => {
                let id = MessageId::derive(&[b"counted"]);
                vec![Receipt { id, outcome: ReceiptOutcome::Stored }; count]
            }
            Some(engine) => {
                let intakes = arrivals.into_iter().map(intake).collect();
                let accepted = engine.store.intake(intakes, cursor).await?;
                let stored = |accepted| match accepted {
                    Accepted::New(id) => Receipt { id, outcome: ReceiptOutcome::Stored },
                    Accepted::Repeat(id) | Accepted::Conflict(id) => panic!("{id} came twice"),
                };
                accepted.into_iter().map(stored).collect()
            }
        };
        if self.count.fetch_add(count, Ordering::Relaxed) + count >= self.records {
            self.complete.cancel();
        }
        Ok(receipts)
    }

    async fn cursor(&self, _name: &str) -> Result<Option<Value>, Fault> {
        Ok(None)
    }

    async fn reply(&self, _arrival: Arrival) -> Result<Value, Fault> {
        Err(Fault::refuse("BENCH", "nothing is asked here"))
    }
}

fn intake(arrival: Arrival) -> Intake {
    let position = arrival.position.unwrap_or_default();
    let message = MessageId::derive(&[b"orders", b"position", position.as_bytes()]);
    let content = *MessageId::derive(&[&arrival.body]).as_bytes();
    let (pipeline, now) = (Text::new_static("orders"), Timestamp::UNIX_EPOCH);
    let claim = Claim { pipeline: pipeline.clone(), key: *message.as_bytes(), content, message, until: Timestamp::MAX };
    let entry = NewEntry {
        queue: pipeline.clone(),
        message,
        origin: message,
        key: None,
        time: now,
        headers: arrival.headers,
        body: arrival.body,
        start_at: 0,
        due: None,
        decoded: arrival.document.map(Decoded::new).unwrap_or_default(),
    };
    let hop = Hop {
        origin: message,
        message,
        pipeline,
        at: now,
        event: Event::Accepted,
        destination: None,
        note: None,
        count: 1,
        track: Vec::new(),
    };
    Intake { claim: Some(claim), stored: Stored::Entry(entry), hops: vec![hop] }
}
