//! Queues, bindings and exchanges that a pipeline asks for, made where they are not there.

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, ShortString};

use super::faults::of_channel;
use super::properties::{short, table};
use super::settings::{ExchangeDeclaration, ExchangeType, QueueDeclaration, arguments};
use crate::message::Fault;
use crate::queue::rabbitmq::Link;

/// Makes the queue and its bindings.
///
/// # Errors
/// `AMQP-DIFFERENT` (misconfigured): one of that name is otherwise, and the broker's words say in what.
pub(super) async fn queue(link: &Link, name: &str, wanted: &QueueDeclaration) -> Result<(), Fault> {
    // A channel of its own: a refusal closes it.
    let channel = link.channel().await?;
    let refused = |error: lapin::Error| of_channel(&error, format!("queue `{name}`"));
    let queue = short("the queue's name", name)?;
    let mut with = table(&arguments(wanted.arguments.as_ref()))?;
    with.insert("x-queue-type".into(), AMQPValue::LongString(wanted.r#type.word().into()));
    let options = QueueDeclareOptions { durable: wanted.durable, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.clone(), options, with).await.map_err(refused)?;
    for binding in &wanted.bind {
        let refused =
            |error: lapin::Error| of_channel(&error, format!("binding of `{name}` to exchange `{}`", binding.exchange));
        let exchange = short("the exchange's name", &binding.exchange)?;
        let key = short("the routing key", &binding.routing_key)?;
        let with = table(&arguments(binding.arguments.as_ref()))?;
        channel.queue_bind(queue.clone(), exchange, key, QueueBindOptions::default(), with).await.map_err(refused)?;
    }
    close(&channel).await;
    Ok(())
}

/// Makes the exchange.
///
/// # Errors
/// As [`queue`].
pub(super) async fn exchange(link: &Link, name: &str, wanted: &ExchangeDeclaration) -> Result<(), Fault> {
    let channel = link.channel().await?;
    let kind = match wanted.r#type {
        ExchangeType::Direct => ExchangeKind::Direct,
        ExchangeType::Topic => ExchangeKind::Topic,
        ExchangeType::Fanout => ExchangeKind::Fanout,
        ExchangeType::Headers => ExchangeKind::Headers,
    };
    let options = ExchangeDeclareOptions { durable: wanted.durable, ..ExchangeDeclareOptions::default() };
    let with = table(&arguments(wanted.arguments.as_ref()))?;
    let exchange = short("the exchange's name", name)?;
    let declared = channel.exchange_declare(exchange, kind, options, with).await;
    declared.map_err(|error: lapin::Error| of_channel(&error, format!("exchange `{name}`")))?;
    close(&channel).await;
    Ok(())
}

/// A channel that is of no more use. Whether the broker heard it does not matter: the connection says so at its end.
pub(super) async fn close(channel: &lapin::Channel) {
    let _ = channel.close(200, ShortString::from("done")).await;
}
