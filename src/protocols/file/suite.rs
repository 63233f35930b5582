//! Files against the suite of all protocols, and a whole way from file to file under random kills.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::placing::hidden;
use super::tests::Room;
use crate::clock::Clock;
use crate::codecs::{Codec, testing};
use crate::formula::{Meta, Scope};
use crate::message::{Fault, MessageId, Text, Value};
use crate::protocols::conformance::{
    self, Behaviour, NoTables, Recorder, SourcePeer, Taken, TargetPeer, Told, codec, deliver_document, delivery,
    read_source_yaml, read_target_yaml, surroundings,
};
use crate::protocols::{Arrival, Receipt, ReceiptOutcome, Receiver, Source, Target};

/// Somebody who drops files into a folder.
struct Sender {
    room: Room,
    clock: Clock,
}

#[async_trait]
impl SourcePeer for Sender {
    fn open(&self) -> Result<Box<dyn Source>, Fault> {
        let mut around = surroundings(&self.room.path(""));
        around.clock = self.clock.clone();
        read_source_yaml("protocol: file\nfolder: in\ncomplete: rename\n").open("orders", codec(), &around)
    }

    async fn send(&self, message: &str, recorder: &Recorder) -> Told {
        let refused = recorder.refused();
        let name = message.replace(' ', "-");
        self.room.write(&format!("in/{name}.part"), format!("{{\"text\":\"{message}\"}}"));
        fs::rename(self.room.path(&format!("in/{name}.part")), self.room.path(&format!("in/{name}"))).expect("renames");
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.clock.advance(Duration::from_secs(1));
            if self.room.list("in/done").contains(&name) {
                return Told::Accepted;
            }
            if recorder.refused() > refused {
                return Told::ComeBack;
            }
        }
    }
}

#[tokio::test]
async fn a_watched_folder_passes_the_suite_of_all_sources() {
    conformance::source(async || Sender { room: Room::new(), clock: Clock::simulated(Timestamp::UNIX_EPOCH) }).await;
}

/// Somebody who reads a folder.
struct Reader {
    room: Room,
    yaml: &'static str,
    codec: &'static str,
}

#[async_trait]
impl TargetPeer for Reader {
    fn open(&self) -> Result<Arc<dyn Target>, Fault> {
        let around = surroundings(&self.room.path(""));
        read_target_yaml(self.yaml).open("web-order.to.files", testing::read(self.codec), &around)
    }

    async fn behave(&self, behaviour: Behaviour) -> bool {
        if behaviour == Behaviour::Down {
            // The next write of the first message meets a full disk.
            let id = MessageId::derive(&[b"conformance", &1_u32.to_be_bytes()]);
            let _ = fs::remove_file(self.room.path("out/orders"));
            std::os::unix::fs::symlink("/dev/full", hidden(&self.room.path("out"), id)).expect("a link");
        }
        behaviour == Behaviour::Well || (behaviour == Behaviour::Down && !self.yaml.contains("append"))
    }

    async fn taken(&self) -> Vec<Taken> {
        let names = self.room.list("out").into_iter().filter(|name| !name.starts_with('.'));
        let files: Vec<Taken> = names.map(|key| Taken { text: self.room.read(&format!("out/{key}")), key }).collect();
        if self.yaml.contains("append") {
            let lines = files.iter().flat_map(|file| file.text.lines());
            return lines.map(|line| Taken { key: line.to_owned(), text: line.to_owned() }).collect();
        }
        files
    }
}

#[tokio::test]
async fn a_folder_passes_the_suite_of_all_targets() {
    let yaml = "protocol: file\nfolder: out\nname: \"=concat($.name, '.json')\"\n";
    conformance::target(async || Reader { room: Room::new(), yaml, codec: "format: json" }).await;
    let yaml = "protocol: file\nfolder: out\nname: orders\nmode: append\n";
    conformance::target(async || Reader { room: Room::new(), yaml, codec: "format: ndjson" }).await;
}

fn open(room: &Room, yaml: &str, codec: &str) -> Arc<dyn Target> {
    let settings = read_target_yaml(&format!("protocol: file\nfolder: out\n{yaml}"));
    settings.open("t", testing::read(codec), &surroundings(&room.path(""))).unwrap_or_else(|fault| panic!("{fault}"))
}

#[tokio::test]
async fn a_name_that_leads_out_is_refused_before_it_is_queued() {
    let room = Room::new();
    let target = open(&room, "name: $.name\n", "format: json");
    let document = |name: &str| Value::Map([("name", name)].into_iter().collect());
    for name in ["../x", "/etc/x", ".x", ""] {
        let fault = deliver_document(&*target, 1, &document(name)).expect_err(name);
        assert_eq!((fault.code(), fault.position()), ("FILE-NAME", Some("name")), "{name}");
    }
    let mut delivery = delivery(&*target, 1);
    delivery.prepared.address.insert("name", "../x");
    assert_eq!(target.deliver(&delivery).await.expect_err("it leads out").code(), "FILE-NAME");
}

#[tokio::test]
async fn rows_are_appended_under_one_header() {
    let room = Room::new();
    let codec = "format: csv\ncsv: { columns: [name] }";
    let target = open(&room, "name: \"=concat('orders-', substring($.name, 6, 1), '.csv')\"\nmode: append\n", codec);
    let target = &*target;
    let both: Vec<_> = [1, 2, 10, 1].iter().map(|number| delivery(target, *number)).collect();
    assert!(target.deliver_all(&both).await.iter().all(Result::is_ok));
    assert_eq!(room.read("out/orders-1.csv"), "name\norder-1\norder-10\n");
    assert_eq!(room.read("out/orders-2.csv"), "name\norder-2\n");
}

#[test]
fn only_a_name_of_the_source_alone_can_be_cut_back() {
    let check = |yaml: &str, expect: bool| {
        let room = Room::new();
        assert_eq!(open(&room, yaml, "format: ndjson").checkpointed().is_some(), expect, "{yaml}");
    };
    check("name: all.json\nmode: append\n", true);
    check("name: \"=concat('out-', $headers.file_name)\"\nmode: append\n", true);
    check("name: $.day\nmode: append\n", false);
    check("name: all.json\n", false);
}

/// The hub's shorter way in memory: what a batch appends and the source's cursor commit together. Dies where told to.
struct Lane {
    target: Arc<dyn Target>,
    committed: Arc<Mutex<Committed>>,
    /// Actions until it dies.
    life: Mutex<u64>,
    rewound: tokio::sync::Mutex<bool>,
}

#[derive(Default)]
struct Committed {
    cursor: Option<Value>,
    point: Option<Value>,
}

impl Lane {
    fn live(&self) -> Result<(), Fault> {
        let mut life = self.life.lock().expect("no test panics here");
        *life = life.saturating_sub(1);
        if *life == 0 { Err(Fault::misconfigured("KILLED", "killed")) } else { Ok(()) }
    }

    async fn rewind(&self) -> Result<(), Fault> {
        let mut rewound = self.rewound.lock().await;
        if !*rewound {
            let point = self.committed.lock().expect("no test panics here").point.clone();
            self.target.checkpointed().expect("it can be cut back").rewind(point.as_ref()).await?;
            *rewound = true;
        }
        Ok(())
    }

    fn prepare(&self, arrival: &Arrival) -> Result<bytes::Bytes, Fault> {
        let id = MessageId::derive(&[arrival.position.clone().unwrap_or_default().as_bytes()]);
        let prepared = self.target.prepare(&Scope {
            document: arrival.document.as_ref().expect("a record has a document"),
            headers: &arrival.headers,
            meta: &Meta::default(),
            item: None,
            partner: None,
            connection: None,
            locals: None,
            time: Timestamp::UNIX_EPOCH,
            id,
            tables: &NoTables,
        })?;
        Ok(prepared.body)
    }
}

#[async_trait]
impl Receiver for Lane {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        self.rewind().await?;
        self.live()?;
        let mut records = Vec::new();
        for arrival in &arrivals {
            records.extend_from_slice(&self.prepare(arrival)?);
        }
        let mut point = None;
        if !records.is_empty() {
            point = Some(self.target.checkpointed().expect("it can be cut back").append(records.into()).await?);
        }
        self.live()?;
        {
            let mut committed = self.committed.lock().expect("no test panics here");
            committed.cursor = cursor.map(|(_, value)| value);
            committed.point = point.or(committed.point.take());
        }
        self.live()?;
        let stored = |_: &Arrival| Receipt { id: MessageId::draw(), outcome: ReceiptOutcome::Stored };
        Ok(arrivals.iter().map(stored).collect())
    }

    async fn cursor(&self, _name: &str) -> Result<Option<Value>, Fault> {
        Ok(self.committed.lock().expect("no test panics here").cursor.clone())
    }

    async fn finished(&self, name: &str) -> Result<(), Fault> {
        self.rewind().await?;
        self.live()?;
        self.target.checkpointed().expect("it can be cut back").finish(name).await?;
        self.live()?;
        self.committed.lock().expect("no test panics here").point = None;
        self.live()
    }

    async fn reply(&self, _arrival: Arrival) -> Result<Value, Fault> {
        Err(Fault::refuse("NONE", "none"))
    }
}

const COPIES: &str = "name: \"=concat('copy-', $headers.file_name)\"\nmode: append\n";
const CSV: &str = "format: csv\ncsv: { columns: [sku, price] }";

/// Runs the whole way again and again, each run ended after some of its actions, until two files are through.
async fn check_kills(seed: u64) {
    let room = Room::new();
    let mut expect = Vec::new();
    for file in 1..=2_u64 {
        let rows = 9_000 + seed % 7 * 1_000;
        let content: String = (0..rows).map(|row| format!("{file}-{row},{row}.50\n")).collect();
        expect.push(format!("sku,price\n{content}"));
        room.write(&format!("in/{file}.csv"), &expect[expect.len() - 1]);
        room.set_modified(&format!("in/{file}.csv"), file);
    }
    let committed = Arc::new(Mutex::new(Committed::default()));
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for run in 0.. {
        assert!(run < 200, "seed {seed}: it gets nowhere, {:?}", room.list("out"));
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let lane = Lane {
            target: open(&room, COPIES, CSV),
            committed: committed.clone(),
            life: Mutex::new(1 + random % 6 + run / 10),
            rewound: tokio::sync::Mutex::new(false),
        };
        let source = read_source_yaml("protocol: file\nfolder: in\ncomplete: rename\npoll: 5ms\n");
        let codec: Arc<dyn Codec> = testing::read(CSV);
        let mut source = source.open("prices", codec, &surroundings(&room.path(""))).unwrap_or_else(|f| panic!("{f}"));
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { source.run(Arc::new(lane), stop).await }
        });
        while !running.is_finished() && room.list("in/done").len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
        let _ = running.await.expect("it does not panic");
        if room.list("in/done").len() == 2 {
            break;
        }
    }
    for (file, content) in expect.iter().enumerate() {
        assert!(room.read(&format!("out/copy-{}.csv", file + 1)) == *content, "seed {seed}, file {}", file + 1);
    }
    assert_eq!(room.list("out"), ["copy-1.csv", "copy-2.csv"], "seed {seed}");
}

#[tokio::test]
async fn from_file_to_file_kills_repeat_and_skip_nothing() {
    for seed in 0..12 {
        check_kills(seed).await;
    }
}

/// Takes everything at once, as a hub with a very fast disk.
struct Sink(Mutex<usize>);

#[async_trait]
impl Receiver for Sink {
    async fn receive(&self, arrivals: Vec<Arrival>, _cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        *self.0.lock().expect("no test panics here") += arrivals.len();
        let id = MessageId::derive(&[b"x"]);
        Ok(arrivals.iter().map(|_| Receipt { id, outcome: ReceiptOutcome::Stored }).collect())
    }

    async fn cursor(&self, _name: &str) -> Result<Option<Value>, Fault> {
        Ok(None)
    }

    async fn reply(&self, _arrival: Arrival) -> Result<Value, Fault> {
        Err(Fault::refuse("NONE", "none"))
    }
}

/// How fast the source alone reads, for `cargo test --release -- --ignored --nocapture reads_fast`.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_watched_folder_reads_fast() {
    let room = Room::new();
    let rows = 200_000;
    let row = |row: usize| format!("{row:013};CARNET A5 LIGNE {row};2,{:02};5,49;20;01/12/2026;10\n", row % 100);
    let content: String = (0..rows).map(row).collect();
    let path: PathBuf = room.write("in/a.csv", format!("EAN;LIBELLE;ACHAT;CONSEILLE;TVA;DATE;COLISAGE\n{content}"));
    let codec: Arc<dyn Codec> = testing::read("format: csv\ncsv: { delimiter: \";\" }");
    let source = read_source_yaml("protocol: file\nfolder: in\ncomplete: rename\n");
    let mut source =
        source.open("prices", codec.clone(), &surroundings(&room.path(""))).unwrap_or_else(|f| panic!("{f}"));
    let started = std::time::Instant::now();
    let mut alone = codec.records(Box::new(fs::File::open(&path).expect("it is there"))).expect("csv has records");
    while alone.next().is_some() {}
    let codec_time = started.elapsed();
    let (sink, stop) = (Arc::new(Sink(Mutex::new(0))), CancellationToken::new());
    let started = std::time::Instant::now();
    let running = tokio::spawn({
        let (sink, stop) = (sink.clone(), stop.clone());
        async move { source.run(sink, stop).await }
    });
    while room.list("in/done").is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let time = started.elapsed();
    stop.cancel();
    running.await.expect("it does not panic").expect("it ends well");
    assert_eq!(*sink.0.lock().expect("no test panics here"), rows);
    println!(
        "{rows} rows: source {time:?} ({:.0} rows/s), codec alone {codec_time:?}",
        rows as f64 / time.as_secs_f64()
    );
}
