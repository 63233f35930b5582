//! `read`: one question, one answer, for the step `call`.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::connection::Connection;
use super::forms::Extra;
use super::load::Connectors;
use super::manifest::{Operation, Read};
use super::scope::{View, of_operation};
use crate::formula::Meta;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::protocols::{Connections, Surroundings};

/// The connections of a hub, for whoever asks by name.
pub struct Systems {
    pub connectors: Arc<Connectors>,
    pub around: Surroundings,
}

#[async_trait]
impl Connections for Systems {
    /// # Errors
    /// As [`super::Line::ask`]; `CONNECTOR-UNKNOWN` (misconfigured) where there is no such connection or read.
    async fn call(
        &self,
        connection: &str,
        operation: &str,
        input: &Value,
        id: MessageId,
        time: Timestamp,
    ) -> Result<Option<Value>, Fault> {
        let unknown = |what: &str| Err(Fault::misconfigured("CONNECTOR-UNKNOWN", what.to_owned()));
        let Some(found) = self.connectors.connections.get(connection) else {
            return unknown(&format!("there is no connection `{connection}`"));
        };
        match found.manifest.operations.get_key_value(operation) {
            Some((name, Operation::Read(of))) => read(found, (name, of), input, (id, time), &self.around).await,
            Some(_) => unknown(&format!("`{operation}` of `{connection}` is no read")),
            None => unknown(&format!("`{connection}` has no operation `{operation}`")),
        }
    }
}

/// Asks `operation` of a connection for what it has under `input`; `None` where there is nothing.
///
/// # Errors
/// As [`super::Line::ask`].
pub async fn read(
    connection: &Arc<Connection>,
    operation: (&Text, &Read),
    input: &Value,
    of: (MessageId, Timestamp),
    around: &Surroundings,
) -> Result<Option<Value>, Fault> {
    let found = ask(connection, operation, input, of, around).await;
    found.map_err(|fault| of_operation(fault, operation.0))
}

async fn ask(
    connection: &Arc<Connection>,
    operation: (&Text, &Read),
    input: &Value,
    of: (MessageId, Timestamp),
    around: &Surroundings,
) -> Result<Option<Value>, Fault> {
    let line = connection.line(around)?;
    let (name, read) = operation;
    let (id, time) = of;
    let meta = Meta::of(&format!("{}.{name}", connection.name).into(), id, time);
    let mut locals = Map::from_iter([("input", input.clone())]);
    let view = View {
        connection: &connection.settings,
        document: input,
        headers: &Map::new(),
        item: None,
        locals: &locals.clone(),
        meta: &meta,
        id,
        time,
    };
    let reply = match &read.request {
        Some(request) => line.ask(request, &view, &Extra::default()).await?,
        None => {
            let (results, last) = line.calls(&read.calls, &view, &Extra::default()).await?;
            locals.insert("calls", results);
            last
        }
    };
    // Of several calls, the last may find nothing that `result` needs.
    if reply.missing && (read.request.is_some() || read.result.is_none()) {
        return Ok(None);
    }
    let view = view.with_locals(&locals);
    let answered = view.of_answer(&reply.body, &reply.headers);
    if let Some(missing) = &read.missing
        && answered.holds_if_there(missing, "missing")?
    {
        return Ok(None);
    }
    match &read.result {
        Some(result) => answered.render(result, "result"),
        None => Ok(Some(reply.body)),
    }
}
