//! A broker in memory that behaves like the real one where it hurts: confirms that never come though the message is there,
//! subscriptions that end, deliveries that come again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::Gap;
use crate::message::Fault;
use crate::queue::broker::{
    Acks, Broker, BrokerDepth, BrokerLane, Content, Delivered, Deliveries, Envelope, Publication, Subscribed,
};
use crate::queue::{Sharing, Window};
use crate::store::scenario::Dice;

/// Where the model kills and pauses.
#[async_trait]
pub(super) trait Gaps: Send + Sync {
    async fn at(&self, gap: Gap);

    /// Whether an end of the engine is a kill: nothing is told to anybody.
    fn is_sudden(&self) -> bool {
        false
    }
}

pub(super) struct NoGaps;

#[async_trait]
impl Gaps for NoGaps {
    async fn at(&self, _gap: Gap) {}
}

/// The largest body it takes.
const LIMIT: usize = 1 << 20;

/// The broker all instances share.
#[derive(Clone)]
pub struct SimulatedBroker {
    world: Arc<World>,
}

struct World {
    partitions: u32,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    lanes: BTreeMap<BrokerLane, LaneState>,
    last_consumer: u64,
    /// One publish in so many fails, half of those after it was stored. 0: none.
    fails_one_in: usize,
    dice: Option<Dice>,
}

#[derive(Default)]
struct LaneState {
    ready: VecDeque<Kept>,
    waiting: Vec<Kept>,
    /// In the order they came: of a partition, the first is active.
    consumers: Vec<Consumer>,
}

struct Consumer {
    number: u64,
    window: usize,
    last_tag: u64,
    unacknowledged: BTreeMap<u64, Kept>,
}

#[derive(Clone)]
struct Kept {
    envelope: Envelope,
    redelivered: bool,
}

impl SimulatedBroker {
    pub fn new(partitions: u32, seed: u64, fails_one_in: usize) -> SimulatedBroker {
        let state = State { fails_one_in, dice: Some(Dice(seed)), ..State::default() };
        SimulatedBroker { world: Arc::new(World { partitions, state: Mutex::new(state), changed: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.world.state.lock().expect("the simulated broker does not panic")
    }

    /// Ends all subscriptions, as a broker killed and started again.
    pub fn restart(&self) {
        let mut state = self.state();
        for lane in state.lanes.values_mut() {
            for consumer in std::mem::take(&mut lane.consumers) {
                lane.give_back(consumer);
            }
        }
        drop(state);
        self.world.changed.notify_waiters();
    }
}

impl LaneState {
    fn give_back(&mut self, consumer: Consumer) {
        for (_, mut kept) in consumer.unacknowledged.into_iter().rev() {
            kept.redelivered = true;
            self.ready.push_front(kept);
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(at) = self.consumers.iter().position(|consumer| consumer.number == number) {
            let consumer = self.consumers.remove(at);
            self.give_back(consumer);
        }
    }
}

#[async_trait]
impl Broker for SimulatedBroker {
    async fn declare(&self, _queue: &str, _sharing: Sharing) -> Result<(), Fault> {
        Ok(())
    }

    async fn publish(&self, publications: &[Publication]) -> Vec<Result<(), Fault>> {
        tokio::task::yield_now().await;
        let mut outcomes = Vec::new();
        {
            let mut state = self.state();
            for publication in publications {
                if publication.envelope.entry.body.len() > LIMIT {
                    outcomes.push(Err(Fault::refuse("AMQP-LIMIT", "too large")));
                    continue;
                }
                let State { lanes, dice, fails_one_in, .. } = &mut *state;
                let fails = dice.as_mut().is_some_and(|dice| *fails_one_in > 0 && dice.below(*fails_one_in) == 0);
                let stored = !fails || dice.as_mut().is_some_and(|dice| dice.below(2) == 0);
                if stored {
                    let lane = lanes.entry(publication.lane.clone()).or_default();
                    let kept = Kept { envelope: publication.envelope.clone(), redelivered: false };
                    if publication.delay.is_some() {
                        lane.waiting.push(kept);
                    } else {
                        lane.ready.push_back(kept);
                    }
                }
                outcomes.push(if fails { Err(Fault::retry("AMQP-CONFIRM", "no confirm came")) } else { Ok(()) });
            }
        }
        self.world.changed.notify_waiters();
        tokio::task::yield_now().await;
        outcomes
    }

    async fn subscribe(&self, lane: &BrokerLane, window: Window) -> Result<Subscribed, Fault> {
        let mut state = self.state();
        state.last_consumer += 1;
        let number = state.last_consumer;
        let consumer = Consumer { number, window: window.entries, last_tag: 0, unacknowledged: BTreeMap::new() };
        state.lanes.entry(lane.clone()).or_default().consumers.push(consumer);
        drop(state);
        let subscription = Arc::new(Subscription { broker: self.clone(), lane: lane.clone(), number });
        Ok(Subscribed { deliveries: Box::new(Stream(subscription.clone())), acks: subscription })
    }

    async fn depth(&self, queue: &str) -> Result<BrokerDepth, Fault> {
        let state = self.state();
        let mut depth = BrokerDepth::default();
        for (lane, held) in &state.lanes {
            if lane.queue == queue {
                depth.ready += held.ready.len() as u64;
                depth.waiting += held.waiting.len() as u64;
            }
        }
        Ok(depth)
    }

    fn partitions(&self) -> u32 {
        self.world.partitions
    }
}

struct Subscription {
    broker: SimulatedBroker,
    lane: BrokerLane,
    number: u64,
}

struct Stream(Arc<Subscription>);

impl Drop for Stream {
    fn drop(&mut self) {
        let this = &self.0;
        if let Some(lane) = this.broker.state().lanes.get_mut(&this.lane) {
            lane.close(this.number);
        }
        this.broker.world.changed.notify_waiters();
    }
}

impl Acks for Subscription {
    fn ack(&self, tags: &[u64]) {
        let mut state = self.broker.state();
        let Some(lane) = state.lanes.get_mut(&self.lane) else { return };
        let Some(consumer) = lane.consumers.iter_mut().find(|consumer| consumer.number == self.number) else { return };
        for tag in tags {
            assert!(consumer.unacknowledged.remove(tag).is_some(), "{tag} is acknowledged twice");
        }
        drop(state);
        self.broker.world.changed.notify_waiters();
    }
}

impl Subscription {
    fn next(&self) -> Result<Vec<Delivered>, Fault> {
        let mut state = self.broker.state();
        let lane = state.lanes.entry(self.lane.clone()).or_default();
        // A wait queue is quicker here than any clock: whoever gets an entry looks at its time.
        let waiting = std::mem::take(&mut lane.waiting);
        lane.ready.extend(waiting);
        let Some(at) = lane.consumers.iter().position(|consumer| consumer.number == self.number) else {
            return Err(Fault::reconnect("AMQP-CLOSED", "the subscription is over"));
        };
        let mut delivered = Vec::new();
        if at > 0 && self.lane.partition.is_some() {
            return Ok(delivered);
        }
        while lane.consumers[at].unacknowledged.len() < lane.consumers[at].window {
            let Some(kept) = lane.ready.pop_front() else { break };
            let consumer = &mut lane.consumers[at];
            consumer.last_tag += 1;
            delivered.push(Delivered {
                tag: consumer.last_tag,
                redelivered: kept.redelivered,
                content: Content::Entry(Box::new(kept.envelope.clone())),
            });
            consumer.unacknowledged.insert(consumer.last_tag, kept);
        }
        Ok(delivered)
    }
}

#[async_trait]
impl Deliveries for Stream {
    async fn next(&mut self) -> Result<Vec<Delivered>, Fault> {
        loop {
            let changed = self.0.broker.world.changed.notified();
            let delivered = self.0.next()?;
            if !delivered.is_empty() {
                return Ok(delivered);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    }
}

/// What the model needs to say in a panic.
impl std::fmt::Debug for SimulatedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (lane, held) in &self.state().lanes {
            let who = held.consumers.iter().map(|consumer| (consumer.number, consumer.unacknowledged.len()));
            writeln!(f, "{lane:?}: {} ready, consumers {:?}", held.ready.len(), who.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
