//! RabbitMQ: the [`Broker`](super::broker::Broker) of the distributed engine, and the connection that the `amqp` protocol shares.

mod faults;
mod link;
mod wire;

pub use faults::fault_of;
pub use link::{Link, LinkSettings};
