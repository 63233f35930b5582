//! A line against a system on loopback.

use std::sync::Arc;
use std::time::Duration;

use crate::connectors::connection::Connection;
use crate::connectors::forms::Extra;
use crate::connectors::manifest::Operation;
use crate::connectors::read::read;
use crate::connectors::testing::{Reply, Seen, System, connection, surroundings, surroundings_at};
use crate::message::{Fault, Map, MessageId, Next, Value};
use crate::protocols::Surroundings;

const HEAD: &str = "
system: Test
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
";

/// A connection whose read `ask` has this request; `more` are lines of the manifest's head.
fn with(more: &str, request: &str, settings: &[(&str, &str)]) -> Arc<Connection> {
    let head = HEAD.replace("settings:", &format!("{more}\nsettings:\n  key: {{ type: secret, optional: true }}"));
    connection(&format!("{head}operations: {{ ask: {{ kind: read, request: {request} }} }}"), settings)
}

async fn asked(connection: &Connection, around: &Surroundings) -> Result<super::Reply, Fault> {
    let line = connection.line(around)?;
    let Operation::Read(read) = &connection.manifest.operations["ask"] else { panic!("a read") };
    let request = read.request.as_ref().expect("a request");
    line.ask(request, &Seen::of(connection, "{}").view(), &Extra::default()).await
}

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

#[tokio::test]
async fn a_call_that_finds_nothing_has_no_result_and_a_fault_names_its_call() {
    let head = HEAD.replace("settings:", "errors: [{ status: 404, then: missing }]\nsettings:");
    let system = System::start(|asked| match asked.path.as_str() {
        "/there" => Reply::json("[1]"),
        "/broken" => Reply::status(500),
        _ => Reply::status(404),
    })
    .await;
    let run = async |calls: &str| {
        let yaml = format!("{head}operations: {{ ask: {{ kind: read, calls: {calls} }} }}");
        let connection = connection(&yaml, &[("url", system.url())]);
        let line = connection.line(&surroundings()).expect("a line");
        let Operation::Read(read) = &connection.manifest.operations["ask"] else { panic!("a read") };
        line.calls(&read.calls, &Seen::of(&connection, "{}").view(), &Extra::default()).await
    };
    let calls = "[{ name: a, request: { get: /a } }, { name: b, when: not has($calls.a), request: { get: /there } }]";
    let (results, last) = run(calls).await.expect("all is well");
    assert_eq!((Value::from(results).to_string(), last.missing), (r#"{"b":[1]}"#.to_owned(), false));
    let (results, last) =
        run("[{ name: a, each: '=split(''x,y'', '','')', request: { get: /a } }]").await.expect("well");
    assert_eq!((Value::from(results).to_string(), last.missing), (r#"{"a":[null,null]}"#.to_owned(), true));
    let fault = run("[{ name: a, request: { get: /broken } }]").await.expect_err("it is broken");
    assert_eq!(fault.to_string(), "HTTP-500: answered 500 Internal Server Error (calls.a)");
    let fault = run("[{ name: a, request: { get: /there, query: { x: $.none } } }]").await.expect_err("it is missing");
    assert_eq!(fault.position(), Some("calls.a, request.query.x, $.none"));
}

#[tokio::test]
async fn each_writing_call_has_its_own_key_and_a_repeat_the_same() {
    let system = System::start(|_| Reply::json("[1, 2]")).await;
    let keys = async |calls: &str| {
        let yaml = format!("{HEAD}operations: {{ ask: {{ kind: write, calls: {calls} }} }}");
        let connection = connection(&yaml, &[("url", system.url())]);
        let line = connection.line(&surroundings()).expect("a line");
        let Operation::Write(write) = &connection.manifest.operations["ask"] else { panic!("a write") };
        let before = system.requests().len();
        let extra = Extra { address: None, idempotency: Some(("Idempotency-Key".into(), "k".into())) };
        line.calls(&write.calls, &Seen::of(&connection, "{}").view(), &extra).await.expect("all is well");
        system.requests()[before..].iter().map(|asked| asked.header("idempotency-key")).collect::<Vec<_>>()
    };
    let look = "{ name: look, request: { get: /a } }";
    let one = "{ name: one, request: { post: /a } }";
    let two = "{ name: two, each: $calls.look, request: { post: /a } }";
    assert_eq!(keys(&format!("[{look}, {one}]")).await, ["", "k"]);
    assert_eq!(keys(&format!("[{look}, {one}, {two}]")).await, ["", "k-one", "k-two-0", "k-two-1"]);
}

#[tokio::test]
async fn a_system_that_wants_to_be_left_alone_is_left_alone_by_all() {
    let system =
        System::scripted([Reply::status(429).header("retry-after", "60"), Reply::json("1"), Reply::json("2")]).await;
    let around = surroundings_at("2026-01-01T00:00:00Z");
    let connection = with("", "{ get: /x }", &[("url", system.url())]);
    let fault = asked(&connection, &around).await.expect_err("it is busy");
    assert_eq!(fault.next(), Next::Retry { after: Some(Duration::from_secs(60)) });
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (connection, around) = (connection.clone(), around.clone());
            tokio::spawn(async move { asked(&connection, &around).await })
        })
        .collect();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    around.clock.advance(Duration::from_secs(59));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(system.lines().len(), 1, "nobody asks meanwhile");
    around.clock.advance(Duration::from_secs(1));
    for task in waiting {
        task.await.expect("it ends").expect("it is well again");
    }
    assert_eq!(system.lines().len(), 3);
}

#[tokio::test]
async fn an_answer_that_leaves_nothing_closes_the_line_until_the_reset() {
    let last = Reply::json("1").header("x-left", "0").header("x-reset", "30");
    let system = System::scripted([last, Reply::json("2")]).await;
    let around = surroundings_at("2026-01-01T00:00:00Z");
    let limits = "limits: { remaining: $headers.x_left?, reset: $headers.x_reset? }";
    let connection = with(limits, "{ get: /x }", &[("url", system.url())]);
    asked(&connection, &around).await.expect("the answer is well");
    let waiting = tokio::spawn({
        let (connection, around) = (connection.clone(), around.clone());
        async move { asked(&connection, &around).await }
    });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(system.lines().len(), 1);
    around.clock.advance(Duration::from_secs(30));
    waiting.await.expect("it ends").expect("the answer is well");
}

#[tokio::test]
async fn no_fault_says_a_secret_that_the_system_repeats() {
    let system = System::start(|asked| Reply::status(422).body(format!("wrong key {}", asked.header("x-key")))).await;
    let connection = with(
        "errors: [{ status: 400, then: refuse }]",
        "{ get: /x, headers: { X-Key: $connection.key } }",
        &[("url", system.url()), ("key", "k3y-of-the-shop")],
    );
    let fault = asked(&connection, &surroundings()).await.expect_err("it is refused");
    assert_eq!(fault.sentence(), "answered 422 Unprocessable Entity: wrong key ***");
    assert_eq!(fault.without_detail().sentence(), "answered 422 Unprocessable Entity");
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let system = System::scripted([Reply::lost()]).await;
    let fault = asked(&with("", "{ get: /x }", &[("url", system.url())]), &surroundings()).await.expect_err("lost");
    assert_eq!((fault.code(), fault.next()), ("HTTP-BROKEN", Next::Retry { after: None }));
}

#[tokio::test]
async fn a_read_gives_its_result_or_nothing() {
    let system = System::start(|asked| match asked.query.as_str() {
        "id=1" => Reply::json(r#"{"found": [{"name": "A"}]}"#),
        "id=2" => Reply::json(r#"{"found": []}"#),
        _ => Reply::status(404),
    })
    .await;
    let head = HEAD.replace("settings:", "errors: [{ status: 404, then: missing }]\nsettings:");
    let ask = async |rest: &str, id: i64| {
        let connection =
            connection(&format!("{head}operations: {{ ask: {{ kind: read, {rest} }} }}"), &[("url", system.url())]);
        let Operation::Read(operation) = &connection.manifest.operations["ask"] else { panic!("a read") };
        let input = Map::from_iter([("id", Value::from(id))]).into();
        let of = (MessageId::derive(&[b"test"]), jiff::Timestamp::UNIX_EPOCH);
        let answered = read(&connection, (&"ask".into(), operation), &input, of, &surroundings()).await;
        answered.expect("it answers").map(|value| value.to_string())
    };
    let one = "request: { get: /x, query: { id: $.id } }, missing: count($.found) == 0, result: { name: '$.found[0].name', id: $input.id, shop: $connection.url }";
    assert_eq!(ask(one, 1).await, Some(format!(r#"{{"name":"A","id":1,"shop":"{}"}}"#, system.url())));
    assert_eq!(ask(one, 2).await, None);
    assert_eq!(ask(one, 3).await, None);
    let calls =
        "calls: [{ name: a, request: { get: /x, query: { id: $input.id } }, result: $.found }], result: $calls.a?";
    assert_eq!(ask(calls, 1).await.as_deref(), Some(r#"[{"name":"A"}]"#));
    assert_eq!(ask(calls, 3).await, None);
}
