//! Request/reply: the steps run at once, nothing is queued, nothing is kept. For reading: steps that write are refused when the
//! configuration is read.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Pipeline, Works};
use crate::formula::{Meta, Scope};
use crate::message::{Fault, MessageId, Value};
use crate::protocols::Arrival;
use crate::steps::{Answer, Ask, Call, Context, World};

/// The document `pipeline` answers to `arrival`.
pub(super) async fn reply(pipeline: &Pipeline, works: &Works, arrival: Arrival) -> Result<Value, Fault> {
    let Some(template) = &pipeline.reply else {
        return Err(Fault::misconfigured("PIPELINE-NO-REPLY", format!("pipeline `{}` gives no reply", pipeline.name)));
    };
    let document = match arrival.document {
        Some(document) => document,
        None => pipeline.codec.decode(&arrival.body)?,
    };
    let (id, time) = (MessageId::draw(), works.clock.now());
    let meta = Meta::of(&pipeline.name, id, time);
    let tables = &*works.tables;
    let context = Context { headers: &arrival.headers, meta: &meta, partner: None, time, now: time, id, tables };
    let mut ran = pipeline.steps.run(0, document, &context, &ReadOnly { works, id, time }).await?;
    let document = match ran.documents.len() {
        1 => ran.documents.remove(0),
        count => {
            let said = format!("the steps left {count} documents; a reply is made of exactly one");
            return Err(Fault::refuse("PIPELINE-NO-REPLY", said));
        }
    };
    let scope: Scope<'_> = context.scope(&document);
    Ok(template.render(&scope)?.unwrap_or(Value::Null))
}

/// Reads the store, changes nothing.
struct ReadOnly<'a> {
    works: &'a Works,
    id: MessageId,
    time: Timestamp,
}

#[async_trait]
impl World for ReadOnly<'_> {
    async fn answer(&self, ask: &Ask) -> Result<Answer, Fault> {
        match ask {
            Ask::Row { table, key, .. } => {
                self.works.engine.store.row(table, key, self.works.clock.now()).await.map(Answer::Row)
            }
            Ask::Group { group } => self.works.engine.store.group(group).await.map(Answer::Group),
            Ask::Number(_) => Err(Fault::misconfigured("STEP-ANSWER", "a question takes no number")),
            Ask::Call(call) => {
                self.answer_calls(&[call]).await.map(|mut answers| Answer::Called(answers.pop().flatten()))
            }
        }
    }

    async fn answer_calls(&self, calls: &[&Arc<Call>]) -> Result<Vec<Option<Value>>, Fault> {
        let (answers, fault) = self.works.calls.ask(calls, self.id, self.time).await;
        fault.map_or_else(|| Ok(answers.into_iter().map(|(_, answer)| answer).collect()), Err)
    }
}
