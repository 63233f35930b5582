//! RabbitMQ: the [`Broker`](super::broker::Broker) of the distributed engine, and the connection that the `amqp` protocol shares.

mod envelope;
mod faults;
mod link;
mod publisher;
mod topology;
mod wire;

pub use faults::fault_of;
pub use link::{Link, LinkSettings, LinkState};
pub use publisher::{Letter, Publisher};
