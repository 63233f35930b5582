//! Document → documents. One file a verb, named as in YAML, one line in [`ALL`].
//!
//! A step is pure: what it needs from the world it asks for first ([`Step::asks`]), and what should change in the world it
//! returns as [`Effect`]s. The runner answers, and the settle commits; so production, `test` and `simulate` run the same code.

mod aggregate;
mod beside;
mod canonical;
mod call;
mod connections;
mod csv_tables;
mod enrich;
mod filter;
mod log;
mod lookup;
mod manual;
mod map;
mod map_file;
mod place;
mod read;
mod remember;
mod run;
mod schemas;
mod set;
mod split;
mod tables;
mod unset;
mod validate;

#[cfg(test)]
mod check;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{Node, Reader, Shape};
use crate::formula::{Meta, Scope, Tables};
use crate::message::{Fault, Map, MessageId, Next, Text, Value};

pub use canonical::Canonical;
pub use connections::ConnectionNames;
pub use csv_tables::CsvTables;
pub use manual::{FAULTS, manual};
pub use place::Place;
pub use read::steps_shape;
pub use remember::{Row, RowTemplate};
pub use run::Steps;
pub use schemas::{DocumentSchema, Violations};
pub use tables::{DurableTable, TableNames, key_text, read_tables};

/// The verbs, in the order of the manual.
pub static ALL: &[&StepKind] = &[
    &filter::KIND,
    &validate::KIND,
    &map::KIND,
    &map_file::KIND,
    &set::KIND,
    &unset::KIND,
    &split::KIND,
    &aggregate::KIND,
    &lookup::KIND,
    &call::KIND,
    &remember::KIND,
    &log::KIND,
];

/// Most documents one message may become.
pub const MAX_DOCUMENTS: usize = 100_000;
/// Most things one message may ask of systems.
pub const MAX_CALLS: usize = 10_000;

/// A verb with its settings.
pub trait Step: Send + Sync + Debug {
    /// Whether the step asks the world or changes it; most only see their document.
    fn needs_world(&self) -> bool {
        false
    }

    /// What the step must know before it can apply. Most need nothing.
    fn asks(&self, _document: &Value, _context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        Ok(Vec::new())
    }

    /// Puts the documents that go on, and what should change in the world, into `out`. `answers` are those to `asks`, in
    /// the same order.
    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault>;
}

/// What a step sees of a message besides its document.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// `$headers`
    pub headers: &'a Map,
    /// `$meta`
    pub meta: &'a Meta,
    /// `$partner`, where the message has one.
    pub partner: Option<&'a Value>,
    /// The message's own time, the same for every repeat.
    pub time: Timestamp,
    /// The hub's clock, for what is dated as it leaves. Formulas never see it.
    pub now: Timestamp,
    pub id: MessageId,
    /// The tables of `config/tables/*.csv`.
    pub tables: &'a dyn Tables,
}

impl<'a> Context<'a> {
    /// What a formula over `document` sees.
    pub fn scope<'s>(&self, document: &'s Value) -> Scope<'s>
    where
        'a: 's,
    {
        Scope {
            document,
            headers: self.headers,
            meta: self.meta,
            item: None,
            partner: self.partner,
            connection: None,
            locals: None,
            time: self.time,
            id: self.id,
            tables: self.tables,
        }
    }
}

/// A question to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// The row of a durable table whose key columns `by` have these values; `key` is [`key_text`] of the values.
    Row { table: Text, key: Text, by: Vec<(Text, Value)> },
    /// What a group of `aggregate` holds; the group is held until the settle.
    Group { group: GroupKey },
    /// What a read operation of a connection has.
    Call(Arc<Call>),
    /// The message's number: allocated and on disk before it is told.
    Number(Counter),
}

/// What is counted, and up to where.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    /// The table and the key of the row that keeps the last number.
    pub table: Text,
    pub key: Text,
    /// The first number.
    pub first: u64,
    /// The number after which it begins at 1 again.
    pub largest: u64,
    /// What is remembered under the number, in the same commit: an answer to what carries it may come before anything else is.
    pub beside: Option<Beside>,
}

/// A row under a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    pub table: Text,
    /// What stands in its key before the number.
    pub key: Text,
    pub row: Map,
    pub keep: Duration,
}

/// A number, and when it was allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    pub value: u64,
    pub at: Timestamp,
}

/// A question to a system: what a read operation of a connection answers to `input`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub connection: Text,
    pub operation: Text,
    pub input: Value,
    /// Names the question within its message, by what is asked: `product.find#018f...`. The same question of one message has one
    /// answer, wherever it is asked and however often the message is repeated.
    pub place: Text,
    /// Most time the answer may take.
    pub within: Duration,
    /// An answer to the same question, of any message, may be so old.
    pub keep: Option<Duration>,
    /// The answer where the system is away or too slow.
    pub otherwise: Option<Value>,
    /// The message ends where the system has nothing: then that is no answer to remember.
    pub needed: bool,
}

impl Call {
    /// What stands in for an answer that did not come: the fallback, if the fault says that the system is away or too slow.
    ///
    /// # Errors
    /// The fault, where there is no fallback for it.
    pub fn fall_back(&self, fault: Fault) -> Result<Value, Fault> {
        match (fault.next(), &self.otherwise) {
            (Next::Retry { .. } | Next::Reconnect, Some(otherwise)) => Ok(otherwise.clone()),
            _ => Err(fault),
        }
    }
}

/// The answer to an [`Ask`], in kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Row(Option<Map>),
    Group(Group),
    /// `None`: the system has nothing of it.
    Called(Option<Value>),
    Number(Number),
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
    /// Writes a row into a durable table, over the row with the same `key` ([`key_text`] of its key columns), for as long
    /// as the table keeps rows. It is as new as the message, unless `time` says how new.
    Remember { table: Text, key: Text, row: Map, until: Timestamp, time: Option<Timestamp> },
    /// Adds a member to a group, which closes by itself at `closes`.
    Join { group: GroupKey, member: Value, closes: Option<Timestamp> },
    /// Closes a group: its members, with `last`, go on after the step as one document.
    Close { group: GroupKey, window: u64, document: Value },
    /// A line in the log.
    Log { text: String },
    /// A value people will search for, where it is only known by now: `interchange` → `00042`.
    Track { name: Text, value: Text },
    /// What became of a document that is exchanged with a partner.
    Exchange { partner: Text, document: Text, state: Text, note: Text },
}

/// What steps make of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Those that go on, in order.
    pub documents: Vec<Value>,
    /// In the order they came about.
    pub effects: Vec<Effect>,
    /// How many documents stopped on purpose: at a `filter`, or at a `split` that found no item.
    pub filtered: usize,
}

impl Outcome {
    /// A document that goes on.
    ///
    /// # Errors
    /// `refuse` `STEP-LIMIT` past [`MAX_DOCUMENTS`].
    pub fn push(&mut self, document: Value) -> Result<(), Fault> {
        if self.documents.len() == MAX_DOCUMENTS {
            return Err(Fault::refuse(
                "STEP-LIMIT",
                "this message becomes more than 100,000 documents; let the source cut it into several messages",
            ));
        }
        self.documents.push(document);
        Ok(())
    }
}

/// What `split` and `aggregate` make of items that belong together: `{ key, items }`.
pub fn gathered(key: impl Into<Value>, items: Vec<Value>) -> Value {
    Value::Map([("key", key.into()), ("items", items.into())].into_iter().collect())
}

/// Who answers what steps ask.
#[async_trait]
pub trait World: Send + Sync {
    async fn answer(&self, ask: &Ask) -> Result<Answer, Fault>;

    /// Answers what one step asks of systems, in order; worth overriding where several can be asked at once.
    async fn answer_calls(&self, calls: &[&Arc<Call>]) -> Result<Vec<Option<Value>>, Fault> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            match self.answer(&Ask::Call((*call).clone())).await? {
                Answer::Called(answer) => answers.push(answer),
                Answer::Row(_) | Answer::Group(_) | Answer::Number(_) => return Err(unanswered("call")),
            }
        }
        Ok(answers)
    }
}

/// A step was not told what it asked for.
fn unanswered(verb: &str) -> Fault {
    Fault::misconfigured(
        "STEP-ANSWER",
        format!("what a `{verb}` asked for was not answered; this is a defect of raccord"),
    )
}

fn too_many_calls() -> Fault {
    Fault::refuse(
        "CALL-LIMIT",
        "this message asks systems for more than 10,000 things, or sends them more than 16 MB; let the source cut it into several messages",
    )
}

/// A verb that can be named in a pipeline.
pub struct StepKind {
    pub name: &'static str,
    /// Its manual page, with an example.
    pub about: &'static str,
    pub shape: fn() -> Shape,
    /// `node` is the value under the verb.
    pub read: ReadStep,
}

pub type ReadStep = fn(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>>;

/// Where a step stands, and what it may refer to.
#[derive(Clone, Copy)]
pub struct StepPlace<'a> {
    pub pipeline: &'a str,
    /// `steps[3]` or `to.suppliers.steps[0]`; for a whole list, what stands before the bracket.
    pub step: &'a str,
    /// The pipeline's folder, for `map_file` and schema files.
    pub folder: &'a std::path::Path,
    pub tables: &'a TableNames,
    pub connections: &'a ConnectionNames,
}

/// A verb: its doc comment is its manual page.
macro_rules! kind {
    ($(#[doc = $about:literal])* $name:literal, $shape:expr, $read:expr) => {
        $(#[doc = $about])*
        pub static KIND: $crate::steps::StepKind = $crate::steps::StepKind {
            name: $name,
            about: concat!($($about, "\n"),*),
            shape: $shape,
            read: $read,
        };
    };
}
use kind;
