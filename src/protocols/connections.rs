//! The connections to systems, as those see them that ask a system for something.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::message::{Fault, MessageId, Value};

/// Named connections, each with its operations.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Asks operation `operation` of `connection` for what it has under `input`; `None` where the system has nothing of it.
    /// `id` and `time` are the asking message's.
    ///
    /// # Errors
    /// `retry`, `reconnect`: the system is away, slow or busy. `refuse`: it does not answer this. `misconfigured`: a person must act.
    async fn call(
        &self,
        connection: &str,
        operation: &str,
        input: &Value,
        id: MessageId,
        time: Timestamp,
    ) -> Result<Option<Value>, Fault>;
}

/// The connections of a hub that has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConnections;

#[async_trait]
impl Connections for NoConnections {
    async fn call(
        &self,
        connection: &str,
        operation: &str,
        _: &Value,
        _: MessageId,
        _: Timestamp,
    ) -> Result<Option<Value>, Fault> {
        let said = format!("there is no connection `{connection}` that could be asked for `{operation}`");
        Err(Fault::misconfigured("CALL-UNKNOWN", said))
    }
}
