//! The one suite every protocol passes, and the fake parts its tests share.
//!
//! A protocol gives a [`SourcePeer`] (who sends to its source) or a [`TargetPeer`] (who takes from its target), made fresh
//! for each case, and calls [`source`] or [`target`]. What a protocol cannot show (a folder refuses nothing) it says so.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Arrival, Delivery, Pipelines, Receipt, ReceiptOutcome, Receiver, Source, SourceSettings, Surroundings, Target,
    TargetSettings, http, read_source, read_target,
};
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::config::{Environment, FileId, Files, MapReader, Reader, parse, render};
use crate::formula::{Scope, Tables};
use crate::message::{Fault, Map, MessageId, Next, Text, Value, json};

/// Nothing here takes longer, even on a busy machine; only a hang does.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for something wrong to show.
const MOMENT: Duration = Duration::from_millis(150);

/// Who sends to a source: a webhook's sender, a folder's writer, the clock of a schedule.
#[async_trait]
pub trait SourcePeer: Send + Sync + 'static {
    /// The source under test, as the hub would open it; called again after a stop or a fault.
    fn open(&self) -> Result<Box<dyn Source>, Fault>;

    /// Sends one message and answers once its fate is known. A peer that is told nothing (a file's writer) looks at what
    /// was done with it; `recorder` tells how often the source tried.
    async fn send(&self, message: &str, recorder: &Recorder) -> Told;

    /// Whether what arrives holds the text that was sent; a schedule makes its own.
    fn carries_text(&self) -> bool {
        true
    }
}

/// What a sender heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The hub has it for good.
    Accepted,
    /// Not now: the sender keeps it and comes again (or the source does, for it).
    ComeBack,
}

/// Who takes from a target.
#[async_trait]
pub trait TargetPeer: Send + Sync + 'static {
    /// The target under test, with a timeout of some hundred milliseconds where it has one.
    fn open(&self) -> Result<Arc<dyn Target>, Fault>;

    /// Behaves so from now on; `false` where this protocol's peers cannot.
    async fn behave(&self, behaviour: Behaviour) -> bool;

    /// What it took for good, in order.
    async fn taken(&self) -> Vec<Taken>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Well,
    /// Understands the message and does not want it.
    Refuse,
    /// Cannot be reached.
    Down,
    /// Takes the message and never answers.
    Slow,
}

/// One message as the peer of a target has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What lets the peer know a repeat: a header, a file's name.
    pub key: String,
    pub text: String,
}

/// All cases for a source.
pub async fn source<P: SourcePeer>(fresh: impl AsyncFn() -> P) {
    accepted_means_stored(Arc::new(fresh().await)).await;
    a_refused_arrival_comes_back(Arc::new(fresh().await)).await;
    a_stop_ends_an_idle_source(Arc::new(fresh().await)).await;
    a_stop_ends_a_busy_source(Arc::new(fresh().await)).await;
    a_clean_stop_hands_nothing_over_twice(Arc::new(fresh().await)).await;
}

/// All cases for a target.
pub async fn target<P: TargetPeer>(fresh: impl AsyncFn() -> P) {
    a_message_is_delivered(fresh().await).await;
    a_repeat_carries_the_same_key(fresh().await).await;
    several_are_answered_in_order(fresh().await).await;
    a_refusal_is_for_good(fresh().await).await;
    a_dead_peer_is_met_again(fresh().await).await;
    a_slow_peer_is_not_waited_for(fresh().await).await;
}

async fn accepted_means_stored(peer: Arc<dyn SourcePeer>) {
    let running = Running::start(&peer);
    running.recorder.set(Mood::Hold);
    let sending = tokio::spawn({
        let (peer, recorder) = (peer.clone(), running.recorder.clone());
        async move { peer.send("first", &recorder).await }
    });
    running.recorder.until("the source hands over", |state| state.waiting > 0).await;
    sleep(MOMENT).await;
    assert!(!sending.is_finished(), "the peer heard before the receiver had stored");
    running.recorder.set(Mood::Accept);
    let told = bounded("the answer to the peer", sending).await.expect("the peer does not panic");
    assert_eq!(told, Told::Accepted);
    let stored = running.recorder.stored();
    assert_eq!(stored.len(), 1, "one message, one arrival");
    if peer.carries_text() {
        assert!(text(&stored[0].body).contains("first"), "the bytes arrive as sent: {:?}", stored[0].body);
    }
    running.stop().await;
}

async fn a_refused_arrival_comes_back(peer: Arc<dyn SourcePeer>) {
    let running = Running::start(&peer);
    running.recorder.set(Mood::Refuse);
    let told = bounded("the answer to a refusal", peer.send("again", &running.recorder)).await;
    assert_eq!(told, Told::ComeBack, "nothing was stored, so the peer must keep its message");
    assert!(running.recorder.stored().is_empty());
    running.recorder.set(Mood::Accept);
    let told = bounded("the answer after a refusal", peer.send("later", &running.recorder)).await;
    assert_eq!(told, Told::Accepted, "a source goes on after its receiver refused");
    running.stop().await;
}

async fn a_stop_ends_an_idle_source(peer: Arc<dyn SourcePeer>) {
    let running = Running::start(&peer);
    sleep(MOMENT).await;
    running.stop().await;
}

async fn a_stop_ends_a_busy_source(peer: Arc<dyn SourcePeer>) {
    let running = Running::start(&peer);
    running.recorder.set(Mood::Hold);
    let sending = tokio::spawn({
        let (peer, recorder) = (peer.clone(), running.recorder.clone());
        async move { timeout(PATIENCE, peer.send("during the stop", &recorder)).await }
    });
    running.recorder.until("the source hands over", |state| state.waiting > 0).await;
    running.stop.cancel();
    sleep(MOMENT).await;
    running.recorder.set(Mood::Accept);
    let recorder = running.recorder.clone();
    running.stop().await;
    // A source may let it go or finish it; it may not say "accepted" for what is not stored.
    sending.abort();
    if let Ok(Ok(Told::Accepted)) = sending.await {
        assert_eq!(recorder.stored().len(), 1, "accepted during a stop, and not stored");
    }
}

async fn a_clean_stop_hands_nothing_over_twice(peer: Arc<dyn SourcePeer>) {
    let running = Running::start(&peer);
    for message in ["one", "two", "three"] {
        assert_eq!(bounded("an answer", peer.send(message, &running.recorder)).await, Told::Accepted);
    }
    let recorder = running.recorder.clone();
    running.stop().await;
    let again = Running::start_with(&peer, recorder.clone());
    sleep(MOMENT).await;
    again.stop().await;
    let bodies: Vec<_> = recorder.handed().iter().map(|arrival| text(&arrival.body)).collect();
    assert_eq!(bodies.len(), 3, "handed over: {bodies:?}");
}

async fn a_message_is_delivered(peer: impl TargetPeer) {
    let target = opened(&peer);
    peer.behave(Behaviour::Well).await;
    bounded("a delivery", target.deliver(&delivery(&*target, 1))).await.expect("a peer that is well takes it");
    let taken = peer.taken().await;
    assert_eq!(taken.len(), 1);
    assert!(taken[0].text.contains("order-1"), "the document arrives: {taken:?}");
}

async fn a_repeat_carries_the_same_key(peer: impl TargetPeer) {
    let target = opened(&peer);
    peer.behave(Behaviour::Well).await;
    for number in [1, 1, 2] {
        bounded("a delivery", target.deliver(&delivery(&*target, number))).await.expect("a peer that is well takes it");
    }
    let taken = peer.taken().await;
    let keys = |text: &str| -> Vec<String> {
        taken.iter().filter(|one| one.text.contains(text)).map(|one| one.key.clone()).collect()
    };
    let (first, second) = (keys("order-1"), keys("order-2"));
    assert!(!first.is_empty() && first.iter().all(|key| *key == first[0]), "one id, several keys: {taken:?}");
    assert!(second.len() == 1 && second[0] != first[0], "two ids, one key: {taken:?}");
}

async fn several_are_answered_in_order(peer: impl TargetPeer) {
    let target = opened(&peer);
    peer.behave(Behaviour::Well).await;
    let several: Vec<_> = (1..=target.batch().clamp(2, 5) as u32).map(|number| delivery(&*target, number)).collect();
    let outcomes = bounded("several deliveries", target.deliver_all(&several)).await;
    assert_eq!(outcomes.len(), several.len(), "each is answered");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let taken = peer.taken().await;
    for number in 1..=several.len() {
        assert!(taken.iter().any(|one| one.text.contains(&format!("order-{number}"))), "{number} of {taken:?}");
    }
}

async fn a_refusal_is_for_good(peer: impl TargetPeer) {
    let target = opened(&peer);
    if !peer.behave(Behaviour::Refuse).await {
        return;
    }
    let fault = bounded("a refusal", target.deliver(&delivery(&*target, 1))).await.expect_err("the peer refuses");
    assert_eq!(fault.next(), Next::Refuse, "{fault}");
    assert!(peer.taken().await.is_empty());
}

async fn a_dead_peer_is_met_again(peer: impl TargetPeer) {
    let target = opened(&peer);
    if !peer.behave(Behaviour::Down).await {
        return;
    }
    let fault =
        bounded("a dead peer's fault", target.deliver(&delivery(&*target, 1))).await.expect_err("the peer is down");
    assert!(matches!(fault.next(), Next::Reconnect | Next::Retry { .. }), "{fault}");
    peer.behave(Behaviour::Well).await;
    bounded("a delivery", target.deliver(&delivery(&*target, 1)))
        .await
        .expect("the peer is back, and the target finds it");
    assert_eq!(peer.taken().await.len(), 1);
}

async fn a_slow_peer_is_not_waited_for(peer: impl TargetPeer) {
    let target = opened(&peer);
    if !peer.behave(Behaviour::Slow).await {
        return;
    }
    let fault = bounded("a slow peer's fault", target.deliver(&delivery(&*target, 1)))
        .await
        .expect_err("the peer never answers");
    assert!(matches!(fault.next(), Next::Reconnect | Next::Retry { .. }), "{fault}");
}

fn opened(peer: &impl TargetPeer) -> Arc<dyn Target> {
    peer.open().expect("the target opens")
}

/// A source run the way the hub runs it: opened again after a fault that may pass.
pub struct Running {
    pub recorder: Arc<Recorder>,
    pub stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub fn start(peer: &Arc<dyn SourcePeer>) -> Running {
        Running::start_with(peer, Arc::new(Recorder::default()))
    }

    pub fn start_with(peer: &Arc<dyn SourcePeer>, recorder: Arc<Recorder>) -> Running {
        let stop = CancellationToken::new();
        let (peer, receiver, stopped) = (peer.clone(), recorder.clone(), stop.clone());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let mut source = peer.open().expect("the source opens");
                match source.run(receiver.clone(), stopped.clone()).await {
                    Ok(()) => return assert!(stopped.is_cancelled(), "a source ends only when told to"),
                    Err(fault) if matches!(fault.next(), Next::Retry { .. } | Next::Reconnect) => {}
                    Err(fault) => panic!("the source ended: {fault}"),
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        Running { recorder, stop, task }
    }

    /// Stops it, and fails where that takes too long.
    pub async fn stop(self) {
        self.stop.cancel();
        bounded("the source's end", self.task).await.expect("the source does not panic");
    }
}

/// A receiver in memory, which can be told to refuse or to take its time.
#[derive(Default)]
pub struct Recorder(Mutex<Recorded>);

#[derive(Default)]
pub struct Recorded {
    mood: Mood,
    /// Every arrival a source handed over, stored or not.
    pub handed: Vec<Arrival>,
    pub stored: Vec<Arrival>,
    pub cursors: BTreeMap<Text, Value>,
    /// Calls of `receive` that are not answered yet.
    pub waiting: usize,
    /// Calls of `receive` that were refused.
    pub refused: usize,
    seen: HashMap<String, (MessageId, Bytes)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Accept,
    /// Answers `retry` at once.
    Refuse,
    /// Answers nothing until the mood changes.
    Hold,
}

impl Recorder {
    pub fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    pub fn stored(&self) -> Vec<Arrival> {
        self.state().stored.clone()
    }

    pub fn handed(&self) -> Vec<Arrival> {
        self.state().handed.clone()
    }

    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// Waits until `holds`; fails, naming `what`, where it never does.
    pub async fn until(&self, what: &str, holds: impl Fn(&Recorded) -> bool) {
        bounded(what, async {
            while !holds(&self.state()) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().expect("no code panics while holding the record")
    }

    async fn decided(&self) -> Mood {
        self.state().waiting += 1;
        loop {
            let mood = self.state().mood;
            if mood != Mood::Hold {
                self.state().waiting -= 1;
                return mood;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Recorded {
    fn store(&mut self, arrival: Arrival) -> Receipt {
        let drawn = MessageId::draw();
        if arrival.fault.is_some() {
            self.stored.push(arrival);
            return Receipt { id: drawn, outcome: ReceiptOutcome::Dead };
        }
        if let Some((id, body)) = arrival.position.as_ref().and_then(|position| self.seen.get(position)) {
            let outcome = if *body == arrival.body { ReceiptOutcome::Repeat } else { ReceiptOutcome::Conflict };
            return Receipt { id: *id, outcome };
        }
        if let Some(position) = &arrival.position {
            self.seen.insert(position.clone(), (drawn, arrival.body.clone()));
        }
        // As an intake would: what has no document and is not JSON cannot be read.
        let readable = arrival.document.is_some() || json::read(&arrival.body).is_ok();
        self.stored.push(arrival);
        Receipt { id: drawn, outcome: if readable { ReceiptOutcome::Stored } else { ReceiptOutcome::Dead } }
    }
}

#[async_trait]
impl Receiver for Recorder {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        self.state().handed.extend(arrivals.iter().cloned());
        let mood = self.decided().await;
        let mut state = self.state();
        if mood == Mood::Refuse {
            state.refused += 1;
            return Err(Fault::retry("STORE-FULL", "the disk is nearly full").after(Duration::from_secs(7)));
        }
        if let Some((name, value)) = cursor {
            state.cursors.insert(name, value);
        }
        Ok(arrivals.into_iter().map(|arrival| state.store(arrival)).collect())
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        Ok(self.state().cursors.get(name).cloned())
    }

    /// Replies with the request's own document.
    async fn reply(&self, arrival: Arrival) -> Result<Value, Fault> {
        if self.decided().await == Mood::Refuse {
            return Err(Fault::retry("LOOKUP-DOWN", "what the reply needs is down"));
        }
        let body = || json::read(&arrival.body).map_err(|error| Fault::refuse("DECODE-JSON", "not JSON").cause(error));
        arrival.document.clone().map_or_else(body, Ok)
    }
}

/// Delivery number `number` as the pipeline would make it: id, key and document (`{"name":"order-1"}`) follow from it.
pub fn delivery(target: &dyn Target, number: u32) -> Delivery {
    let document: Map = [("name", format!("order-{number}"))].into_iter().collect();
    deliver_document(target, number, &document.into()).expect("the document can be prepared")
}

/// Delivery number `number` of `document`; `$headers` is empty, `$meta.id` the message's id.
pub fn deliver_document(target: &dyn Target, number: u32, document: &Value) -> Result<Delivery, Fault> {
    let id = MessageId::derive(&[b"conformance", &number.to_be_bytes()]);
    let meta: Map = [("id", id.to_string())].into_iter().collect();
    let prepared = target.prepare(&Scope {
        document,
        headers: &Map::new(),
        meta: &meta,
        item: None,
        partner: None,
        connection: None,
        time: Timestamp::UNIX_EPOCH,
        id,
        tables: &NoTables,
    })?;
    Ok(Delivery { id, time: Timestamp::UNIX_EPOCH, prepared, attempt: 1 })
}

/// A hub without pipelines, in `folder`.
pub fn surroundings(folder: &Path) -> Surroundings {
    Surroundings {
        clock: Clock::real(),
        folder: folder.to_owned(),
        routes: Arc::new(http::Routes::default()),
        pipelines: Arc::new(NoPipelines),
    }
}

/// JSON, without the codecs' options.
pub fn codec() -> Arc<dyn Codec> {
    Arc::new(PlainJson)
}

/// The source `yaml` describes (`protocol: ...`), or a panic with what is wrong.
pub fn read_source_yaml(yaml: &str) -> Arc<dyn SourceSettings> {
    read_yaml(yaml, read_source).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The target `yaml` describes (`protocol: ...`), or a panic with what is wrong.
pub fn read_target_yaml(yaml: &str) -> Arc<dyn TargetSettings> {
    read_yaml(yaml, read_target).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Reads the map `yaml` with `read`; problems come out as `check` would show them. `${TEST_SECRET}` is `s3cret`.
pub fn read_yaml<T>(
    yaml: &str,
    read: impl FnOnce(&mut MapReader<'_>, &mut Reader<'_>) -> Option<T>,
) -> Result<T, String> {
    let files = Files::default();
    let file = files.add("pipelines/test/pipeline.yaml", yaml);
    assert_eq!(file, FileId::default());
    let environment =
        Environment { only: Some([("TEST_SECRET".to_owned(), "s3cret".to_owned())].into()), ..Environment::default() };
    let mut reader = Reader::new(&files, &environment);
    let node = parse(file, yaml, &mut reader.problems);
    let value = node.as_ref().and_then(|node| {
        let mut map = reader.map(node)?;
        let value = read(&mut map, &mut reader);
        map.finish(&mut reader);
        value
    });
    let failed = reader.has_errors();
    let problems = reader.problems;
    value.filter(|_| !failed).ok_or_else(|| render(&files, &problems, false))
}

/// `future`'s outcome; a hang fails, naming `what`.
pub async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// No table at all.
pub struct NoTables;

impl Tables for NoTables {
    fn row(&self, table: &str, _key: &str) -> Result<Option<&Map>, Fault> {
        Err(Fault::misconfigured("TABLE-UNKNOWN", format!("there is no table `{table}`")))
    }

    fn has_column(&self, _table: &str, _column: &str) -> Option<bool> {
        None
    }
}

struct NoPipelines;

impl Pipelines for NoPipelines {
    fn receiver(&self, _pipeline: &str) -> Option<Arc<dyn Receiver>> {
        None
    }
}

#[derive(Debug)]
struct PlainJson;

impl Codec for PlainJson {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        json::read(bytes).map_err(|error| Fault::refuse("DECODE-JSON", "not JSON").at(error.to_string()))
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        Ok(document.to_string().into())
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }
}
