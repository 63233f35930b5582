//! What travels: a message, its document, and the faults that can befall it.

mod contained;
mod fault;
mod id;
pub mod json;
mod value;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

pub use contained::{contained, differences};
pub use fault::{Fault, Next};
pub use id::MessageId;
pub use value::{Map, Number, Text, Value};

/// A message on its way: identity, time, and what it says.
///
/// `time` is the message's own clock: it is set once at intake, so `now()` gives a repeat the same answer.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub time: Timestamp,
    /// Names lower case, `-` as `_`; values text or numbers.
    pub headers: Arc<Map>,
    pub content: Content,
}

/// What a message carries at a given point of its life.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes as they came from a source, not decoded yet.
    Original(Bytes),
    /// A document on its way through steps or to a destination.
    Document(Arc<Value>),
}
