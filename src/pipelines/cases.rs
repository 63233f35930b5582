//! A pipeline's own tests: given this message, expect these outputs. `pipelines/<name>/cases/*.yaml`.
//!
//! The middle of the pipeline is the one production runs; the ends are stood in for: bytes come from the case, and what would
//! be delivered is compared. Every document expected must be *contained* in the actual one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::process::{Routed, Work, document, process, remembered};
use super::{Configuration, Destination, Pipeline};
use crate::codecs::Codec;
use crate::config::{Data, Files, Problem, Reader, Setting, Shape, choice, settings};
use crate::formula::{Meta, Scope, Tables};
use crate::message::{Fault, Map, MessageId, Text, Value, contained, differences};
use crate::protocols::{Delivery, Prepared, Target};
use crate::steps::{Answer, Ask, Call, Context, Effect, Group, GroupKey, Number, Row, World};

settings! {
    /// A test of a pipeline: given this message, expect these outputs.
    pub struct Case {
        /// What the case shows, in a sentence.
        about: String,
        /// The message: the name of a file (in `cases/` or `samples/`), or the document itself.
        given: Data,
        /// Headers that come with the message.
        headers: Option<Data>,
        /// The clock: when the message comes in. RFC 3339.
        at: Text = "2026-01-01T00:00:00Z",
        /// What lookups in durable tables and calls of systems return.
        answers: Vec<CaseAnswer>,
        /// What connected systems answer, by destination: `$result` of its `remember:`, the same for every message.
        results: Option<BTreeMap<Text, Data>>,
        /// What must come out: per destination, exactly these documents, in order. `dead` lists faults, `reply` is the answer.
        /// With `results`, `remembered` lists what destinations remember: `{ table, row }`, or `{ code, what }` of a fault.
        expect: Data,
    }
}

settings! {
    /// What a lookup in a durable table returns, or a call of a system: either `table` or `operation` is stated.
    ///
    /// A call gets the first answer that fits and was not used; the last one that fits is used for all further calls.
    pub struct CaseAnswer {
        /// The table. It returns the row for every key.
        table: Option<Text>,
        /// The operation that is called.
        operation: Option<Text>,
        /// Only of this connection.
        connection: Option<Text>,
        /// Only where the operation is given this, or more.
        with: Option<Data>,
        /// The row, or what the system answers.
        returns: Option<Data>,
        /// The system has nothing.
        missing: bool = "false",
        /// The call fails.
        fault: Option<CaseFault>,
    }
}

choice! {
    /// How a call fails.
    pub enum CaseFault {
        /// The system is busy or slow: it may pass.
        Retry = "retry",
        /// The system is away.
        Reconnect = "reconnect",
        /// The system refuses.
        Refuse = "refuse",
    }
}

/// What a case file may say.
pub fn case_shape() -> Shape {
    Case::shape()
}

/// How a case went.
#[derive(Debug)]
pub struct CaseOutcome {
    pub pipeline: Text,
    /// `cases/two-suppliers.yaml`
    pub file: PathBuf,
    pub about: String,
    /// What differs, for a person; empty where the case passed.
    pub differences: Vec<String>,
}

/// Runs all cases of all pipelines. Problems of case files come beside, with the files to show them in.
pub async fn run_cases(configuration: &Configuration, files: &Files, problems: &mut Vec<Problem>) -> Vec<CaseOutcome> {
    let mut outcomes = Vec::new();
    for pipeline in configuration.pipelines.values() {
        let folder = Path::new("pipelines").join(pipeline.name.as_str());
        for file in case_files(&configuration.folder.join(&folder).join("cases")) {
            let relative = folder.join("cases").join(&file);
            let environment = crate::config::Environment::default();
            let mut reader = Reader::new(files, &environment);
            let node = super::load::read_yaml(&configuration.folder, &relative, &mut reader);
            let case = node.and_then(|node| Case::read(&node, &mut reader));
            problems.append(&mut reader.problems);
            let Some(case) = case else { continue };
            let differences = run_case(configuration, pipeline, &folder, &case).await;
            outcomes.push(CaseOutcome {
                pipeline: pipeline.name.clone(),
                file: relative,
                about: case.about,
                differences,
            });
        }
    }
    outcomes
}

fn case_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| PathBuf::from(entry.file_name())).collect())
        .unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

/// What is wrong with a case, or what it did not do.
async fn run_case(configuration: &Configuration, pipeline: &Arc<Pipeline>, folder: &Path, case: &Case) -> Vec<String> {
    let time = match case.at.parse::<Timestamp>() {
        Ok(time) => time,
        Err(error) => return vec![format!("`at: {}` is not a time: {error}", case.at)],
    };
    let given = match given(configuration, pipeline, folder, case, time) {
        Ok(given) => given,
        Err(said) => return vec![said],
    };
    let unsound: Vec<String> =
        case.answers.iter().enumerate().filter_map(|(index, answer)| answer.unsound(index)).collect();
    if !unsound.is_empty() {
        return unsound;
    }
    let world = CaseWorld::new(case);
    let actual = run(configuration, pipeline, case, given, time, &world).await;
    // What follows from a call that was not answered would be told as other differences.
    let unanswered = std::mem::take(&mut world.state().unanswered);
    if unanswered.is_empty() { differences(&case.expect.0, &actual, |_| true) } else { unanswered }
}

/// One message, or each record of a file.
type Given = Vec<Result<Value, Fault>>;

fn given(
    configuration: &Configuration,
    pipeline: &Pipeline,
    folder: &Path,
    case: &Case,
    time: Timestamp,
) -> Result<Given, String> {
    let Some(name) = case.given.0.as_text() else { return Ok(vec![Ok(case.given.0.clone())]) };
    let places = ["cases", "samples", "."].map(|place| configuration.folder.join(folder).join(place).join(name));
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        return Err(format!("`given: {name}`: there is no such file in cases/, samples/ or the pipeline's folder"));
    };
    let bytes = Bytes::from(std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?);
    if pipeline.takes_records()
        && let Some(mut records) = pipeline.codec.records(Box::new(&bytes[..]))
    {
        let mut given = Vec::new();
        while let Some(record) = records.next() {
            given.push(record.and_then(|record| record.document));
        }
        return Ok(given);
    }
    Ok(vec![document(pipeline, &bytes, (MessageId::derive(&[pipeline.name.as_bytes()]), time))])
}

/// What came out: per destination the documents, `dead` the faults, `reply` the answer.
async fn run(
    configuration: &Configuration,
    pipeline: &Arc<Pipeline>,
    case: &Case,
    given: Given,
    time: Timestamp,
    world: &CaseWorld<'_>,
) -> Map {
    let headers = case.headers.as_ref().and_then(|data| data.0.as_map().cloned()).unwrap_or_default();
    let stand_in = |to: &Arc<Destination>| {
        to.target.rehearse().unwrap_or_else(|| Arc::new(EncodeOnly(to.codec.clone())) as Arc<dyn Target>)
    };
    let targets: Vec<Arc<dyn Target>> = pipeline.destinations.iter().map(stand_in).collect();
    let mut actual: BTreeMap<Text, Vec<Value>> = BTreeMap::new();
    let mut reply = None;
    let mut work: Vec<(usize, Result<Value, Fault>)> = given.into_iter().map(|given| (0, given)).collect();
    work.reverse();
    let mut number = 0_u64;
    while let Some((start_at, document)) = work.pop() {
        number += 1;
        let id = MessageId::derive(&[pipeline.name.as_bytes(), &number.to_be_bytes()]);
        let outcome = match document {
            Ok(document) if pipeline.reply.is_some() => {
                match reply_of(configuration, pipeline, &headers, id, time, document, world).await {
                    Ok(document) => {
                        reply = Some(document);
                        continue;
                    }
                    Err(fault) => Err(fault),
                }
            }
            Ok(document) => {
                let part = Work { id, time, now: time, headers: &headers, document, start_at, only: None };
                process(pipeline, &targets, &*configuration.tables, world, part).await
            }
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(processed) => {
                for routed in processed.routed {
                    if let Some(row) = world.remember(case, (&pipeline.name, id, time), &routed, &*configuration.tables)
                    {
                        actual.entry("remembered".into()).or_default().push(row);
                    }
                    let mut out: Map = [("document", routed.document)].into_iter().collect();
                    // To a partner: whom, and the message it becomes.
                    for key in ["partner", "message"] {
                        if let Some(value) = routed.prepared.address.get(key) {
                            out.insert(key, value.clone());
                        }
                    }
                    actual.entry(routed.destination.name.clone()).or_default().push(out.into());
                }
                for (destination, fault) in processed.failed {
                    actual.entry("dead".into()).or_default().push(dead(&fault, Some(&destination.name)));
                }
                work.extend(world.take(pipeline, processed.effects));
            }
            Err(fault) => actual.entry("dead".into()).or_default().push(dead(&fault, None)),
        }
    }
    let mut out: Map = actual.into_iter().collect();
    if let Some(reply) = reply {
        out.insert("reply", reply);
    }
    out
}

async fn reply_of(
    configuration: &Configuration,
    pipeline: &Pipeline,
    headers: &Map,
    id: MessageId,
    time: Timestamp,
    document: Value,
    world: &dyn World,
) -> Result<Value, Fault> {
    let meta = Meta::of(&pipeline.name, id, time);
    let tables = &*configuration.tables;
    let context = Context { headers, meta: &meta, partner: None, time, now: time, id, tables };
    let mut ran = pipeline.steps.run(0, document, &context, world).await?;
    let template = pipeline.reply.as_ref().expect("only called for a pipeline with a reply");
    let document = ran.documents.pop().unwrap_or_default();
    Ok(template.render(&context.scope(&document))?.unwrap_or_default())
}

fn dead(fault: &Fault, destination: Option<&str>) -> Value {
    let mut out: Map = [("code", fault.code()), ("what", &fault.sentence())].into_iter().collect();
    if let Some(step) = fault.step() {
        out.insert("step", step);
    }
    if let Some(destination) = destination {
        out.insert("destination", destination);
    }
    out.into()
}

/// Stands in for a target: encodes, so that what cannot be written is seen, and delivers nothing.
struct EncodeOnly(Arc<dyn Codec>);

#[async_trait]
impl Target for EncodeOnly {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        Ok(Prepared { body: self.0.encode(scope.document)?, address: Map::new() })
    }

    async fn deliver(&self, _delivery: &Delivery) -> Result<Option<Text>, Fault> {
        Ok(None)
    }
}

/// The world of a case: the answers it gives, and what the messages before remembered and gathered.
struct CaseWorld<'c> {
    answers: &'c [CaseAnswer],
    state: Mutex<CaseState>,
}

#[derive(Default)]
struct CaseState {
    rows: BTreeMap<(Text, Text), Map>,
    groups: BTreeMap<GroupKey, Group>,
    /// Answers that were used, by their number.
    used: BTreeSet<usize>,
    /// What calls want that the case does not say.
    unanswered: Vec<String>,
}

impl CaseAnswer {
    /// What is wrong with it.
    fn unsound(&self, index: usize) -> Option<String> {
        let said =
            [self.returns.is_some(), self.missing, self.fault.is_some()].into_iter().filter(|said| *said).count();
        let what = match (&self.table, &self.operation) {
            (Some(_), Some(_)) | (None, None) => "one of `table` and `operation` says what it answers",
            (Some(_), None) if self.returns.as_ref().is_none_or(|returns| returns.0.as_map().is_none()) => {
                "a `table` needs `returns` with a row: a map of its columns"
            }
            (None, Some(_)) if said != 1 => "an `operation` needs one of `returns`, `missing: true` and `fault`",
            _ => return None,
        };
        Some(format!("answers[{index}]: {what}"))
    }

    fn fits(&self, call: &Call) -> bool {
        let contains = |with: &Data| {
            let mut differences = Vec::new();
            contained(&with.0, &call.input, "with", &mut differences);
            differences.is_empty()
        };
        self.operation.as_ref() == Some(&call.operation)
            && self.connection.as_ref().is_none_or(|connection| *connection == call.connection)
            && self.with.as_ref().is_none_or(contains)
    }

    fn answer(&self, call: &Call) -> Result<Option<Value>, Fault> {
        let said = || format!("`{}` of `{}`: the case says `fault`", call.operation, call.connection);
        let fault = match self.fault {
            None => return Ok(self.returns.as_ref().map(|returns| returns.0.clone())),
            Some(CaseFault::Retry) => Fault::retry("CALL-TIMEOUT", said()),
            Some(CaseFault::Reconnect) => Fault::reconnect("CALL-CASE", said()),
            Some(CaseFault::Refuse) => Fault::refuse("CALL-CASE", said()),
        };
        call.fall_back(fault).map(Some)
    }
}

impl<'c> CaseWorld<'c> {
    fn new(case: &'c Case) -> CaseWorld<'c> {
        CaseWorld { answers: &case.answers, state: Mutex::default() }
    }

    fn row(&self, table: &Text) -> Option<Map> {
        let answer = self.answers.iter().rfind(|answer| answer.table.as_ref() == Some(table))?;
        answer.returns.as_ref()?.0.as_map().cloned()
    }

    fn called(&self, call: &Call, state: &mut CaseState) -> Result<Option<Value>, Fault> {
        let fitting: Vec<usize> = (0..self.answers.len()).filter(|index| self.answers[*index].fits(call)).collect();
        match fitting.iter().find(|index| !state.used.contains(index)).or(fitting.last()) {
            Some(index) => {
                state.used.insert(*index);
                self.answers[*index].answer(call)
            }
            None => {
                let Call { connection, operation, input, .. } = call;
                let said =
                    format!("`{operation}` of `{connection}` is called with {input}, and `answers` says nothing of it");
                let add =
                    format!("add `- {{ operation: {operation}, with: {input}, returns: ... }}`, or `missing: true`");
                state.unanswered.push(format!("{said}: {add}"));
                Err(Fault::refuse("CALL-CASE", said))
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, CaseState> {
        self.state.lock().expect("no code panics while holding a case's world")
    }

    /// What a destination remembers of a message and of the case's answer, as it is compared; later messages find it.
    fn remember(
        &self,
        case: &Case,
        (pipeline, parent, time): (&Text, MessageId, Timestamp),
        routed: &Routed,
        tables: &dyn Tables,
    ) -> Option<Value> {
        let to = &routed.destination;
        let result = case.results.as_ref()?.get(&to.name)?.0.clone();
        let of = (pipeline, parent.child(&to.name, routed.index), time);
        let out: Map = match remembered(to.remember.as_ref()?, of, &routed.document, Some(result), tables, time) {
            Ok(Row { table, key, row, .. }) => {
                self.state().rows.insert((table.clone(), key), row.clone());
                [("table", Value::Text(table)), ("row", row.into())].into_iter().collect()
            }
            Err(fault) => return Some(dead(&fault, Some(&to.name))),
        };
        Some(out.into())
    }

    /// Keeps what a message changed; a group it closed goes on after its step.
    fn take(&self, pipeline: &Pipeline, effects: Vec<Effect>) -> Vec<(usize, Result<Value, Fault>)> {
        let mut state = self.state();
        let mut closed = Vec::new();
        for effect in effects {
            match effect {
                Effect::Remember { table, key, row, .. } => drop(state.rows.insert((table, key), row)),
                Effect::Join { group, member, .. } => state.groups.entry(group).or_default().members.push(member),
                Effect::Close { group, window, document } => {
                    let next = pipeline.steps.after(&group.step).unwrap_or(pipeline.steps.len());
                    state.groups.insert(group, Group { window: window + 1, ..Group::default() });
                    closed.push((next, Ok(document)));
                }
                Effect::Log { .. } | Effect::Track { .. } | Effect::Exchange { .. } => {}
            }
        }
        closed
    }
}

#[async_trait]
impl World for CaseWorld<'_> {
    async fn answer(&self, ask: &Ask) -> Result<Answer, Fault> {
        let mut state = self.state();
        Ok(match ask {
            Ask::Row { table, key, .. } => {
                let remembered = state.rows.get(&(table.clone(), key.clone()));
                Answer::Row(remembered.cloned().or_else(|| self.row(table)))
            }
            Ask::Group { group } => Answer::Group(state.groups.get(group).cloned().unwrap_or_default()),
            Ask::Number(_) => Answer::Number(Number { value: 1, at: Timestamp::UNIX_EPOCH }),
            Ask::Call(call) => Answer::Called(self.called(call, &mut state)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, parse, render};
    use crate::connectors::Connectors;
    use crate::pipelines::{Names, load};
    use crate::queue::embedded::Scratch;
    use crate::steps::{ConnectionNames, TableNames};

    const CALLS: &str = "\
about: Orders, with what the ERP knows.
order_by: none
dedupe: none
on_error: { retry: [5s] }
from: { protocol: raccord, format: json }
steps:
  - call: { connection: erp, operation: product.find, each: $.l, with: { gtin: $item.g }, into: a, missing: leave_out, otherwise: unknown }
to: { out: { protocol: file, folder: out, name: x.json, format: json } }
";

    /// How a case with these `answers` differs, for an order of these lines.
    async fn calls(answers: &str, lines: &str, expect: &str) -> Vec<String> {
        let scratch = Scratch::make();
        std::fs::create_dir_all(scratch.0.join("config")).expect("folders can be made");
        std::fs::write(scratch.0.join("config/raccord.yaml"), "name: test\n").expect("files can be written");
        let environment = Environment { only: Some(BTreeMap::default()), folder: scratch.0.clone() };
        let configuration = load(&scratch.0, &environment).configuration.expect("the hub is right");
        let files = Files::default();
        let mut reader = Reader::new(&files, &environment);
        let operations = [("product.find".into(), true)].into_iter().collect();
        let connections = ConnectionNames([("erp".into(), operations)].into_iter().collect());
        let names = Names {
            tables: &TableNames::default(),
            connections: &connections,
            connectors: &Connectors::default(),
            partners: &Arc::default(),
        };
        let node = |text: &str| {
            let file = files.add("x.yaml", text);
            parse(file, &files.text(file), &mut Vec::new()).expect("this is YAML")
        };
        let (pipeline, case) =
            (node(CALLS), node(&format!("about: x\ngiven: {{ l: {lines} }}\nanswers: {answers}\nexpect: {expect}\n")));
        let pipeline = Pipeline::read("orders", &pipeline, &mut reader, &scratch.0, names);
        let case = Case::read(&case, &mut reader);
        let said = render(&files, &reader.problems, false);
        let (pipeline, case) = (pipeline.unwrap_or_else(|| panic!("{said}")), case.unwrap_or_else(|| panic!("{said}")));
        run_case(&configuration, &Arc::new(pipeline), Path::new("pipelines/orders"), &case).await
    }

    #[tokio::test]
    async fn calls_are_answered_in_the_order_of_what_fits() {
        let nothing: [&str; 0] = [];
        let answers = "[{ operation: product.find, with: { gtin: '1' }, returns: { name: Lamp } }, \
            { operation: product.find, connection: erp, missing: true }, { operation: product.find, returns: last }]";
        let expect = "{ out: [{ document: { l: [{ g: '1', a: { name: Lamp } }, { g: '2' }, { g: '3', a: last }, { g: '4', a: last }] } }] }";
        let lines = "[{ g: '1' }, { g: '2' }, { g: '3' }, { g: '4' }]";
        assert_eq!(calls(answers, lines, expect).await, nothing);
        let away = "[{ operation: product.find, fault: reconnect }]";
        assert_eq!(calls(away, "[{ g: '1' }]", "{ out: [{ document: { l: [{ a: unknown }] } }] }").await, nothing);
        let refused = "[{ operation: product.find, fault: refuse }]";
        assert_eq!(calls(refused, "[{ g: '1' }]", "{ dead: [{ step: 'steps[0] call' }] }").await, nothing);
    }

    #[tokio::test]
    async fn a_call_without_an_answer_fails_the_case() {
        let told =
            calls("[{ operation: product.find, with: { gtin: '2' }, missing: true }]", "[{ g: '1' }]", "{}").await;
        assert_eq!(
            told,
            [
                r#"`product.find` of `erp` is called with {"gtin":"1"}, and `answers` says nothing of it: add `- { operation: product.find, with: {"gtin":"1"}, returns: ... }`, or `missing: true`"#
            ]
        );
        let unsound = calls("[{ returns: 1 }, { table: t }, { operation: o }]", "[]", "{}").await;
        assert_eq!(
            unsound,
            [
                "answers[0]: one of `table` and `operation` says what it answers",
                "answers[1]: a `table` needs `returns` with a row: a map of its columns",
                "answers[2]: an `operation` needs one of `returns`, `missing: true` and `fault`",
            ]
        );
    }
}
