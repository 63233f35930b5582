//! Tests: the sample every test of this room reads, and ten mappings of real flows, `tests/language/*.yaml`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Scope, Tables};
use crate::message::{Fault, Map, MessageId, Value, json};

/// A document, with all that a scope wants beside it.
pub struct Sample {
    pub document: Value,
    pub headers: Map,
    pub meta: Map,
    pub tables: SampleTables,
}

pub struct SampleTables(BTreeMap<&'static str, BTreeMap<&'static str, Map>>);

impl Sample {
    pub fn new(document: &str) -> Sample {
        Sample {
            document: json::read(document.as_bytes()).expect("the sample is JSON"),
            headers: [("content_type", "application/json")].into_iter().collect(),
            meta: [("id", Value::from("m1")), ("attempt", Value::from(1_usize))].into_iter().collect(),
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
}

impl Tables for SampleTables {
    fn row(&self, table: &str, key: &str) -> Result<Option<&Map>, Fault> {
        match self.0.get(table) {
            Some(rows) => Ok(rows.get(key)),
            None => Err(Fault::misconfigured("FORMULA-TABLE", format!("there is no table `{table}`"))),
        }
    }

    fn has_column(&self, table: &str, column: &str) -> Option<bool> {
        Some(self.0.get(table)?.values().any(|row| row.contains(column)))
    }
}
