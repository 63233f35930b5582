//! The exchange and the queues of a hub: their names, their arguments, and whether they are there.
//!
//! | name | what |
//! |---|---|
//! | `<prefix>` | durable direct exchange; every queue is bound under its own name |
//! | `<prefix>.<queue>` | of a competing queue: a quorum queue that any instance consumes |
//! | `<prefix>.<queue>.p0` … | of a keyed queue, one a partition (a single one: only `p0`), each with a single active consumer |
//! | `<prefix>.<queue>.wait.<seconds>` | of a competing queue: entries wait here, and expire back into it; made on first use |
//!
//! No arguments bound a queue or drop from it: `x-delivery-limit` is so high that it never counts, since attempts are counted
//! by the hub. It is given all the same: a queue made without it would get a limit of 20 from version 4 on, and drop.
//!
//! Partitions are made from the last to the first, so where `p0` is there, all are. That tells how many a queue was made with.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::link::Link;
use crate::message::{Fault, Text};
use crate::queue::Sharing;
use crate::queue::broker::{BrokerDepth, BrokerLane};

/// How long one declaration may take: a quorum queue being made waits for its members.
const DECLARE_WITHIN: Duration = Duration::from_secs(30);

/// A queue that is not there is looked for again after so long.
const MISSING_FOR: Duration = Duration::from_secs(30);

/// Deliveries of one message after which a broker would drop it: never.
const DELIVERY_LIMIT: i32 = 1_000_000_000;

/// Names and, over a channel of its own, declarations.
pub struct Topology {
    link: Arc<Link>,
    prefix: String,
    partitions: u32,
    /// Whether we make what is missing.
    declare: bool,
    /// Delays of the wait queues, rising.
    ladder: Vec<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    channel: Option<Channel>,
    /// What is below holds for this connection.
    generation: u64,
    exchange: bool,
    declared: HashSet<String>,
    /// Known to be missing, and since when.
    missing: HashMap<String, Instant>,
    /// How each queue is shared; outlives connections.
    sharing: HashMap<Text, Sharing>,
}

impl Topology {
    pub fn new(link: Arc<Link>, prefix: &str, partitions: u32, declare: bool, ladder: Vec<Duration>) -> Topology {
        Topology {
            link,
            prefix: prefix.to_owned(),
            partitions: partitions.max(1),
            declare,
            ladder,
            state: Mutex::new(State::default()),
        }
    }

    pub fn exchange(&self) -> &str {
        &self.prefix
    }

    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The broker's name of a lane.
    pub fn name(&self, lane: &BrokerLane) -> String {
        match lane.partition {
            None => format!("{}.{}", self.prefix, lane.queue),
            Some(partition) => format!("{}.{}.p{partition}", self.prefix, lane.queue),
        }
    }

    /// Checks that all names of `queue` fit into AMQP, where 255 bytes is the most.
    pub fn check_name(&self, queue: &str) -> Result<(), Fault> {
        if self.prefix.len() + queue.len() + ".wait.1234567890".len() <= 255 {
            return Ok(());
        }
        let sentence =
            format!("the name `{}.{queue}` is too long for a queue: use a shorter `prefix` or name", self.prefix);
        Err(Fault::misconfigured("AMQP-PROPERTY", sentence))
    }

    /// The longest wait of the ladder that is not longer than `delay`, or the shortest.
    pub fn rung(&self, delay: Duration) -> Option<Duration> {
        self.ladder.iter().rev().find(|rung| **rung <= delay).or(self.ladder.first()).copied()
    }

    pub fn wait_name(&self, queue: &str, rung: Duration) -> String {
        // Rungs of less than a second are for tests.
        match rung.subsec_millis() {
            0 => format!("{}.{queue}.wait.{}", self.prefix, rung.as_secs()),
            _ => format!("{}.{queue}.wait.{}ms", self.prefix, rung.as_millis()),
        }
    }

    /// Makes sure of `queue`; does nothing where that was done on this connection.
    pub async fn declare(&self, queue: &str, sharing: Sharing) -> Result<(), Fault> {
        self.check_name(queue)?;
        let mut state = self.state.lock().await;
        self.refresh(&mut state).await?;
        let first_time = state.sharing.get(queue) != Some(&sharing);
        let names = self.lanes(queue, sharing);
        if !first_time && names.iter().all(|name| state.declared.contains(name)) {
            return Ok(());
        }
        if first_time {
            self.check_former(&mut state, queue, sharing).await?;
        }
        self.declare_exchange(&mut state).await?;
        for name in &names {
            self.declare_queue(&mut state, name, lane_arguments(sharing)).await?;
        }
        state.sharing.insert(Text::new(queue), sharing);
        Ok(())
    }

    /// Makes sure of the wait queue of `rung`.
    pub async fn declare_wait(&self, queue: &str, rung: Duration) -> Result<(), Fault> {
        let name = self.wait_name(queue, rung);
        let mut state = self.state.lock().await;
        self.refresh(&mut state).await?;
        if state.declared.contains(&name) {
            return Ok(());
        }
        self.declare_exchange(&mut state).await?;
        self.declare_queue(&mut state, &name, self.wait_arguments(queue, rung)).await
    }

    /// What was known of these names is not to be trusted: somebody deleted them.
    pub async fn forget(&self, names: &[String]) {
        let mut state = self.state.lock().await;
        state.exchange = false;
        for name in names {
            state.declared.remove(name);
        }
    }

    /// How `queue` was declared in this process.
    pub async fn sharing(&self, queue: &str) -> Option<Sharing> {
        self.state.lock().await.sharing.get(queue).copied()
    }

    /// What waits in the broker for `queue`; nothing where it has no such queue.
    pub async fn depth(&self, queue: &str) -> Result<BrokerDepth, Fault> {
        let mut state = self.state.lock().await;
        self.refresh(&mut state).await?;
        let sharing = state.sharing.get(queue).copied().unwrap_or_default();
        let mut depth = BrokerDepth::default();
        for name in self.lanes(queue, sharing) {
            depth.ready += self.count(&mut state, &name).await?.unwrap_or(0);
        }
        if sharing == Sharing::Competing {
            for rung in &self.ladder {
                depth.waiting += self.count(&mut state, &self.wait_name(queue, *rung)).await?.unwrap_or(0);
            }
        }
        Ok(depth)
    }

    /// Names of the lanes, the first one last.
    fn lanes(&self, queue: &str, sharing: Sharing) -> Vec<String> {
        let lane = |partition| self.name(&BrokerLane { queue: Text::new(queue), partition });
        match sharing {
            Sharing::Competing => vec![lane(None)],
            Sharing::Single => vec![lane(Some(0))],
            Sharing::Keyed => (0..self.partitions).rev().map(|partition| lane(Some(partition))).collect(),
        }
    }

    /// Whether `queue` was made before with other partitions, or has entries from when it was shared otherwise.
    async fn check_former(&self, state: &mut State, queue: &str, sharing: Sharing) -> Result<(), Fault> {
        let lane = |partition| self.name(&BrokerLane { queue: Text::new(queue), partition });
        if sharing == Sharing::Competing {
            return match self.count(state, &lane(Some(0))).await? {
                None | Some(0) => Ok(()),
                Some(_) => Err(former(queue, &lane(Some(0)), "its messages had an order")),
            };
        }
        if let Some(1..) = self.count(state, &lane(None)).await? {
            return Err(former(queue, &lane(None), "the order of its messages did not matter"));
        }
        let wanted = if sharing == Sharing::Single { 1 } else { self.partitions };
        let more = self.count(state, &lane(Some(wanted))).await?.is_some();
        let fewer = wanted > 1
            && self.count(state, &lane(Some(0))).await?.is_some()
            && self.count(state, &lane(Some(wanted - 1))).await?.is_none();
        if !more && !fewer {
            return Ok(());
        }
        // One of another kind is nothing that a hub has made: it says nothing of partitions.
        self.check_kind(state, &lane(Some(if more { wanted } else { 0 }))).await?;
        let than = if more { "more" } else { "fewer" };
        Err(Fault::misconfigured(
            "RABBIT-PARTITIONS",
            format!(
                "the queue `{queue}` was made with {than} partitions than the {wanted} it should have now: set `partitions` back, or \
                 let the queue run empty and delete `{}.{queue}.p*`",
                self.prefix
            ),
        ))
    }

    async fn declare_exchange(&self, state: &mut State) -> Result<(), Fault> {
        if state.exchange {
            return Ok(());
        }
        let options =
            ExchangeDeclareOptions { durable: true, passive: !self.declare, ..ExchangeDeclareOptions::default() };
        let channel = self.channel(state).await?;
        let declared =
            channel.exchange_declare(short(&self.prefix), ExchangeKind::Direct, options, FieldTable::default());
        answered(declared).await.map_err(|error| match code_of(&error) {
            Some(404) => Fault::misconfigured(
                "AMQP-MISSING",
                format!("the exchange `{}` is missing: make it, type direct, durable, without arguments", self.prefix),
            ),
            _ => self.link.fault(&error),
        })?;
        state.exchange = true;
        Ok(())
    }

    async fn declare_queue(&self, state: &mut State, name: &str, arguments: FieldTable) -> Result<(), Fault> {
        let options = QueueDeclareOptions { durable: true, passive: !self.declare, ..QueueDeclareOptions::default() };
        let channel = self.channel(state).await?;
        let sent = if self.declare { arguments.clone() } else { FieldTable::default() };
        let declared = answered(channel.queue_declare(short(name), options, sent)).await;
        if declared.as_ref().is_err_and(|error| code_of(error) == Some(406)) {
            // The broker names the first argument that differs, and that is seldom the one that matters.
            self.check_kind(state, name).await?;
        }
        declared.map_err(|error| match code_of(&error) {
            Some(404) => Fault::misconfigured(
                "AMQP-MISSING",
                format!(
                    "the queue `{name}` is missing: make it, durable, with the arguments {}, and bind it to the exchange `{}` with \
                     the routing key `{name}`",
                    in_words(&arguments),
                    self.prefix
                ),
            ),
            _ => self.link.fault(&error),
        })?;
        if self.declare {
            let options = QueueBindOptions::default();
            let bound =
                channel.queue_bind(short(name), short(&self.prefix), short(name), options, FieldTable::default());
            answered(bound).await.map_err(|error| self.link.fault(&error))?;
        }
        state.missing.remove(name);
        state.declared.insert(name.to_owned());
        Ok(())
    }

    /// Checks that the queue called `name`, which is there, is a quorum queue, as far as the broker tells: it compares
    /// arguments one by one, and where others differ too it may name those. Asks only where we may declare.
    async fn check_kind(&self, state: &mut State, name: &str) -> Result<(), Fault> {
        if !self.declare {
            return Ok(());
        }
        let channel = self.channel(state).await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut kind = FieldTable::default();
        kind.insert("x-queue-type".into(), text("quorum"));
        let Err(error) = answered(channel.queue_declare(short(name), options, kind)).await else { return Ok(()) };
        let differs = matches!(error.kind(), ErrorKind::ProtocolError(said) if said.get_message().as_str().contains("'x-queue-type'"));
        if differs { Err(self.link.fault(&error)) } else { Ok(()) }
    }

    /// Messages ready in the queue called `name`; `None` where there is none.
    async fn count(&self, state: &mut State, name: &str) -> Result<Option<u64>, Fault> {
        if state.missing.get(name).is_some_and(|since| since.elapsed() < MISSING_FOR) {
            return Ok(None);
        }
        let channel = self.channel(state).await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match answered(channel.queue_declare(short(name), options, FieldTable::default())).await {
            Ok(queue) => Ok(Some(queue.message_count().into())),
            // The broker has closed the channel; the next question opens another.
            Err(error) if code_of(&error) == Some(404) => {
                state.missing.insert(name.to_owned(), Instant::now());
                state.declared.remove(name);
                Ok(None)
            }
            Err(error) => Err(self.link.fault(&error)),
        }
    }

    fn wait_arguments(&self, queue: &str, rung: Duration) -> FieldTable {
        let mut arguments = quorum();
        let mut put = |name: &str, value: AMQPValue| {
            arguments.insert(name.into(), value);
        };
        put("x-message-ttl", AMQPValue::LongLongInt(i64::try_from(rung.as_millis()).unwrap_or(i64::MAX)));
        put("x-dead-letter-exchange", text(&self.prefix));
        put("x-dead-letter-routing-key", text(&format!("{}.{queue}", self.prefix)));
        put("x-dead-letter-strategy", text("at-least-once"));
        arguments
    }

    /// Forgets what held for a former connection.
    async fn refresh(&self, state: &mut State) -> Result<(), Fault> {
        self.channel(state).await.map(drop)
    }

    async fn channel(&self, state: &mut State) -> Result<Channel, Fault> {
        if let Some(channel) = state.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let (channel, generation) = self.link.channel_of().await?;
        if generation != state.generation {
            state.generation = generation;
            state.exchange = false;
            state.declared.clear();
            state.missing.clear();
        }
        state.channel = Some(channel.clone());
        Ok(channel)
    }
}

fn former(queue: &str, name: &str, when: &str) -> Fault {
    Fault::misconfigured(
        "RABBIT-PARTITIONS",
        format!(
            "messages of the queue `{queue}` still wait in `{name}`, from when {when}: undo the change of `order_by` until it is \
             empty, then delete it"
        ),
    )
}

async fn answered<T>(question: impl Future<Output = lapin::Result<T>>) -> lapin::Result<T> {
    timeout(DECLARE_WITHIN, question)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

fn code_of(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(said) => Some(said.get_id()),
        _ => None,
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    // Where an administrator's policy bounds the queue, a full one refuses rather than drops.
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    arguments
}

fn lane_arguments(sharing: Sharing) -> FieldTable {
    let mut arguments = quorum();
    if sharing != Sharing::Competing {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    arguments
}

/// `x-queue-type=quorum, x-overflow=reject-publish`.
fn in_words(arguments: &FieldTable) -> String {
    let word = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::Boolean(flag) => flag.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let words: Vec<_> = arguments.inner().iter().map(|(name, value)| format!("{name}={}", word(value))).collect();
    words.join(", ")
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Names were checked to fit.
fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}
