//! RabbitMQ: the [`Broker`] of the distributed engine, and the connection and the publisher that the `amqp` protocol shares.
//!
//! Two connections: one publishes, one does the rest. A broker short of memory or disk stops reading from who publishes, and
//! deliveries must still be acknowledged then. Messages are persistent, mandatory and confirmed, queues are quorum queues.

mod envelope;
mod faults;
mod link;
mod publisher;
mod subscription;
mod topology;
mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::types::ShortString;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

pub use faults::fault_of;
pub use link::{Link, LinkSettings, LinkState};
pub use publisher::{Letter, Publisher};

use self::subscription::{Sizes, Source};
use self::topology::Topology;
use super::broker::{Broker, BrokerDepth, BrokerLane, Publication, Subscribed};
use super::{Sharing, Window};
use crate::clock::Clock;
use crate::config::RabbitSettings;
use crate::message::{Fault, Next};
use crate::telemetry::BrokerMetrics;

/// Delays of the wait queues, in seconds. A longer delay goes through several; whoever gets an entry before it is due sends it
/// through the next.
const LADDER: [u64; 8] = [1, 5, 15, 60, 300, 900, 3_600, 21_600];

/// How long the end of all subscriptions may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// A RabbitMQ broker, or a cluster of them.
pub struct Rabbit {
    publishing: Arc<Link>,
    consuming: Arc<Link>,
    publisher: Publisher,
    topology: Topology,
    sizes: Arc<Sizes>,
    metrics: BrokerMetrics,
    hub: ShortString,
    watchers: Vec<AbortHandle>,
    /// Those that tell the broker what is acknowledged, a moment later.
    tellers: TaskTracker,
}

impl Rabbit {
    /// Checks the settings; the broker need not be up. `folder` is where the paths of certificates start, `name` the hub's.
    /// Within a tokio runtime.
    ///
    /// # Errors
    /// `misconfigured`: an address that is none, a TLS file that cannot be read, a prefix that is no name.
    pub fn open(
        settings: &RabbitSettings,
        folder: &Path,
        name: &str,
        clock: Clock,
        metrics: BrokerMetrics,
    ) -> Result<Arc<Rabbit>, Fault> {
        Rabbit::with_ladder(settings, folder, name, clock, metrics, LADDER.map(Duration::from_secs).to_vec())
    }

    /// As [`Rabbit::open`], with other delays of the wait queues, rising.
    ///
    /// # Errors
    /// As [`Rabbit::open`].
    pub fn with_ladder(
        settings: &RabbitSettings,
        folder: &Path,
        name: &str,
        // Delays are the broker's to keep, and spans are measured: nothing here asks what time it is.
        _clock: Clock,
        metrics: BrokerMetrics,
        ladder: Vec<Duration>,
    ) -> Result<Arc<Rabbit>, Fault> {
        if settings.prefix.is_empty() || settings.prefix.starts_with("amq.") || settings.prefix.len() > 100 {
            let sentence = "`prefix` wants a name of 1 to 100 bytes that does not begin with `amq.`, which the broker keeps for itself";
            return Err(Fault::misconfigured("AMQP-ADDRESS", sentence));
        }
        let link = |purpose: &str| {
            Link::open(LinkSettings {
                addresses: settings.addresses.clone(),
                vhost: settings.vhost.clone(),
                user: settings.user.clone(),
                password: settings.password.clone(),
                tls: settings.tls.clone(),
                heartbeat: settings.heartbeat,
                map: "queue.rabbitmq",
                name: format!("raccord {name} {purpose}"),
                folder: folder.to_owned(),
            })
            .map(Arc::new)
        };
        let (publishing, consuming) = (link("publish")?, link("consume")?);
        let unconfirmed = usize::try_from(settings.unconfirmed).unwrap_or(usize::MAX);
        let publisher = Publisher::measured(publishing.clone(), settings.confirm_within, unconfirmed, metrics.clone());
        let (prefix, partitions) = (settings.prefix.as_str(), settings.partitions);
        let topology = Topology::new(consuming.clone(), prefix, partitions, settings.declare, ladder);
        let watchers = vec![measure(&publishing, metrics.clone(), true), measure(&consuming, metrics.clone(), false)];
        let hub = ShortString::try_new(name).unwrap_or_else(|_| "raccord".into());
        let sizes = Arc::default();
        Ok(Arc::new(Rabbit {
            publishing,
            consuming,
            publisher,
            topology,
            sizes,
            metrics,
            hub,
            watchers,
            tellers: TaskTracker::new(),
        }))
    }

    /// The letter of a publication, and the broker's name of where it goes.
    fn letter(&self, publication: &Publication) -> Result<Letter, Fault> {
        let envelope = &publication.envelope;
        self.topology.check_name(&publication.lane.queue)?;
        let name = self.target(publication);
        let (properties, body) = envelope::message(envelope, &self.hub)?;
        self.sizes.note(&publication.lane.queue, body.len());
        let routing_key = ShortString::try_new(name).unwrap_or_default();
        Ok(Letter { exchange: self.topology.exchange().into(), routing_key, properties, body })
    }

    fn target(&self, publication: &Publication) -> String {
        let rung = publication.delay.and_then(|delay| self.topology.rung(delay));
        match rung.filter(|_| publication.lane.partition.is_none()) {
            Some(rung) => self.topology.wait_name(&publication.lane.queue, rung),
            None => self.topology.name(&publication.lane),
        }
    }

    /// Makes the wait queues that `publications` go through.
    async fn make_wait_queues(&self, publications: &[Publication]) -> Result<(), Fault> {
        let waiting = publications.iter().filter(|one| one.lane.partition.is_none());
        let mut made = Vec::new();
        for (queue, delay) in waiting.filter_map(|one| Some((&one.lane.queue, one.delay?))) {
            if let Some(rung) = self.topology.rung(delay).filter(|rung| !made.contains(&(queue, *rung))) {
                self.topology.declare_wait(queue, rung).await?;
                made.push((queue, rung));
            }
        }
        Ok(())
    }

    /// Publishes once; each answered in its place.
    async fn publish_once(&self, publications: &[&Publication]) -> Vec<Result<(), Fault>> {
        let mut letters = Vec::with_capacity(publications.len());
        let mut answers = Vec::with_capacity(publications.len());
        for publication in publications {
            match self.letter(publication) {
                Ok(letter) => {
                    letters.push(letter);
                    answers.push(None);
                }
                Err(fault) => answers.push(Some(Err(fault))),
            }
        }
        let mut published = self.publisher.publish(letters).await.into_iter();
        let lost = || Err(faults::gone("the hub is stopping"));
        answers.into_iter().map(|said| said.unwrap_or_else(|| published.next().unwrap_or_else(lost))).collect()
    }

    /// Makes the queues of what came back again, and publishes it once more.
    async fn publish_again(
        &self,
        publications: &[Publication],
        answers: &mut [Result<(), Fault>],
    ) -> Result<(), Fault> {
        let back: Vec<usize> =
            answers.iter().enumerate().filter(|(_, said)| came_back(said)).map(|(at, _)| at).collect();
        let names: Vec<String> = back.iter().map(|at| self.target(&publications[*at])).collect();
        self.topology.forget(&names).await;
        let again: Vec<&Publication> = back.iter().map(|at| &publications[*at]).collect();
        for publication in &again {
            let queue = &publication.lane.queue;
            let unknown = if publication.lane.partition.is_none() { Sharing::Competing } else { Sharing::Keyed };
            let sharing = self.topology.sharing(queue).await.unwrap_or(unknown);
            self.topology.declare(queue, sharing).await?;
            self.make_wait_queues(std::slice::from_ref(*publication)).await?;
        }
        let said = self.publish_once(&again).await;
        for (at, said) in back.into_iter().zip(said) {
            answers[at] = said;
        }
        Ok(())
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.watchers.iter().for_each(AbortHandle::abort);
    }
}

#[async_trait]
impl Broker for Rabbit {
    async fn declare(&self, queue: &str, sharing: Sharing) -> Result<(), Fault> {
        self.topology.declare(queue, sharing).await
    }

    async fn publish(&self, publications: &[Publication]) -> Vec<Result<(), Fault>> {
        if let Err(fault) = self.make_wait_queues(publications).await {
            return vec![Err(fault); publications.len()];
        }
        let all: Vec<&Publication> = publications.iter().collect();
        let mut answers = self.publish_once(&all).await;
        if answers.iter().any(came_back)
            && let Err(fault) = self.publish_again(publications, &mut answers).await
        {
            for said in answers.iter_mut().filter(|said| came_back(said)) {
                *said = Err(fault.clone());
            }
        }
        answers
    }

    async fn subscribe(&self, lane: &BrokerLane, window: Window) -> Result<Subscribed, Fault> {
        self.topology.check_name(&lane.queue)?;
        let sharing = self.topology.sharing(&lane.queue).await;
        if let Some(sharing) = sharing {
            self.topology.declare(&lane.queue, sharing).await?;
        }
        let name = self.topology.name(lane);
        let source = Source {
            link: self.consuming.clone(),
            queue: lane.queue.clone(),
            name: ShortString::try_new(name.as_str()).unwrap_or_default(),
            window,
            sizes: self.sizes.clone(),
            metrics: self.metrics.clone(),
            tellers: self.tellers.clone(),
        };
        let subscribed = match (source.clone().subscribe().await, sharing) {
            (Err(fault), Some(sharing)) if fault.code() == "AMQP-MISSING" => {
                // Deleted since it was made.
                self.topology.forget(&[name]).await;
                self.topology.declare(&lane.queue, sharing).await?;
                source.subscribe().await
            }
            (subscribed, _) => subscribed,
        };
        let (deliveries, acks) = subscribed?;
        Ok(Subscribed { deliveries: Box::new(deliveries), acks })
    }

    async fn depth(&self, queue: &str) -> Result<BrokerDepth, Fault> {
        self.topology.check_name(queue)?;
        self.topology.depth(queue).await
    }

    async fn close(&self) {
        // Subscriptions that are over tell what is acknowledged, and close their channels.
        self.tellers.close();
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.tellers.wait()).await;
        tokio::join!(self.publishing.close(), self.consuming.close());
    }

    fn away(&self) -> Option<(Duration, Fault)> {
        // The other one is not asked for while nothing is published.
        self.consuming.away().map(|(since, why)| (since.elapsed(), why))
    }

    fn partitions(&self) -> u32 {
        self.topology.partitions()
    }
}

fn came_back(said: &Result<(), Fault>) -> bool {
    // The channel is closed with 404 where the exchange is gone.
    said.as_ref().is_err_and(|fault| {
        fault.next() == Next::Misconfigured && matches!(fault.code(), "AMQP-UNROUTED" | "AMQP-MISSING")
    })
}

/// Keeps the metrics of one connection.
fn measure(link: &Arc<Link>, metrics: BrokerMetrics, publishing: bool) -> AbortHandle {
    let mut state = link.state();
    let watch = async move {
        let mut generation = 0;
        loop {
            let now = *state.borrow_and_update();
            let up = if publishing { &metrics.publishing } else { &metrics.consuming };
            up.set(i64::from(now.connected));
            if publishing {
                metrics.blocked.set(i64::from(now.blocked));
            }
            if now.generation > generation.max(1) {
                metrics.reconnects.inc();
            }
            generation = now.generation;
            if state.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(watch).abort_handle()
}
