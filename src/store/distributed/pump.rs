//! Brings what broker and ledger have for a queue into its feed, lane by lane, and parks what must wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::feed::{From, Input, LaneNumber, ToAck};
use super::keeper::Turn;
use super::{Consuming, LINGER, Line, Shared, letters};
use crate::message::{Fault, Map, MessageId, Text};
use crate::queue::broker::{BrokerLane, Content, Delivered, Envelope, Publication};
use crate::queue::{Decoded, Entry, NewEntry, Sharing, Window};
use crate::store::{Fence, Settlement};

/// Entries parked in one commit.
const PARKED: usize = 256;
/// Between attempts at a broker or a database that does not answer.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// Starts the tasks of a queue's consumer.
pub fn begin(shared: &Arc<Shared>, line: &Arc<Line>, window: Window) -> Consuming {
    let stop = shared.stop.child_token();
    let tasks = TaskTracker::new();
    let lanes = shared.lanes(line);
    let part = Window { entries: (window.entries / lanes.len()).max(1), bytes: (window.bytes / lanes.len()).max(1) };
    for number in lanes {
        let lane = Lane { shared: shared.clone(), line: line.clone(), number, window: part };
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = lane.run() => {}
            }
            lane.gone();
        });
    }
    let (parked, parking) = (stop.child_token(), TaskTracker::new());
    let parks = Parking { shared: shared.clone(), line: line.clone() };
    let (finish, stopped) = (parked.clone(), stop.clone());
    parking.spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = parks.run(finish) => {}
        }
    });
    Consuming { parked, parking, stop, tasks }
}

/// The consumer is gone: once its settles are done, what waits here goes back, unless another consumer has come.
pub async fn end(shared: Arc<Shared>, line: Arc<Line>, generation: u64) {
    let settled = async {
        loop {
            let idle = line.idle.notified();
            if line.feed().is_idle() || !line.feed().is_current(generation) {
                return;
            }
            idle.await;
        }
    };
    tokio::select! {
        () = settled => {}
        () = tokio::time::sleep(LINGER) => {}
        () = shared.stop.cancelled() => {}
    }
    let mut consuming = line.consumer.lock().await;
    if line.feed().is_current(generation)
        && let Some(consuming) = consuming.as_mut()
    {
        consuming.end().await;
    }
}

struct Lane {
    shared: Arc<Shared>,
    line: Arc<Line>,
    number: LaneNumber,
    window: Window,
}

impl Lane {
    fn name(&self) -> Text {
        self.line.ledger_name(self.number)
    }

    async fn run(&self) {
        match self.line.sharing {
            // Every instance takes from the broker, one of them what waits in the ledger.
            Sharing::Competing => tokio::join!(self.pump_broker(), self.turns()).1,
            Sharing::Keyed | Sharing::Single => self.turns().await,
        }
    }

    /// Does its part in each turn of the lane's lease.
    async fn turns(&self) {
        let mut turns = self.shared.keeper.want(&self.name());
        let _wish = Wish(self);
        loop {
            let turn = turns.borrow_and_update().clone();
            match turn.filter(|turn| !turn.lost.is_cancelled() && !turn.ends) {
                Some(turn) => self.turn(turn, &mut turns).await,
                None => {
                    if turns.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn turn(&self, turn: Turn, turns: &mut watch::Receiver<Option<Turn>>) {
        let keyed = self.line.sharing != Sharing::Competing;
        let fence = self.shared.ledger.is_shared().then(|| turn.fence.clone());
        let work = async {
            self.open(fence).await;
            if keyed {
                tokio::join!(self.pump_broker(), self.pump_ledger());
            } else {
                self.pump_ledger().await;
            }
        };
        let passes = async {
            loop {
                if turns.borrow_and_update().as_ref().is_none_or(|turn| turn.ends) || turns.changed().await.is_err() {
                    return;
                }
            }
        };
        let ends = {
            tokio::pin!(work);
            tokio::select! {
                () = &mut work => false,
                () = turn.lost.cancelled() => false,
                () = passes => {
                    if keyed {
                        // What is out is settled and acknowledged before the next holder is handed anything.
                        self.line.feed().ending(self.number);
                        tokio::select! {
                            () = &mut work => {}
                            () = turn.lost.cancelled() => {}
                            () = self.idle() => {}
                        }
                    }
                    true
                }
            }
        };
        if keyed {
            self.line.feed().closed(self.number);
        } else {
            self.line.feed().ledger_closed(self.number);
        }
        self.line.ready.notify_waiters();
        if ends {
            self.shared.keeper.finished(&turn.fence);
        }
    }

    async fn idle(&self) {
        loop {
            let idle = self.line.idle.notified();
            if self.line.feed().is_lane_idle(self.number) {
                return;
            }
            idle.await;
        }
    }

    /// The tasks end: nothing of this lane is here any more.
    fn gone(&self) {
        self.line.feed().closed(self.number);
    }

    /// Learns which keys wait in the ledger: until then the broker's deliveries would overtake them.
    async fn open(&self, fence: Option<Fence>) {
        let mut failures = Failures::default();
        loop {
            match self.shared.ledger.keys(&self.name()).await {
                Ok(keys) => return self.line.feed().opened(self.number, fence, keys),
                Err(fault) => failures.rest(&self.line.queue, &fault).await,
            }
        }
    }

    async fn pump_ledger(&self) {
        let mut failures = Failures::default();
        loop {
            if let Err(fault) = self.drain_ledger(&mut failures).await {
                failures.rest(&self.line.queue, &fault).await;
            }
        }
    }

    async fn drain_ledger(&self, failures: &mut Failures) -> Result<(), Fault> {
        let mut consumer = self.shared.ledger.consume(&self.name(), self.window).await?;
        loop {
            let entries: Vec<Entry> = consumer.next(self.window.entries).await?;
            failures.passed();
            let now = self.shared.now();
            {
                let mut feed = self.line.feed();
                for entry in entries {
                    feed.came_back(self.shared.number(), self.number, entry, now);
                }
            }
            self.line.parking.notify_one();
            self.line.ready.notify_waiters();
        }
    }

    async fn pump_broker(&self) {
        let mut failures = Failures::default();
        loop {
            let outcome = self.subscribe(&mut failures).await;
            self.line.feed().detached(self.number);
            if let Err(fault) = outcome {
                failures.rest(&self.line.queue, &fault).await;
            }
        }
    }

    async fn subscribe(&self, failures: &mut Failures) -> Result<(), Fault> {
        let lane = BrokerLane { queue: self.line.queue.clone(), partition: self.number };
        let mut subscribed = self.shared.broker.subscribe(&lane, self.window).await?;
        let session = self.line.feed().attached(self.number, subscribed.acks.clone());
        loop {
            let delivered = subscribed.deliveries.next().await?;
            failures.passed();
            let done = self.take_in(session, delivered).await?;
            subscribed.acks.ack(&done);
        }
    }

    /// Into the feed; gives the tags of what needs nothing more.
    async fn take_in(&self, session: u64, delivered: Vec<Delivered>) -> Result<Vec<u64>, Fault> {
        let settled = self.settled(session, &delivered).await?;
        let mut done = Vec::new();
        let now = self.shared.now();
        for (delivered, settled) in delivered.into_iter().zip(settled) {
            match delivered.content {
                _ if settled == Some(true) => done.push(delivered.tag),
                Content::Entry(_) if settled.is_none() => {}
                Content::Entry(envelope) => {
                    let number = self.shared.number();
                    self.line.feed().delivered(number, self.number, session, delivered.tag, *envelope, now);
                }
                Content::Unreadable { headers, body, fault } => {
                    self.keep_unreadable(headers, body, &fault).await?;
                    done.push(delivered.tag);
                }
            }
        }
        self.line.parking.notify_one();
        self.line.ready.notify_waiters();
        Ok(done)
    }

    /// Of each delivery whether its end was committed; `None` where it is here already, under its new tag.
    async fn settled(&self, session: u64, delivered: &[Delivered]) -> Result<Vec<Option<bool>>, Fault> {
        let mut answers = vec![Some(false); delivered.len()];
        let (mut asked, mut places) = (Vec::new(), Vec::new());
        for (place, delivered) in delivered.iter().enumerate().filter(|(_, delivered)| delivered.redelivered) {
            let Content::Entry(envelope) = &delivered.content else { continue };
            let copy = envelope.copy;
            if self.line.feed().known_again(self.number, session, delivered.tag, copy) {
                answers[place] = None;
            } else {
                asked.push((self.line.queue.clone(), copy));
                places.push(place);
            }
        }
        if !asked.is_empty() {
            for (place, settled) in places.into_iter().zip(self.shared.ledger.settled(&asked).await?) {
                answers[place] = Some(settled);
            }
        }
        Ok(answers)
    }

    /// What no hub has written is a dead letter, so that it stops nobody.
    async fn keep_unreadable(&self, headers: Map, body: Bytes, fault: &Fault) -> Result<(), Fault> {
        let (id, now) = (MessageId::draw(), self.shared.now());
        warn!(message = %id, queue = %self.line.queue, code = fault.code(), "to dead letters: {fault}");
        let entry = NewEntry {
            queue: self.name(),
            message: id,
            origin: id,
            key: None,
            time: now,
            headers,
            body,
            start_at: 0,
            due: None,
            decoded: Decoded::default(),
        };
        let (letter, hop) = letters::dead(entry, fault, 0, now);
        self.shared.ledger.settle(Settlement { dead: vec![letter], hops: vec![hop], ..Settlement::default() }).await
    }
}

/// Wants a lane's lease as long as it lives.
struct Wish<'a>(&'a Lane);

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.0.shared.keeper.unwant(&self.0.name());
    }
}

/// Stores what must wait behind others in the ledger, and what came too early in a wait queue.
struct Parking {
    shared: Arc<Shared>,
    line: Arc<Line>,
}

impl Parking {
    /// Until `finish`, and then once more what there is.
    async fn run(&self, finish: CancellationToken) {
        let mut failures = Failures::default();
        loop {
            let inputs = self.line.feed().next_to_park(PARKED);
            let recount = self.line.feed().take_recount();
            if inputs.is_empty() && recount.is_empty() {
                if finish.is_cancelled() {
                    return;
                }
                tokio::select! {
                    () = self.line.parking.notified() => {}
                    () = finish.cancelled() => {}
                }
                continue;
            }
            let outcome = async {
                self.park(&inputs).await?;
                self.recount(&recount).await
            };
            match outcome.await {
                Ok(()) => failures.passed(),
                Err(fault) => {
                    self.line.feed().ask_recount(recount);
                    failures.rest(&self.line.queue, &fault).await;
                }
            }
        }
    }

    async fn park(&self, inputs: &[Input]) -> Result<(), Fault> {
        let Some(first) = inputs.first() else { return Ok(()) };
        if first.lane.is_none() {
            return self.delay(inputs).await;
        }
        let name = self.line.ledger_name(first.lane);
        let mut settlement = Settlement::default();
        settlement.fences.extend(self.line.feed().fence(first.lane));
        for input in inputs {
            let mut entry = input.entry.clone();
            entry.queue = name.clone();
            settlement.parked.push((entry, input.attempts));
            settlement.settled.push((self.line.queue.clone(), input.copy));
        }
        let _moving = self.line.moving.lock().await;
        match self.shared.ledger.settle(settlement).await {
            Ok(()) => {
                let acks = self.line.feed().parked(inputs);
                self.acknowledge(acks);
                Ok(())
            }
            Err(fault) if fault.code() == "STORE-STALE" => {
                self.forget_settled(inputs).await?;
                Err(fault)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Of entries that cannot be parked, those that were before: the broker delivered them again.
    async fn forget_settled(&self, inputs: &[Input]) -> Result<(), Fault> {
        let asked: Vec<_> = inputs.iter().map(|input| (self.line.queue.clone(), input.copy)).collect();
        let settled = self.shared.ledger.settled(&asked).await?;
        let gone: Vec<_> =
            inputs.iter().zip(settled).filter(|(_, settled)| *settled).map(|(input, _)| input.clone()).collect();
        let acks = self.line.feed().were_settled(&gone, self.shared.now());
        self.acknowledge(acks);
        Ok(())
    }

    /// Came from a wait queue before its time, or is not due yet: into the next.
    async fn delay(&self, inputs: &[Input]) -> Result<(), Fault> {
        let now = self.shared.now();
        let publications: Vec<_> = inputs.iter().map(|input| delayed(&self.line.queue, input, now)).collect();
        let outcomes = self.shared.broker.publish(&publications).await;
        outcomes.into_iter().collect::<Result<Vec<()>, Fault>>()?;
        let acks = self.line.feed().parked(inputs);
        self.acknowledge(acks);
        Ok(())
    }

    fn acknowledge(&self, acks: Vec<ToAck>) {
        for ToAck { acks, tags } in acks {
            acks.ack(&tags);
        }
        self.line.idle.notify_waiters();
        self.line.ready.notify_waiters();
    }

    async fn recount(&self, keys: &[(LaneNumber, Text)]) -> Result<(), Fault> {
        let mut lanes: Vec<LaneNumber> = keys.iter().map(|(lane, _)| *lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        for lane in lanes {
            let found = self.shared.ledger.keys(&self.line.ledger_name(lane)).await?;
            let now = self.shared.now();
            let mut feed = self.line.feed();
            for (_, key) in keys.iter().filter(|(of, _)| *of == lane) {
                feed.counted(lane, key, found.iter().find(|found| found.key == *key), now);
            }
        }
        self.line.ready.notify_waiters();
        Ok(())
    }
}

/// An entry on its way to a wait queue.
pub fn delayed(queue: &Text, input: &Input, now: jiff::Timestamp) -> Publication {
    let delay = input.entry.due.and_then(|due| Duration::try_from(due.duration_since(now)).ok());
    Publication {
        lane: BrokerLane { queue: queue.clone(), partition: None },
        envelope: Envelope {
            entry: input.entry.clone(),
            attempts: input.attempts,
            stored: input.stored,
            copy: MessageId::draw(),
        },
        delay: Some(delay.unwrap_or_default()),
    }
}

/// Rests ever longer while something fails, and says so once.
#[derive(Default)]
struct Failures(usize);

impl Failures {
    async fn rest(&mut self, queue: &Text, fault: &Fault) {
        if self.0 == PAUSES.len() {
            warn!(%queue, code = fault.code(), "the queue waits: {fault}");
        }
        tokio::time::sleep(PAUSES[self.0.min(PAUSES.len() - 1)]).await;
        self.0 += 1;
    }

    fn passed(&mut self) {
        if self.0 > PAUSES.len() {
            info!("the queue goes on");
        }
        self.0 = 0;
    }
}

impl From {
    /// Whether the broker will deliver it again, whatever is said to it.
    pub fn is_void(self) -> bool {
        matches!(self, From::Broker { void: true, .. })
    }
}
