//! The one suite every protocol passes, and the fake parts its tests share.
//!
//! A protocol gives a [`SourcePeer`] (who sends to its source) or a [`TargetPeer`] (who takes from its target), made fresh
//! for each case, and calls [`source`] or [`target`]. What a protocol cannot show (a folder refuses nothing) it says so.

mod parts;
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Source, Target};
use crate::message::{Fault, Next};
pub use parts::{
    NoTables, codec, deliver_document, delivery, read_source_yaml, read_target_yaml, read_yaml, read_yaml_in,
    surroundings,
};
pub use recorder::{Mood, Recorder};

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
    let (once, again) = (delivery(&*target, 1), delivery(&*target, 1));
    assert_eq!(once.prepared, again.prepared, "what is prepared depends on the message alone");
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

/// `future`'s outcome; a hang fails, naming `what`.
pub async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
