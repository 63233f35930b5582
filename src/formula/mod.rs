//! The expression language: paths, formulas and templates, as LANGUAGE calls them.
//!
//! A [`Path`] finds, a [`Formula`] computes, a [`Condition`] decides, a [`Template`] writes. All are compiled once when the
//! configuration is read, and evaluated against a [`Scope`]: no loops, no recursion, no input or output, so they always end.
//!
//! `lexer` → `parser` → `checker` at load; `evaluator` and `functions` when a message comes; `reading` joins them to YAML.

mod checker;
mod evaluator;
mod faults;
mod functions;
mod lexer;
mod manual;
mod parser;
mod meta;
mod path;
mod reading;
mod template;
mod traps;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod language;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

use crate::message::{Fault, Map, MessageId, Text, Value};
use parser::Expression;

pub use faults::CODES;
pub use functions::{Family, Function, Kind, Need, Parameter, all, page};
pub use manual::{SAMPLE, manual};
pub use meta::Meta;
pub use path::Path;
pub use template::{Template, in_item};

/// Longest text and list a formula may make: past it, `FORMULA-LIMIT`.
pub const MAX_TEXT: usize = 1024 * 1024;
pub const MAX_ITEMS: usize = 100_000;

/// What a formula sees: the roots `$`, `$headers`, `$meta`, `$item`, `$index`, and the message's own time and id.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// `$`
    pub document: &'a Value,
    /// `$headers`
    pub headers: &'a Map,
    /// `$meta`: id, time, source, pipeline, attempt.
    pub meta: &'a Meta,
    /// `$item` and `$index`, inside `each`.
    pub item: Option<(&'a Value, usize)>,
    /// `$partner`, where the message has one.
    pub partner: Option<&'a Value>,
    /// `$connection`, in manifests.
    pub connection: Option<&'a Value>,
    /// What a connector's manifest sees besides, by root: `$cursor`, `$page`, `$calls`, `$input`, `$job`, `$result`, `$session`.
    pub locals: Option<&'a Map>,
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
}

/// A formula: `round($.qty * $.unit_price, 2)`, without the `=` that marks it in YAML.
#[derive(Clone, Debug)]
pub struct Formula(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    text: Text,
    root: Expression,
}

/// A formula that must come out true or false; written without `=`.
#[derive(Clone, Debug)]
pub struct Condition(Formula);

/// One thing wrong inside a path or formula; `from..to` are bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub from: usize,
    pub to: usize,
    /// What is wrong: ``unknown function `rond` ``.
    pub message: String,
    /// Beside the marked text: ``did you mean `round`?``.
    pub label: String,
    /// What to do, where there is more to say.
    pub help: Option<String>,
}

/// What evaluation sees: the caller's scope, and inside a nested `each` the item around (`$outer`).
#[derive(Clone, Copy)]
struct Frame<'v> {
    scope: Scope<'v>,
    outer: Option<&'v Value>,
}

impl<'v> Frame<'v> {
    fn of(scope: &Scope<'v>) -> Frame<'v> {
        Frame { scope: *scope, outer: None }
    }
}

impl Formula {
    /// Compiles `text`, or tells everything wrong with it.
    pub fn parse(text: &str) -> Result<Formula, Vec<Issue>> {
        let (root, mut issues) = parser::parse(text);
        issues.extend(root.iter().flat_map(checker::check));
        match root {
            Some(root) if issues.is_empty() => Ok(Formula(Arc::new(Parsed { text: text.into(), root }))),
            _ => Err(issues),
        }
    }

    /// The value it computes.
    ///
    /// # Errors
    /// `refuse`: `FORMULA-MISSING`, `FORMULA-FAIL`, `FORMULA-TYPE`, `FORMULA-VALUE`, `FORMULA-ARITHMETIC`, `FORMULA-LIMIT`.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, Fault> {
        let frame = Frame::of(scope);
        evaluator::evaluate(&self.0.root, &frame)
            .map(std::borrow::Cow::into_owned)
            .map_err(|fault| faults::in_formula(fault, &self.0.text))
    }

    /// As written, without `=`.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What is wrong with the `table()` calls, given the tables that exist: `has_column(table, column)` answers `None` where
    /// there is no such table. For the caller that knows them.
    pub fn check(&self, has_column: &dyn Fn(&str, &str) -> Option<bool>) -> Vec<Issue> {
        checker::check_tables(&self.0.root, has_column)
    }

    /// Calls `see` with every path it reads, for checks such as "this required input is never used".
    pub fn paths<'f>(&'f self, see: &mut dyn FnMut(&'f Path)) {
        self.0.root.paths(see);
    }
}

impl Condition {
    /// Compiles `text`, or tells everything wrong with it.
    pub fn parse(text: &str) -> Result<Condition, Vec<Issue>> {
        let formula = Formula::parse(text)?;
        match checker::check_condition(&formula.0.root) {
            None => Ok(Condition(formula)),
            Some(issue) => Err(vec![issue]),
        }
    }

    /// # Errors
    /// As [`Formula::evaluate`], and `FORMULA-TYPE` where the outcome is not a boolean.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, Fault> {
        self.holds_in(&Frame::of(scope))
    }

    fn holds_in(&self, frame: &Frame<'_>) -> Result<bool, Fault> {
        let formula = &self.0.0;
        evaluator::boolean(&formula.root, frame).map_err(|fault| faults::in_formula(fault, &formula.text))
    }

    /// The formula inside, for its text, paths and checks.
    pub fn formula(&self) -> &Formula {
        &self.0
    }
}
