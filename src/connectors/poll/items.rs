//! What is made of an item: a message, nothing, or a dead letter.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::super::forms::Extra;
use super::super::original::Original;
use super::super::scope::{View, of_operation};
use super::super::waits::Waits;
use super::{Polling, TIMES};
use crate::message::{Fault, Map, Next, Value, json};
use crate::protocols::Arrival;

impl Polling {
    /// The arrivals of items that want further requests: several items at once, in their order.
    pub(super) async fn called(
        &self,
        view: &View<'_>,
        items: Vec<Value>,
        faulty: &BTreeMap<usize, Fault>,
    ) -> Result<Vec<Arrival>, Fault> {
        let at_once = self.line.manifest.head.limits.as_ref().map_or(4, |limits| limits.concurrency).max(1);
        let made = items.into_iter().enumerate().map(|(index, item)| {
            let fault = faulty.get(&index).cloned();
            self.called_item(view, item, index, fault, TIMES)
        });
        // Boxed: the compiler cannot see through a stream of borrowing futures that they may move between threads.
        let made: Vec<_> = made.map(|one| Box::pin(one) as Boxed<'_>).collect();
        let made = stream::iter(made).buffered(at_once as usize);
        made.try_filter_map(async |arrival| Ok(arrival)).try_collect().await
    }

    pub(super) async fn called_item(
        &self,
        view: &View<'_>,
        item: Value,
        index: usize,
        fault: Option<Fault>,
        times: u32,
    ) -> Result<Option<Arrival>, Fault> {
        let result = {
            let inside = view.of_item(&item, index);
            match self.keeps(&inside, fault) {
                Ok(false) => return Ok(None),
                Ok(true) => self.ask_for(&inside, times).await,
                Err(fault) => Err(fault),
            }
        };
        match result {
            Ok(calls) => {
                let mut locals = view.locals.clone();
                locals.insert("calls", calls);
                self.made(&view.with_locals(&locals), item, index).map(Some)
            }
            Err(fault) => self.dead(item, index, fault).map(Some),
        }
    }

    async fn ask_for(&self, view: &View<'_>, times: u32) -> Result<Map, Fault> {
        let mut waits = Waits::new(&self.clock, times);
        loop {
            match self.line.calls(&self.source.poll.calls, view, &Extra::default()).await {
                Ok((results, _)) => return Ok(results),
                Err(fault) => waits.after(fault).await?,
            }
        }
    }

    /// The arrival of an item; `None` where it is not wanted.
    pub(super) fn arrival(
        &self,
        view: &View<'_>,
        item: Value,
        index: usize,
        fault: Option<Fault>,
    ) -> Result<Option<Arrival>, Fault> {
        match self.keeps(&view.of_item(&item, index), fault) {
            Ok(false) => Ok(None),
            Ok(true) => self.made(view, item, index).map(Some),
            Err(fault) => self.dead(item, index, fault).map(Some),
        }
    }

    /// Whether the item is wanted; `fault` is what is wrong with one that is.
    fn keeps(&self, view: &View<'_>, fault: Option<Fault>) -> Result<bool, Fault> {
        let keeps = self.source.poll.keep.as_ref().map_or(Ok(true), |keep| view.holds(keep, "keep"))?;
        match fault {
            Some(fault) if keeps => Err(fault),
            _ => Ok(keeps),
        }
    }

    fn made(&self, view: &View<'_>, item: Value, index: usize) -> Result<Arrival, Fault> {
        let poll = &*self.source.poll;
        let rendered = {
            let inside = view.of_item(&item, index);
            let id = poll.id.as_ref().map_or(Ok(None), |id| inside.text(id, "id"));
            let document = poll.document.as_ref().map_or(Ok(None), |document| inside.render(document, "document"));
            id.and_then(|id| Ok((id, document?)))
        };
        let (id, document) = match rendered {
            Ok(rendered) => rendered,
            Err(fault) => return self.dead(item, index, fault),
        };
        let (body, of_item) = match &document {
            None => (written(&item), None),
            Some(_) if self.stores_originals => {
                let calls = view.locals.get("calls").and_then(Value::as_map).filter(|_| !poll.calls.is_empty());
                (written(&Original { item: &item, calls }.to_value()), None)
            }
            Some(document) => (written(document), Some(&item)),
        };
        let position = id.map_or_else(|| hash(&body, of_item), |id| id.to_string());
        let document = Some(document.unwrap_or(item));
        Ok(Arrival { body, document, headers: self.headers.clone(), position: Some(position), fault: None })
    }

    /// An item nothing can be made of, as a dead letter; a fault that is not the item's ends the round.
    fn dead(&self, item: Value, index: usize, fault: Fault) -> Result<Arrival, Fault> {
        if fault.next() != Next::Refuse {
            return Err(fault);
        }
        let body = written(&item);
        // Apart from that of a message: once the manifest is mended, the item may come again and be one.
        let position = Some(format!("{} {}", fault.code(), hash(&body, None)));
        let fault = Some(of_operation(fault.within(&format!("items[{index}]")), &self.source.operation));
        Ok(Arrival { body, document: None, headers: self.headers.clone(), position, fault })
    }
}

type Boxed<'f> = std::pin::Pin<Box<dyn Future<Output = Result<Option<Arrival>, Fault>> + Send + 'f>>;

fn written(value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    json::write(value, &mut bytes);
    bytes.into()
}

/// What identifies content: the body's hash, and the item's where the body is made of it.
fn hash(body: &Bytes, item: Option<&Value>) -> String {
    let mut sha = Sha256::new_with_prefix(body);
    if let Some(item) = item {
        sha.update([0]);
        sha.update(written(item));
    }
    let mut text = String::with_capacity(32);
    for byte in sha.finalize().iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
