//! Publishes runs of messages and answers each: confirmed, returned, refused, or not known.
//!
//! A run has a channel for itself, so that whatever comes back on it belongs to the run. The broker tells that a message
//! could not be routed by returning it, before it confirms it; lapin hands a returned message to whichever confirm comes
//! next, so it is matched here by what it says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::timeout;

use super::declare;
use super::faults::{of_channel, size_taken};
use super::settings::ExchangeDeclaration;
use crate::message::{Fault, Text};
use crate::queue::rabbitmq::Link;

/// A message on its way to the broker.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// The publishing end of a connection.
pub(super) struct Publisher {
    link: Link,
    within: Duration,
    /// Exchange to make on each new connection.
    declare: Option<(Text, ExchangeDeclaration)>,
    /// The connection on which it was made last.
    declared: AtomicU64,
    /// Channels that are well and not in use.
    idle: Mutex<Vec<Channel>>,
}

type Answer = Result<(), Fault>;

impl Publisher {
    /// `within` is the longest wait for confirms.
    pub fn new(link: Link, within: Duration, declare: Option<(Text, ExchangeDeclaration)>) -> Publisher {
        Publisher { link, within, declare, declared: AtomicU64::new(0), idle: Mutex::default() }
    }

    /// Publishes all; answers each, in order, once the broker has it for good or not. Several runs may be under way at once.
    pub async fn publish(&self, letters: &[Letter]) -> Vec<Answer> {
        if letters.is_empty() {
            return Vec::new();
        }
        if !self.link.unblocked(self.within).await {
            return letters.iter().map(|_| Err(blocked())).collect();
        }
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(fault) => return letters.iter().map(|_| Err(fault.clone())).collect(),
        };
        let (answers, well) = self.publish_on(&channel, letters).await;
        if well {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
        answers
    }

    async fn channel(&self) -> Result<Channel, Fault> {
        while let Some(channel) = self.idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let (channel, connection) = self.link.channel_of().await?;
        if let Some((exchange, declare)) = &self.declare
            && self.declared.load(Ordering::Acquire) != connection
        {
            declare::exchange(&self.link, exchange, declare).await?;
            self.declared.store(connection, Ordering::Release);
        }
        let selected = channel.confirm_select(ConfirmSelectOptions::default()).await;
        selected.map_err(|error| of_channel(&error, "confirms"))?;
        Ok(channel)
    }

    fn idle(&self) -> Option<Channel> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The answers, and whether the channel can be used again.
    async fn publish_on(&self, channel: &Channel, letters: &[Letter]) -> (Vec<Answer>, bool) {
        let mut known: Vec<Option<lapin::Result<Confirmation>>> = letters.iter().map(|_| None).collect();
        let outcome = timeout(self.within, confirmed(channel, letters, &mut known)).await;
        let mut well = outcome.is_ok();
        let (mut returned, mut size) = (Vec::new(), None);
        let mut answers: Vec<Answer> = Vec::with_capacity(letters.len());
        for known in known {
            answers.push(match known {
                Some(Ok(Confirmation::Ack(message))) => {
                    returned.extend(message);
                    Ok(())
                }
                Some(Ok(Confirmation::Nack(message))) => {
                    returned.extend(message);
                    // RabbitMQ's channel may go on refusing after its queue has found another leader.
                    well = false;
                    Err(Fault::retry("AMQP-NACK", "the broker could not keep the message"))
                }
                Some(Ok(Confirmation::NotRequested)) => {
                    well = false;
                    Err(Fault::reconnect("AMQP-UNCONFIRMED", "the broker does not confirm on this channel"))
                }
                Some(Err(error)) => {
                    well = false;
                    size = size.or_else(|| size_taken(&error));
                    Err(of_channel(&error, "publishing"))
                }
                None => Err(self.silent()),
            });
        }
        if let Some(size) = size {
            only_the_large(letters, size, &mut answers);
        }
        for message in returned {
            unroutable(letters, &message, &mut answers);
        }
        (answers, well && channel.status().connected())
    }

    fn silent(&self) -> Fault {
        if self.link.blocked() {
            return blocked();
        }
        let within = self.within;
        Fault::reconnect("AMQP-UNCONFIRMED", format!("the broker did not confirm within {within:?}"))
    }
}

fn blocked() -> Fault {
    Fault::reconnect("AMQP-BLOCKED", "the broker takes no messages for now: its memory or its disk is full")
}

/// Writes all, then waits for all; what is known stands in `known`, also when the wait is given up.
async fn confirmed(channel: &Channel, letters: &[Letter], known: &mut [Option<lapin::Result<Confirmation>>]) {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    // Polled together: all frames are handed over before the first is waited for.
    let written = join_all(letters.iter().map(|letter| {
        let (exchange, key) = (letter.exchange.clone(), letter.routing_key.clone());
        channel.basic_publish(exchange, key, options, &letter.body, letter.properties.clone())
    }))
    .await;
    // One after the other: they come nearly in order, and each is known as soon as it has come.
    for (written, known) in written.into_iter().zip(known) {
        *known = Some(match written {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        });
    }
}

/// The broker closes the channel over one message that is too large, and with it over those around it, which are not.
fn only_the_large(letters: &[Letter], size: u64, answers: &mut [Answer]) {
    for (letter, answer) in letters.iter().zip(answers) {
        if answer.is_err() && (letter.body.len() as u64) <= size {
            let said = "a message beside it was too large for the broker, which closed the channel";
            *answer = Err(Fault::retry("AMQP-CHANNEL", said));
        }
    }
}

/// The returned message is one of these, and no queue has it.
fn unroutable(letters: &[Letter], message: &BasicReturnMessage, answers: &mut [Answer]) {
    let same = |letter: &Letter| {
        letter.routing_key == message.routing_key
            && letter.exchange == message.exchange
            && letter.properties.message_id() == message.properties.message_id()
            && letter.body == message.data
    };
    let fault = || {
        let said = format!(
            "no queue takes it: exchange `{}` has no binding for routing key `{}`",
            message.exchange, message.routing_key
        );
        Err(Fault::misconfigured("AMQP-UNROUTED", said).detail(message.reply_text.to_string()))
    };
    let found = letters.iter().zip(answers.iter_mut()).find(|(letter, answer)| answer.is_ok() && same(letter));
    match found {
        Some((_, answer)) => *answer = fault(),
        // Whose it is cannot be told: none of them is known to have arrived.
        None => answers.iter_mut().filter(|answer| answer.is_ok()).for_each(|answer| *answer = fault()),
    }
}
