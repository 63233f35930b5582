//! Durable entries: what was accepted and is not done.
//!
//! An entry waits in a named queue (`web-order`, `web-order.to.erp`) until a settle ends it. Entries with a key are handed out
//! one at a time in the order they were stored: while one of a key is out or waits for a retry, later ones of that key wait and
//! other keys flow past. Entries without a key are handed out as they come.

pub mod broker;
#[cfg(test)]
pub mod conformance;
pub mod embedded;
pub mod rabbitmq;
pub mod waiting;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::message::{Fault, Map, MessageId, Text, Value};

/// An entry to store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    pub queue: Text,
    pub message: MessageId,
    /// The message that came in, from which this one descends; itself for an intake.
    pub origin: MessageId,
    /// The value of `order_by` as text; `None` where order does not matter.
    pub key: Option<Text>,
    /// The message's own time.
    pub time: Timestamp,
    /// Message headers and what else travels beside the body, small.
    pub headers: Map,
    pub body: Bytes,
    /// Where processing starts: 0 at the first step; a closed group goes on after its `aggregate`.
    pub start_at: u32,
    /// Not handed out before.
    pub due: Option<Timestamp>,
    /// Its document, as long as the entry stays in memory.
    pub decoded: Decoded,
}

/// The document of an entry, where intake has read it: spares the consumer reading the body again. Never stored, so it may be
/// missing at any time, and two entries are the same with it or without. All clones share it, and the first to take it has it:
/// the engine may still hold the entry when it is handed out, and a copy would cost as much as reading the body.
#[derive(Clone, Debug, Default)]
pub struct Decoded(Option<Arc<Mutex<Option<Value>>>>);

/// A document takes about so many times the memory of its bytes.
const DOCUMENT_WEIGHT: usize = 6;

impl Decoded {
    pub fn new(document: Value) -> Decoded {
        Decoded(Some(Arc::new(Mutex::new(Some(document)))))
    }

    pub fn take(&mut self) -> Option<Value> {
        self.0.take()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PartialEq for Decoded {
    fn eq(&self, _other: &Decoded) -> bool {
        true
    }
}

impl NewEntry {
    /// Bytes it takes in memory, about.
    fn weight(&self) -> usize {
        let document = if self.decoded.0.is_some() { DOCUMENT_WEIGHT * self.body.len() } else { 0 };
        self.body.len() + document
    }
}

/// An entry handed out.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: EntryRef,
    /// Times it was handed out and came back for a retry; survives restarts.
    pub attempts: u32,
    pub entry: NewEntry,
}

/// Where an entry stands in its queue. Larger is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryRef(pub i64);

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Stored and not ended, whether out, ready or waiting.
    pub entries: u64,
    /// Of these, waiting for a retry or behind one.
    pub waiting: u64,
    /// Stored time of the oldest.
    pub oldest: Option<Timestamp>,
}

/// How several instances of the hub share a queue. With one instance all are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// By key: each partition of the keys has one consumer among all instances, so that a key keeps its order.
    #[default]
    Keyed,
    /// One instance takes all entries: they share state (a group).
    Single,
    /// Any instance takes any entry: order does not matter.
    Competing,
}

/// What both engines hand out entries with. Entries come in through a settle (`store`), which also ends them.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Says how `queue` is shared, before it is used; one that nobody declared is [`Sharing::Keyed`].
    ///
    /// # Errors
    /// `misconfigured` where the broker has another queue under that name, or may not be written to.
    async fn declare(&self, _queue: &str, _sharing: Sharing) -> Result<(), Fault> {
        Ok(())
    }

    /// The only consumer of `queue` in this process; entries out with a former one are handed out again.
    ///
    /// `window` bounds what is read ahead, in entries and bytes. Where very many keys and entries wait for a retry (100,000
    /// in the embedded engine) the queue pauses until some are due.
    async fn consume(&self, queue: &str, window: Window) -> Result<Box<dyn Consumer>, Fault>;

    async fn depth(&self, queue: &str) -> Result<Depth, Fault>;

    /// [`Depth::entries`] alone: cheap enough to ask before each run.
    async fn entries(&self, queue: &str) -> Result<u64, Fault>;

    /// Every queue there ever was, with how many entries it has: also of pipelines that are gone.
    async fn queues(&self) -> Result<Vec<(Text, u64)>, Fault>;
}

/// Bounds of what one consumer holds in memory, handed out and read ahead together.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub entries: usize,
    pub bytes: usize,
}

#[async_trait]
pub trait Consumer: Send {
    /// Waits until at least one entry may go out, then gives up to `most`. An entry is out until a settle ends or returns it.
    /// The wait may be dropped at any point; nothing is lost by it.
    ///
    /// # Errors
    /// `QUEUE-REPLACED` (reconnect): another consumer has taken the queue, this one is done. Faults of the store otherwise.
    async fn next(&mut self, most: usize) -> Result<Vec<Entry>, Fault>;

    /// Whether this is the one consumer of the whole queue among all instances: then it also does what nobody asked for, such
    /// as closing groups whose time has come.
    fn leads(&self) -> bool {
        true
    }
}
