//! The distributed engine: queues in a broker, everything else in a ledger (a database), any number of instances.
//!
//! Broker and ledger do not commit together, so a settle goes in steps, each of which may be repeated after a kill:
//! outputs published and confirmed → the ledger's commit → the inputs acknowledged. An intake: keys claimed → published →
//! committed. What must be exact (a retry's place in its key, a replay, a closed group) goes through the ledger's own queue
//! in one commit, and is handed out from there.
//!
//! `feed` decides what may go out, `pump` brings it in, `settle` and `intake` are the steps, `turns` keeps publishes of a key apart, `keeper` holds this instance's
//! leases, `share` says which, `lanes` names what a queue is cut into. `simulated` is a broker for the seeded model, which
//! kills and pauses instances at every step.

mod feed;
mod intake;
mod keeper;
mod lanes;
mod letters;
mod opening;
mod pump;
mod settle;
mod share;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{
    Accepted, Away, DeadFilter, DeadLetter, DueGroup, Engine, Fence, Hold, Hop, Instance, Instances, Intake, Kept,
    Ledger, Retention, Server, Settlement, Store, Vault,
};
use crate::clock::Clock;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::queue::broker::Broker;
use crate::queue::{Consumer, Depth, Entry, Queue, Sharing, Window};
use crate::steps::{Group, GroupKey};
use feed::{Feed, LaneNumber, ledger_name};
use keeper::Keeper;
pub use opening::open_distributed;
use turns::Turns;

/// The ledger's cursor that lists the queues and how they are shared.
const QUEUES: &str = "queues";
/// A queue's depth may be so old where only back-pressure asks.
const DEPTH_AGE: Duration = Duration::from_secs(2);
/// How long a consumer that is gone keeps its deliveries, for settles that are under way.
const LINGER: Duration = Duration::from_secs(20);

/// How long the last parking may take when a consumer ends.
const PARK_WITHIN: Duration = Duration::from_secs(3);

/// How an engine is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// This instance's name, for people.
    pub name: Text,
    /// Most entries of one queue before intake is refused.
    pub quota: u64,
    pub clock: Clock,
    /// An instance that is silent for so long is dead to the others.
    pub lives: Duration,
}

/// Opens the engine: returns at once, and works when broker and ledger do.
pub fn open(broker: Arc<dyn Broker>, ledger: Arc<dyn Ledger>, options: Options) -> Engine {
    start(
        broker,
        ledger,
        options,
        #[cfg(test)]
        Arc::new(simulated::NoGaps),
    )
}

fn start(
    broker: Arc<dyn Broker>,
    ledger: Arc<dyn Ledger>,
    options: Options,
    #[cfg(test)] gaps: Arc<dyn simulated::Gaps>,
) -> Engine {
    let stop = CancellationToken::new();
    // Numbers of entries are told apart from those of any former or other instance.
    let drawn = MessageId::draw();
    let first = i64::from(u32::from_be_bytes([
        drawn.as_bytes()[0] & 0x7f,
        drawn.as_bytes()[1],
        drawn.as_bytes()[2],
        drawn.as_bytes()[3],
    ]));
    let keeper = Keeper::new(ledger.clone(), options.name.clone(), options.lives);
    let shared = Arc::new(Shared {
        broker,
        ledger,
        keeper,
        options,
        queues: Mutex::default(),
        last_number: AtomicI64::new(first << 32),
        published: Mutex::default(),
        turns: Turns::default(),
        depths: Mutex::default(),
        well: Mutex::default(),
        stop,
        tasks: TaskTracker::new(),
        #[cfg(test)]
        gaps,
    });
    shared.tasks.spawn(beat(shared.clone()));
    let engine = Arc::new(Distributed { shared });
    Engine { queue: engine.clone(), store: engine.clone(), instances: engine }
}

async fn beat(shared: Arc<Shared>) {
    while !shared.stop.is_cancelled() {
        shared.gap(Gap::Beat).await;
        shared.keeper.step(&shared.stop).await;
    }
}

struct Distributed {
    shared: Arc<Shared>,
}

impl Drop for Distributed {
    fn drop(&mut self) {
        let shared = self.shared.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { shared.leave().await })),
            Err(_) => shared.stop.cancel(),
        }
    }
}

struct Shared {
    broker: Arc<dyn Broker>,
    ledger: Arc<dyn Ledger>,
    keeper: Arc<Keeper>,
    options: Options,
    queues: Mutex<HashMap<Text, Arc<Line>>>,
    last_number: AtomicI64,
    /// Settlements whose outputs are confirmed (but those refused) and whose commit has failed so far.
    published: Mutex<Vec<(Weak<Settlement>, settle::Refused)>>,
    turns: Turns<Settlement>,
    depths: Mutex<HashMap<Text, (Instant, u64)>>,
    well: Mutex<Option<Fault>>,
    stop: CancellationToken,
    /// The beat.
    tasks: TaskTracker,
    #[cfg(test)]
    gaps: Arc<dyn simulated::Gaps>,
}

/// One queue, as this process knows it.
struct Line {
    queue: Text,
    sharing: Sharing,
    /// Declared in the broker, or to be.
    declared: tokio::sync::OnceCell<()>,
    feed: Mutex<Feed>,
    /// Something may go out.
    ready: Notify,
    /// Something is to be parked or counted.
    parking: Notify,
    /// The last settle of something has ended.
    idle: Notify,
    consumer: tokio::sync::Mutex<Option<Consuming>>,
    /// Held while entries go from the broker to the ledger: whoever counts would meet them twice.
    moving: tokio::sync::Mutex<()>,
}

/// The tasks of a queue's consumer.
struct Consuming {
    /// Asks those who park to finish.
    parked: CancellationToken,
    parking: TaskTracker,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Consuming {
    /// What is being parked is finished and acknowledged, then the lanes end.
    async fn end(&self) {
        self.parked.cancel();
        self.parking.close();
        if tokio::time::timeout(PARK_WITHIN, self.parking.wait()).await.is_err() {
            warn!("what was to be parked is not; it is delivered again");
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Where a kill or a pause may fall, for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Beat,
    Claimed,
    Published,
    Committing,
    Committed,
}

impl Line {
    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger_name(&self, lane: LaneNumber) -> Text {
        ledger_name(&self.queue, lane)
    }
}

impl Shared {
    #[cfg(test)]
    async fn gap(&self, gap: Gap) {
        self.gaps.at(gap).await;
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_async, reason = "the model waits here")]
    async fn gap(&self, _gap: Gap) {}

    /// Ends all that runs here, then lets others have what was held: they are handed nothing before we have told what is done.
    async fn leave(&self) {
        #[cfg(test)]
        if self.gaps.is_sudden() {
            return self.stop.cancel();
        }
        let lines: Vec<_> = self.lines().values().cloned().collect();
        let ends = lines.iter().map(async |line| {
            if let Some(consuming) = line.consumer.lock().await.take() {
                consuming.end().await;
            }
        });
        futures_util::future::join_all(ends).await;
        self.broker.close().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.keeper.leave().await;
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    fn number(&self) -> i64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Text, Arc<Line>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, queue: &str) -> Option<Arc<Line>> {
        self.lines().get(queue).cloned()
    }

    /// The queue, declared in the broker and noted in the ledger.
    async fn line(&self, queue: &str) -> Result<Arc<Line>, Fault> {
        let line = match self.known(queue) {
            Some(line) => line,
            None => self.insert(queue, self.noted(queue).await?),
        };
        self.declare(&line).await?;
        Ok(line)
    }

    fn insert(&self, queue: &str, sharing: Sharing) -> Arc<Line> {
        let new = || {
            Arc::new(Line {
                queue: queue.into(),
                sharing,
                declared: tokio::sync::OnceCell::new(),
                feed: Mutex::new(Feed::new(queue.into())),
                ready: Notify::new(),
                parking: Notify::new(),
                idle: Notify::new(),
                consumer: tokio::sync::Mutex::default(),
                moving: tokio::sync::Mutex::default(),
            })
        };
        self.lines().entry(queue.into()).or_insert_with(new).clone()
    }

    async fn declare(&self, line: &Line) -> Result<(), Fault> {
        let declaring = async {
            self.broker.declare(&line.queue, line.sharing).await?;
            self.note(&line.queue, line.sharing).await
        };
        line.declared.get_or_try_init(|| declaring).await?;
        Ok(())
    }

    async fn all_noted(&self) -> Result<Map, Fault> {
        Ok(self.ledger.cursor(QUEUES).await?.and_then(|noted| noted.as_map().cloned()).unwrap_or_default())
    }

    async fn noted(&self, queue: &str) -> Result<Sharing, Fault> {
        let noted = self.all_noted().await?;
        Ok(noted.get(queue).and_then(Value::as_text).and_then(sharing_of).unwrap_or_default())
    }

    /// How the queue is shared is told to whoever comes later (`raccord dead replay`, the status of what is left over).
    async fn note(&self, queue: &Text, sharing: Sharing) -> Result<(), Fault> {
        let mut noted = self.all_noted().await?;
        let former = noted.get(queue).and_then(Value::as_text);
        if former == Some(word(sharing)) {
            return Ok(());
        }
        let others: Vec<_> =
            self.keeper.living().into_iter().filter(|one| !one.this && !one.revision.is_empty()).collect();
        if former.is_some()
            && let Some(other) = others.first()
        {
            warn!(
                %queue, instance = %other.name,
                "whether the messages of this queue have an order has changed, and another instance may run the former \
                 configuration: until all run this one, messages that are taken in there pass those that are taken in here"
            );
        }
        noted.insert(queue.clone(), Value::from(word(sharing)));
        let cursors = vec![(QUEUES.into(), noted.into())];
        self.ledger.settle(Settlement { cursors, ..Settlement::default() }).await
    }

    fn lane_of(&self, line: &Line, key: Option<&Text>, message: MessageId) -> LaneNumber {
        lanes::lane_of(&line.queue, line.sharing, self.broker.partitions(), key, message).partition
    }

    fn lanes(&self, line: &Line) -> Vec<LaneNumber> {
        let lanes = lanes::lanes(&line.queue, line.sharing, self.broker.partitions());
        lanes.into_iter().map(|lane| lane.partition).collect()
    }

    /// The lease of what only one instance does for the whole queue.
    fn leading(line: &Line) -> Text {
        line.ledger_name((line.sharing != Sharing::Competing).then_some(0))
    }

    async fn depth(&self, line: &Line) -> Result<Depth, Fault> {
        let in_broker = self.broker.depth(&line.queue).await?;
        // Where the ledger is slow, a count that is a little high is better than none.
        let _still = tokio::time::timeout(DEPTH_AGE, line.moving.lock()).await;
        let mut in_ledger = 0;
        let mut filled = None;
        for (name, entries) in self.ledger.queues().await? {
            if entries > 0 && lanes::queue_of(&name) == line.queue {
                in_ledger += entries;
                filled = Some(name);
            }
        }
        let (held, parking, mut oldest) = line.feed().unacknowledged();
        if let (None, Some(name)) = (oldest, filled) {
            oldest = Queue::depth(&*self.ledger, &name).await?.oldest;
        }
        Ok(Depth {
            entries: in_broker.ready + in_broker.waiting + held + in_ledger,
            waiting: in_broker.waiting + parking + in_ledger,
            oldest,
        })
    }

    /// Entries of a queue, told often: not older than a moment.
    async fn entries(&self, queue: &str) -> Result<u64, Fault> {
        let kept = self.depths.lock().unwrap_or_else(PoisonError::into_inner).get(queue).copied();
        if let Some((_, entries)) = kept.filter(|(at, _)| at.elapsed() < DEPTH_AGE) {
            return Ok(entries);
        }
        let entries = match self.known(queue) {
            Some(line) => self.depth(&line).await?.entries,
            None => 0,
        };
        let mut depths = self.depths.lock().unwrap_or_else(PoisonError::into_inner);
        depths.insert(queue.into(), (Instant::now(), entries));
        Ok(entries)
    }
}

fn word(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Keyed => "keyed",
        Sharing::Single => "single",
        Sharing::Competing => "competing",
    }
}

fn sharing_of(word: &str) -> Option<Sharing> {
    [Sharing::Keyed, Sharing::Single, Sharing::Competing].into_iter().find(|sharing| self::word(*sharing) == word)
}

#[async_trait]
impl Queue for Distributed {
    async fn declare(&self, queue: &str, sharing: Sharing) -> Result<(), Fault> {
        let line = match self.shared.known(queue).filter(|line| line.sharing == sharing) {
            Some(line) => line,
            None => {
                self.shared.lines().remove(queue);
                self.shared.insert(queue, sharing)
            }
        };
        self.shared.declare(&line).await
    }

    async fn consume(&self, queue: &str, window: Window) -> Result<Box<dyn Consumer>, Fault> {
        let line = self.shared.line(queue).await?;
        let mut consuming = line.consumer.lock().await;
        // The former one's tasks may be ending: they must not end what begins now.
        if let Some(former) = consuming.take_if(|former| former.stop.is_cancelled()) {
            former.end().await;
        }
        let generation = line.feed().consumed(window, self.shared.now());
        line.ready.notify_waiters();
        if consuming.is_none() {
            *consuming = Some(pump::begin(&self.shared, &line, window));
        }
        drop(consuming);
        Ok(Box::new(DistributedConsumer { shared: self.shared.clone(), line, generation }))
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Fault> {
        match self.shared.known(queue) {
            Some(line) => self.shared.depth(&line).await,
            None if self.shared.all_noted().await?.get(queue).is_some() => {
                let line = self.shared.insert(queue, self.shared.noted(queue).await?);
                self.shared.depth(&line).await
            }
            None => Ok(Depth::default()),
        }
    }

    async fn entries(&self, queue: &str) -> Result<u64, Fault> {
        self.shared.entries(queue).await
    }

    async fn queues(&self) -> Result<Vec<(Text, u64)>, Fault> {
        let mut queues = Vec::new();
        for (queue, _) in self.shared.all_noted().await? {
            queues.push((queue.as_str().into(), self.depth(&queue).await?.entries));
        }
        Ok(queues)
    }
}

struct DistributedConsumer {
    shared: Arc<Shared>,
    line: Arc<Line>,
    generation: u64,
}

#[async_trait]
impl Consumer for DistributedConsumer {
    async fn next(&mut self, most: usize) -> Result<Vec<Entry>, Fault> {
        loop {
            let changed = self.line.ready.notified();
            let rest = {
                let mut feed = self.line.feed();
                if !feed.is_current(self.generation) {
                    let sentence = format!("another consumer has taken {}", self.line.queue);
                    return Err(Fault::reconnect("QUEUE-REPLACED", sentence));
                }
                let given = feed.take(most, self.shared.now());
                if !given.is_empty() {
                    return Ok(given);
                }
                feed.next_rest()
            };
            tokio::select! {
                () = changed => {}
                () = self.shared.options.clock.sleep_until(rest.unwrap_or(Timestamp::MAX)), if rest.is_some() => {}
            }
        }
    }

    fn leads(&self) -> bool {
        self.shared.keeper.fence(&Shared::leading(&self.line)).is_some()
    }
}

impl Drop for DistributedConsumer {
    fn drop(&mut self) {
        let (shared, line, generation) = (self.shared.clone(), self.line.clone(), self.generation);
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(pump::end(shared, line, generation));
        }
    }
}

#[async_trait]
impl Instances for Distributed {
    async fn hold(&self, name: &str) -> Result<Hold, Fault> {
        let name = Text::from(name);
        let mut turns = self.shared.keeper.want(&name);
        // Dropped with the wait, or with the hold.
        let wanted = CancellationToken::new();
        let given_up = wanted.clone().drop_guard();
        let keeper = self.shared.keeper.clone();
        let wish = name.clone();
        let under = Arc::new(Mutex::new(None::<Fence>));
        let held = under.clone();
        tokio::spawn(async move {
            wanted.cancelled().await;
            let fence = held.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(fence) = fence {
                keeper.finished(&fence);
            }
            keeper.unwant(&wish);
        });
        loop {
            let turn = turns.borrow_and_update().clone();
            if let Some(turn) = turn.filter(|turn| !turn.lost.is_cancelled() && !turn.ends) {
                let lost = turn.lost.child_token();
                *under.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn.fence.clone());
                tokio::spawn(end_of_turn(turns, lost.clone()));
                let fence = self.shared.ledger.is_shared().then_some(turn.fence);
                return Ok(Hold::new(fence, lost, Some(given_up)));
            }
            if turns.changed().await.is_err() {
                return Err(Fault::reconnect("STORE-GONE", "the engine has stopped"));
            }
        }
    }

    async fn living(&self) -> Result<Vec<Instance>, Fault> {
        Ok(self.shared.keeper.living())
    }

    fn runs(&self, revision: &str) {
        self.shared.keeper.runs(revision);
    }

    async fn leave(&self) {
        self.shared.leave().await;
    }
}

/// A turn that is to pass on is over for its holder: dropping the hold passes it on.
async fn end_of_turn(mut turns: tokio::sync::watch::Receiver<Option<keeper::Turn>>, lost: CancellationToken) {
    loop {
        let ends = turns.borrow_and_update().as_ref().is_none_or(|turn| turn.ends || turn.lost.is_cancelled());
        if ends || turns.changed().await.is_err() {
            lost.cancel();
            return;
        }
        if lost.is_cancelled() {
            return;
        }
    }
}

#[async_trait]
impl Store for Distributed {
    async fn intake(&self, arrivals: Vec<Intake>, cursor: Option<(Text, Value)>) -> Result<Vec<Accepted>, Fault> {
        self.shared.intake(arrivals, cursor, None).await
    }

    async fn intake_under(
        &self,
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
    ) -> Result<Vec<Accepted>, Fault> {
        self.shared.intake(arrivals, cursor, fence).await
    }

    async fn settle_shared(&self, settlement: Arc<Settlement>) -> Result<(), Fault> {
        self.shared.settle(settlement).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        self.shared.ledger.cursor(name).await
    }

    async fn row(&self, table: &str, key: &str, now: Timestamp) -> Result<Option<Map>, Fault> {
        self.shared.ledger.row(table, key, now).await
    }

    async fn rows(&self, table: &str, prefix: &str, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault> {
        self.shared.ledger.rows(table, prefix, now, most).await
    }

    async fn answers(&self, message: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault> {
        self.shared.ledger.answers(message).await
    }

    async fn group(&self, key: &GroupKey) -> Result<Group, Fault> {
        self.shared.ledger.group(key).await
    }

    async fn due_groups(&self, pipeline: &str, now: Timestamp, most: u32) -> Result<Vec<DueGroup>, Fault> {
        self.shared.ledger.due_groups(pipeline, now, most).await
    }

    async fn dead_letters(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
        let mut letters = self.shared.ledger.dead_letters(filter).await?;
        letters.iter_mut().for_each(in_its_queue);
        Ok(letters)
    }

    async fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>, Fault> {
        let mut letter = self.shared.ledger.dead_letter(message).await?;
        letter.iter_mut().for_each(in_its_queue);
        Ok(letter)
    }

    async fn dead_count(&self) -> Result<Vec<(Text, u64)>, Fault> {
        self.shared.ledger.dead_count().await
    }

    async fn journal(&self, origin: MessageId) -> Result<Vec<Hop>, Fault> {
        self.shared.ledger.journal(origin).await
    }

    async fn search(&self, value: &str, most: u32) -> Result<Vec<MessageId>, Fault> {
        self.shared.ledger.search(value, most).await
    }

    async fn recent(&self, most: u32) -> Result<Vec<MessageId>, Fault> {
        self.shared.ledger.recent(most).await
    }

    async fn release(&self, queue: &str, key: &str) -> Result<(), Fault> {
        let line = self.shared.line(queue).await?;
        let lane = self.shared.lane_of(&line, Some(&key.into()), MessageId::derive(&[]));
        self.shared.ledger.release(&line.ledger_name(lane), key).await
    }

    async fn sweep(&self, now: Timestamp, retention: Retention) -> Result<bool, Fault> {
        self.shared.ledger.sweep(now, retention).await
    }

    async fn well(&self) -> Result<(), Fault> {
        self.shared.ledger.well().await
    }

    fn away(&self) -> Vec<Away> {
        let now = self.shared.now();
        let away = |server, (length, why): (Duration, Fault)| {
            let since = now.checked_sub(SignedDuration::try_from(length).unwrap_or_default()).unwrap_or(now);
            // People read it: no parts of a second.
            let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
            Away { server, since, why }
        };
        let broker = self.shared.broker.away().map(|said| away(Server::Broker, said));
        let database = self.shared.keeper.silence().map(|said| away(Server::Database, said));
        broker.into_iter().chain(database).collect()
    }
}

#[async_trait]
impl Vault for Distributed {
    async fn kept(&self, name: &str) -> Result<Kept, Fault> {
        self.shared.ledger.kept(name).await
    }

    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<Kept>, Fault> {
        self.shared.ledger.take_turn(name, holder, lives).await
    }

    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault> {
        self.shared.ledger.keep(name, holder, version, value).await
    }

    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault> {
        self.shared.ledger.pass_on(name, holder).await
    }
}

/// In the ledger the replay of a dead letter is of a lane; outside, of its queue.
fn in_its_queue(letter: &mut DeadLetter) {
    letter.replay.queue = lanes::queue_of(&letter.replay.queue);
}

/// Entries by key, so that at most one of each key is in a wave: a wave is confirmed before the next is published.
fn waves<T>(all: Vec<T>, key: impl Fn(&T) -> Option<(Text, Text)>) -> Vec<Vec<T>> {
    let mut seen: BTreeMap<(Text, Text), usize> = BTreeMap::new();
    let mut waves: Vec<Vec<T>> = Vec::new();
    for one in all {
        let wave = match key(&one) {
            Some(key) => {
                let count = seen.entry(key).or_default();
                *count += 1;
                *count - 1
            }
            None => 0,
        };
        if waves.len() <= wave {
            waves.resize_with(wave + 1, Vec::new);
        }
        waves[wave].push(one);
    }
    waves
}
