//! The wires: one folder a protocol, one line in [`ALL`].
//!
//! A source hands arrivals to its [`Receiver`] and tells its peer "accepted" only after it answers. A target delivers one
//! message and says what to do after a fault. Siblings do not know each other.

pub mod amqp;
mod connections;
pub mod file;
pub mod http;
pub mod raccord;
pub mod schedule;

#[cfg(test)]
pub(crate) mod conformance;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::codecs::Codec;
use crate::config::{Field, MapReader, Reader, Shape, StructShape};
use crate::formula::Scope;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::store::Vault;
use crate::telemetry::Metrics;

pub use connections::{Connections, NoConnections};

/// The protocols a pipeline can name, in the order of the reference page.
pub static ALL: &[&ProtocolKind] = &[&amqp::KIND, &file::KIND, &http::KIND, &raccord::KIND, &schedule::KIND];

/// What a source gives to the hub.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub body: Bytes,
    /// The document, where the source had to decode to find the message (a row of a file).
    pub document: Option<Value>,
    pub headers: Map,
    /// What identifies it at its source (file and row, sender's id), if anything does: a repeat has the same.
    pub position: Option<String>,
    /// Why it cannot be read, where the source knows already: it becomes a dead letter.
    pub fault: Option<Fault>,
}

/// What became of an arrival: its id, and whether it had been seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub id: MessageId,
    pub outcome: ReceiptOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptOutcome {
    Stored,
    Repeat,
    Conflict,
    /// Could not be read; kept as a dead letter.
    Dead,
}

/// Where a source's arrivals go.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Answers once all arrivals, and `cursor`, are on disk, in one commit.
    ///
    /// # Errors
    /// `retry`: nothing was stored, come back later (after the delay, where given).
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault>;

    /// The last cursor stored under `name`.
    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault>;

    /// All of a source's input `name` (a file) has been received. May be told again after a kill.
    async fn finished(&self, _name: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// Request/reply: runs the pipeline at once, without a queue, and gives the reply's document.
    async fn reply(&self, arrival: Arrival) -> Result<Value, Fault>;
}

/// What a protocol may use of the hub.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Clock,
    /// The hub's folder: relative paths start here.
    pub folder: PathBuf,
    /// The hub's shared HTTP listener, where protocols mount their paths.
    pub routes: Arc<http::Routes>,
    /// The other pipelines, by name.
    pub pipelines: Arc<dyn Pipelines>,
    /// The connections to systems.
    pub connections: Arc<dyn Connections>,
    /// Where secrets that change are kept.
    pub vault: Arc<dyn Vault>,
    pub metrics: Metrics,
}

impl Surroundings {
    /// No hub around: for what asks a system by itself, a command or a case. Secrets that change are forgotten with it.
    pub fn without_hub(clock: Clock, folder: PathBuf) -> Surroundings {
        let vault = Arc::new(crate::store::MemoryVault::new(clock.clone()));
        Surroundings {
            clock,
            folder,
            routes: Arc::new(http::Routes::default()),
            pipelines: Arc::new(NoPipelines),
            connections: Arc::new(NoConnections),
            vault,
            metrics: Metrics::default(),
        }
    }
}

struct NoPipelines;

impl Pipelines for NoPipelines {
    fn receiver(&self, _pipeline: &str) -> Option<Arc<dyn Receiver>> {
        None
    }
}

/// The hub's pipelines, as the `raccord` protocol sees them.
pub trait Pipelines: Send + Sync {
    fn receiver(&self, pipeline: &str) -> Option<Arc<dyn Receiver>>;
}

/// A source as configured: makes a running one.
#[async_trait]
pub trait SourceSettings: Send + Sync + std::fmt::Debug {
    /// `pipeline` names it in logs and cursors.
    fn open(
        &self,
        pipeline: &str,
        codec: Arc<dyn Codec>,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, Fault>;

    /// Whether it asks the pipeline for a reply instead of handing messages over (request/reply).
    fn replies(&self) -> bool {
        false
    }

    /// Takes the records of its inputs one by one where the format has records, each run with a cursor to go on from after a
    /// kill, and tells when an input is complete.
    fn resumes(&self) -> bool {
        false
    }

    /// May run beside its former self during a reload, so that it is never away (a web hook).
    fn overlaps(&self) -> bool {
        false
    }

    /// Runs on one of several instances at a time: it looks for what is there (a folder, a time), and two would find the same.
    fn alone(&self) -> bool {
        false
    }

    /// Has a peer that keeps each message until [`Receiver::receive`] has answered for it, and gives it again otherwise: then a
    /// message may be delivered before anything is stored.
    fn acknowledges(&self) -> bool {
        false
    }

    /// The document of something this source handed over; `None` where it stored the document itself, and not what it makes it of.
    ///
    /// # Errors
    /// `refuse`: no document can be made of it now.
    fn document(&self, _stored: &Value, _of: (MessageId, Timestamp)) -> Option<Result<Value, Fault>> {
        None
    }

    /// What of a stored body says whether two are the same, where that is less than all of it: an envelope has its own number.
    fn content(&self, _codec: &dyn Codec, _body: &[u8]) -> Option<String> {
        None
    }

    /// What this source makes now of something it could make nothing of before, and handed over with the fault. `None`: no more
    /// than its bytes say.
    ///
    /// # Errors
    /// `retry`, `reconnect`, `misconfigured`: it cannot be told now.
    async fn again(
        &self,
        _pipeline: &str,
        _stored: &Arrival,
        _around: &Surroundings,
    ) -> Result<Option<Vec<Arrival>>, Fault> {
        Ok(None)
    }

    /// What no other source may have too, in words for a person: `POST /orders`.
    fn claims(&self) -> Vec<String> {
        Vec::new()
    }
}

#[async_trait]
pub trait Source: Send {
    /// Takes, before `run`, the places that must never be empty (a path), from its former self too. Whoever else stood there
    /// is on its way out: no two pipelines of a configuration want the same ([`SourceSettings::claims`]).
    fn begin(&mut self, _receiver: &Arc<dyn Receiver>, _stop: &CancellationToken) {}

    /// Runs until `stop`, then returns once what it holds is handed over or let go.
    ///
    /// # Errors
    /// A fault ends the run; the hub waits and opens the source again (`reconnect`, `retry`) or marks it (`misconfigured`).
    async fn run(&mut self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault>;
}

/// A target as configured.
pub trait TargetSettings: Send + Sync + std::fmt::Debug {
    /// `name` (`web-order.to.erp`) names it in logs.
    fn open(&self, name: &str, codec: Arc<dyn Codec>, surroundings: &Surroundings) -> Result<Arc<dyn Target>, Fault>;

    /// The target as cases see it: it prepares, and delivers nothing. `None` where that takes no more than the codec.
    fn rehearse(&self) -> Option<Arc<dyn Target>> {
        None
    }

    /// The pipeline of this hub it hands messages to, so that `check` can tell where there is none.
    fn hands_to(&self) -> Option<&str> {
        None
    }
}

/// A message made ready for a target. Made once, stored, and the same for every attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prepared {
    /// The document as the target's codec writes it.
    pub body: Bytes,
    /// What the formulas in the target's settings came to (file name, URL, headers), under names of the target's choice.
    pub address: Map,
}

/// A message to deliver.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Also the idempotency key: a repeat has the same.
    pub id: MessageId,
    pub time: Timestamp,
    pub prepared: Prepared,
    /// From 1.
    pub attempt: u32,
}

/// What became of a message that its peer has for good.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivered {
    /// For the journal: `201`.
    pub note: Option<Text>,
    /// What the peer said, in short. It may repeat what it was sent.
    pub detail: Option<Text>,
    /// What the peer answered, for `remember:` of the destination (`$result`).
    pub result: Option<Value>,
}

#[async_trait]
pub trait Target: Send + Sync {
    /// Encodes `scope.document` and evaluates the settings' formulas. Pure: it runs in the pipeline's stage, before the
    /// message is queued for this target, so that what cannot be encoded is a dead letter with its original bytes.
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault>;

    /// Delivers one message; `Ok` means the peer has it for good, with its answer's short text for the journal.
    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault>;

    /// Delivers several at once; answers each, in order. Worth overriding where one sync or one request serves many.
    async fn deliver_all(&self, deliveries: &[Delivery]) -> Vec<Result<Option<Text>, Fault>> {
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            outcomes.push(self.deliver(delivery).await);
        }
        outcomes
    }

    /// [`Target::deliver`] and [`Target::deliver_all`], with what the peer said of each message. Only a target whose peer says
    /// more than that it has the message overrides this.
    async fn deliver_told(&self, deliveries: &[Delivery]) -> Vec<Result<Delivered, Fault>> {
        let outcomes = match deliveries {
            [one] => vec![self.deliver(one).await],
            all => self.deliver_all(all).await,
        };
        let told = |note| Delivered { note, ..Delivered::default() };
        outcomes.into_iter().map(|outcome| outcome.map(told)).collect()
    }

    /// Most messages worth giving to `deliver_all`.
    fn batch(&self) -> usize {
        1
    }

    /// Takes several calls of `deliver_all` at once, and `Ok` means that its peer has each message for good.
    fn confirms_together(&self) -> bool {
        false
    }

    /// A target that can take back what was not committed: see [`Checkpointed`].
    fn checkpointed(&self) -> Option<&dyn Checkpointed> {
        None
    }
}

/// A target whose output can be cut back to a known point (a file being appended to): with the point in the same commit as
/// the source's cursor, a kill repeats or skips nothing.
#[async_trait]
pub trait Checkpointed: Send + Sync {
    /// Cuts the output back to `point`, as stored by the last commit; `None` for a fresh start.
    async fn rewind(&self, point: Option<&Value>) -> Result<(), Fault>;

    /// Appends encoded records and syncs; gives the new point, to be committed.
    async fn append(&self, records: Bytes) -> Result<Value, Fault>;

    /// The source's input is complete: what was appended takes its final name.
    async fn finish(&self, source: &str) -> Result<(), Fault>;
}

/// A protocol that can be named in a pipeline.
pub struct ProtocolKind {
    /// The word under `protocol:`.
    pub name: &'static str,
    pub about: &'static str,
    pub source: Option<SourceKind>,
    pub target: Option<TargetKind>,
}

pub struct SourceKind {
    pub fields: fn() -> Vec<Field>,
    pub read: fn(&mut MapReader<'_>, &mut Reader<'_>) -> Option<Arc<dyn SourceSettings>>,
}

pub struct TargetKind {
    pub fields: fn() -> Vec<Field>,
    pub read: fn(&mut MapReader<'_>, &mut Reader<'_>) -> Option<Arc<dyn TargetSettings>>,
}

/// The source a map describes, by its `protocol:`. Fields that are not the protocol's (`format`) are left to the caller.
pub fn read_source(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn SourceSettings>> {
    let read = read_kind(map, reader, "source", |kind| kind.source.as_ref().map(|source| source.read))?;
    read(map, reader)
}

/// The target a map describes, by its `protocol:`. Fields that are not the protocol's (`format`) are left to the caller.
pub fn read_target(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn TargetSettings>> {
    let read = read_kind(map, reader, "target", |kind| kind.target.as_ref().map(|target| target.read))?;
    read(map, reader)
}

/// What may be written where a source stands; `common` are the fields beside each protocol's own.
pub fn source_shape(common: &[Field]) -> Shape {
    shape("Where messages come from.", common, |kind| kind.source.as_ref().map(|source| source.fields))
}

/// What may be written where a target stands; `common` are the fields beside each protocol's own.
pub fn target_shape(common: &[Field]) -> Shape {
    shape("Where messages go.", common, |kind| kind.target.as_ref().map(|target| target.fields))
}

/// `side` of the protocol named under `protocol:`; one that has no such side is told apart from one that does not exist.
fn read_kind<T>(
    map: &mut MapReader<'_>,
    reader: &mut Reader<'_>,
    side_name: &str,
    side: impl Fn(&ProtocolKind) -> Option<T>,
) -> Option<T> {
    let found = find_kind(map, reader, side_name, side);
    if found.is_none() {
        map.unsure();
    }
    found
}

fn find_kind<T>(
    map: &mut MapReader<'_>,
    reader: &mut Reader<'_>,
    side_name: &str,
    side: impl Fn(&ProtocolKind) -> Option<T>,
) -> Option<T> {
    let word = map.field::<Text>(reader, "protocol")?;
    let span = map.node("protocol").map_or(map.span, |node| node.span);
    let usable = || ALL.iter().filter(|kind| side(kind).is_some()).map(|kind| kind.name);
    let Some(kind) = ALL.iter().find(|kind| kind.name == word) else {
        reader.unknown(span, "protocol", &word, usable());
        return None;
    };
    let found = side(kind);
    if found.is_none() {
        reader
            .error(span, format!("protocol `{word}` cannot be a {side_name}"))
            .label(format!("has no {side_name}"))
            .help(format!("a {side_name} is one of: {}", usable().collect::<Vec<_>>().join(", ")));
    }
    found
}

fn shape(about: &'static str, common: &[Field], side: impl Fn(&ProtocolKind) -> Option<fn() -> Vec<Field>>) -> Shape {
    let variant = |kind: &&ProtocolKind| {
        let own = StructShape { name: kind.name, about: kind.about, fields: side(kind)?() };
        Some((kind.name, own.and(common.to_vec())))
    };
    Shape::Tagged { tag: "protocol", about, variants: ALL.iter().filter_map(variant).collect() }
}
