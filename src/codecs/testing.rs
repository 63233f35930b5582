//! What the tests of the codecs share: a codec from its YAML, and records in text form.

use std::sync::Arc;

use super::{Codec, Records, read_format};
use crate::config::{Environment, FileId, Files, Reader, parse};
use crate::message::Value;

fn read_yaml(yaml: &str) -> (Option<Arc<dyn Codec>>, Vec<String>) {
    let (files, environment) = (Files::default(), Environment::default());
    let mut reader = Reader::new(&files, &environment);
    let node = parse(FileId::default(), yaml, &mut reader.problems).expect("this is YAML");
    let mut map = reader.map(&node).expect("this is a map");
    let codec = read_format(&mut map, &mut reader);
    map.finish(&mut reader);
    (codec, reader.problems.iter().map(|problem| format!("{}; {}", problem.message, problem.label)).collect())
}

/// The codec of `format: …` and its options.
pub fn read(yaml: &str) -> Arc<dyn Codec> {
    let (codec, problems) = read_yaml(yaml);
    assert!(problems.is_empty(), "{yaml}: {problems:?}");
    codec.expect("no problem, so there is a codec")
}

/// The problems of a wrong one.
pub fn refused(yaml: &str) -> Vec<String> {
    let (_, problems) = read_yaml(yaml);
    assert!(!problems.is_empty(), "{yaml} was accepted");
    problems
}

/// The document as JSON, or the fault.
pub fn outcome(decoded: Result<Value, crate::message::Fault>) -> String {
    decoded.map_or_else(|fault| fault.to_string(), |value| value.to_string())
}

/// Decodes `bytes`; `expect` is the document as JSON, or the fault.
pub fn decodes(yaml: &str, bytes: impl AsRef<[u8]>, expect: &str) {
    assert_eq!(outcome(read(yaml).decode(bytes.as_ref())), expect, "{yaml}");
}

/// Encodes `json`; `expect` is the text, or the fault.
pub fn encodes(yaml: &str, json: &str, expect: &str) {
    let document = crate::message::json::read(json.as_bytes()).expect("the test writes JSON");
    let text = match read(yaml).encode(&document) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(text, expect, "{yaml}");
}

/// `place: outcome` of every record, and that each record stands alone and reading can go on after it.
pub fn records(yaml: &str, bytes: impl AsRef<[u8]>) -> Vec<String> {
    let (codec, bytes) = (read(yaml), bytes.as_ref());
    let mut records = codec.records(Box::new(bytes)).expect("this format has records");
    let all = collect(&mut *records);
    let mut records = codec.records(Box::new(bytes)).expect("this format has records");
    for done in 1..=all.len() {
        let Some(Ok(record)) = records.next() else { break };
        if record.document.is_ok() {
            assert_eq!(outcome(codec.decode(&record.bytes())), outcome(record.document), "alone: {}", record.place);
        }
        let (position, line) = (records.position(), records.line());
        let rest = Box::new(&bytes[position as usize..]);
        let resumed = codec.records_from(&mut &bytes[..], rest, position, line).expect("the header is good");
        assert_eq!(collect(&mut *resumed.expect("it has records")), all[done..], "resumed at {position}");
    }
    all
}

fn collect(records: &mut dyn Records) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(record) = records.next() {
        match record {
            Ok(record) => all.push(format!("{}: {}", record.place, outcome(record.document))),
            Err(fault) => {
                all.push(format!("the end: {fault}"));
                assert!(records.next().is_none(), "nothing follows a fault outside");
            }
        }
    }
    all
}
