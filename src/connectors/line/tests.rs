//! A line against a system on loopback.

use crate::connectors::forms::Extra;
use crate::connectors::manifest::Operation;
use crate::connectors::testing::{Reply, Seen, System, connection, surroundings};
use crate::message::{Fault, Map, Value};

const HEAD: &str = "
system: Test
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
";

/// What the read `ask` of a manifest gives for `document`, against `system`.
async fn ask(operation: &str, document: &str, system: &System) -> Result<super::Reply, Fault> {
    let yaml = format!("{HEAD}operations:\n  ask:\n    kind: read\n{operation}");
    let connection = connection(&yaml, &[("url", system.url())]);
    let line = connection.line(&surroundings())?;
    let Operation::Read(read) = &connection.manifest.operations["ask"] else { panic!("a read") };
    let request = read.request.as_ref().expect("a request");
    line.ask(request, &Seen::of(&connection, document).view(), &Extra::default()).await
}

async fn calls(calls: &str, document: &str, system: &System) -> Result<(Map, super::Reply), Fault> {
    let yaml = format!("{HEAD}operations:\n  ask:\n    kind: read\n    calls:\n{calls}");
    let connection = connection(&yaml, &[("url", system.url())]);
    let line = connection.line(&surroundings())?;
    let Operation::Read(read) = &connection.manifest.operations["ask"] else { panic!("a read") };
    line.calls(&read.calls, &Seen::of(&connection, document).view(), &Extra::default()).await
}

#[tokio::test]
async fn a_request_is_made_and_its_answer_read() {
    let system = System::scripted([Reply::json(r#"{"name": "AB-1", "lines": [1, 2.50]}"#)]).await;
    let request = "
    request:
      post: \"=concat('/orders/', url($.id))\"
      query: { all: $.all?, tag: $.tags, none: $.none? }
      headers: { x-shop: $.shop }
      json: { id: $.id }
";
    let reply =
        ask(request, r#"{"id": "a/b", "tags": ["x", "y z"], "shop": "Zoé"}"#, &system).await.expect("an answer");
    assert_eq!(reply.body.to_string(), r#"{"name":"AB-1","lines":[1,2.50]}"#);
    assert_eq!(reply.headers.get("content_type"), Some(&Value::from("application/json")));
    let [asked] = &system.requests()[..] else { panic!("one request") };
    assert_eq!(asked.line(), "POST /orders/a%2Fb?tag=x&tag=y%20z");
    assert_eq!((asked.header("x-shop"), asked.header("content-type")), ("Zoé".into(), "application/json".into()));
    assert_eq!(asked.text(), r#"{"id":"a/b"}"#);
}

#[tokio::test]
async fn calls_see_the_results_of_those_before() {
    let system = System::scripted([
        Reply::json(r#"{"items": [{"id": 7}, {"id": 8}]}"#),
        Reply::json(r#"{"stock": 1}"#),
        Reply::json(r#"{"stock": 2}"#),
    ])
    .await;
    let yaml = "
    - name: list
      request: { get: /items }
      result: $.items
    - name: never
      when: count($calls.list) > 5
      request: { get: /never }
    - name: stock
      each: $calls.list
      request: { get: \"=concat('/stock/', url($item.id))\" }
";
    let (results, last) = calls(yaml, "{}", &system).await.expect("all is well");
    assert_eq!(Value::from(results).to_string(), r#"{"list":[{"id":7},{"id":8}],"stock":[{"stock":1},{"stock":2}]}"#);
    assert_eq!(last.body.to_string(), r#"{"stock":2}"#);
    assert_eq!(system.lines(), ["GET /items", "GET /stock/7", "GET /stock/8"]);
}
