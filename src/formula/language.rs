//! Tests: the sample every test of this room reads, and ten mappings of real flows, `tests/language/*.yaml`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Condition, Meta, Scope, Tables, Template};
use crate::config::{Environment, Files, Kind, Node, Reader, Setting, parse, render};
use crate::message::{Fault, Map, MessageId, Value, json};

/// A document, with all that a scope wants beside it.
pub struct Sample {
    pub document: Value,
    pub headers: Map,
    pub meta: Meta,
    pub tables: SampleTables,
}

pub struct SampleTables(BTreeMap<&'static str, BTreeMap<&'static str, Map>>);

impl Sample {
    pub fn new(document: &str) -> Sample {
        Sample {
            document: json::read(document.as_bytes()).expect("the sample is JSON"),
            headers: [("content_type", "application/json")].into_iter().collect(),
            meta: Map::from_iter([("id", Value::from("m1")), ("attempt", Value::from(1_usize))]).into(),
            tables: SampleTables::new(),
        }
    }

    pub fn scope(&self) -> Scope<'_> {
        Scope {
            document: &self.document,
            headers: &self.headers,
            meta: &self.meta,
            item: None,
            partner: None,
            connection: None,
            locals: None,
            time: "2026-11-02T09:30:00Z".parse::<Timestamp>().expect("a time"),
            id: MessageId::derive(&[b"sample"]),
            tables: &self.tables,
        }
    }
}

impl SampleTables {
    fn new() -> SampleTables {
        let row = |fields: &[(&'static str, &'static str)]| fields.iter().copied().collect::<Map>();
        let stores =
            BTreeMap::from([("P01", row(&[("store", "P01"), ("erp_code", "75011"), ("gln", "3012345000017")]))]);
        let units = BTreeMap::from([("piece", row(&[("unit", "piece"), ("edi", "PCE")]))]);
        SampleTables(BTreeMap::from([("stores", stores), ("units", units)]))
    }

    pub fn has_column(&self, table: &str, column: &str) -> Option<bool> {
        Some(self.0.get(table)?.values().any(|row| row.contains(column)))
    }
}

impl Tables for SampleTables {
    fn row(&self, table: &str, key: &str) -> Result<Option<&Map>, Fault> {
        match self.0.get(table) {
            Some(rows) => Ok(rows.get(key)),
            None => Err(Fault::misconfigured("FORMULA-TABLE", format!("there is no table `{table}`"))),
        }
    }
}

/// Reads one file of `tests/language/` and runs its steps: `filter`, `map`, `set`, as in a pipeline.
fn run(name: &str, text: &str) {
    let (files, environment) = (Files::default(), Environment::default());
    let file = files.add(name, text);
    let mut reader = Reader::new(&files, &environment);
    let node = parse(file, text, &mut reader.problems);
    let mut constant = |name: &str| -> Option<Value> {
        let read = node.as_ref()?.field(name).and_then(|node| Template::read(node, &mut reader))?;
        read.as_constant().cloned()
    };
    let (given, expect, partner) = (constant("given"), constant("expect"), constant("partner"));
    let (given, expect) = (given.expect("given"), expect.expect("expect"));
    let steps = match node.as_ref().and_then(|node| node.field("steps")).map(|node| &node.kind) {
        Some(Kind::List(steps)) => steps.as_slice(),
        _ => panic!("{name}: no steps"),
    };
    let mut sample = Sample::new("null");
    sample.document = given;
    for step in steps {
        let Kind::Map { fields, .. } = &step.kind else { panic!("{name}: a step is a map") };
        let (verb, node) = &fields[0];
        let (document, problems) = apply(&verb.name, node, &sample, partner.as_ref(), &mut reader);
        assert!(problems == 0, "{}", render(&files, &reader.problems, false));
        sample.document = document.unwrap_or_else(|fault| panic!("{name}: {}: {fault}", verb.name));
    }
    assert_eq!(json::to_pretty(&normal(sample.document)), json::to_pretty(&normal(expect)), "{name}");
}

fn apply(
    verb: &str,
    node: &Node,
    sample: &Sample,
    partner: Option<&Value>,
    reader: &mut Reader<'_>,
) -> (Result<Value, Fault>, usize) {
    let scope = Scope { partner, ..sample.scope() };
    let document = if verb == "filter" {
        Condition::read(node, reader).map(|condition| {
            condition.holds(&scope).map(|holds| if holds { sample.document.clone() } else { Value::from("filtered") })
        })
    } else {
        Template::read(node, reader).map(|template| {
            template.render(&scope).map(|written| match (verb, sample.document.clone(), written) {
                ("set", Value::Map(mut document), Some(Value::Map(fields))) => {
                    fields.into_iter().for_each(|(name, value)| drop(document.insert(name, value)));
                    document.into()
                }
                (_, _, written) => written.unwrap_or_default(),
            })
        })
    };
    (document.unwrap_or(Ok(Value::Null)), reader.problems.len())
}

/// Numbers without trailing zeros, so that 5.00 and 5 are shown alike.
fn normal(value: Value) -> Value {
    match value {
        Value::List(items) => items.into_iter().map(normal).collect::<Vec<_>>().into(),
        Value::Map(map) => map.into_iter().map(|(name, value)| (name, normal(value))).collect::<Map>().into(),
        other => match other.as_decimal() {
            Some(number) => number.normalize().into(),
            None => other,
        },
    }
}

#[test]
fn ten_real_flows_read_well_and_come_out_right() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/language");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert_eq!(paths.len(), 10);
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        run(&path.file_name().expect("a name").to_string_lossy(), &text);
    }
}
