//! The pure middle of a message's life: bytes → document → steps → what each destination gets.
//!
//! Nothing here touches the queue or the store: production, `test` and `simulate` run this same code, each with its own
//! [`World`].

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::mask::People;
use super::{Destination, Pipeline};
use crate::formula::{Meta, Scope, Tables};
use crate::message::{Fault, Map, MessageId, Text, Value, json};
use crate::protocols::{Prepared, Target};
use crate::steps::{Context, Effect, Row, RowTemplate, World};

/// A message about to be processed.
pub(super) struct Work<'a> {
    pub id: MessageId,
    pub time: Timestamp,
    /// The hub's clock.
    pub now: Timestamp,
    pub headers: &'a Map,
    /// The document, decoded.
    pub document: Value,
    /// The step to begin with.
    pub start_at: usize,
    /// Only this destination: the replay of a message that failed on its way to it.
    pub only: Option<&'a str>,
}

/// What came of a message.
#[derive(Default)]
pub(super) struct Processed {
    pub routed: Vec<Routed>,
    pub effects: Vec<Effect>,
    /// What failed for one destination only.
    pub failed: Vec<(Arc<Destination>, Fault)>,
}

/// One message for one destination.
pub(super) struct Routed {
    pub destination: Arc<Destination>,
    /// Its number among those for the destination: with the message's id and the destination's name it gives its own id.
    pub index: usize,
    pub document: Value,
    pub prepared: Prepared,
}

/// The document in `body`: of the pipeline's source, or of a group that goes on after its `aggregate`.
pub(super) fn decode(pipeline: &Pipeline, body: &Bytes, start_at: u32) -> Result<Value, Fault> {
    if start_at == 0 {
        return pipeline.codec.decode(body);
    }
    json::read(body)
        .map_err(|error| Fault::refuse("DECODE-JSON", "the stored document of a closed group is damaged").cause(error))
}

/// The document in a stored body of the pipeline's source: what the source makes of it now, where it stores what came and not the
/// document.
pub fn document(pipeline: &Pipeline, body: &Bytes, of: (MessageId, Timestamp)) -> Result<Value, Fault> {
    let stored = pipeline.codec.decode(body)?;
    pipeline.source.document(&stored, of).unwrap_or(Ok(stored))
}

/// Runs the steps and makes ready what each destination gets. `targets` are the opened targets, in the order of the pipeline's
/// destinations.
///
/// # Errors
/// A fault of the pipeline's own steps: nothing goes anywhere. A fault on the way to one destination stands in `failed`.
pub(super) async fn process(
    pipeline: &Pipeline,
    targets: &[Arc<dyn Target>],
    tables: &dyn Tables,
    world: &dyn World,
    work: Work<'_>,
) -> Result<Processed, Fault> {
    let people = People::of(pipeline, &work.document);
    let meta = Meta::of(&pipeline.name, work.id, work.time);
    let Work { id, time, now, headers, .. } = work;
    let context = Context { headers, meta: &meta, partner: None, time, now, id, tables };
    let ran = pipeline.steps.run(work.start_at, work.document, &context, world).await;
    let ran = ran.map_err(|fault| people.hide(fault))?;
    let mut processed = Processed { effects: ran.effects, ..Processed::default() };
    let count = pipeline.destinations.len();
    let mut documents = ran.documents;
    for (place, destination) in pipeline.destinations.iter().enumerate() {
        if work.only.is_some_and(|only| only != destination.name) {
            continue;
        }
        let last = place + 1 == count || work.only.is_some();
        let documents = if last { std::mem::take(&mut documents) } else { documents.clone() };
        match route(destination, &*targets[place], documents, &context, world).await {
            Ok((routed, effects)) => {
                processed.routed.extend(routed);
                processed.effects.extend(effects);
            }
            Err(fault) => processed.failed.push((destination.clone(), people.hide(fault))),
        }
    }
    Ok(processed)
}

/// The destination's own steps, then the bytes its target will be given.
async fn route(
    destination: &Arc<Destination>,
    target: &dyn Target,
    documents: Vec<Value>,
    context: &Context<'_>,
    world: &dyn World,
) -> Result<(Vec<Routed>, Vec<Effect>), Fault> {
    let (mut routed, mut effects) = (Vec::new(), Vec::new());
    for document in documents {
        let ran = destination.steps.run(0, document, context, world).await?;
        effects.extend(ran.effects);
        for document in ran.documents {
            let prepared = target
                .prepare(&context.scope(&document))
                .map_err(|fault| fault.at_step(format!("to.{}", destination.name)))?;
            let index = routed.len();
            routed.push(Routed { destination: destination.clone(), index, document, prepared });
        }
    }
    Ok((routed, effects))
}

/// The row that `remember:` of a destination makes of a document that was delivered as `id`, and of what its system answered.
///
/// # Errors
/// As [`RowTemplate::render`].
pub(super) fn remembered(
    remember: &RowTemplate,
    (pipeline, id, time): (&Text, MessageId, Timestamp),
    document: &Value,
    result: Option<Value>,
    tables: &dyn Tables,
    now: Timestamp,
) -> Result<Row, Fault> {
    let meta = Meta::of(pipeline, id, time);
    let locals: Map = result.map(|result| ("result", result)).into_iter().collect();
    let headers = Map::new();
    let scope = Scope {
        document,
        headers: &headers,
        meta: &meta,
        item: None,
        partner: None,
        connection: None,
        locals: Some(&locals),
        time,
        id,
        tables,
    };
    remember.render(&scope, now)
}

/// A scalar as the text of a key; anything else as compact JSON, so that only equal values share a key.
pub(super) fn key_text(value: &Value) -> Text {
    value.plain().unwrap_or_else(|| json::to_text(value).into())
}
