//! A subscription: deliveries of one lane over a channel of its own, and their acknowledgements in batches.
//!
//! How much the broker sends ahead can only be said before a consumer starts, and in messages, not bytes. So a subscription
//! whose messages turn out much larger or smaller than thought starts again on a new channel, at a moment when nothing is
//! handed out and not acknowledged. A consumer is never merely cancelled: of a single active consumer that would let the next
//! one begin while we still hold messages. Closing the channel gives them back first, in order.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::envelope;
use super::faults::{fault_of, gone};
use super::link::Link;
use crate::message::{Fault, Text};
use crate::queue::Window;
use crate::queue::broker::{Acks, Delivered, Deliveries};
use crate::telemetry::BrokerMetrics;

/// Acknowledgements wait so long for others, unless they are the last ones or many.
const GATHER: Duration = Duration::from_millis(4);

/// Acknowledgements with one missing before them wait so long for it, since all up to it can then go as one.
const GATHER_OUT_OF_ORDER: Duration = Duration::from_millis(40);

/// Most deliveries given out at once.
const MOST: usize = 256;

/// Read ahead at first where nothing is known of a queue's messages.
const UNKNOWN: usize = 64;

/// Deliveries after which the mean size is believed.
const BELIEVED: u32 = 32;

/// At most so often a subscription starts again to read further ahead.
const GROW_EVERY: Duration = Duration::from_secs(20);

/// So long a subscription that wants to read further ahead waits for what is handed out.
const GROW_WITHIN: Duration = Duration::from_secs(2);

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Mean sizes of the messages of each queue, as far as they passed here.
#[derive(Default)]
pub struct Sizes(Mutex<HashMap<Text, Mean>>);

#[derive(Clone, Copy, Default)]
struct Mean {
    seen: u32,
    bytes: f64,
}

impl Sizes {
    pub fn note(&self, queue: &Text, bytes: usize) {
        let mut sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = match sizes.get_mut(queue) {
            Some(mean) => mean,
            None => sizes.entry(queue.clone()).or_default(),
        };
        mean.seen = mean.seen.saturating_add(1);
        #[allow(clippy::cast_precision_loss, reason = "a mean need not be exact")]
        let bytes = bytes as f64;
        mean.bytes += (bytes - mean.bytes) / f64::from(mean.seen.min(200));
    }

    /// How many messages of `queue` make up `window`.
    fn prefetch(&self, queue: &Text, window: Window) -> u16 {
        let mean = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(queue).copied().unwrap_or_default();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes")]
        let mean_bytes = mean.bytes as usize;
        // What a message takes besides its body.
        let fit = window.bytes / (mean_bytes + 512);
        let most = if mean.seen < BELIEVED { window.entries.min(UNKNOWN) } else { window.entries };
        u16::try_from(fit.min(most).max(1)).unwrap_or(u16::MAX)
    }
}

/// What a subscription needs to begin.
#[derive(Clone)]
pub struct Source {
    pub link: Arc<Link>,
    pub queue: Text,
    /// The broker's name of the lane.
    pub name: ShortString,
    pub window: Window,
    pub sizes: Arc<Sizes>,
    pub metrics: BrokerMetrics,
    /// Those that tell the broker what is acknowledged.
    pub tellers: TaskTracker,
}

pub struct Subscription {
    source: Source,
    open: Option<Open>,
    opening: Option<JoinHandle<Result<Open, Fault>>>,
    ledger: Arc<Ledger>,
    ended: Option<Fault>,
    seen: u32,
    resized: Instant,
    resizing: Option<Instant>,
}

struct Open {
    channel: Channel,
    /// Taken by whoever closes the channel.
    consumer: Option<Consumer>,
    prefetch: u16,
}

/// One that nobody took (its subscription ended while it was being opened): the channel is closed before its consumer goes.
impl Drop for Open {
    fn drop(&mut self) {
        if let (Some(consumer), Ok(runtime)) = (self.consumer.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(give_back(self.channel.clone(), Some(consumer)));
        }
    }
}

/// Closes a channel, which gives back what it holds, and only then lets its consumer go: dropped before, it would be cancelled,
/// and of a single active consumer the next one begin before that.
async fn give_back(channel: Channel, consumer: Option<Consumer>) {
    let _ = timeout(ANSWER_WITHIN, channel.close(200, "OK".into())).await;
    drop(consumer);
}

impl Source {
    /// Starts consuming.
    ///
    /// # Errors
    /// `misconfigured`: no such queue, or no right to read it; `reconnect`.
    pub async fn subscribe(self) -> Result<(Subscription, Arc<Ledger>), Fault> {
        let open = tokio::spawn(self.clone().consume()).await.unwrap_or_else(|_| Err(gone("the hub is stopping")))?;
        let ledger = Arc::new(Ledger::default());
        let mut subscription = Subscription {
            source: self,
            open: None,
            opening: None,
            ledger: ledger.clone(),
            ended: None,
            seen: 0,
            resized: Instant::now(),
            resizing: None,
        };
        subscription.begin(open);
        Ok((subscription, ledger))
    }

    async fn consume(self) -> Result<Open, Fault> {
        let prefetch = self.sizes.prefetch(&self.queue, self.window);
        let channel = self.link.channel().await?;
        let consume = async {
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
            let options = BasicConsumeOptions::default();
            channel.basic_consume(self.name.clone(), ShortString::default(), options, FieldTable::default()).await
        };
        match timeout(ANSWER_WITHIN, consume).await {
            Ok(Ok(consumer)) => Ok(Open { channel, consumer: Some(consumer), prefetch }),
            Ok(Err(error)) => Err(fault_of(&error)),
            Err(_) => {
                // It may have begun to consume all the same.
                give_back(channel, None).await;
                Err(gone("the broker did not answer in time"))
            }
        }
    }
}

#[async_trait]
impl Deliveries for Subscription {
    async fn next(&mut self) -> Result<Vec<Delivered>, Fault> {
        loop {
            if let Some(fault) = &self.ended {
                return Err(fault.clone());
            }
            if let Some(opening) = &mut self.opening {
                let opened = opening.await.unwrap_or_else(|_| Err(gone("the hub is stopping")));
                self.opening = None;
                match opened {
                    Ok(open) => self.begin(open),
                    Err(fault) => self.ended = Some(fault),
                }
                continue;
            }
            if let Some(since) = self.resizing {
                if self.settled(since).await {
                    self.restart();
                }
                self.resizing = None;
                continue;
            }
            let Some(consumer) = self.consumer() else { return Err(gone("the subscription is over")) };
            let first = consumer.next().await;
            let mut batch = Vec::new();
            self.take(first, &mut batch);
            while batch.len() < MOST && self.ended.is_none() {
                let next = self.consumer().and_then(|consumer| consumer.next().now_or_never());
                let Some(next) = next else { break };
                self.take(next, &mut batch);
            }
            self.consider_resize();
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }
}

impl Subscription {
    fn begin(&mut self, open: Open) {
        self.ledger.begin(open.prefetch);
        self.source.tellers.spawn(self.ledger.clone().keep(open.channel.clone()));
        self.open = Some(open);
    }

    fn consumer(&mut self) -> Option<&mut Consumer> {
        self.open.as_mut()?.consumer.as_mut()
    }

    fn take(&mut self, next: Option<lapin::Result<lapin::message::Delivery>>, batch: &mut Vec<Delivered>) {
        let delivery = match next {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return self.end(fault_of(&error)),
            None => {
                let open = self.open.as_ref().is_some_and(|open| open.channel.status().connected());
                let fault = if open {
                    Fault::reconnect(
                        "AMQP-CANCELLED",
                        "the broker ended the subscription: the queue was deleted or moved",
                    )
                } else {
                    gone("the connection to the broker was lost")
                };
                return self.end(fault);
            }
        };
        let weight = delivery.data.len();
        self.source.sizes.note(&self.source.queue, weight);
        self.seen = self.seen.saturating_add(1);
        if delivery.redelivered {
            self.source.metrics.redelivered.inc();
        }
        let tag = self.ledger.delivered(delivery.delivery_tag);
        let content = envelope::content(&delivery.properties, delivery.data);
        batch.push(Delivered { tag, redelivered: delivery.redelivered, content });
    }

    fn end(&mut self, fault: Fault) {
        self.ended = Some(fault);
        self.close();
    }

    /// Whether all that was handed out since `since` is acknowledged, within the time that is worth waiting.
    async fn settled(&self, since: Instant) -> bool {
        let left = GROW_WITHIN.saturating_sub(since.elapsed());
        timeout(left, self.ledger.idle()).await.is_ok()
    }

    fn consider_resize(&mut self) {
        let Some(open) = &self.open else { return };
        if self.seen < BELIEVED || self.resizing.is_some() {
            return;
        }
        let (wanted, now) = (self.source.sizes.prefetch(&self.source.queue, self.source.window), open.prefetch);
        let shrink = wanted <= now / 2;
        // The first step up, from knowing nothing, need not wait.
        let early = usize::from(now) <= UNKNOWN;
        let grow = wanted / 2 >= now && (early || self.resized.elapsed() >= GROW_EVERY);
        if shrink || grow {
            tracing::debug!(queue = %self.source.name, from = now, to = wanted, "reads further or less far ahead");
            self.resizing = Some(Instant::now());
            self.resized = Instant::now();
            // Believe the next measure only after as many deliveries again.
            self.seen = 0;
        }
    }

    fn restart(&mut self) {
        self.close();
        let source = self.source.clone();
        let ledger = self.ledger.clone();
        self.opening = Some(tokio::spawn(async move {
            // What the old channel gives back must be there for the new one.
            ledger.closed().await;
            source.consume().await
        }));
    }

    /// Acknowledges what is left and closes the channel; the consumer goes after it.
    fn close(&mut self) {
        if let Some(consumer) = self.open.take().and_then(|mut open| open.consumer.take()) {
            self.ledger.end(consumer);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // What is being opened comes to its end and is given back.
        self.opening = None;
        self.close();
        self.ledger.lock().over = true;
    }
}

/// What is delivered and not acknowledged.
#[derive(Default)]
pub struct Ledger {
    state: Mutex<Entries>,
    acked: Notify,
    quiet: Notify,
}

#[derive(Default)]
struct Entries {
    /// Tags of former channels end here: a tag is this and the channel's own.
    offset: u64,
    /// The channel's largest tag so far.
    delivered: u64,
    /// All up to it are acknowledged.
    low: u64,
    /// Acknowledged above `low`.
    above: BTreeSet<u64>,
    /// Of these, not told to the broker, and since when.
    untold: Vec<u64>,
    untold_since: Option<Instant>,
    told_low: u64,
    /// Acknowledged to the broker one by one, above `told_low`.
    told_above: BTreeSet<u64>,
    prefetch: u64,
    /// The channel is to be closed; the consumer is dropped after that.
    ending: Option<Consumer>,
    running: bool,
    over: bool,
}

impl Entries {
    /// The last tag up to `low` that the broker has not heard of: it closes the channel over one that it has, also where
    /// that one stands for all before it.
    fn last_to_tell(&self) -> Option<u64> {
        (self.told_low + 1..=self.low).rev().find(|tag| !self.told_above.contains(tag))
    }
}

impl Acks for Ledger {
    fn ack(&self, tags: &[u64]) {
        let mut state = self.lock();
        if state.over {
            return;
        }
        for tag in tags {
            let Some(tag) = tag.checked_sub(state.offset).filter(|tag| *tag > state.low && *tag <= state.delivered)
            else {
                continue;
            };
            if state.above.insert(tag) {
                state.untold.push(tag);
            }
        }
        while state.above.first().is_some_and(|first| *first == state.low + 1) {
            state.above.pop_first();
            state.low += 1;
        }
        let quiet = state.low == state.delivered;
        drop(state);
        if quiet {
            self.quiet.notify_waiters();
        }
        self.acked.notify_one();
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, prefetch: u16) {
        let mut state = self.lock();
        let offset = state.offset + state.delivered;
        *state = Entries { offset, prefetch: prefetch.into(), running: true, over: state.over, ..Entries::default() };
    }

    fn delivered(&self, tag: u64) -> u64 {
        let mut state = self.lock();
        state.delivered = state.delivered.max(tag);
        state.offset + tag
    }

    fn end(&self, consumer: Consumer) {
        self.lock().ending = Some(consumer);
        self.acked.notify_one();
    }

    /// Waits until nothing is delivered and not acknowledged.
    async fn idle(&self) {
        loop {
            let quiet = self.quiet.notified();
            let idle = {
                let state = self.lock();
                state.low == state.delivered
            };
            if idle {
                return;
            }
            quiet.await;
        }
    }

    /// Waits until the last channel is closed.
    async fn closed(&self) {
        loop {
            let quiet = self.quiet.notified();
            if !self.lock().running {
                return;
            }
            quiet.await;
        }
    }

    /// Tells the broker of one channel, until it is to be closed.
    async fn keep(self: Arc<Ledger>, channel: Channel) {
        loop {
            self.acked.notified().await;
            let now = {
                let state = self.lock();
                state.ending.is_some()
                    || state.low == state.delivered
                    || state.low - state.told_low >= state.prefetch / 4
            };
            if !now {
                sleep(GATHER).await;
            }
            let ending = self.lock().ending.take();
            self.tell(&channel, ending.is_some()).await;
            if let Some(consumer) = ending {
                give_back(channel, Some(consumer)).await;
                self.lock().running = false;
                return self.quiet.notify_waiters();
            }
        }
    }

    /// Acknowledges what is contiguous as one; the rest one by one once it has waited, or `all`. Of a channel that is gone: nothing.
    async fn tell(self: &Arc<Ledger>, channel: &Channel, all: bool) {
        let (low, single) = {
            let mut state = self.lock();
            let low = state.last_to_tell();
            let covered = state.low;
            state.told_low = covered;
            state.told_above = state.told_above.split_off(&(covered + 1));
            state.untold.retain(|tag| *tag > covered);
            let since = if state.untold.is_empty() {
                state.untold_since = None;
                None
            } else {
                Some(*state.untold_since.get_or_insert_with(Instant::now))
            };
            let many = u64::try_from(state.untold.len()).unwrap_or(u64::MAX) * 2 >= state.prefetch;
            let due = since.is_some_and(|since| since.elapsed() >= GATHER_OUT_OF_ORDER);
            if all || many || due {
                state.untold_since = None;
                let single = std::mem::take(&mut state.untold);
                state.told_above.extend(&single);
                (low, single)
            } else {
                (low, Vec::new())
            }
        };
        if let Some(low) = low {
            let _ = channel.basic_ack(low, BasicAckOptions { multiple: true }).await;
        }
        let acks = single.into_iter().map(|tag| channel.basic_ack(tag, BasicAckOptions { multiple: false }));
        futures_util::future::join_all(acks).await;
        if self.lock().untold_since.is_some() {
            // Nobody may acknowledge any more: come back for those that wait.
            let ledger = self.clone();
            tokio::spawn(async move {
                sleep(GATHER_OUT_OF_ORDER).await;
                ledger.acked.notify_one();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_was_told_alone_is_not_told_again_for_all_before_it() {
        let check = |told_low, low, told_above: &[u64], expect| {
            let told_above = told_above.iter().copied().collect();
            let entries = Entries { told_low, low, told_above, ..Entries::default() };
            assert_eq!(entries.last_to_tell(), expect, "{told_low}..={low}");
        };
        check(0, 0, &[], None);
        check(0, 3, &[], Some(3));
        check(2, 5, &[4], Some(5));
        check(2, 5, &[4, 5], Some(3));
        check(2, 5, &[3, 4, 5], None);
        check(2, 2, &[4], None);
    }
}
