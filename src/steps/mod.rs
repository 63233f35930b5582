//! Document → documents. One file a verb, named as in YAML, one line in [`ALL`].
//!
//! A step is pure: what it needs from the world it asks for first ([`Step::asks`]), and what should change in the world it
//! returns as [`Effect`]s. The runner answers, and the settle commits; so production, `test` and `simulate` run the same code.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{Node, Reader, Shape};
use crate::formula::Scope;
use crate::message::{Fault, Map, Text, Value};

/// A verb with its settings.
pub trait Step: Send + Sync + Debug {
    /// What the step must know before it can apply. Most need nothing.
    fn asks(&self, _scope: &Scope<'_>) -> Result<Vec<Ask>, Fault> {
        Ok(Vec::new())
    }

    /// The documents that go on, and what should change in the world. `scope.document` is the document as it arrives;
    /// `answers` are those to `asks`, in the same order.
    fn apply(&self, scope: &Scope<'_>, answers: Vec<Answer>) -> Result<Outcome, Fault>;
}

/// A question to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// The row of a durable table whose columns `by` have these values.
    Row { table: Text, by: Vec<(Text, Value)> },
    /// What a group of `aggregate` holds; the group is held until the settle.
    Group { group: GroupKey },
}

/// The answer to an [`Ask`], in kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Row(Option<Map>),
    Group(Group),
}

/// A group being gathered: of one pipeline's `aggregate` step, for one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    pub pipeline: Text,
    /// The step's place in the pipeline, which names it across restarts: `steps[3]`.
    pub step: Text,
    pub key: Text,
}

/// What a group holds so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Counts the windows of this key: with the key it gives the closed group's message id.
    pub window: u64,
    /// When the first member came; `None` for an empty group.
    pub opened: Option<Timestamp>,
    /// In the order they came.
    pub members: Vec<Value>,
}

/// A change in the world that commits with the outcome of the message.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Writes a row into a durable table, over the row with the same key.
    Remember { table: Text, row: Map },
    /// Adds a member to a group, which closes by itself at `closes`.
    Join { group: GroupKey, member: Value, closes: Option<Timestamp> },
    /// Closes a group: its members, with `last`, go on after the step as one document.
    Close { group: GroupKey, window: u64, document: Value },
    /// A line in the log.
    Log { text: String },
}

/// What a step makes of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub documents: Vec<Value>,
    pub effects: Vec<Effect>,
}

/// Who answers what steps ask.
#[async_trait]
pub trait World: Send + Sync {
    async fn answer(&self, ask: &Ask) -> Result<Answer, Fault>;
}

/// A verb that can be named in a pipeline.
pub struct StepKind {
    pub name: &'static str,
    pub shape: fn() -> Shape,
    /// `node` is the value under the verb.
    pub read: fn(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>>,
}

/// Where a step stands, and what it may refer to.
pub struct StepPlace<'a> {
    pub pipeline: &'a str,
    /// `steps[3]` or `to.suppliers.steps[0]`.
    pub step: &'a str,
    /// The pipeline's folder, for `map_file` and schema files.
    pub folder: &'a std::path::Path,
    pub tables: &'a TableNames,
}

/// The tables that exist: names to columns.
#[derive(Clone, Debug, Default)]
pub struct TableNames {
    /// `config/tables/*.csv`: the first column is the key.
    pub files: std::collections::BTreeMap<Text, Vec<Text>>,
    /// `config/tables/*.yaml`, kept in the store.
    pub durable: std::collections::BTreeMap<Text, DurableTable>,
}

/// A durable table: its key columns and all its columns.
#[derive(Clone, Debug)]
pub struct DurableTable {
    pub key: Vec<Text>,
    pub columns: Vec<Text>,
}
