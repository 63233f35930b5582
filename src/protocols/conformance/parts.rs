//! What a protocol's tests need of the hub: settings read from YAML, deliveries, a codec, surroundings.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::codecs::Codec;
use crate::config::{Environment, FileId, Files, MapReader, Reader, parse, render};
use crate::formula::{Meta, Scope, Tables};
use crate::message::{Fault, Map, MessageId, Value, json};
use crate::protocols::{
    Delivery, Pipelines, Receiver, SourceSettings, Surroundings, Target, TargetSettings, http, read_source, read_target,
};

/// Delivery number `number` as the pipeline would make it: id, key and document (`{"name":"order-1"}`) follow from it.
pub fn delivery(target: &dyn Target, number: u32) -> Delivery {
    let document: Map = [("name", format!("order-{number}"))].into_iter().collect();
    deliver_document(target, number, &document.into()).expect("the document can be prepared")
}

/// Delivery number `number` of `document`; `$headers` is empty, `$meta.id` the message's id.
pub fn deliver_document(target: &dyn Target, number: u32, document: &Value) -> Result<Delivery, Fault> {
    let id = MessageId::derive(&[b"conformance", &number.to_be_bytes()]);
    let meta = Meta::from(Map::from_iter([("id", id.to_string())]));
    let prepared = target.prepare(&Scope {
        document,
        headers: &Map::new(),
        meta: &meta,
        item: None,
        partner: None,
        connection: None,
        locals: None,
        time: Timestamp::UNIX_EPOCH,
        id,
        tables: &NoTables,
    })?;
    Ok(Delivery { id, time: Timestamp::UNIX_EPOCH, prepared, attempt: 1 })
}

/// A hub without pipelines, in `folder`.
pub fn surroundings(folder: &Path) -> Surroundings {
    Surroundings {
        clock: Clock::real(),
        folder: folder.to_owned(),
        routes: Arc::new(http::Routes::default()),
        pipelines: Arc::new(NoPipelines),
        vault: Arc::new(crate::store::MemoryVault::new(Clock::real())),
        connections: Arc::new(crate::protocols::NoConnections),
        metrics: crate::telemetry::Metrics::default(),
    }
}

/// JSON, without the codecs' options.
pub fn codec() -> Arc<dyn Codec> {
    Arc::new(PlainJson)
}

/// The source `yaml` describes (`protocol: ...`), or a panic with what is wrong.
pub fn read_source_yaml(yaml: &str) -> Arc<dyn SourceSettings> {
    read_yaml(yaml, read_source).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The target `yaml` describes (`protocol: ...`), or a panic with what is wrong.
pub fn read_target_yaml(yaml: &str) -> Arc<dyn TargetSettings> {
    read_yaml(yaml, read_target).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Reads the map `yaml` with `read`; problems come out as `check` would show them. `${TEST_SECRET}` is `s3cret`.
pub fn read_yaml<T>(
    yaml: &str,
    read: impl FnOnce(&mut MapReader<'_>, &mut Reader<'_>) -> Option<T>,
) -> Result<T, String> {
    read_yaml_in(Path::new(""), yaml, read)
}

/// As [`read_yaml`], in the hub's `folder`, where the paths of certificates start.
pub fn read_yaml_in<T>(
    folder: &Path,
    yaml: &str,
    read: impl FnOnce(&mut MapReader<'_>, &mut Reader<'_>) -> Option<T>,
) -> Result<T, String> {
    let files = Files::default();
    let file = files.add("pipelines/test/pipeline.yaml", yaml);
    assert_eq!(file, FileId::default());
    let variables = [("TEST_SECRET".to_owned(), "s3cret".to_owned())];
    let environment = Environment { only: Some(variables.into()), folder: folder.to_owned() };
    let mut reader = Reader::new(&files, &environment);
    let node = parse(file, yaml, &mut reader.problems);
    let value = node.as_ref().and_then(|node| {
        let mut map = reader.map(node)?;
        let value = read(&mut map, &mut reader);
        map.finish(&mut reader);
        value
    });
    let failed = reader.has_errors();
    let problems = reader.problems;
    value.filter(|_| !failed).ok_or_else(|| render(&files, &problems, false))
}

/// No table at all.
pub struct NoTables;

impl Tables for NoTables {
    fn row(&self, table: &str, _key: &str) -> Result<Option<&Map>, Fault> {
        Err(Fault::misconfigured("TABLE-UNKNOWN", format!("there is no table `{table}`")))
    }
}

struct NoPipelines;

impl Pipelines for NoPipelines {
    fn receiver(&self, _pipeline: &str) -> Option<Arc<dyn Receiver>> {
        None
    }
}

#[derive(Debug)]
struct PlainJson;

impl Codec for PlainJson {
    fn decode(&self, bytes: &[u8]) -> Result<Value, Fault> {
        json::read(bytes).map_err(|error| Fault::refuse("DECODE-JSON", "not JSON").at(error.to_string()))
    }

    fn encode(&self, document: &Value) -> Result<Bytes, Fault> {
        Ok(document.to_string().into())
    }

    fn encode_record(&self, document: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(document.to_string().as_bytes());
        Ok(())
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }
}
