//! The expression language: paths, formulas and templates, as LANGUAGE calls them.
//!
//! A [`Path`] finds, a [`Formula`] computes, a [`Condition`] decides, a [`Template`] writes. All are compiled once when the
//! configuration is read, and evaluated against a [`Scope`]: no loops, no recursion, no input or output, so they always end.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::config::{Node, Reader, Setting, Shape};
use crate::message::{Fault, Map, MessageId, Text, Value};

/// What a formula sees: the roots `$`, `$headers`, `$meta`, `$item`, `$index`, and the message's own time and id.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// `$`
    pub document: &'a Value,
    /// `$headers`
    pub headers: &'a Map,
    /// `$meta`: id, time, source, pipeline, attempt.
    pub meta: &'a Map,
    /// `$item` and `$index`, inside `each`.
    pub item: Option<(&'a Value, usize)>,
    /// `$partner`, where the message has one.
    pub partner: Option<&'a Value>,
    /// `$connection`, in manifests.
    pub connection: Option<&'a Value>,
    /// `now()`: the message's time.
    pub time: Timestamp,
    /// `uuid()` comes from it.
    pub id: MessageId,
    /// What `table()` reads.
    pub tables: &'a dyn Tables,
}

/// Cross-reference tables a formula may read: those of `config/tables/*.csv`, fixed for a revision of the configuration.
pub trait Tables: Send + Sync {
    /// The row of `table` whose key column is `key`: its columns by name. `Err` where there is no such table.
    fn row(&self, table: &str, key: &str) -> Result<Option<&Map>, Fault>;

    /// Whether the table exists and has the column, for the checker.
    fn has_column(&self, table: &str, column: &str) -> Option<bool>;
}

/// A path: `$.customer.phone?`. A singular path gives a value, any other a list.
#[derive(Clone, Debug)]
pub struct Path {
    text: Text,
}

/// A formula: `round($.qty * $.unit_price, 2)`, without the `=` that marks it in YAML.
#[derive(Clone, Debug)]
pub struct Formula {
    text: Text,
}

/// A formula that must come out true or false; written without `=`.
#[derive(Clone, Debug)]
pub struct Condition(Formula);

/// What a map writes: constants, paths and formulas in the shape of the value to come, with `each` for lists.
#[derive(Clone, Debug)]
pub struct Template {
    text: Text,
}

impl Path {
    /// What it finds: `None` where it is optional (`?`) and finds nothing.
    ///
    /// # Errors
    /// `refuse` `FORMULA-MISSING` where a path that is not optional finds nothing, with the path in `at`.
    pub fn find<'v>(&self, _scope: &Scope<'v>) -> Result<Option<Cow<'v, Value>>, Fault> {
        todo!("{}", self.text)
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Formula {
    pub fn evaluate(&self, _scope: &Scope<'_>) -> Result<Value, Fault> {
        todo!("{}", self.text)
    }
}

impl Condition {
    /// # Errors
    /// As [`Formula::evaluate`], and `FORMULA-TYPE` where the outcome is not a boolean.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, Fault> {
        Ok(self.0.evaluate(scope)? == Value::Bool(true))
    }
}

impl Template {
    /// The value; `None` where the whole template is an optional path that finds nothing. Fields of a map that come out
    /// as `None` are left out.
    pub fn render(&self, _scope: &Scope<'_>) -> Result<Option<Value>, Fault> {
        todo!("{}", self.text)
    }
}

macro_rules! stub_setting {
    ($($name:ident),*) => { $(
        impl Setting for $name {
            fn shape() -> Shape { Shape::Template("stub") }
            fn read(_node: &Node, _reader: &mut Reader<'_>) -> Option<$name> { todo!() }
        }
    )* };
}
stub_setting!(Path, Formula, Condition, Template);
