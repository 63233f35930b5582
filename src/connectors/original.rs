//! What a system said, as it is stored: the item or event, with the answers to its further requests.
//!
//! What the manifest makes of it is not stored. So whatever comes again is known by what the system said, though the manifest was
//! edited meanwhile, and a replay maps it with the manifest as it is by then.

use std::sync::Arc;

use jiff::Timestamp;

use super::connection::Connection;
use super::scope::{View, of_operation};
use crate::formula::{Meta, Template};
use crate::message::{Fault, Map, MessageId, Text, Value};

const ITEM: &str = "raccord:item";
const CALLS: &str = "raccord:calls";

/// An item or event, with what was asked for it.
#[derive(Debug)]
pub struct Original<'v> {
    pub item: &'v Value,
    pub calls: Option<&'v Map>,
}

impl<'v> Original<'v> {
    /// As it is stored.
    pub fn to_value(&self) -> Value {
        let mut map = Map::from_iter([(ITEM, self.item.clone())]);
        if let Some(calls) = self.calls {
            map.insert(CALLS, calls.clone());
        }
        map.into()
    }

    /// What was stored so; `None` for anything else: a document sent in by hand, or one made of more than this.
    pub fn read(stored: &'v Value) -> Option<Original<'v>> {
        let map = stored.as_map()?;
        Some(Original { item: map.get(ITEM)?, calls: map.get(CALLS).and_then(Value::as_map) })
    }
}

/// How an operation makes documents of what it brings.
pub struct Mapping<'m> {
    pub connection: &'m Arc<Connection>,
    pub operation: &'m Text,
    /// The document; left out, it is the item.
    pub template: Option<&'m Template>,
    /// `$` is the item: it came alone.
    pub alone: bool,
}

impl Mapping<'_> {
    /// Whether the document can be made of the item and its calls alone, without the rest of what came with them.
    pub fn is_of_original(&self) -> bool {
        let mut all = true;
        let mut see = |text: &str| {
            for (at, _) in text.match_indices('$') {
                let rest = text.get(at + 1..).unwrap_or_default();
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                all &= match name {
                    "item" | "index" | "outer" | "calls" | "connection" => true,
                    "" => self.alone,
                    _ => false,
                };
            }
        };
        self.template.into_iter().for_each(|template| template.paths(&mut |path| see(path.text())));
        all
    }

    /// The document of what was stored; `None` where that is the document itself.
    pub fn document(&self, stored: &Value, (id, time): (MessageId, Timestamp)) -> Option<Result<Value, Fault>> {
        let original = Original::read(stored)?;
        let Some(template) = self.template else { return Some(Ok(original.item.clone())) };
        let (meta, nothing, none) = (Meta::default(), Map::new(), Value::Null);
        let locals: Map = original.calls.map(|calls| ("calls", calls.clone())).into_iter().collect();
        let view = View {
            connection: &self.connection.settings,
            document: if self.alone { original.item } else { &none },
            headers: &nothing,
            item: Some((original.item, 0)),
            locals: &locals,
            meta: &meta,
            id,
            time,
        };
        let made = view.render(template, "document").map(Option::unwrap_or_default);
        Some(made.map_err(|fault| of_operation(fault, self.operation)))
    }
}
