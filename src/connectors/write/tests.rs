//! Writes against a system on loopback that refuses, drops answers and takes several documents at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::connectors::manifest::Operation;
use crate::connectors::testing::{Asked, Reply as Says, System, connection, surroundings};
use crate::protocols::conformance::{codec, deliver_document};

const HEAD: &str = "
system: Test
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
  api_key: { type: secret, default: hush-hush }
";

/// The target of a write, whose lines are `operation`, against `system`.
fn target(operation: &str, system: &System) -> Arc<dyn Target> {
    let (head, operation) = operation.split_once("---\n").unwrap_or(("", operation));
    let yaml = format!("{HEAD}{head}operations:\n  post:\n    kind: write\n{operation}");
    let connection = connection(&yaml, &[("url", system.url())]);
    let Operation::Write(write) = connection.manifest.operations["post"].clone() else { panic!("a write") };
    let target = WriteTarget { connection, operation: "post".into(), write };
    target.open("orders.to.erp", codec(), &surroundings()).expect("it opens")
}

fn delivery(target: &dyn Target, number: u32, document: &str) -> Delivery {
    let document = json::read(document.as_bytes()).expect("the document is JSON");
    deliver_document(target, number, &document).expect("it can be prepared")
}

async fn deliver(target: &dyn Target, delivery: &Delivery) -> Result<Delivered, Fault> {
    target.deliver_told(std::slice::from_ref(delivery)).await.pop().expect("one answer for one delivery")
}

/// `ok`, or the fault's code and what to do next.
fn shown(outcome: &Result<Delivered, Fault>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(fault) => format!("{} {:?}", fault.code(), fault.next()).replace(" { after: None }", ""),
    }
}

#[tokio::test]
async fn a_document_is_written_and_its_answer_kept() {
    let system = System::scripted([Says::json(r#"{"id": 77, "said": "hush-hush"}"#).with_status(201)]).await;
    let operation = "
    request: { post: /sales, json: { sale: $, of: $meta.id } }
    idempotency: { header: Idempotency-Key, value: $meta.id }
    result: { id: $.id, number: $input.number, said: $.said, kind: $headers.content_type }
";
    let target = target(operation, &system);
    let delivery = delivery(&*target, 1, r##"{"number": "#1042", "net": 1.10}"##);
    assert_eq!(delivery.prepared.body, r##"{"number":"#1042","net":1.10}"##);
    let delivered = deliver(&*target, &delivery).await.expect("it is taken");
    let result = delivered.result.expect("a result").to_string();
    assert_eq!(result, r##"{"id":77,"number":"#1042","said":"hush-hush","kind":"application/json"}"##);
    assert_eq!(delivered.note.as_deref(), Some("201"));
    assert_eq!(delivered.detail.as_deref(), Some(result.replace("hush-hush", "***").as_str()));
    let [asked] = &system.requests()[..] else { panic!("one request") };
    assert_eq!(asked.header("idempotency-key"), delivery.id.to_string());
    let sent = format!(r##"{{"sale":{{"number":"#1042","net":1.10}},"of":"{}"}}"##, delivery.id);
    assert_eq!(asked.text(), sent);
}

#[tokio::test]
async fn what_the_journal_keeps_is_bounded() {
    let long = "é".repeat(500);
    let system = System::scripted([Says::json(&format!(r#"{{"said": "{long}"}}"#)), Says::json("{}")]).await;
    let target = target("    request: { post: /sales, json: $ }\n    result: $.said\n", &system);
    let delivered = deliver(&*target, &delivery(&*target, 1, "{}")).await.expect("it is taken");
    let detail = delivered.detail.expect("a text");
    assert!(detail.len() <= 200 && detail.ends_with("é…"), "{} bytes", detail.len());
    // The system has it: that its answer holds less than was hoped for changes nothing.
    let delivered = deliver(&*target, &delivery(&*target, 2, "{}")).await.expect("it is taken");
    assert_eq!((delivered.result, delivered.detail), (None, None));
}

/// Sales by key, as a system that knows a repeat; the first answer is lost.
fn forgetful(sales: Arc<Mutex<BTreeMap<String, String>>>) -> impl FnMut(&Asked) -> Says + Send + 'static {
    let mut answers = 0;
    move |asked| {
        let mut sales = sales.lock().expect("no test panics here");
        let id = |key: &str, sales: &BTreeMap<String, String>| sales.keys().position(|held| held == key);
        if asked.method == "GET" {
            let key = asked.query.trim_start_matches("key=");
            return match id(key, &sales) {
                Some(id) => Says::json(&format!(r#"{{"id": {id}}}"#)),
                None => Says::status(404),
            };
        }
        let key = asked.header("idempotency-key");
        let body = asked.json();
        let key =
            if key.is_empty() { body.get("key").and_then(Value::plain).unwrap_or_default().to_string() } else { key };
        sales.insert(key.clone(), asked.text());
        answers += 1;
        let id = id(&key, &sales).expect("it was just taken");
        if answers == 1 { Says::lost() } else { Says::json(&format!(r#"{{"id": {id}}}"#)) }
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_repeated_under_the_same_key() {
    let sales = Arc::default();
    let system = System::start(forgetful(Arc::clone(&sales))).await;
    let operation = "
    request: { post: /sales, json: $ }
    idempotency: { header: Idempotency-Key, value: $meta.id }
    result: { id: $.id }
";
    let target = target(operation, &system);
    let delivery = delivery(&*target, 1, r#"{"n": 1}"#);
    let mut outcome = deliver(&*target, &delivery).await;
    if outcome.is_err() {
        assert!(matches!(outcome, Err(ref fault) if fault.next() != Next::Refuse), "{outcome:?}");
        outcome = deliver(&*target, &delivery).await;
    }
    assert_eq!(shown(&outcome), "ok");
    assert!(system.requests().len() > 1, "the answer was lost once");
    assert_eq!(sales.lock().expect("no test panics here").len(), 1, "one sale");
}

#[tokio::test]
async fn a_first_call_that_looks_finds_what_was_written() {
    let sales = Arc::default();
    let system = System::start(forgetful(Arc::clone(&sales))).await;
    let operation = "
errors:
  - { status: 404, then: missing }
---
    calls:
      - name: found
        request: { get: /sales, query: { key: $meta.id } }
      - name: created
        when: not has($calls.found)
        request: { post: /sales, json: { key: $meta.id, n: $.n } }
    result: { id: \"=coalesce($calls.found.id?, $calls.created.id?)\" }
";
    let target = target(operation, &system);
    let delivery = delivery(&*target, 1, r#"{"n": 1}"#);
    let lost = deliver(&*target, &delivery).await;
    assert!(matches!(lost, Err(ref fault) if fault.next() != Next::Refuse), "{lost:?}");
    let found = deliver(&*target, &delivery).await.expect("it is there");
    assert_eq!(found.result.expect("a result").to_string(), r#"{"id":0}"#);
    let posts = system.lines().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!((posts, sales.lock().expect("no test panics here").len()), (1, 1));
}

#[tokio::test]
async fn rules_tell_what_a_write_means() {
    let system = System::scripted([Says::status(404), Says::status(409), Says::status(422), Says::status(503)]).await;
    let operation = "
errors:
  - { status: 404, then: missing }
  - { status: 409, then: done }
---
    request: { put: /articles/7, json: $ }
";
    let target = target(operation, &system);
    let mut told = Vec::new();
    for number in 0..4 {
        told.push(shown(&deliver(&*target, &delivery(&*target, number, "{}")).await));
    }
    assert_eq!(told, ["CONNECTOR-MISSING Refuse", "ok", "HTTP-422 Refuse", "HTTP-503 Retry"]);
}

const BATCH: &str = "
    request: { post: /articles, json: { articles: $ } }
    batch:
      size: 200
      results: $.results
      failed: has($item.error)
      retry: $item.error == 'locked'
      say: $item.error
      result: { id: $item.id }
";

const KEYED: &str = "      key: $item.sku\n      document_key: $item.sku\n";

/// The ends of documents with these skus, where the system answers `results`.
async fn ends(operation: &str, skus: &[&str], results: &str) -> Vec<String> {
    let system = System::scripted([Says::json(&format!(r#"{{"results": {results}}}"#))]).await;
    let target = target(operation, &system);
    let deliveries: Vec<Delivery> =
        skus.iter().zip(0..).map(|(sku, n)| delivery(&*target, n, &format!(r#"{{"sku":"{sku}"}}"#))).collect();
    target.deliver_told(&deliveries).await.iter().map(shown).collect()
}

#[tokio::test]
async fn each_document_of_several_has_its_own_end() {
    let told = ends(BATCH, &["a", "b", "c"], r#"[{"id":1},{"error":"no such group"},{"error":"locked"}]"#).await;
    assert_eq!(told, ["ok", "CONNECTOR-RECORD Refuse", "CONNECTOR-RECORD Retry"]);
    let keyed = format!("{BATCH}{KEYED}");
    let told = ends(&keyed, &["a", "b", "c"], r#"[{"sku":"c","error":"x"},{"sku":"a","id":1},{"sku":"b"}]"#).await;
    assert_eq!(told, ["ok", "ok", "CONNECTOR-RECORD Refuse"]);
}

#[tokio::test]
async fn what_is_not_told_is_not_taken_for_delivered() {
    let unknown = "CONNECTOR-BATCH Retry";
    assert_eq!(ends(BATCH, &["a", "b"], r#"[{"id":1}]"#).await, [unknown, unknown], "one result for two");
    assert_eq!(ends(BATCH, &["a"], r#"[{"id":1},{"id":2}]"#).await, [unknown]);
    assert_eq!(ends(BATCH, &["a", "b"], r#""accepted""#).await, [unknown, unknown]);
    let strict = BATCH.replace("failed: has($item.error)", "failed: $item.ok == false");
    assert_eq!(ends(&strict, &["a", "b"], r#"[{"ok":true},{}]"#).await, ["ok", unknown]);
    let keyed = format!("{BATCH}{KEYED}");
    let twice = r#"[{"sku":"a","id":1},{"sku":"b","id":2},{"sku":"a","id":3},{"sku":"other"}]"#;
    assert_eq!(ends(&keyed, &["a", "b", "c"], twice).await, [unknown, "ok", unknown]);
}

/// A system that takes lists of articles, and refuses a whole list for one called `bad`; each it took, by sku.
async fn all_or_nothing(taken: Arc<Mutex<Vec<String>>>) -> System {
    System::start(move |asked| {
        let skus: Vec<String> = asked
            .json()
            .get("articles")
            .and_then(Value::as_list)
            .unwrap_or_default()
            .iter()
            .filter_map(|article| Some(article.get("sku")?.plain()?.to_string()))
            .collect();
        if skus.iter().any(|sku| sku == "bad") {
            return Says::status(422).body("article `bad`");
        }
        let results: Vec<String> = skus.iter().map(|sku| format!(r#"{{"sku":"{sku}"}}"#)).collect();
        taken.lock().expect("no test panics here").extend(skus);
        Says::json(&format!(r#"{{"results":[{}]}}"#, results.join(",")))
    })
    .await
}

#[tokio::test]
async fn one_bad_document_of_two_hundred_refuses_no_other() {
    let taken = Arc::default();
    let system = all_or_nothing(Arc::clone(&taken)).await;
    let target = target(BATCH, &system);
    assert_eq!(target.batch(), 200);
    let sku = |n: u32| if n == 137 { "bad".to_owned() } else { format!("s{n}") };
    let deliveries: Vec<Delivery> =
        (0..200).map(|n| delivery(&*target, n, &format!(r#"{{"sku":"{}"}}"#, sku(n)))).collect();
    let told: Vec<String> = target.deliver_told(&deliveries).await.iter().map(shown).collect();
    let refused: Vec<usize> = (0..200).filter(|n| told[*n] != "ok").collect();
    assert_eq!((refused, told[137].as_str()), (vec![137], "HTTP-422 Refuse"));
    let expect: Vec<String> = (0..200).filter(|n| *n != 137).map(sku).collect();
    assert_eq!(*taken.lock().expect("no test panics here"), expect, "each once, in order");
    assert!(system.requests().len() < 30, "{} requests", system.requests().len());
}

#[tokio::test]
async fn where_the_system_is_away_one_request_tells_it() {
    let system = System::scripted([Says::status(503), Says::status(422), Says::status(503)]).await;
    let target = target(BATCH, &system);
    let all: Vec<Delivery> = (0..4).map(|n| delivery(&*target, n, "{}")).collect();
    let told = async || target.deliver_told(&all).await.iter().map(shown).collect::<Vec<_>>();
    assert_eq!(told().await, ["HTTP-503 Retry"; 4]);
    assert_eq!(system.requests().len(), 1);
    assert_eq!(told().await, ["HTTP-503 Retry"; 4], "refused together, and then away");
    assert_eq!(system.requests().len(), 3);
}

#[tokio::test]
async fn documents_with_the_same_key_go_one_after_the_other() {
    let taken = Arc::default();
    let system = all_or_nothing(Arc::clone(&taken)).await;
    let target = target(&format!("{BATCH}{KEYED}"), &system);
    let documents = [r#"{"sku":"a","n":1}"#, r#"{"sku":"b"}"#, r#"{"sku":"a","n":2}"#, r#"{"none":1}"#];
    let all: Vec<Delivery> = documents.iter().zip(0..).map(|(text, n)| delivery(&*target, n, text)).collect();
    let told: Vec<String> = target.deliver_told(&all).await.iter().map(shown).collect();
    assert_eq!(told, ["ok", "ok", "ok", "FORMULA-MISSING Refuse"]);
    let sent: Vec<String> = system.requests().iter().map(Asked::text).collect();
    assert_eq!(sent, [r#"{"articles":[{"sku":"a","n":1},{"sku":"b"}]}"#, r#"{"articles":[{"sku":"a","n":2}]}"#]);
}
