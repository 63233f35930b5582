//! A manifest's own tests: its operations against recorded answers.
//!
//! Operations run as in production; only the system is stood in for ([`Script`]), the receiver keeps what it is given, and
//! the clock hurries: a wait is over as soon as nothing else goes on.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::connection::Connection;
use super::listen::ListenSource;
use super::load::Connectors;
use super::manifest::{Manifest, ManifestCase, Operation, Poll, SettingKind, SettingType};
use super::poll::PollSource;
use super::progress::Progress;
use super::read::read;
use super::scope::View;
use super::script::Script;
use super::write::WriteTarget;
use crate::clock::Clock;
use crate::codecs::json_documents;
use crate::config::Data;
use crate::formula::Meta;
use crate::message::{Fault, Map, MessageId, Next, Text, Value, differences, json};
use crate::protocols::http::RoutePath;
use crate::protocols::{Arrival, Delivered, Delivery, Receipt, ReceiptOutcome, Receiver, Surroundings, TargetSettings};
use crate::steps::{Canonical, Violations};

/// How a case of a manifest went.
#[derive(Debug)]
pub struct ManifestOutcome {
    pub manifest: Text,
    pub about: String,
    /// What differs, for a person; empty where the case passed.
    pub differences: Vec<String>,
}

/// The pipeline that cases run in.
const PIPELINE: &str = "case";
/// How far the clock goes at once, and how often: a day in all.
const STEP: Duration = Duration::from_millis(100);
const MOST_STEPS: u32 = 864_000;

/// Runs all cases of all manifests.
pub async fn run_cases(connectors: &Connectors) -> Vec<ManifestOutcome> {
    let mut outcomes = Vec::new();
    for manifest in connectors.manifests.values() {
        for case in &manifest.head.cases {
            let differences = run_case(manifest, case, &connectors.canonical).await;
            outcomes.push(ManifestOutcome { manifest: manifest.name.clone(), about: case.about.clone(), differences });
        }
    }
    outcomes
}

/// What is wrong with a case, or what its operation did not do.
async fn run_case(manifest: &Arc<Manifest>, case: &ManifestCase, canonical: &Canonical) -> Vec<String> {
    let time = match case.at.parse::<Timestamp>() {
        Ok(time) => time,
        Err(error) => return vec![format!("`at: {}` is not a time: {error}", case.at)],
    };
    let Some(operation) = manifest.operations.get(&case.operation) else {
        let known: Vec<&str> = manifest.operations.keys().map(Text::as_str).collect();
        return vec![format!("there is no operation `{}`; there are: {}", case.operation, known.join(", "))];
    };
    let script = Arc::new(Script::new(&case.exchange));
    let settings = settings(manifest, case);
    let name = settings.get("name").and_then(Value::as_text).map_or_else(|| manifest.name.clone(), Text::from);
    let connection = Connection::new(name, manifest.clone(), settings);
    let clock = Clock::simulated(time);
    let playing = Playing {
        connection: Arc::new(connection.answered_by(script.clone())),
        case,
        id: MessageId::derive(&[PIPELINE.as_bytes()]),
        time,
        around: Surroundings::without_hub(clock.clone(), PathBuf::new()),
    };
    let Some(actual) = hurry(playing.play(operation), &clock).await else {
        return vec!["the case does not end: a day has passed on its clock".to_owned()];
    };
    let mut found = script.differences();
    found.extend(differences(&case.expect.0, &actual, |name| UNSTATED.contains(&name)));
    found.extend(uncanonical(operation, case, &actual, canonical));
    found
}

/// Settings of the case, defaults, and an example of each that is left out; one that is `null` is not there.
fn settings(manifest: &Manifest, case: &ManifestCase) -> Map {
    let example = |name: &Text, kind: &SettingKind| match (&kind.default, kind.r#type) {
        (Some(Data(default)), _) => default.clone(),
        (None, SettingType::Url) => "https://system.example".into(),
        (None, SettingType::Text | SettingType::Secret) => name.clone().into(),
        (None, SettingType::Number) => 1_usize.into(),
        (None, SettingType::Boolean) => true.into(),
    };
    let kinds = manifest.head.settings.iter().flatten();
    let mut settings: Map = kinds.map(|(name, kind)| (name.clone(), example(name, kind))).collect();
    for (name, value) in case.connection.iter().filter_map(|data| data.0.as_map()).flat_map(Map::iter) {
        match value {
            Value::Null => drop(settings.remove(name)),
            value => drop(settings.insert(name.clone(), value.clone())),
        }
    }
    settings
}

/// Runs something whose only real waits are for the clock; `None` where it does not end.
async fn hurry<T>(running: impl Future<Output = T>, clock: &Clock) -> Option<T> {
    let mut running = pin!(running);
    for _ in 0..MOST_STEPS {
        tokio::select! {
            biased;
            out = &mut running => return Some(out),
            () = tokio::task::yield_now() => clock.advance(STEP),
        }
    }
    None
}

/// A case under way.
struct Playing<'c> {
    connection: Arc<Connection>,
    case: &'c ManifestCase,
    id: MessageId,
    time: Timestamp,
    around: Surroundings,
}

impl Playing<'_> {
    /// What came out: `documents`, `dead`, `result`, `missing`, `cursor`, `answer`, `fault`.
    async fn play(&self, operation: &Operation) -> Map {
        let mut actual = Map::new();
        let played = match operation {
            Operation::Poll(poll) => self.poll(poll, &mut actual).await,
            Operation::Listen(listen) => {
                let path = RoutePath("/hooks/case".into());
                let (connection, operation) = (self.connection.clone(), self.case.operation.clone());
                self.listen(&ListenSource { connection, operation, listen: listen.clone(), path }, &mut actual).await
            }
            Operation::Read(asked) => {
                let (given, of) = (self.given(), (self.id, self.time));
                let found = read(&self.connection, (&self.case.operation, asked), &given, of, &self.around).await;
                found.map(|found| match found {
                    Some(result) => drop(actual.insert("result", result)),
                    None => drop(actual.insert("missing", true)),
                })
            }
            Operation::Write(write) => {
                let (connection, operation) = (self.connection.clone(), self.case.operation.clone());
                let batched = write.batch.is_some();
                self.write(&WriteTarget { connection, operation, write: write.clone() }, batched, &mut actual).await
            }
        };
        if let Err(fault) = played {
            actual.insert("fault", shown(&fault));
        }
        actual
    }

    fn given(&self) -> Value {
        self.case.given.as_ref().map(|data| data.0.clone()).unwrap_or_default()
    }

    fn headers(&self) -> Map {
        let given = self.case.headers.as_ref().and_then(|data| data.0.as_map());
        let named = given.into_iter().flat_map(Map::iter);
        named.map(|(name, value)| (name.to_lowercase().replace('-', "_"), value.clone())).collect()
    }

    async fn poll(&self, poll: &Poll, actual: &mut Map) -> Result<(), Fault> {
        let (connection, operation) = (self.connection.clone(), self.case.operation.clone());
        let cursor = self.case.cursor.as_ref().map(|data| data.0.clone());
        let begun = Progress {
            connection: connection.name.clone(),
            operation: operation.clone(),
            cursor: cursor.clone(),
            ..Progress::default()
        };
        let kept = Kept { cursor: Mutex::new(cursor.is_some().then(|| begun.to_value())), ..Kept::default() };
        let source = PollSource { connection, operation, poll: Box::new(poll.clone()), every: None };
        let outcome = source.once(PIPELINE, &kept, &self.around).await;
        if let Some(cursor) = kept.cursor.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let at = cursor.get("cursor").or_else(|| cursor.get("start")?.get("at"));
            at.map(|at| actual.insert("cursor", at.clone()));
        }
        arrived(kept.arrivals.into_inner().unwrap_or_else(PoisonError::into_inner), actual);
        outcome
    }

    async fn listen(&self, source: &ListenSource, actual: &mut Map) -> Result<(), Fault> {
        source.http()?;
        let body = match self.given() {
            Value::Text(text) => text.to_string(),
            document => json::to_text(&document),
        };
        let request =
            Arrival { body: body.into(), document: None, headers: self.headers(), position: None, fault: None };
        let (answer, arrivals) = source.of_request(PIPELINE, request, &self.around).await?;
        if let Some(answer) = answer {
            let text = || Value::from(String::from_utf8_lossy(&answer.body).into_owned());
            let document = if answer.content_type == "application/json" { json::read(&answer.body).ok() } else { None };
            actual.insert("answer", document.unwrap_or_else(text));
        }
        arrived(arrivals, actual);
        Ok(())
    }

    async fn write(&self, settings: &WriteTarget, batched: bool, actual: &mut Map) -> Result<(), Fault> {
        let target = settings.open("case.to.system", json_documents(), &self.around)?;
        let documents = match self.given() {
            Value::List(documents) if batched => documents,
            document => vec![document],
        };
        let (headers, locals) = (self.headers(), Map::new());
        let mut deliveries = Vec::with_capacity(documents.len());
        for (index, document) in documents.iter().enumerate() {
            let id = if index == 0 { self.id } else { MessageId::derive(&[self.id.as_bytes(), &index.to_be_bytes()]) };
            let meta = Meta::of(&PIPELINE.into(), id, self.time);
            let view = View {
                connection: &self.connection.settings,
                document,
                headers: &headers,
                item: None,
                locals: &locals,
                meta: &meta,
                id,
                time: self.time,
            };
            let prepared = target.prepare(&view.scope())?;
            deliveries.push(Delivery { id, time: self.time, prepared, attempt: 1 });
        }
        let mut outcomes = target.deliver_told(&deliveries).await;
        if !batched {
            let delivered = outcomes.pop().unwrap_or_else(|| Ok(Delivered::default()))?;
            delivered.result.map(|result| actual.insert("result", result));
            return Ok(());
        }
        let (mut results, mut dead) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Ok(delivered) => results.push(delivered.result.unwrap_or_default()),
                Err(fault) => dead.push(shown(&fault)),
            }
        }
        actual.insert("result", results);
        if !dead.is_empty() {
            actual.insert("dead", dead);
        }
        Ok(())
    }
}

/// Puts arrivals among the `documents`, and those that cannot be read among the `dead`.
fn arrived(arrivals: Vec<Arrival>, actual: &mut Map) {
    let (mut documents, mut dead) = (Vec::new(), Vec::new());
    for arrival in arrivals {
        match (arrival.fault, arrival.document) {
            (Some(fault), _) => dead.push(shown(&fault)),
            (None, Some(document)) => documents.push(document),
            (None, None) => documents.push(json::read(&arrival.body).unwrap_or_default()),
        }
    }
    for (name, came) in [("documents", documents), ("dead", dead)] {
        if !came.is_empty() {
            actual.insert(name, came);
        }
    }
}

fn shown(fault: &Fault) -> Value {
    let (next, after) = match fault.next() {
        Next::Retry { after } => ("retry", after),
        Next::Reconnect => ("reconnect", None),
        Next::Refuse => ("refuse", None),
        Next::Misconfigured => ("misconfigured", None),
    };
    let mut out: Map = [("code", fault.code()), ("next", next)].into_iter().collect();
    out.insert("what", fault.to_string());
    if let Some(after) = after {
        out.insert("after", i64::try_from(after.as_secs()).unwrap_or(i64::MAX));
    }
    out.into()
}

/// What must not come where a case does not state it.
const UNSTATED: [&str; 5] = ["documents", "dead", "missing", "answer", "fault"];

/// Where documents are not the canonical ones that the operation says it gives or takes.
fn uncanonical(operation: &Operation, case: &ManifestCase, actual: &Map, canonical: &Canonical) -> Vec<String> {
    let (named, documents): (_, Vec<(String, &Value)>) = match operation {
        Operation::Poll(_) | Operation::Listen(_) => {
            let came = actual.get("documents").and_then(Value::as_list).unwrap_or_default();
            let came = came.iter().enumerate().map(|(index, document)| (format!("documents[{index}]"), document));
            (operation.canonical(), came.collect())
        }
        Operation::Read(_) => (
            operation.canonical(),
            actual.get("result").map(|result| ("result".to_owned(), result)).into_iter().collect(),
        ),
        Operation::Write(write) => {
            let given = case.given.as_ref().map(|data| &data.0);
            let given: Vec<(String, &Value)> = match given {
                Some(Value::List(documents)) if write.batch.is_some() => documents
                    .iter()
                    .enumerate()
                    .map(|(index, document)| (format!("given[{index}]"), document))
                    .collect(),
                given => given.map(|given| ("given".to_owned(), given)).into_iter().collect(),
            };
            // A case that shows a refusal may give anything.
            (operation.canonical().filter(|_| !actual.contains("fault")), given)
        }
    };
    let Some(schema) = named.and_then(|name| canonical.get(name)) else { return Vec::new() };
    let mut differences = Vec::new();
    for (place, document) in documents {
        let mut broken = Violations::default();
        broken.of_schema(&schema, document);
        if broken.count > 0 {
            differences.push(format!("{place} is not {}: {}", schema.name, broken.sentences()));
        }
    }
    differences
}

/// Takes what a poll brings, and keeps it.
#[derive(Default)]
struct Kept {
    arrivals: Mutex<Vec<Arrival>>,
    cursor: Mutex<Option<Value>>,
}

#[async_trait]
impl Receiver for Kept {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        let receipt = |arrival: &Arrival| {
            let position = arrival.position.as_deref().unwrap_or_default();
            let outcome = if arrival.fault.is_some() { ReceiptOutcome::Dead } else { ReceiptOutcome::Stored };
            Receipt { id: MessageId::derive(&[PIPELINE.as_bytes(), position.as_bytes(), &arrival.body]), outcome }
        };
        let receipts = arrivals.iter().map(receipt).collect();
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).extend(arrivals);
        if let Some((_, cursor)) = cursor {
            *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
        }
        Ok(receipts)
    }

    async fn cursor(&self, _name: &str) -> Result<Option<Value>, Fault> {
        Ok(self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn reply(&self, _arrival: Arrival) -> Result<Value, Fault> {
        Err(Fault::refuse("CONNECTOR-CASE", "a case replies to nobody"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, render};

    /// The differences of the cases of a manifest, whose head is small.
    async fn differences(yaml: &str) -> Vec<String> {
        let head = "
system: Test
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
  key: { type: secret }
auth: { bearer: $connection.key }
";
        let manifest = crate::connectors::testing::manifest(&format!("{head}{yaml}"));
        let mut connectors = Connectors::default();
        connectors.manifests.insert("test".into(), manifest);
        let outcomes = run_cases(&connectors).await;
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes.into_iter().flat_map(|outcome| outcome.differences).collect()
    }

    const POLL: &str = "
operations:
  level:
    kind: poll
    gives: stock
    request:
      get: /levels
      query: { after: $cursor? }
    items: $.levels
    cursor: { value: $item.at }
    document: { sku: $item.sku, location: main, available: $item.free, at: $item.at }
cases:
  - about: A case.
    operation: level
    at: 2026-01-02T00:00:00Z
";

    #[tokio::test]
    async fn a_case_that_is_right_passes() {
        let case = "
    cursor: 2026-01-01T00:00:00Z
    exchange:
      - request: { method: GET, path: /levels, query: { after: 2026-01-01T00:00:00Z }, headers: { Authorization: Bearer key } }
        json: { levels: [{ sku: A, free: 1.50, at: 2026-01-01T10:00:00Z }] }
    expect: { documents: [{ sku: A, available: 1.5 }], cursor: 2026-01-01T10:00:00Z }
";
        assert_eq!(differences(&format!("{POLL}{case}")).await, [""; 0]);
    }

    #[tokio::test]
    async fn what_differs_is_told_with_its_place() {
        let case = "
    exchange:
      - request: { path: /stock, query: { after: 3 } }
        json: { levels: [{ sku: A, free: much, at: 2026-01-01T10:00:00Z }, { sku: B, free: 1, at: 2026-01-01T11:00:00Z }] }
      - request: { path: /levels }
    expect: { documents: [{ sku: C }], cursor: 2026-01-01T10:00:00Z }
";
        let expected = [
            "exchange[0].request.path: expected \"/stock\", got \"/levels\"",
            "exchange[0].request.query.after: expected \"3\", it is not there",
            "exchange[1]: this request was not made, expected {\"path\":\"/levels\"}",
            "documents[0].sku: expected \"C\", got \"A\"",
            "documents: expected 1, got 2",
            "  also came: {\"sku\":\"B\",\"location\":\"main\",\"available\":1,\"at\":\"2026-01-01T11:00:00Z\"}",
            "cursor: expected \"2026-01-01T10:00:00Z\", got \"2026-01-01T11:00:00Z\"",
            "documents[0] is not canonical/stock: $.available: the value is not of type \"number\"",
        ];
        assert_eq!(differences(&format!("{POLL}{case}")).await, expected);
    }

    #[tokio::test]
    async fn a_request_too_many_and_a_fault_that_is_not_stated_fail() {
        let said = differences(&format!("{POLL}    exchange: []\n    expect: {{}}\n")).await;
        assert_eq!(said.first().map(String::as_str), Some("exchange: a request beyond the last one: GET /levels"));
        assert!(said.iter().any(|said| said.starts_with("fault: nothing was expected, got")), "{said:?}");
        let lost = "    exchange: [{ lost: true }]\n    expect: { fault: { code: HTTP-BROKEN, next: retry } }\n";
        assert_eq!(differences(&format!("{POLL}{lost}")).await, [""; 0]);
    }

    /// The manifest, the connection and the pipeline that docs/connectors.md makes, piece by piece.
    #[tokio::test]
    async fn the_guide_makes_a_connector_whose_cases_pass() {
        let page = include_str!("../../docs/connectors.md");
        let mut files = std::collections::BTreeMap::<String, String>::new();
        for block in page.split("```yaml\n# ").skip(1).filter_map(|rest| rest.split("```").next()) {
            let (name, text) = block.split_once('\n').expect("a block names its file");
            files.entry(name.trim_end_matches(", continued").to_owned()).or_default().push_str(text);
        }
        assert_eq!(page.matches("```yaml\n").count(), page.matches("```yaml\n# ").count(), "a block names no file");
        let folder = std::env::temp_dir().join(format!("raccord-{}", MessageId::draw()));
        files.insert("config/raccord.yaml".to_owned(), "name: guide\n".to_owned());
        for (name, text) in &files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
            std::fs::write(path, text).expect("the file can be written");
        }
        let secrets = ["DOCK_KEY", "DOCK_HOOK_SECRET"].map(|name| (name.to_owned(), "s3cret".to_owned()));
        let environment = Environment { only: Some(secrets.into()), ..Environment::default() };
        let loaded = crate::pipelines::load(&folder, &environment);
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
        let said = render(&loaded.files, &loaded.problems, false);
        assert!(loaded.problems.is_empty(), "{said}");
        let connectors = loaded.configuration.expect("there is no problem").connectors;
        assert!(connectors.connections.contains_key("dock") && connectors.manifests.contains_key("quai9"));
        let outcomes = run_cases(&connectors).await;
        assert!(outcomes.len() >= 9, "{outcomes:?}");
        for outcome in outcomes {
            assert!(outcome.differences.is_empty(), "{}: {:#?}", outcome.about, outcome.differences);
        }
    }
}
