//! `read`: one question, one answer, for the step `call`.

use std::sync::Arc;

use super::connection::Connection;
use super::manifest::Read;
use crate::message::{Fault, MessageId, Text, Value};
use crate::protocols::Surroundings;
use jiff::Timestamp;

/// Asks `operation` of a connection for what it has under `input`; `None` where there is nothing.
///
/// # Errors
/// As [`super::Line::ask`].
pub async fn read(
    _connection: &Arc<Connection>,
    _operation: (&Text, &Read),
    _input: &Value,
    _of: (MessageId, Timestamp),
    _around: &Surroundings,
) -> Result<Option<Value>, Fault> {
    Ok(None)
}
