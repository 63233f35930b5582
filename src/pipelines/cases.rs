//! A pipeline's own tests: given this message, expect these outputs. `pipelines/<name>/cases/*.yaml`.
//!
//! The middle of the pipeline is the one production runs; the ends are stood in for: bytes come from the case, and what would
//! be delivered is compared. Every document expected must be *contained* in the actual one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::process::{Routed, Work, decode, process, remembered};
use super::{Configuration, Pipeline};
use crate::codecs::Codec;
use crate::config::{Data, Files, Problem, Reader, Setting, Shape, settings};
use crate::formula::{Meta, Scope, Tables};
use crate::message::{Fault, Map, MessageId, Text, Value, contained};
use crate::protocols::{Delivery, Prepared, Target};
use crate::steps::{Answer, Ask, Context, Effect, Group, GroupKey, Row, World};

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
        /// What lookups in durable tables return.
        answers: Vec<CaseAnswer>,
        /// What connected systems answer, by destination: `$result` of its `remember:`, the same for every message.
        results: Option<BTreeMap<Text, Data>>,
        /// What must come out: per destination, exactly these documents, in order. `dead` lists faults, `reply` is the answer.
        /// With `results`, `remembered` lists what destinations remember: `{ table, row }`, or `{ code, what }` of a fault.
        expect: Data,
    }
}

settings! {
    /// What a lookup in a durable table returns.
    pub struct CaseAnswer {
        /// The table.
        table: Text,
        /// The row it returns, for every key.
        returns: Data,
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
    let given = match given(configuration, pipeline, folder, case) {
        Ok(given) => given,
        Err(said) => return vec![said],
    };
    let actual = run(configuration, pipeline, case, given, time).await;
    compare(&case.expect.0, &actual)
}

/// One message, or each record of a file.
type Given = Vec<Result<Value, Fault>>;

fn given(configuration: &Configuration, pipeline: &Pipeline, folder: &Path, case: &Case) -> Result<Given, String> {
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
    Ok(vec![decode(pipeline, &bytes, 0)])
}

/// What came out: per destination the documents, `dead` the faults, `reply` the answer.
async fn run(
    configuration: &Configuration,
    pipeline: &Arc<Pipeline>,
    case: &Case,
    given: Given,
    time: Timestamp,
) -> Map {
    let headers = case.headers.as_ref().and_then(|data| data.0.as_map().cloned()).unwrap_or_default();
    let targets: Vec<Arc<dyn Target>> =
        pipeline.destinations.iter().map(|to| Arc::new(EncodeOnly(to.codec.clone())) as Arc<dyn Target>).collect();
    let world = CaseWorld::new(case);
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
                match reply_of(configuration, pipeline, &headers, id, time, document, &world).await {
                    Ok(document) => {
                        reply = Some(document);
                        continue;
                    }
                    Err(fault) => Err(fault),
                }
            }
            Ok(document) => {
                let part = Work { id, time, headers: &headers, document, start_at, only: None };
                process(pipeline, &targets, &*configuration.tables, &world, part).await
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
                    let out: Map = [("document", routed.document)].into_iter().collect();
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
    let context = Context { headers, meta: &meta, partner: None, time, id, tables: &*configuration.tables };
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

/// The differences between what was expected and what came out, each with its path.
fn compare(expect: &Value, actual: &Map) -> Vec<String> {
    let mut differences = Vec::new();
    let nothing = Map::new();
    let expected = match expect {
        Value::Map(map) => map,
        Value::Null => &nothing,
        other => return vec![format!("`expect` must be a map of destinations, found {}", other.kind())],
    };
    for (name, expected) in expected.iter() {
        match (expected, actual.get(name)) {
            (Value::List(expected), Some(Value::List(actual))) => {
                for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                    contained(expected, actual, &format!("{name}[{index}]"), &mut differences);
                }
                if expected.len() != actual.len() {
                    differences.push(format!("{name}: expected {} message(s), got {}", expected.len(), actual.len()));
                    actual
                        .iter()
                        .skip(expected.len())
                        .for_each(|extra| differences.push(format!("  also came: {extra}")));
                }
            }
            (Value::List(expected), None) if expected.is_empty() => {}
            (_, None) => differences.push(format!("{name}: expected something, nothing came")),
            (expected, Some(actual)) => contained(expected, actual, name, &mut differences),
        }
    }
    for (name, actual) in actual.iter().filter(|(name, _)| !expected.contains(name)) {
        differences.push(format!("{name}: nothing was expected, got {actual}"));
    }
    differences
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
struct CaseWorld {
    answers: BTreeMap<Text, Map>,
    state: Mutex<CaseState>,
}

#[derive(Default)]
struct CaseState {
    rows: BTreeMap<(Text, Text), Map>,
    groups: BTreeMap<GroupKey, Group>,
}

impl CaseWorld {
    fn new(case: &Case) -> CaseWorld {
        let answers = case
            .answers
            .iter()
            .filter_map(|answer| answer.returns.0.as_map().map(|row| (answer.table.clone(), row.clone())));
        CaseWorld { answers: answers.collect(), state: Mutex::default() }
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
                Effect::Log { .. } => {}
            }
        }
        closed
    }
}

#[async_trait]
impl World for CaseWorld {
    async fn answer(&self, ask: &Ask) -> Result<Answer, Fault> {
        let state = self.state();
        Ok(match ask {
            Ask::Row { table, key, .. } => {
                let remembered = state.rows.get(&(table.clone(), key.clone()));
                Answer::Row(remembered.or_else(|| self.answers.get(table)).cloned())
            }
            Ask::Group { group } => Answer::Group(state.groups.get(group).cloned().unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::json;

    fn check(expect: &str, actual: &str, differences: &[&str]) {
        let read = |text: &str| json::read(text.as_bytes()).expect("the test writes JSON");
        let actual = read(actual).as_map().cloned().expect("the test writes a map");
        assert_eq!(compare(&read(expect), &actual), differences);
    }

    #[test]
    fn what_is_expected_is_contained() {
        check(r#"{"erp":[{"document":{"a":1}}]}"#, r#"{"erp":[{"document":{"a":1.0,"b":2}}]}"#, &[]);
        check(
            r#"{"erp":[{"document":{"a":1}}]}"#,
            r#"{"erp":[{"document":{"a":2}}]}"#,
            &["erp[0].document.a: expected 1, got 2"],
        );
        check(r#"{}"#, r#"{"erp":[1]}"#, &["erp: nothing was expected, got [1]"]);
        check(r#"{"erp":[1]}"#, r#"{}"#, &["erp: expected something, nothing came"]);
        check(r#"{"erp":[]}"#, r#"{}"#, &[]);
        check(r#"{"erp":[1]}"#, r#"{"erp":[1,2]}"#, &["erp: expected 1 message(s), got 2", "  also came: 2"]);
    }
}
