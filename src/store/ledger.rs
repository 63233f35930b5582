//! What the distributed engine asks of its database beside [`Store`] and [`Queue`]: claims in two steps, marks of what the
//! broker may deliver again, leases.
//!
//! Its queue is the part of the distributed queue that waits in the database: entries *parked* behind a retry or a held key,
//! replays, closed groups. Each partition of a queue is a queue of its own there (`web-order.p3`), consumed by the partition's
//! holder. Whether the database is SQLite (one instance) or PostgreSQL, it passes both conformance suites by itself.

use std::time::Duration;

use async_trait::async_trait;

use super::{Claim, Fence, Instance, Store};
use crate::message::{Fault, MessageId, Text};
use crate::queue::Queue;

#[async_trait]
pub trait Ledger: Store + Queue {
    /// Takes keys, in one commit, before their entries are published; a settlement whose `claimed` names them ends the taking.
    /// Losing the last moments of it in a crash of the database does no harm: it need not be synced.
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>, Fault>;

    /// Whether the end of each delivery (queue and [`crate::queue::broker::Envelope::copy`]) was committed, though the broker may deliver it again. Marks are kept
    /// as long as the journal.
    async fn settled(&self, entries: &[(Text, MessageId)]) -> Result<Vec<bool>, Fault>;

    /// Keys with entries waiting in `queue`, or held.
    async fn keys(&self, queue: &str) -> Result<Vec<Key>, Fault>;

    /// This instance lives: notes it, renews and passes on leases, takes those that are free, and tells who has what. Times
    /// are the database's own, so that instances need not agree on theirs.
    async fn beat(&self, beat: Beat) -> Result<Pulse, Fault>;

    /// Whether several instances may share it.
    fn is_shared(&self) -> bool;
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Taken now, or taken before by the same message and not ended: publish, then commit it as `claimed`.
    Taken,
    /// Ended before with the same content, as this message.
    Repeat(MessageId),
    /// Taken or ended before with other content.
    Conflict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub key: Text,
    pub entries: u64,
    pub held: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Beat {
    /// Unique to the running process.
    pub instance: Text,
    /// For people.
    pub name: Text,
    pub revision: Text,
    /// All it would take if it were alone.
    pub wants: Vec<Text>,
    /// A lease not renewed for so long is free, and an instance not seen for so long is dead.
    pub lives: Duration,
    /// Held, to be renewed.
    pub renew: Vec<Fence>,
    pub pass_on: Vec<Fence>,
    /// Taken, each under its next epoch, if free.
    pub take: Vec<Text>,
    /// The instance is about to stop: forget it.
    pub leaves: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// What this instance holds now: renewed and taken.
    pub held: Vec<Fence>,
    pub leases: Vec<Lease>,
    /// Those that live, with what they hold.
    pub instances: Vec<Instance>,
    /// What each of them wants, by [`Beat::instance`].
    pub wants: Vec<(Text, Vec<Text>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: Text,
    /// The instance (as [`Beat::instance`]) whose it is; `None` where it is free.
    pub holder: Option<Text>,
}
