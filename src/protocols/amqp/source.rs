//! Messages of a queue: taken in runs, several under way at a time, acknowledged once the hub has them.
//!
//! Nothing is ever given back to the queue while the connection lasts: what the hub cannot take now waits here, the prefetch
//! fills, and the rest waits in the queue. What was not acknowledged when a connection ends, the broker gives again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use super::declare;
use super::faults::of_channel;
use super::properties::{Envelope, header, headers, short};
use super::settings::{AmqpSource, BrokerSettings};
use super::tags::{Ack, Tags};
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::message::{Fault, Map, Next};
use crate::protocols::{Arrival, Receiver, Source, SourceSettings, Surroundings};
use crate::queue::rabbitmq::{Link, LinkSettings, fault_of};

/// Most messages, and bytes, handed over together.
const RUN: usize = 64;
const RUN_BYTES: usize = 1 << 20;
/// Runs under way at once: while some wait for a commit or a confirm, the next is handed over.
const RUNS: usize = 6;
/// Messages taken before their size is known, and the most where nobody says how many.
const FIRST: u16 = 32;
const MOST: u16 = 512;
/// Bytes of messages taken and not acknowledged, where nobody says how many messages.
const BUDGET: usize = 8 << 20;
/// How often what is done behind a slow run is acknowledged all the same.
const AHEAD: Duration = Duration::from_millis(200);
/// A receiver that says "later" and not when is asked again after this, doubled up to the second.
const SOON: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);

impl SourceSettings for AmqpSource {
    fn open(
        &self,
        pipeline: &str,
        _codec: Arc<dyn Codec>,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(QueueReader {
            settings: self.clone(),
            link: Link::open(self.broker.link(pipeline, surroundings))?,
            clock: surroundings.clock.clone(),
        }))
    }

    fn overlaps(&self) -> bool {
        true
    }

    fn acknowledges(&self) -> bool {
        true
    }
}

impl BrokerSettings {
    /// `name` is what the broker's own pages call the connection.
    pub(super) fn link(&self, name: &str, surroundings: &Surroundings) -> LinkSettings {
        LinkSettings {
            addresses: self.addresses.clone(),
            vhost: self.vhost.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            heartbeat: self.heartbeat,
            map: "broker",
            name: name.to_owned(),
            folder: surroundings.folder.clone(),
        }
    }
}

/// Reads one queue.
struct QueueReader {
    settings: AmqpSource,
    link: Link,
    clock: Clock,
}

#[async_trait]
impl Source for QueueReader {
    async fn run(&mut self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        let connected = tokio::select! {
            connected = self.connect() => connected?,
            () = stop.cancelled() => return Ok(()),
        };
        let (channel, consumer, prefetch) = connected;
        let mut subscription = Subscription {
            settings: &self.settings,
            clock: &self.clock,
            receiver,
            channel: channel.clone(),
            consumer,
            prefetch,
            tags: Tags::default(),
            runs: JoinSet::new(),
            over: CancellationToken::new(),
            largest: 0,
            gone: None,
        };
        let ended = subscription.work(&stop).await;
        let ended = subscription.end(ended).await;
        declare::close(&channel).await;
        self.link.close().await;
        ended
    }
}

impl QueueReader {
    async fn connect(&self) -> Result<(Channel, Consumer, u16), Fault> {
        if let Some(wanted) = &self.settings.declare {
            declare::queue(&self.link, &self.settings.queue, wanted).await?;
        }
        let channel = self.link.channel().await?;
        let prefetch = self.settings.prefetch.map_or(FIRST, |most| u16::try_from(most).unwrap_or(u16::MAX));
        let consumer = consume(&channel, &self.settings, prefetch).await?;
        Ok((channel, consumer, prefetch))
    }
}

async fn consume(channel: &Channel, settings: &AmqpSource, prefetch: u16) -> Result<Consumer, Fault> {
    let refused = |error: lapin::Error| of_channel(&error, format!("queue `{}`", settings.queue));
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(refused)?;
    let queue = short("the queue's name", &settings.queue)?;
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue, ShortString::default(), options, FieldTable::default()).await.map_err(refused)
}

/// A message taken from the queue.
struct Taken {
    body: Bytes,
    exchange: ShortString,
    routing_key: ShortString,
    redelivered: bool,
    properties: BasicProperties,
}

/// A run that has ended, by its first number: handed over, or let go.
type Ended = (u64, Result<bool, Fault>);

struct Subscription<'s> {
    settings: &'s AmqpSource,
    clock: &'s Clock,
    receiver: Arc<dyn Receiver>,
    channel: Channel,
    consumer: Consumer,
    prefetch: u16,
    tags: Tags,
    runs: JoinSet<Ended>,
    /// Runs that wait to be handed over again are let go.
    over: CancellationToken,
    /// The largest message of late, in bytes.
    largest: usize,
    /// Why nothing more comes, where that was seen while a run was gathered.
    gone: Option<Fault>,
}

impl Subscription<'_> {
    /// Until `stop`, or a fault.
    async fn work(&mut self, stop: &CancellationToken) -> Result<(), Fault> {
        let mut ahead = tokio::time::interval(AHEAD);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ended) = self.runs.join_next(), if !self.runs.is_empty() => self.ended(ended).await?,
                _ = ahead.tick() => {
                    let acks = self.tags.ahead();
                    self.acknowledge(acks).await?;
                }
                delivery = self.consumer.next(), if self.runs.len() < RUNS => {
                    let delivery = self.taken(delivery)?;
                    self.gather(delivery);
                    if let Some(fault) = self.gone.take() {
                        return Err(fault);
                    }
                    self.adapt().await?;
                }
            }
        }
    }

    fn taken(&self, delivery: Option<lapin::Result<Delivery>>) -> Result<Delivery, Fault> {
        let queue = &self.settings.queue;
        match delivery {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(error)) => Err(of_channel(&error, format!("queue `{queue}`"))),
            None => Err(Fault::reconnect(
                "AMQP-CANCELLED",
                format!("the broker ended the consumer of `{queue}`: the queue was deleted, or its leader is away"),
            )),
        }
    }

    /// What has come, as one run, under way.
    fn gather(&mut self, first: Delivery) {
        let (begin, mut end) = (first.delivery_tag, first.delivery_tag);
        let (mut bytes, mut run) = (first.data.len(), Vec::with_capacity(16));
        self.largest = (self.largest - self.largest / 64).max(bytes);
        run.push(Taken::from(first));
        while run.len() < RUN && bytes < RUN_BYTES {
            match self.consumer.next().now_or_never().map(|delivery| self.taken(delivery)) {
                None => break,
                Some(Ok(delivery)) => {
                    end = delivery.delivery_tag;
                    bytes += delivery.data.len();
                    self.largest = self.largest.max(delivery.data.len());
                    run.push(Taken::from(delivery));
                }
                // What came before it is handed over all the same.
                Some(Err(fault)) => {
                    self.gone = Some(fault);
                    break;
                }
            }
        }
        self.tags.begin(begin, end);
        let receiver = self.receiver.clone();
        let (id, clock, over) = (self.settings.id.clone(), self.clock.clone(), self.over.clone());
        let handing = async move { (begin, hand_over(&run, &id, &*receiver, &clock, &over).await) };
        self.runs.spawn(handing.in_current_span());
    }

    async fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), Fault> {
        let (first, outcome) = ended.map_err(|panic| {
            Fault::reconnect("AMQP-HAND-OVER", "handing over failed; the broker gives the messages again").cause(panic)
        })?;
        if outcome? {
            let ack = self.tags.done(first);
            self.acknowledge(ack.into_iter().collect()).await?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, acks: Vec<Ack>) -> Result<(), Fault> {
        for ack in acks {
            let (tag, multiple) = match ack {
                Ack::UpTo(tag) => (tag, true),
                Ack::One(tag) => (tag, false),
            };
            let acknowledged = self.channel.basic_ack(tag, BasicAckOptions { multiple }).await;
            acknowledged.map_err(|error| fault_of(&error))?;
        }
        Ok(())
    }

    /// Takes more messages at a time where they are small, and fewer where they are large: a new consumer on the same
    /// channel, since the broker fixes the number for each.
    async fn adapt(&mut self) -> Result<(), Fault> {
        if self.settings.prefetch.is_some() {
            return Ok(());
        }
        let fits = u16::try_from(BUDGET / self.largest.max(1)).unwrap_or(MOST).clamp(1, MOST);
        let grows = fits / 4 >= self.prefetch && self.tags.open() >= u64::from(self.prefetch) / 2;
        let shrinks = fits < self.prefetch / 2;
        if !grows && !shrinks {
            return Ok(());
        }
        self.cancel().await?;
        // What the old one has taken comes before all of the new one.
        while self.gone.is_none()
            && let Some(Some(Ok(delivery))) = self.consumer.next().now_or_never()
        {
            self.gather(delivery);
        }
        // Its end, which we asked for.
        self.gone = None;
        self.prefetch = fits;
        self.consumer = consume(&self.channel, self.settings, fits).await?;
        Ok(())
    }

    async fn cancel(&self) -> Result<(), Fault> {
        let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await;
        cancelled.map_err(|error| fault_of(&error))
    }

    /// Lets what is under way end, and acknowledges it where that is still possible.
    async fn end(&mut self, ended: Result<(), Fault>) -> Result<(), Fault> {
        if ended.is_ok() {
            // A refusal changes nothing: the channel is closed next.
            let _ = self.cancel().await;
        }
        self.over.cancel();
        while let Some(run) = self.runs.join_next().await {
            let acknowledged = self.ended(run).await;
            if ended.is_ok()
                && let Err(fault) = acknowledged
            {
                warn!(code = fault.code(), "handed over, and not acknowledged: the broker gives it again: {fault}");
            }
        }
        let ahead = self.tags.ahead();
        let _ = self.acknowledge(ahead).await;
        ended
    }
}

impl From<Delivery> for Taken {
    fn from(delivery: Delivery) -> Taken {
        let Delivery { exchange, routing_key, redelivered, properties, data, .. } = delivery;
        Taken { body: data.into(), exchange, routing_key, redelivered, properties }
    }
}

impl Taken {
    /// `id` is what the settings say.
    fn arrival(&self, id: &str) -> Arrival {
        let position = match id {
            "none" => None,
            "message_id" => self.properties.message_id().as_ref().map(|id| id.as_str().to_owned()),
            name => header(&self.properties, name).map(String::from),
        };
        let envelope = Envelope {
            exchange: self.exchange.as_str(),
            routing_key: self.routing_key.as_str(),
            redelivered: self.redelivered,
            properties: &self.properties,
        };
        let (headers, fault) = match headers(&envelope) {
            Ok(headers) => (headers, None),
            Err(fault) => (Map::new(), Some(fault)),
        };
        let position = position.filter(|position| !position.is_empty());
        Arrival { body: self.body.clone(), document: None, headers, position, fault }
    }
}

/// Hands a run over, however long the hub has no room for it; false where it was let go.
async fn hand_over(
    run: &[Taken],
    id: &str,
    receiver: &dyn Receiver,
    clock: &Clock,
    over: &CancellationToken,
) -> Result<bool, Fault> {
    let mut pause = SOON;
    loop {
        let arrivals = run.iter().map(|taken| taken.arrival(id)).collect();
        let Err(fault) = receiver.receive(arrivals, None).await else { return Ok(true) };
        let after = match fault.next() {
            Next::Retry { after } => after.unwrap_or(pause),
            Next::Reconnect | Next::Refuse | Next::Misconfigured => return Err(fault),
        };
        pause = (pause * 2).min(LATEST);
        tokio::select! {
            () = over.cancelled() => return Ok(false),
            () = clock.sleep(after) => {}
        }
    }
}
