//! What the distributed engine asks of a message broker, and nothing else: so that its rules can be tried against a simulated
//! broker, with kills at every gap, and the real one is only wires.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::{NewEntry, Sharing, Window};
use crate::message::{Fault, Map, MessageId, Text};

/// A broker whose queues are durable and whose publishes are confirmed.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Makes sure the queue is there, with its partitions, and again after each reconnection.
    ///
    /// # Errors
    /// `misconfigured`: it exists and is unlike what we need (the difference in words), or we may not.
    async fn declare(&self, queue: &str, sharing: Sharing) -> Result<(), Fault>;

    /// Publishes all, in order, several unconfirmed at a time; answers each once the broker has it for good, or not.
    ///
    /// # Errors
    /// Of one: returned as unroutable, refused, not confirmed in time, connection lost. Where the fault is `retry` or
    /// `reconnect` it may be there all the same.
    async fn publish(&self, publications: &[Publication]) -> Vec<Result<(), Fault>>;

    /// Deliveries of one partition (or of the queue, where it is [`Sharing::Competing`]). Of several consumers of a partition,
    /// in this process or others, one is active; of a competing queue, all.
    ///
    /// `window` bounds what is delivered and not acknowledged.
    async fn subscribe(&self, lane: &BrokerLane, window: Window) -> Result<Subscribed, Fault>;

    /// How many entries the broker holds for `queue` over all its partitions, except those delivered and not acknowledged.
    async fn depth(&self, queue: &str) -> Result<BrokerDepth, Fault>;

    /// For how long there has been no connection, and why; `None` while there is one, and where nobody has asked for one.
    fn away(&self) -> Option<(Duration, Fault)> {
        None
    }

    /// The end of this process's part: what was acknowledged is told, then the connections are closed. All subscriptions are
    /// over by now.
    async fn close(&self) {}

    /// Number of partitions of a [`Sharing::Keyed`] queue.
    fn partitions(&self) -> u32;
}

/// One broker queue: a partition, or a whole competing queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerLane {
    pub queue: Text,
    /// `None` for a [`Sharing::Competing`] queue; 0 for a [`Sharing::Single`] one.
    pub partition: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerDepth {
    pub ready: u64,
    /// In wait queues.
    pub waiting: u64,
}

/// An entry on its way to the broker.
#[derive(Clone, Debug)]
pub struct Publication {
    pub lane: BrokerLane,
    pub envelope: Envelope,
    /// Comes to the lane after about so long, or earlier; whoever gets it looks at `entry.due`. Competing queues only.
    pub delay: Option<Duration>,
}

/// An entry as it travels: `entry.decoded` does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub entry: NewEntry,
    pub attempts: u32,
    pub stored: Timestamp,
    /// Drawn for each publication: deliveries of one have the same, a message that is published twice has two.
    pub copy: MessageId,
}

/// A running subscription. Dropping `deliveries` ends it: what was not acknowledged is delivered again, here or elsewhere.
pub struct Subscribed {
    pub deliveries: Box<dyn Deliveries>,
    pub acks: Arc<dyn Acks>,
}

#[async_trait]
pub trait Deliveries: Send {
    /// At least one, as they come. The wait may be dropped; nothing is lost by it.
    ///
    /// # Errors
    /// The subscription is over (connection lost, queue deleted, consumer cancelled): what was not acknowledged will be
    /// delivered again, to whoever subscribes.
    async fn next(&mut self) -> Result<Vec<Delivered>, Fault>;
}

pub trait Acks: Send + Sync {
    /// Acknowledges deliveries of this subscription, at once as far as this process goes. Of one that is over: nothing.
    fn ack(&self, tags: &[u64]);
}

#[derive(Debug)]
pub struct Delivered {
    /// Its number in this subscription.
    pub tag: u64,
    /// It was delivered before, here or elsewhere: what followed from it may be settled already.
    pub redelivered: bool,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Entry(Box<Envelope>),
    /// Not written by a hub, or by one of another version.
    Unreadable {
        headers: Map,
        body: Bytes,
        fault: Fault,
    },
}
