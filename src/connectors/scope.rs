//! What a manifest's formulas see.

use jiff::Timestamp;

use crate::formula::{Condition, Meta, Scope, Tables, Template};
use crate::message::{Fault, Map, MessageId, Next, Text, Value};

/// A manifest reads no tables: they belong to pipelines.
struct NoTables;

impl Tables for NoTables {
    fn row(&self, table: &str, _key: &str) -> Result<Option<&Map>, Fault> {
        Err(Fault::misconfigured("CONNECTOR-TABLE", format!("a manifest reads no tables: `{table}`")))
    }
}

/// What the formulas of one operation see; each request and each answer add to it.
pub struct View<'a> {
    /// `$connection`
    pub connection: &'a Value,
    /// `$`
    pub document: &'a Value,
    /// `$headers`
    pub headers: &'a Map,
    /// `$item` and `$index`
    pub item: Option<(&'a Value, usize)>,
    /// `$cursor`, `$page`, `$calls`, `$input`, `$job`, `$session`
    pub locals: &'a Map,
    /// `$meta`
    pub meta: &'a Meta,
    pub id: MessageId,
    pub time: Timestamp,
}

impl View<'_> {
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            document: self.document,
            headers: self.headers,
            meta: self.meta,
            item: self.item,
            partner: None,
            connection: Some(self.connection),
            locals: Some(self.locals),
            time: self.time,
            id: self.id,
            tables: &NoTables,
        }
    }

    /// The value; `None` where it is optional and not there. `place` (`request.query.since`) stands in the fault.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render(&self, template: &Template, place: &str) -> Result<Option<Value>, Fault> {
        template.render(&self.scope()).map_err(|fault| at(fault, place))
    }

    /// A scalar as text.
    ///
    /// # Errors
    /// As [`View::render`]; `CONNECTOR-VALUE` (refuse) for a list or a map.
    pub fn text(&self, template: &Template, place: &str) -> Result<Option<Text>, Fault> {
        let Some(value) = self.render(template, place)? else { return Ok(None) };
        let text = value.plain();
        let wrong = || Fault::refuse("CONNECTOR-VALUE", format!("a text is wanted, this is {}", value.kind()));
        text.map(Some).ok_or_else(|| at(wrong(), place))
    }

    /// # Errors
    /// As [`Condition::holds`].
    pub fn holds(&self, condition: &Condition, place: &str) -> Result<bool, Fault> {
        condition.holds(&self.scope()).map_err(|fault| at(fault, place))
    }

    /// Whether it holds; what it does not find makes it false.
    pub fn holds_if_there(&self, condition: &Condition, place: &str) -> Result<bool, Fault> {
        match self.holds(condition, place) {
            Err(fault) if fault.code() == "FORMULA-MISSING" => Ok(false),
            other => other,
        }
    }

    /// The same, with another document and headers: those of an answer.
    pub fn of_answer<'b>(&'b self, document: &'b Value, headers: &'b Map) -> View<'b> {
        View { document, headers, ..self.copied() }
    }

    /// The same, with other locals.
    pub fn with_locals<'b>(&'b self, locals: &'b Map) -> View<'b> {
        View { locals, ..self.copied() }
    }

    /// The same, inside a list.
    pub fn of_item<'b>(&'b self, item: &'b Value, index: usize) -> View<'b> {
        View { item: Some((item, index)), ..self.copied() }
    }

    fn copied(&self) -> View<'_> {
        View { ..*self }
    }
}

/// What a formula of a manifest finds wrong with a document is the document's fault; the formula's place stands before that in the
/// document.
fn at(fault: Fault, place: &str) -> Fault {
    match fault.next() {
        Next::Refuse => fault.within(place),
        _ => fault,
    }
}

/// The same fault of one of several operations; only what is wrong with a message has a place in one.
pub fn of_operation(fault: Fault, operation: &str) -> Fault {
    at(fault, operation)
}
