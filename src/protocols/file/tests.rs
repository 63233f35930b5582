//! What the tests of this folder share, and the tests of the source as a whole.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::settings::FileSourceSettings;
use crate::clock::Clock;
use crate::codecs::{Codec, Framing, Record, Records};
use crate::config::{Environment, FileId, Files, Reader, Setting, parse};
use crate::message::{Fault, MessageId, Text, Value};
use crate::protocols::{
    Arrival, Pipelines, Receipt, ReceiptOutcome, Receiver, Source, SourceSettings, Surroundings, http,
};

/// A folder of its own, gone after the test.
pub struct Room(PathBuf);

impl Room {
    pub fn new() -> Room {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("raccord-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary folder takes folders");
        Room(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.clone() } else { self.0.join(name) }
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the room")).expect("folders can be made");
        fs::write(&path, content).expect("files can be written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}; {:?}", self.list("")))
    }

    pub fn set_modified(&self, name: &str, second: u64) {
        let file = File::options().write(true).open(self.path(name)).expect("it is there");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).expect("times can be set");
    }

    /// The files in a folder of the room, sorted; folders are left out.
    pub fn list(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let files = entries.flatten().filter(|entry| entry.path().is_file());
        let mut names: Vec<String> = files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A line is a text; `bad` cannot be read, `worse` ends the stream, `header` stands before the first line of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lines {
    /// A message is a whole file.
    Whole,
    /// A message is a line; reading begins at the beginning of a file.
    Records,
    /// A message is a line; reading can begin anywhere.
    Anywhere,
}

impl Codec for Lines {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| Fault::refuse("DECODE-LINES", "not text").cause(error))?;
        match text.trim_end() {
            "bad" => Err(Fault::refuse("DECODE-LINES", "a bad line")),
            line => Ok(line.into()),
        }
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        Ok(format!("{}\n", document.plain().unwrap_or_default()).into())
    }

    fn encode_record(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(&self.encode(document)?);
        Ok(())
    }

    fn records<'a>(&'a self, input: Box<dyn Read + Send + 'a>) -> Option<Box<dyn Records + Send + 'a>> {
        (*self != Lines::Whole).then(|| LineRecords::new(input, 0, 0) as _)
    }

    fn records_from<'a>(
        &'a self,
        _beginning: &mut (dyn Read + Send),
        rest: Box<dyn Read + Send + 'a>,
        position: u64,
        line: u64,
    ) -> Result<Option<Box<dyn Records + Send + 'a>>, Fault> {
        Ok((*self == Lines::Anywhere).then(|| LineRecords::new(rest, position, line - 1) as _))
    }

    fn framing(&self) -> Framing {
        Framing { header: Bytes::from_static(b"header\n") }
    }

    fn content_type(&self) -> &'static str {
        "text/plain"
    }
}

struct LineRecords<'a> {
    input: BufReader<Box<dyn Read + Send + 'a>>,
    position: u64,
    line: u64,
}

impl<'a> LineRecords<'a> {
    fn new(input: Box<dyn Read + Send + 'a>, position: u64, line: u64) -> Box<LineRecords<'a>> {
        Box::new(LineRecords { input: BufReader::new(input), position, line })
    }
}

impl Records for LineRecords<'_> {
    fn next(&mut self) -> Option<Result<Record, Fault>> {
        let mut line = Vec::new();
        self.position += self.input.read_until(b'\n', &mut line).ok()? as u64;
        self.line += 1;
        match &line[..] {
            b"" => None,
            b"worse\n" => Some(Err(Fault::refuse("DECODE-LINES", "the file is torn"))),
            _ => {
                let document = Lines::Records.decode(&line);
                let place = format!("line {}", self.line);
                Some(Ok(Record { raw: line.into(), header: Bytes::new(), document, place }))
            }
        }
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn line(&self) -> u64 {
        self.line + 1
    }
}

/// Keeps what it receives, with the cursor, as the hub would; can be told to fail.
#[derive(Default)]
pub struct Memory(pub Mutex<Kept>);

#[derive(Default)]
pub struct Kept {
    pub arrivals: Vec<Arrival>,
    pub batches: usize,
    pub cursor: Option<Value>,
    /// Inputs that are over.
    pub finished: Vec<String>,
    /// Refuses so many calls before it takes again.
    pub full: usize,
    /// Stops this source after so many batches more; with `torn`, what was stored last is not answered.
    pub kill_after: Option<(usize, CancellationToken)>,
    pub torn: bool,
}

#[async_trait]
impl Receiver for Memory {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        let mut kept = self.0.lock().expect("no test panics here");
        if kept.full > 0 {
            kept.full -= 1;
            return Err(Fault::retry("STORE-FULL", "no room").after(Duration::from_millis(1)));
        }
        let receipt = |arrival: &Arrival| {
            let outcome = if arrival.fault.is_some() { ReceiptOutcome::Dead } else { ReceiptOutcome::Stored };
            Receipt { id: MessageId::draw(), outcome }
        };
        let receipts = arrivals.iter().map(receipt).collect();
        kept.arrivals.extend(arrivals);
        kept.batches += 1;
        if let Some((name, value)) = cursor {
            assert_eq!(name, "file:prices");
            kept.cursor = Some(value);
        }
        let torn = kept.torn;
        if let Some((left, stop)) = &mut kept.kill_after {
            *left -= 1;
            if *left == 0 {
                stop.cancel();
                if torn {
                    return Err(Fault::retry("STORE-GONE", "killed"));
                }
            }
        }
        Ok(receipts)
    }

    async fn cursor(&self, _name: &str) -> Result<Option<Value>, Fault> {
        Ok(self.0.lock().expect("no test panics here").cursor.clone())
    }

    async fn finished(&self, name: &str) -> Result<(), Fault> {
        let mut kept = self.0.lock().expect("no test panics here");
        if kept.full > 0 {
            kept.full -= 1;
            return Err(Fault::retry("STORE-FULL", "no room").after(Duration::from_millis(1)));
        }
        kept.finished.push(name.to_owned());
        Ok(())
    }

    async fn reply(&self, _arrival: Arrival) -> Result<Value, Fault> {
        Err(Fault::refuse("NONE", "none"))
    }
}

impl Memory {
    pub fn texts(&self) -> Vec<String> {
        let kept = self.0.lock().expect("no test panics here");
        kept.arrivals.iter().map(|arrival| String::from_utf8_lossy(&arrival.body).trim_end().to_owned()).collect()
    }
}

pub struct NoPipelines;

impl Pipelines for NoPipelines {
    fn receiver(&self, _pipeline: &str) -> Option<Arc<dyn Receiver>> {
        None
    }
}

pub fn around(folder: &Path) -> Surroundings {
    Surroundings {
        clock: Clock::real(),
        folder: folder.to_owned(),
        routes: Arc::new(http::Routes::default()),
        pipelines: Arc::new(NoPipelines),
        vault: Arc::new(crate::store::MemoryVault::new(Clock::real())),
        connections: Arc::new(crate::protocols::NoConnections),
        metrics: crate::telemetry::Metrics::default(),
    }
}

pub fn settings<T: Setting>(yaml: &str) -> T {
    let (files, environment) = (Files::default(), Environment::default());
    let mut reader = Reader::new(&files, &environment);
    let node = parse(FileId::default(), yaml, &mut reader.problems).expect("this is YAML");
    let read = T::read(&node, &mut reader);
    read.unwrap_or_else(|| panic!("{:?}", reader.problems))
}

fn source(room: &Room, codec: Lines, yaml: &str) -> Box<dyn Source> {
    let yaml = format!("folder: in\ncomplete: rename\npoll: 10ms\n{yaml}");
    let settings: FileSourceSettings = settings(&yaml);
    settings.open("prices", Arc::new(codec), &around(&room.path(""))).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Runs a source until `done` holds or it stops by itself.
async fn run(
    room: &Room,
    (codec, yaml): (Lines, &str),
    memory: &Arc<Memory>,
    done: impl Fn() -> bool,
) -> Result<(), Fault> {
    let mut source = source(room, codec, yaml);
    let stop = CancellationToken::new();
    if let Some((_, token)) = &mut memory.0.lock().expect("no test panics here").kill_after {
        *token = stop.clone();
    }
    let running = tokio::spawn({
        let (receiver, stop): (Arc<dyn Receiver>, _) = (memory.clone(), stop.clone());
        async move { source.run(receiver, stop).await }
    });
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !done() && !running.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it never ends: {:?} {:?}", room.list("in"), memory.texts().len()));
    stop.cancel();
    running.await.expect("the source does not panic")
}

fn rows(count: usize) -> (Vec<String>, String) {
    let rows: Vec<String> = (1..=count).map(|row| format!("row {row}")).collect();
    let content = rows.iter().map(|row| format!("{row}\n")).collect();
    (rows, content)
}

const RECORDS: (Lines, &str) = (Lines::Records, "");

#[tokio::test]
async fn each_record_arrives_once_with_its_place() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    let (expect, content) = rows(20_000);
    room.write("in/a.csv", content);
    run(&room, RECORDS, &memory, || !room.list("in/done").is_empty()).await.expect("it ends well");
    assert_eq!(memory.texts(), expect);
    assert_eq!(room.list("in/done"), ["a.csv"]);
    let kept = memory.0.lock().expect("no test panics here");
    // How many are stored together depends on who is faster; one by one they never are.
    assert!(kept.batches <= 20, "{}", kept.batches);
    assert_eq!(kept.finished, ["a.csv"]);
    let arrival = &kept.arrivals[1_233];
    assert_eq!(arrival.document, Some("row 1234".into()));
    assert_eq!(arrival.headers.get("row"), Some(&Value::from(1_234_usize)));
    assert_eq!(arrival.headers.get("file_name"), Some(&"a.csv".into()));
    assert_eq!(arrival.headers.get("file_folder"), Some(&"in".into()));
    let position = arrival.position.as_deref().expect("a record has a position");
    assert!(position.starts_with("a.csv@") && position.ends_with("#1234"), "{position}");
}

/// Kills the source after `batches` commits, then runs another: no record twice, none lost.
async fn check_kill(codec: Lines, batches: usize, torn: bool) {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    let (expect, content) = rows(17_000);
    room.write("in/a.csv", content);
    memory.0.lock().expect("no test panics here").kill_after = Some((batches, CancellationToken::new()));
    memory.0.lock().expect("no test panics here").torn = torn;
    let _ = run(&room, (codec, ""), &memory, || false).await;
    memory.0.lock().expect("no test panics here").kill_after = None;
    run(&room, (codec, ""), &memory, || !room.list("in/done").is_empty()).await.expect("it ends well");
    let texts = memory.texts();
    assert_eq!(texts.len(), expect.len(), "{codec:?} killed after {batches}, torn: {torn}");
    assert!(texts == expect);
}

#[tokio::test]
async fn a_killed_run_is_continued_after_its_last_commit() {
    for codec in [Lines::Records, Lines::Anywhere] {
        for batches in 1..=3 {
            check_kill(codec, batches, false).await;
            check_kill(codec, batches, true).await;
        }
    }
}

#[tokio::test]
async fn a_full_store_slows_and_loses_nothing() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    let (expect, content) = rows(20_000);
    room.write("in/a.csv", content);
    memory.0.lock().expect("no test panics here").full = 5;
    run(&room, RECORDS, &memory, || !room.list("in/done").is_empty()).await.expect("it ends well");
    assert!(memory.texts() == expect);
}

#[tokio::test]
async fn a_bad_record_is_told_and_the_others_go_on() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    room.write("in/a.csv", "one\nbad\nthree\n");
    run(&room, RECORDS, &memory, || !room.list("in/done").is_empty()).await.expect("it ends well");
    let kept = memory.0.lock().expect("no test panics here");
    let faults: Vec<_> = kept.arrivals.iter().map(|arrival| arrival.fault.as_ref().map(Fault::to_string)).collect();
    assert_eq!(faults, [None, Some("DECODE-LINES: a bad line (line 2)".to_owned()), None]);
}

/// Runs until the file is in `failed`; gives the texts that arrived and what the note says.
async fn check_failed(content: &str, how: (Lines, &str), arrived: &[&str], says: &str) {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    room.write("in/a.csv", content);
    run(&room, how, &memory, || room.list("in/failed").len() == 2).await.expect("a bad file does not stop the source");
    assert_eq!(memory.texts(), arrived);
    assert_eq!(room.list("in/failed"), ["a.csv", "a.csv.error.txt"]);
    let note = room.read("in/failed/a.csv.error.txt");
    assert!(note.contains(says), "{note}");
    assert!(room.list("in").is_empty() && room.list("in/done").is_empty());
}

#[tokio::test]
async fn a_file_that_fails_is_set_aside_with_its_reason() {
    check_failed("one\nworse\nthree\n", RECORDS, &["one"], "DECODE-LINES: the file is torn (after record 1)").await;
    check_failed("worse\n", RECORDS, &[], "the file is torn").await;
    check_failed("bad\nbad\n", RECORDS, &["bad", "bad"], "FILE-UNREADABLE").await;
    check_failed(
        "123456789\n",
        (Lines::Whole, "max_file: 5B\n"),
        &[],
        "FILE-TOO-LARGE: a.csv has 10 bytes and may have 5",
    )
    .await;
}

#[tokio::test]
async fn whole_files_arrive_oldest_first_and_can_be_deleted() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    for (name, second) in [("b.csv", 2), ("c.csv", 1), ("a.csv", 3)] {
        room.write(&format!("in/{name}"), format!("one\n{name}\n"));
        room.set_modified(&format!("in/{name}"), second);
    }
    run(&room, (Lines::Whole, "after: delete\n"), &memory, || room.list("in").is_empty()).await.expect("it ends well");
    assert_eq!(memory.texts(), ["one\nc.csv", "one\nb.csv", "one\na.csv"]);
    assert!(room.list("in/done").is_empty());
}

#[tokio::test]
async fn a_file_taken_but_not_put_away_is_not_taken_again() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    room.write("in/a.csv", "one\n");
    room.write("in/a.csv.done", "");
    let mut first = {
        let settings: FileSourceSettings = settings("folder: in\npoll: 10ms\ncomplete: marker\n");
        settings
            .open("prices", Arc::new(Lines::Records), &around(&room.path("")))
            .unwrap_or_else(|fault| panic!("{fault}"))
    };
    // `done` is a file, so nothing can be moved there.
    room.write("in/done", "");
    let stop = CancellationToken::new();
    let fault = first.run(memory.clone(), stop.clone()).await.expect_err("the file cannot be moved");
    assert_eq!(memory.texts(), ["one"], "{fault}");
    assert_eq!(room.list("in"), ["a.csv", "done"]);
    fs::remove_file(room.path("in/done")).expect("it is there");
    run(&room, RECORDS, &memory, || !room.list("in/done").is_empty()).await.expect("it ends well");
    assert_eq!(memory.texts(), ["one"]);
}

#[tokio::test]
async fn an_empty_folder_is_left_when_told_to_stop_and_a_lost_one_is_told() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    run(&room, RECORDS, &memory, || true).await.expect("it stops");
    let mut source = source(&room, Lines::Records, "");
    fs::remove_dir_all(room.path("in")).expect("it is there");
    let fault = source.run(memory, CancellationToken::new()).await.expect_err("the folder is gone");
    assert_eq!(fault.code(), "FILE-FOLDER");
    assert!(fault.to_string().contains(&room.path("in").display().to_string()), "{fault}");
}

#[tokio::test]
async fn a_quiet_file_is_taken_by_notice_and_clock() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    let settings: FileSourceSettings = settings("folder: in\nquiet_for: 20ms\npoll: 1h\n");
    let opened = settings.open("prices", Arc::new(Lines::Records), &around(&room.path("")));
    let mut source = opened.unwrap_or_else(|fault| panic!("{fault}"));
    let stop = CancellationToken::new();
    let receiver: Arc<dyn Receiver> = memory.clone();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { source.run(receiver, stop).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    room.write("in/a.csv", "one\n");
    let taken = tokio::time::timeout(Duration::from_secs(60), async {
        while room.list("in/done").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    taken.await.expect("the notice of the system wakes the source");
    stop.cancel();
    running.await.expect("it does not panic").expect("it ends well");
    assert_eq!(memory.texts(), ["one"]);
}

#[tokio::test]
async fn a_file_that_is_moved_back_is_read_again_as_the_same_messages() {
    let (room, memory) = (Room::new(), Arc::new(Memory::default()));
    room.write("in/a.csv", "one\n");
    let came = |count: usize| {
        let (room, memory) = (&room, memory.clone());
        move || {
            if memory.texts().len() < count {
                let _ = fs::rename(room.path("in/done/a.csv"), room.path("in/a.csv"));
            }
            memory.texts().len() == count && !room.list("in/done").is_empty()
        }
    };
    run(&room, RECORDS, &memory, came(2)).await.expect("it ends well");
    let kept = memory.0.lock().expect("no test panics here");
    assert_eq!(kept.arrivals[0].position, kept.arrivals[1].position);
}
