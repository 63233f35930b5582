//! RabbitMQ (AMQP 0-9-1) as a system of the retailer's: its queues are read, its exchanges are written to.
//!
//! In: what a queue holds is handed over in runs, several at a time, and acknowledged once it is stored. Out: a run is
//! published on one channel, confirmed as a whole; each message is answered. What headers and properties look like in a
//! document, and on the wire, is told by `properties`.

mod declare;
mod faults;
mod properties;
mod publisher;
mod settings;
mod source;
mod target;
mod tags;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use settings::{AmqpSource, AmqpTarget, BrokerSettings};

use super::{ProtocolKind, SourceKind, SourceSettings, TargetKind, TargetSettings};
use crate::config::{MapReader, Reader, Settings};

pub static KIND: ProtocolKind = ProtocolKind {
    name: "amqp",
    about: "RabbitMQ: messages of a queue, or messages to an exchange, confirmed and acknowledged.",
    source: Some(SourceKind { fields: AmqpSource::fields, read: read_source }),
    target: Some(TargetKind { fields: AmqpTarget::fields, read: read_target }),
};

fn read_source(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn SourceSettings>> {
    let settings: AmqpSource = map.flat(reader)?;
    settings.check(map, reader).then(|| Arc::new(settings) as Arc<dyn SourceSettings>)
}

fn read_target(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn TargetSettings>> {
    let settings: AmqpTarget = map.flat(reader)?;
    settings.check(map, reader).then(|| Arc::new(settings) as Arc<dyn TargetSettings>)
}
