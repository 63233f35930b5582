//! `write`: gives a system a document.
//!
//! The document is stored as JSON; the requests are made when they are sent, each time alike but for credentials. Of several
//! documents in one request each has its own end, and one whose end is not told is sent again: a repeat is the system's to know.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tracing::warn;

use super::answer::Reply;
use super::connection::Connection;
use super::forms::Extra;
use super::line::Line;
use super::manifest::{Batch, Request, Write};
use super::scope::{View, of_operation};
use crate::codecs::Codec;
use crate::formula::{Meta, Scope, Template};
use crate::message::{Fault, Map, MessageId, Next, Text, Value, json};
use crate::protocols::{Delivered, Delivery, Prepared, Surroundings, Target, TargetSettings};

/// Most bytes of an answer in the journal.
const MOST_NOTE: usize = 200;
/// Most documents of a request, whatever the manifest says.
const MOST_TOGETHER: usize = 1000;

/// A write of a connection, as a pipeline names it.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    pub connection: Arc<Connection>,
    pub operation: Text,
    pub write: Box<Write>,
}

impl TargetSettings for WriteTarget {
    fn open(&self, name: &str, _codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        Ok(Arc::new(Writer {
            name: name.into(),
            operation: self.operation.clone(),
            line: self.connection.line(around)?,
            sees_headers: sees_headers(&self.write),
            write: self.write.clone(),
        }))
    }
}

struct Writer {
    /// `web-order.to.erp`
    name: Text,
    operation: Text,
    line: Arc<Line>,
    write: Box<Write>,
    /// Whether a request holds a header of the message.
    sees_headers: bool,
}

#[async_trait]
impl Target for Writer {
    /// `address` holds `pipeline`, and `headers` where a request sees them.
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        let mut address = Map::new();
        if let Some(pipeline) = scope.meta.map().get("pipeline") {
            address.insert("pipeline", pipeline.clone());
        }
        if self.sees_headers && !scope.headers.is_empty() {
            address.insert("headers", scope.headers.clone());
        }
        Ok(Prepared { body: json::to_text(scope.document).into(), address })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        self.deliver_told(std::slice::from_ref(delivery))
            .await
            .pop()
            .unwrap_or_else(|| Err(untold("it was not sent")))
            .map(|delivered| delivered.note)
    }

    async fn deliver_told(&self, deliveries: &[Delivery]) -> Vec<Result<Delivered, Fault>> {
        let mut outcomes = match &self.write.batch {
            Some(batch) => self.together(batch, deliveries).await,
            None => Vec::with_capacity(deliveries.len()),
        };
        for delivery in deliveries.iter().skip(outcomes.len()) {
            outcomes.push(self.tell(delivery).await);
        }
        outcomes.into_iter().map(|outcome| outcome.map_err(|fault| of_operation(fault, &self.operation))).collect()
    }

    async fn deliver_all(&self, deliveries: &[Delivery]) -> Vec<Result<Option<Text>, Fault>> {
        let outcomes = self.deliver_told(deliveries).await;
        outcomes.into_iter().map(|outcome| outcome.map(|delivered| delivered.note)).collect()
    }

    fn batch(&self) -> usize {
        self.write.batch.as_ref().map_or(1, |batch| (batch.size as usize).clamp(1, MOST_TOGETHER))
    }
}

/// A document on its way.
struct Sent<'d> {
    delivery: &'d Delivery,
    document: Value,
}

impl Writer {
    /// One document, delivered.
    async fn tell(&self, delivery: &Delivery) -> Result<Delivered, Fault> {
        if let Some(batch) = &self.write.batch {
            let mut outcomes = self.together(batch, std::slice::from_ref(delivery)).await;
            return outcomes.pop().unwrap_or_else(|| Err(untold("the answer tells nothing of it")));
        }
        let document = stored(delivery)?;
        let meta = self.meta(delivery, delivery.id);
        let locals = Map::from_iter([("input", document.clone())]);
        let none = Map::new();
        let headers = delivery.prepared.address.get("headers").and_then(Value::as_map).unwrap_or(&none);
        let view = self.view((&document, headers, &locals), &meta, (delivery.id, delivery));
        let (calls, reply) = self.send(&view).await?;
        let locals = with_calls(&locals, calls);
        let view = view.with_locals(&locals);
        let view = view.of_answer(&reply.body, &reply.headers);
        Ok(self.delivered(reply.status, self.result(self.write.result.as_ref(), &view, delivery.id)))
    }

    /// The requests of the operation; gives the results of its calls, and the last answer.
    async fn send(&self, view: &View<'_>) -> Result<(Map, Reply), Fault> {
        let idempotency = match &self.write.idempotency {
            Some(key) => {
                let value = view.text(&key.value, "idempotency.value")?;
                let missing =
                    || Fault::refuse("CONNECTOR-VALUE", "the idempotency key is empty").at("idempotency.value");
                let value = value.filter(|value| !value.is_empty()).ok_or_else(missing)?;
                Some((key.header.clone(), value))
            }
            None => None,
        };
        let extra = Extra { address: None, idempotency };
        let (calls, reply) = match &self.write.request {
            Some(request) => (Map::new(), self.line.ask(request, view, &extra).await?),
            None => self.line.calls(&self.write.calls, view, &extra).await?,
        };
        if reply.missing {
            let said = format!("{} has no place for it (status {})", self.line.connection, reply.status);
            return Err(Fault::refuse("CONNECTOR-MISSING", said));
        }
        Ok((calls, reply))
    }

    fn view<'v>(
        &'v self,
        (document, headers, locals): (&'v Value, &'v Map, &'v Map),
        meta: &'v Meta,
        (id, delivery): (MessageId, &Delivery),
    ) -> View<'v> {
        let connection = &self.line.settings;
        View { connection, document, headers, item: None, locals, meta, id, time: delivery.time }
    }

    fn meta(&self, delivery: &Delivery, id: MessageId) -> Meta {
        let pipeline = delivery.prepared.address.get("pipeline").and_then(Value::as_text).unwrap_or(&self.name);
        Meta::of(&pipeline.into(), id, delivery.time)
    }

    /// What is kept of an answer. The system has the document: a formula that fails must not send it again, so it is told and the
    /// result is none.
    fn result(&self, template: Option<&Template>, view: &View<'_>, id: MessageId) -> Option<Value> {
        match view.render(template?, "result") {
            Ok(result) => result,
            Err(fault) => {
                let (connection, operation) = (&self.line.connection, &self.operation);
                warn!(message = %id, %connection, %operation, code = fault.code(), "delivered, and `result` cannot be read from the answer");
                None
            }
        }
    }

    fn delivered(&self, status: u16, result: Option<Value>) -> Delivered {
        let detail = result.as_ref().map(|result| self.short(result));
        Delivered { note: Some(status.to_string().into()), detail, result }
    }

    /// A result as the journal keeps it: without the connection's secrets, and bounded.
    fn short(&self, result: &Value) -> Text {
        let text = result.plain().map_or_else(|| json::to_text(result), |text| text.to_string());
        let mut text = self.line.secrets.hide_in_text(&text);
        if text.len() > MOST_NOTE {
            let end = (0..=MOST_NOTE - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        text.into()
    }
}

/// Several documents in one request.
impl Writer {
    /// Each document with its own end. A refused request is cut in two until the document is found that it was refused for: at
    /// most twice as many requests as documents.
    async fn together(&self, batch: &Batch, deliveries: &[Delivery]) -> Vec<Result<Delivered, Fault>> {
        let mut outcomes: Vec<Option<Result<Delivered, Fault>>> = vec![None; deliveries.len()];
        for places in self.rounds(batch, deliveries, &mut outcomes) {
            let mut parts: VecDeque<Range<usize>> = VecDeque::new();
            parts.push_back(0..places.len());
            let mut away: Option<Fault> = None;
            while let Some(part) = parts.pop_front() {
                let (places, count) = (&places[part.clone()], part.len());
                let told = match &away {
                    Some(fault) => Err(fault.clone()),
                    None => self.one_request(batch, places).await,
                };
                match told {
                    Ok(ends) => places.iter().zip(ends).for_each(|((place, _), end)| outcomes[*place] = Some(end)),
                    Err(fault) if fault.next() == Next::Refuse && count > 1 => {
                        let middle = part.start + count / 2;
                        parts.push_front(middle..part.end);
                        parts.push_front(part.start..middle);
                    }
                    Err(fault) => {
                        places.iter().for_each(|(place, _)| outcomes[*place] = Some(Err(fault.clone())));
                        // What may pass did not pass now: the rest need not be tried.
                        away = away.or(Some(fault).filter(|fault| fault.next() != Next::Refuse));
                    }
                }
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(untold("it was not sent")))).collect()
    }

    /// Which documents go together, with their places among `deliveries`: of those with the same key one a request, or their
    /// results could not be told apart. What cannot be sent at all has its end in `outcomes`.
    fn rounds<'d>(
        &self,
        batch: &Batch,
        deliveries: &'d [Delivery],
        outcomes: &mut [Option<Result<Delivered, Fault>>],
    ) -> Vec<Vec<(usize, Sent<'d>)>> {
        let mut rounds: Vec<Vec<(usize, Sent<'d>)>> = Vec::new();
        // How many there have been of each key.
        let mut seen: HashMap<Text, usize> = HashMap::new();
        for (place, delivery) in deliveries.iter().enumerate() {
            let keyed = stored(delivery).and_then(|document| Ok((self.key_of(batch, delivery, &document)?, document)));
            let (key, document) = match keyed {
                Ok(keyed) => keyed,
                Err(fault) => {
                    outcomes[place] = Some(Err(fault));
                    continue;
                }
            };
            let round = match &key {
                Some(key) => {
                    let count = seen.entry(key.clone()).or_default();
                    *count += 1;
                    *count - 1
                }
                None => 0,
            };
            while rounds.len() <= round {
                rounds.push(Vec::new());
            }
            if let Some(sent) = rounds.get_mut(round) {
                sent.push((place, Sent { delivery, document }));
            }
        }
        rounds
    }

    /// What joins a document to its result; `None` where results come in the order of the documents.
    fn key_of(&self, batch: &Batch, delivery: &Delivery, document: &Value) -> Result<Option<Text>, Fault> {
        if batch.key.is_none() {
            return Ok(None);
        }
        let template = batch.document_key.as_ref().ok_or_else(|| {
            Fault::misconfigured("CONNECTOR-BATCH", "a batch with `key` names the `document_key` that is equal to it")
        })?;
        let (meta, none) = (self.meta(delivery, delivery.id), Map::new());
        let view = self.view((document, &none, &none), &meta, (delivery.id, delivery));
        let key = view.of_item(document, 0).text(template, "batch.document_key")?;
        let missing = || Fault::refuse("CONNECTOR-VALUE", "the document has no key").at("batch.document_key");
        key.map(Some).ok_or_else(missing)
    }

    /// One request for these documents, and the end of each, in their order.
    async fn one_request(
        &self,
        batch: &Batch,
        places: &[(usize, Sent<'_>)],
    ) -> Result<Vec<Result<Delivered, Fault>>, Fault> {
        let Some((_, first)) = places.first() else { return Ok(Vec::new()) };
        let documents = Value::List(places.iter().map(|(_, sent)| sent.document.clone()).collect());
        let id = id_of(places);
        let meta = self.meta(first.delivery, id);
        let (locals, none) = (Map::from_iter([("input", documents.clone())]), Map::new());
        let view = self.view((&documents, &none, &locals), &meta, (id, first.delivery));
        let (calls, reply) = self.send(&view).await?;
        let locals = with_calls(&locals, calls);
        let view = view.with_locals(&locals);
        let view = view.of_answer(&reply.body, &reply.headers);
        // From here on the system has acted: whatever cannot be read leaves a document's end unknown.
        let results = match view.render(&batch.results, "batch.results") {
            Ok(Some(Value::List(results))) => Ok(results),
            Ok(other) => Err(untold(&format!("`results` is {}", other.as_ref().map_or("missing", Value::kind)))),
            Err(fault) => Err(untold(&format!("`results` cannot be read ({})", fault.code()))),
        };
        let joined = results.and_then(|results| self.joined(batch, places, results, &view));
        let ends = places.iter().enumerate().map(|(index, (_, sent))| {
            let result = joined.as_ref().map_err(Fault::clone)?.get(index).cloned().flatten();
            let (result, at) = result.ok_or_else(|| untold("the answer holds no result of its own for it"))?;
            self.end(batch, &view.of_item(&result, at), reply.status, sent.delivery.id)
        });
        Ok(ends.collect())
    }

    /// The result of each document, with its place in the answer; `None` where there is none, or more than one.
    fn joined(
        &self,
        batch: &Batch,
        places: &[(usize, Sent<'_>)],
        results: Vec<Value>,
        view: &View<'_>,
    ) -> Result<Vec<Option<(Value, usize)>>, Fault> {
        let Some(template) = &batch.key else {
            if results.len() != places.len() {
                let said = format!("{} results came for {} documents", results.len(), places.len());
                return Err(untold(&said));
            }
            return Ok(results.into_iter().enumerate().map(|(at, result)| Some((result, at))).collect());
        };
        let mut by_key: HashMap<Text, Option<(Value, usize)>> = HashMap::with_capacity(results.len());
        for (at, result) in results.into_iter().enumerate() {
            let Ok(Some(key)) = view.of_item(&result, at).text(template, "batch.key") else { continue };
            by_key.entry(key).and_modify(|twice| *twice = None).or_insert(Some((result, at)));
        }
        let of = |sent: &Sent<'_>| {
            let key = self.key_of(batch, sent.delivery, &sent.document).ok().flatten()?;
            by_key.get(&key).cloned().flatten()
        };
        Ok(places.iter().map(|(_, sent)| of(sent)).collect())
    }

    /// What a result says of its document.
    fn end(&self, batch: &Batch, view: &View<'_>, status: u16, id: MessageId) -> Result<Delivered, Fault> {
        let failed = view.holds(&batch.failed, "batch.failed");
        if !failed.map_err(|fault| untold(&format!("`failed` cannot be read from its result ({})", fault.code())))? {
            return Ok(self.delivered(status, self.result(batch.result.as_ref(), view, id)));
        }
        let passes =
            batch.retry.as_ref().is_some_and(|retry| view.holds_if_there(retry, "batch.retry").unwrap_or(false));
        let said = format!("{} did not take this document of several", self.line.connection);
        let fault = match passes {
            true => Fault::retry("CONNECTOR-RECORD", said),
            false => Fault::refuse("CONNECTOR-RECORD", said),
        };
        let say = batch.say.as_ref().and_then(|say| view.render(say, "batch.say").ok().flatten());
        Err(match say {
            Some(say) => fault.detail(self.short(&say).to_string()),
            None => fault,
        })
    }
}

/// The document as it was stored.
fn stored(delivery: &Delivery) -> Result<Value, Fault> {
    json::read(&delivery.prepared.body)
        .map_err(|error| Fault::refuse("CONNECTOR-STORED", "the stored document is damaged").cause(error))
}

fn with_calls(locals: &Map, calls: Map) -> Map {
    let mut locals = locals.clone();
    locals.insert("calls", calls);
    locals
}

/// The same documents in the same order have the same id.
fn id_of(places: &[(usize, Sent<'_>)]) -> MessageId {
    match places {
        [(_, one)] => one.delivery.id,
        all => {
            let ids: Vec<&[u8]> = all.iter().map(|(_, sent)| &sent.delivery.id.as_bytes()[..]).collect();
            MessageId::derive(&ids)
        }
    }
}

/// Nobody knows whether the system took a document: it is sent again.
fn untold(why: &str) -> Fault {
    Fault::retry("CONNECTOR-BATCH", format!("whether the system took this document of several is not known: {why}"))
}

/// Whether what is sent holds a header of the message.
fn sees_headers(write: &Write) -> bool {
    let mut sees = false;
    let mut look = |template: &Template| template.paths(&mut |path| sees |= path.text().starts_with("$headers"));
    write.idempotency.iter().for_each(|key| look(&key.value));
    write.request.iter().for_each(|request| templates(request, &mut look));
    for call in &write.calls {
        call.each.iter().for_each(&mut look);
        templates(&call.request, &mut look);
    }
    let whens = write.calls.iter().filter_map(|call| call.when.as_ref());
    whens.for_each(|when| when.formula().paths(&mut |path| sees |= path.text().starts_with("$headers")));
    sees
}

/// Calls `see` with every template of a request.
fn templates(request: &Request, see: &mut dyn FnMut(&Template)) {
    let Request { get, post, put, patch, delete, query, headers, json, form, multipart, xml, text, .. } = request;
    [get, post, put, patch, delete, json, xml, text].into_iter().flatten().for_each(&mut *see);
    [query, headers, form, multipart].into_iter().flatten().flat_map(|map| map.values()).for_each(&mut *see);
    request.soap.iter().flat_map(|soap| soap.action.iter().chain([&soap.body])).for_each(&mut *see);
    request.graphql.iter().filter_map(|graphql| graphql.variables.as_ref()).for_each(&mut *see);
    request.json_rpc.iter().filter_map(|rpc| rpc.params.as_ref()).for_each(&mut *see);
    if let Some(odata) = &request.odata {
        let options = [&odata.filter, &odata.select, &odata.expand, &odata.order_by, &odata.top, &odata.skip];
        options.into_iter().flatten().for_each(see);
    }
}

#[cfg(test)]
mod tests;
