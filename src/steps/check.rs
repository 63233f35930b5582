//! One check for all verbs: steps as YAML and a document in, documents and effects out, as text.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;

use super::{
    Answer, Ask, Call, ConnectionNames, Context, CsvTables, Effect, Group, Outcome, StepPlace, Steps, TableNames,
    World, read_tables,
};
use crate::config::{Environment, Files, Problem, Reader, parse};
use crate::formula::{Meta, Scope};
use crate::message::{Fault, Map, MessageId, Value, json};

/// Runs steps over a document at 2026-11-02 09:00 UTC.
///
/// `expect` is a line for each document, then one for each effect, then `filtered N`; or a fault: whole, or `CODE (place)`, or its
/// end after `…`.
pub fn check(yaml: &str, document: &str, expect: &str) {
    let (steps, problems) = read(yaml);
    let steps = steps.unwrap_or_else(|| panic!("{yaml}\n{}", problems.join("\n")));
    let said = match run(&steps, document) {
        Ok(outcome) => lines(&outcome),
        Err(fault) if expect.starts_with('…') => {
            let whole = fault.to_string();
            let end = whole.strip_suffix(expect.trim_start_matches('…'));
            assert!(end.is_some(), "{yaml}\n{whole}\ndoes not end with\n{expect}");
            return;
        }
        Err(fault) if expect.contains(": ") => fault.to_string(),
        Err(fault) => in_short(&fault),
    };
    if let Some(family) = expect.strip_suffix('-') {
        assert!(said.starts_with(family), "{yaml}\n{said}");
    } else {
        assert_eq!(said, expect, "{yaml}");
    }
}

/// Steps that must be refused: one of the problems, as `line:column message; label`, contains `expect`.
pub fn refused(yaml: &str, expect: &str) {
    let (steps, problems) = read(yaml);
    assert!(steps.is_none(), "{yaml} was read");
    assert!(
        problems.iter().any(|problem| problem.contains(expect)),
        "{yaml}\n{expect}\nis not in\n{}",
        problems.join("\n")
    );
}

/// The steps, and the problems as `line:column message; label; help`, with the file's name where it is another one.
pub fn read(yaml: &str) -> (Option<Steps>, Vec<String>) {
    read_with(yaml, |files, problems| {
        let show = |problem: &Problem| {
            let (line, column) = files.line_column(problem.span);
            let path = files.path(problem.span.file);
            let file = if path.ends_with("pipeline.yaml") { String::new() } else { format!("{}:", path.display()) };
            let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
            format!("{file}{line}:{column} {}; {}{help}", problem.message, problem.label)
        };
        problems.iter().map(show).collect()
    })
}

pub fn read_with<T>(yaml: &str, show: impl FnOnce(&Files, &[Problem]) -> T) -> (Option<Steps>, T) {
    let (files, environment) = (Files::default(), Environment::default());
    let mut reader = Reader::new(&files, &environment);
    let names = tables().1;
    reader.tables = Some(names.files.clone());
    let folder = sample_folder().join("pipelines/web-order");
    let place = StepPlace {
        pipeline: "web-order",
        step: "steps",
        folder: &folder,
        tables: &names,
        connections: &connections(),
    };
    let file = files.add("pipelines/web-order/pipeline.yaml", yaml);
    let node = parse(file, yaml, &mut reader.problems);
    let steps = node.and_then(|node| Steps::read(&node, &mut reader, &place));
    let steps = steps.filter(|_| !reader.has_errors());
    (steps, show(&files, &reader.problems))
}

pub fn run(steps: &Steps, document: &str) -> Result<Outcome, Fault> {
    run_from(steps, 0, document)
}

pub fn run_from(steps: &Steps, from: usize, document: &str) -> Result<Outcome, Fault> {
    let document = json::read(document.as_bytes()).expect("the document is JSON");
    let context = context();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let running = steps.run(from, document, &context, &Sample);
    runtime.block_on(movable(running))
}

/// What the first step asks of systems.
pub fn ask(steps: &Steps, document: &Value) -> Vec<Arc<Call>> {
    let asks = steps.0[0].step.asks(document, &context()).unwrap_or_else(|fault| panic!("{fault}"));
    let call = |ask| if let Ask::Call(call) = ask { Some(call) } else { None };
    asks.into_iter().filter_map(call).collect()
}

fn context() -> Context<'static> {
    static TABLES: LazyLock<CsvTables> = LazyLock::new(|| tables().0);
    static EMPTY: LazyLock<Map> = LazyLock::new(Map::new);
    static NO_META: LazyLock<Meta> = LazyLock::new(Meta::default);
    Context {
        headers: &EMPTY,
        meta: &NO_META,
        partner: None,
        time: "2026-11-02T09:00:00Z".parse().expect("this is a time"),
        now: "2026-11-02T09:00:00Z".parse().expect("this is a time"),
        id: MessageId::derive(&[b"check"]),
        tables: &*TABLES,
    }
}

/// What a formula over `document` sees.
pub fn scope(document: &Value) -> Scope<'_> {
    context().scope(document)
}

/// A pipeline runs where tokio puts it: this does not compile for a future that cannot move between threads.
fn movable<F: Future + Send>(future: F) -> F {
    future
}

/// The YAML of a verb's manual page, without the comment's indentation.
pub fn examples(about: &str) -> Vec<String> {
    let parts = about.split("```yaml\n").skip(1).map(|part| part.split("```").next().unwrap_or_default());
    let plain = |part: &str| part.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    parts.map(plain).collect()
}

/// A small hub: tables, schemas and mappings.
pub fn sample_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/steps/sample")
}

fn tables() -> (CsvTables, TableNames) {
    let (files, environment) = (Files::default(), Environment::default());
    let mut reader = Reader::new(&files, &environment);
    let tables = read_tables(&sample_folder(), &mut reader);
    assert!(reader.problems.is_empty(), "{:?}", reader.problems);
    tables
}

/// What a protocol says.
const AWAY: &str = "HTTP-CONNECT";

/// An ERP that can be asked for products, and takes orders.
fn connections() -> ConnectionNames {
    let operations = [("product.find", true), ("stock.list", true), ("sale.post", false)];
    let operations = operations.map(|(name, reads)| (name.into(), reads)).into_iter().collect();
    ConnectionNames([("erp".into(), operations)].into_iter().collect())
}

/// Knows the ERP's number of one order, one group, and one product; as for the product `away`, the ERP is away.
struct Sample;

#[async_trait]
impl World for Sample {
    async fn answer(&self, ask: &Ask) -> Result<Answer, Fault> {
        Ok(match ask {
            Ask::Row { table, key, by } => {
                assert_eq!(by.len(), 2, "the key of {table}");
                let known = (table.as_str(), key.as_str()) == ("orders", r#"["web","1042"]"#);
                Answer::Row(known.then(|| {
                    let columns = [("shop", Value::from("web")), ("order", "1042".into()), ("erp_id", 77_i64.into())];
                    columns.into_iter().collect()
                }))
            }
            Ask::Group { group } if group.key == "open" => Answer::Group(Group {
                window: 4,
                opened: Some("2026-11-02T08:00:00Z".parse().expect("this is a time")),
                members: vec![1_i64.into(), 2_i64.into()],
            }),
            Ask::Group { .. } => Answer::Group(Group::default()),
            Ask::Number(_) => Answer::Number(crate::steps::Number { value: 1, at: jiff::Timestamp::UNIX_EPOCH }),
            Ask::Call(call) => match call.input.as_map().and_then(|input| input.get("gtin")).and_then(Value::as_text) {
                Some("111") => Answer::Called(Some([("name", "Lamp")].into_iter().collect::<Map>().into())),
                Some("away") => {
                    let away = Fault::reconnect(AWAY, "the ERP cannot be reached");
                    Answer::Called(Some(call.fall_back(away)?))
                }
                _ => Answer::Called(None),
            },
        })
    }
}

fn lines(outcome: &Outcome) -> String {
    let mut lines: Vec<String> = outcome.documents.iter().map(Value::to_string).collect();
    lines.extend(outcome.effects.iter().map(line));
    if outcome.filtered > 0 {
        lines.push(format!("filtered {}", outcome.filtered));
    }
    lines.join("\n")
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::Remember { table, key, row, until, .. } => {
            format!("remember {table} {key} {} until {until}", Value::Map(row.clone()))
        }
        Effect::Join { group, member, closes } => {
            let closes = closes.map_or("never".to_owned(), |closes| closes.to_string());
            format!("join {} {} {} {member} closes {closes}", group.pipeline, group.step, group.key)
        }
        Effect::Close { group, window, document } => {
            format!("close {} {} {} {window} {document}", group.pipeline, group.step, group.key)
        }
        Effect::Log { text } => format!("log {text}"),
        Effect::Track { name, value } => format!("track {name} {value}"),
        Effect::Exchange { partner, document, state, .. } => format!("exchange {partner} {document} {state}"),
    }
}

/// `CODE (step, position)`
fn in_short(fault: &Fault) -> String {
    let places: Vec<&str> = [fault.step(), fault.position()].into_iter().flatten().collect();
    format!("{} ({})", fault.code(), places.join(", "))
}
