//! What the hub remembers, and the settle: one commit that ends inputs and keeps everything that follows from them.
//!
//! The embedded engine keeps queue and store in one SQLite file, so a [`Settlement`] is one transaction.

#[cfg(test)]
pub mod conformance;
pub mod distributed;
mod hops;
mod instances;
mod ledger;
#[cfg(test)]
mod model;
mod postgres;
mod repeats;
#[cfg(test)]
pub mod scenario;
mod sqlite;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::queue::{EntryRef, NewEntry, Queue};
use crate::steps::{Group, GroupKey};

pub use distributed::open_distributed;
pub use instances::{Alone, Fence, Hold, Instance, Instances};
pub use ledger::{Beat, Claimed, Key, Lease, Ledger, Pulse};
pub use postgres::open as open_postgres;
pub use sqlite::{open, open_ledger as open_sqlite_ledger};
pub use vault::{Kept, MemoryVault, Vault};

/// Everything that becomes true at once, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Inputs that are done.
    pub ended: Vec<EntryRef>,
    /// Inputs to hand out again later, counted as an attempt; later ones of their key wait for them.
    pub retries: Vec<Retry>,
    /// New entries.
    pub outputs: Vec<NewEntry>,
    /// What was not delivered, kept with its bytes and cause.
    pub dead: Vec<DeadLetter>,
    /// Dead letters that are dealt with (replayed or discarded).
    pub dead_ended: Vec<MessageId>,
    pub hops: Vec<Hop>,
    /// Rows of durable tables.
    pub rows: Vec<RowWrite>,
    /// What systems answered to messages that are not done yet. Another answer to the same question makes the settlement stale.
    pub answers: Vec<AnswerWrite>,
    pub groups: Vec<GroupWrite>,
    /// Where sources go on from, by name.
    pub cursors: Vec<(Text, Value)>,
    /// Keys whose further delivery stops until a person acts (`then: hold_key`): queue and key.
    pub held: Vec<(Text, Text)>,
    /// Entries with the attempts they have had: stored behind those of their key, due or not.
    pub parked: Vec<(NewEntry, u32)>,
    /// Claims, taken by [`Ledger::claim`], whose entries are stored.
    pub claimed: Vec<Claim>,
    /// Deliveries (queue and copy) whose end is told by this commit and not by the queue: see [`Ledger::settled`]. One that
    /// was told before makes the settlement stale.
    pub settled: Vec<(Text, MessageId)>,
    /// Leases under which this was decided; one that has passed on makes the settlement stale.
    pub fences: Vec<Fence>,
}

impl Settlement {
    /// The message of a dead letter that stops this key, though its entry may have come from elsewhere.
    fn stops(&self, queue: &str, key: &Text) -> Option<MessageId> {
        let replays = self.dead.iter().map(|dead| &dead.replay);
        let mut stopping = replays.filter(|replay| replay.queue == queue && replay.key.as_ref() == Some(key));
        stopping.next().map(|replay| replay.message)
    }

    /// Adds what another settlement, of other inputs, makes true.
    pub fn join(&mut self, other: Settlement) {
        self.ended.extend(other.ended);
        self.retries.extend(other.retries);
        self.outputs.extend(other.outputs);
        self.dead.extend(other.dead);
        self.dead_ended.extend(other.dead_ended);
        self.hops.extend(other.hops);
        self.rows.extend(other.rows);
        self.answers.extend(other.answers);
        self.groups.extend(other.groups);
        self.cursors.extend(other.cursors);
        self.held.extend(other.held);
        self.parked.extend(other.parked);
        self.claimed.extend(other.claimed);
        self.settled.extend(other.settled);
        for fence in other.fences {
            if !self.fences.contains(&fence) {
                self.fences.push(fence);
            }
        }
    }
}

/// Hand this entry out again at `due`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    pub at: EntryRef,
    pub due: Timestamp,
    /// False for a lost connection, which is not the message's fault.
    pub counts: bool,
}

/// What came in from a source, ready to be stored.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Guards against repeats; without one every arrival is new.
    pub claim: Option<Claim>,
    /// The entry to store, or the dead letter of what could not be decoded.
    pub stored: Stored,
    pub hops: Vec<Hop>,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are entries, and a box more would cost each of them")]
pub enum Stored {
    Entry(NewEntry),
    Dead(Box<DeadLetter>),
}

impl Intake {
    pub fn message(&self) -> MessageId {
        match &self.stored {
            Stored::Entry(entry) => entry.message,
            Stored::Dead(dead) => dead.message,
        }
    }
}

/// A de-duplication key and the content it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub pipeline: Text,
    /// A hash of the key, as the pipeline's `dedupe.by` or the source gives it.
    pub key: [u8; 16],
    pub content: [u8; 16],
    pub message: MessageId,
    pub until: Timestamp,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Stored.
    New(MessageId),
    /// Seen before with the same content: nothing was stored, the sender may be told it is accepted.
    Repeat(MessageId),
    /// Seen before with other content: stored as a dead letter to look at.
    Conflict(MessageId),
}

/// A message that was not delivered: original bytes, cause, place.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub message: MessageId,
    pub origin: MessageId,
    pub pipeline: Text,
    /// The destination it did not reach; `None` where it failed before having one.
    pub destination: Option<Text>,
    pub key: Option<Text>,
    pub time: Timestamp,
    /// When it was given up.
    pub at: Timestamp,
    pub headers: Map,
    /// As they came in, or as they stood before the destination.
    pub body: Bytes,
    pub code: Text,
    pub cause: String,
    pub step: Option<String>,
    pub position: Option<String>,
    pub attempts: u32,
    /// What a replay stores again; the same ids, so the same idempotency keys.
    pub replay: NewEntry,
}

/// One step on a message's way, for the journal. Metadata only.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    pub origin: MessageId,
    pub message: MessageId,
    pub pipeline: Text,
    pub at: Timestamp,
    pub event: Event,
    pub destination: Option<Text>,
    /// Code of a fault, receipt of a delivery.
    /// An empty one counts as none.
    pub note: Option<Text>,
    /// How many messages this line stands for: 1, or a run of rows from a file that shared one commit.
    pub count: u32,
    /// What people search for: `order` → `#1042`.
    pub track: Vec<(Text, Text)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Accepted,
    Repeat,
    Conflict,
    /// Left the pipeline on purpose.
    Filtered,
    /// Waits in a group.
    Joined,
    /// Queued for a destination.
    Routed,
    Delivered,
    Retry,
    Dead,
    Replayed,
    Discarded,
}

/// A row for a durable table.
#[derive(Clone, Debug, PartialEq)]
pub struct RowWrite {
    pub table: Text,
    /// Values of the key columns, as one text that only equal keys share.
    pub key: Text,
    pub row: Map,
    /// The message's time: an older write never covers a newer one.
    pub time: Timestamp,
    pub until: Option<Timestamp>,
}

/// What a system answered to a message: whatever repeats the message goes on with the same.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerWrite {
    pub message: MessageId,
    /// The question: [`crate::steps::Call::place`].
    pub place: Text,
    /// `None`: the system had nothing.
    pub answer: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum GroupWrite {
    Join {
        group: GroupKey,
        message: MessageId,
        member: Value,
        at: Timestamp,
        closes: Option<Timestamp>,
    },
    /// Empties the group and opens its next window.
    Close {
        group: GroupKey,
        window: u64,
    },
}

/// A group whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct DueGroup {
    pub key: GroupKey,
    pub group: Group,
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadFilter {
    pub pipeline: Option<Text>,
    pub destination: Option<Text>,
    pub code: Option<Text>,
    /// After this one, in the order they were given up; for paging.
    pub after: Option<MessageId>,
    pub most: u32,
}

/// The contract of both engines: see `conformance`.
#[async_trait]
pub trait Store: Vault + Send + Sync {
    /// Stores arrivals, and the cursor of their source, in one commit; answers each, in order, once it is on disk.
    ///
    /// # Errors
    /// `STORE-FULL` (retry) where the disk or the quota of a queue has no room: nothing was stored.
    async fn intake(&self, arrivals: Vec<Intake>, cursor: Option<(Text, Value)>) -> Result<Vec<Accepted>, Fault>;

    /// [`Store::intake`] under a lease: nothing is stored once it has passed on.
    ///
    /// # Errors
    /// `STORE-STALE` (reconnect): the lease has passed on.
    async fn intake_under(
        &self,
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        _fence: Option<Fence>,
    ) -> Result<Vec<Accepted>, Fault> {
        self.intake(arrivals, cursor).await
    }

    /// Makes it all true in one commit; returns once it is on disk. Many may be under way: those of one caller commit in
    /// the order they were first polled.
    ///
    /// A dead letter in `dead_ended` whose entry had stopped its key (`held`) lets that key go on; where its replay is among
    /// the outputs, for the same queue, it takes its old place, ahead of its key.
    ///
    /// # Errors
    /// Nothing was kept. `STORE-STALE` (reconnect): an input, a dead letter or a group's window was settled by someone else, or a lease has passed on;
    /// drop the work, it is not this caller's any more. `STORE-FULL`, `STORE-IO` (retry): settle the same again, later; the
    /// input stays out meanwhile. `STORE-GONE` (reconnect): the engine has stopped and a restart tells what was kept.
    async fn settle(&self, settlement: Settlement) -> Result<(), Fault> {
        self.settle_shared(Arc::new(settlement)).await
    }

    /// [`Store::settle`], for a caller that keeps it in hand to try again.
    async fn settle_shared(&self, settlement: Arc<Settlement>) -> Result<(), Fault>;

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault>;

    /// The row of `table` under `key`, unless its time has passed.
    async fn row(&self, table: &str, key: &str, now: Timestamp) -> Result<Option<Map>, Fault>;

    /// The rows of one of the hub's own tables (`@…`) whose key begins with `prefix`, newest first, unless their time has passed.
    async fn rows(&self, table: &str, prefix: &str, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault>;

    /// What systems answered to a message, by question: as long as the longer of journal and dead letters is kept.
    async fn answers(&self, message: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault>;

    async fn group(&self, key: &GroupKey) -> Result<Group, Fault>;

    /// Groups of a pipeline whose closing time is not after `now`, at most `most`.
    async fn due_groups(&self, pipeline: &str, now: Timestamp, most: u32) -> Result<Vec<DueGroup>, Fault>;

    /// In the order they were given up. Fewer than `most` may come where their bytes are many: an empty answer is the end.
    async fn dead_letters(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Fault>;

    async fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>, Fault>;

    async fn dead_count(&self) -> Result<Vec<(Text, u64)>, Fault>;

    /// The hops of a message and its descendants, oldest first.
    async fn journal(&self, origin: MessageId) -> Result<Vec<Hop>, Fault>;

    /// Origins whose track has `value`, newest first.
    async fn search(&self, value: &str, most: u32) -> Result<Vec<MessageId>, Fault>;

    /// Origins of the last hops, newest first.
    async fn recent(&self, most: u32) -> Result<Vec<MessageId>, Fault>;

    /// Lets a held key go on.
    async fn release(&self, queue: &str, key: &str) -> Result<(), Fault>;

    /// Forgets what is past its time, a bounded part at a call; true while there may be more.
    async fn sweep(&self, now: Timestamp, retention: Retention) -> Result<bool, Fault>;

    /// Whether the store takes writes now, for readiness.
    async fn well(&self) -> Result<(), Fault>;

    /// Servers of the engine that are known not to answer: those it has asked for something. None where it has no servers.
    fn away(&self) -> Vec<Away> {
        Vec::new()
    }
}

/// A server of the engine that does not answer.
#[derive(Clone, Debug)]
pub struct Away {
    pub server: Server,
    pub since: Timestamp,
    pub why: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Broker,
    Database,
}

impl Server {
    pub fn word(self) -> &'static str {
        match self {
            Server::Broker => "broker",
            Server::Database => "database",
        }
    }
}

/// How long finished things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub journal: Duration,
    pub dead_letters: Duration,
}

impl Retention {
    /// How long answers of systems are kept: a dead letter's replay goes on with them.
    fn answers(&self) -> Duration {
        self.journal.max(self.dead_letters)
    }
}

/// A queue and a store that settle together, and the instances that share them.
#[derive(Clone)]
pub struct Engine {
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub instances: Arc<dyn Instances>,
}
