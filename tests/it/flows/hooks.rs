//! Web hooks of connected systems, and what connected systems answered.

use raccord::clock::Clock;
use raccord::store::Event;
use serde_json::{Value, json};

use super::Flow;
use crate::harness::{Answer, Folder, Peer, client, post, wait_for};

const SHOP: &str = r"
system: Shop
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
  token: { type: text }
operations:
  article.changed:
    kind: listen
    auth: { bearer: $connection.token }
    items: $.events
    id: $item.event
    document: { id: $item.id, version: $item.version, name: $item.name }
";

const ERP: &str = r#"
system: ERP
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
operations:
  article.put:
    kind: write
    request: { put: "=concat('/articles/', url($.id))", json: $, answer: none }
    idempotency: { header: Idempotency-Key, value: $meta.id }
    result: { id: "=concat('erp-', $input.id)" }
"#;

/// Events may come out of order: the newest version of an article is remembered, and an older one stops at the filter.
const ARTICLES: &str = r"
about: The shop tells the newest state of its articles.
from: { connection: shop, operation: article.changed }
track: { article: $.id }
order_by: $.id
dedupe: none
steps:
  - lookup: { table: versions, where: { article: $.id }, into: known, missing: leave_out }
  - filter: not has($.known) or $.version > $.known.version
  - remember: { table: versions, row: { article: $.id, version: $.version } }
  - unset: [$.known?]
to:
  erp:
    connection: erp
    operation: article.put
    remember:
      table: erp-ids
      row: { article: $.id, erp: $result.id, REST }
on_error: { retry: [50ms] }
";

const ASK: &str = r"
about: What is the ERP's number of an article?
from: { protocol: http, path: /ask, auth: none, format: json, reply: { within: 20s, otherwise: {} } }
steps:
  - lookup: { table: erp-ids, where: { article: $.id }, into: found }
reply: { erp: $.found.erp }
";

/// A hub between a shop that calls it and an ERP, which remembers the ERP's numbers, with `rest` in the row.
async fn hub(name: &str, rest: &str) -> (Flow, Peer) {
    let erp = Peer::start(|_| Answer::Status(200)).await;
    let folder = folder(name, rest, &erp.url(""));
    (Flow::of(folder, Clock::real()).await, erp)
}

fn folder(name: &str, rest: &str, erp: &str) -> Folder {
    let folder = Folder::hub(name, &[("articles", &ARTICLES.replace(", REST", rest)), ("ask", ASK)]);
    folder.write("connectors/shop.yaml", SHOP);
    folder.write("connectors/erp.yaml", ERP);
    folder.write("config/connections/shop.yaml", "system: shop\nurl: http://127.0.0.1:1\ntoken: t0ken\n");
    folder.write("config/connections/erp.yaml", format!("system: erp\nurl: {erp}\n"));
    folder.write("config/tables/versions.yaml", "key: [article]\ncolumns: [version]\nretention: 30d\n");
    folder.write("config/tables/erp-ids.yaml", "key: [article]\ncolumns: [erp, other]\nretention: 30d\n");
    folder
}

/// What the shop sends, with this token; gives the status it hears.
async fn tell(flow: &Flow, token: &str, events: Value) -> u16 {
    let request = client().post(flow.url("/hooks/shop/article.changed")).bearer_auth(token);
    let answer = request.body(json!({ "events": events }).to_string()).send().await.expect("the hub answers");
    answer.status().as_u16()
}

fn event(event: u32, id: &str, version: u32) -> Value {
    json!({ "event": event, "id": id, "version": version, "name": format!("{id} v{version}") })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_out_of_order_and_sent_twice_leave_the_newest_state() {
    let (flow, erp) = hub("hooks-order", "").await;
    assert_eq!(tell(&flow, "wrong", json!([event(1, "lamp", 1)])).await, 401);
    assert_eq!(tell(&flow, "t0ken", json!([event(1, "lamp", 1), event(3, "lamp", 3)])).await, 200);
    erp.got("lamp v3").await;
    assert_eq!(tell(&flow, "t0ken", json!([event(2, "lamp", 2)])).await, 200, "an older one comes late");
    assert_eq!(tell(&flow, "t0ken", json!([event(3, "lamp", 3), event(4, "lamp", 4)])).await, 200, "one comes again");
    erp.got("lamp v4").await;
    let names: Vec<String> = erp.requests().iter().map(|request| request.body.clone()).collect();
    let version = |n: u32| json!({ "id": "lamp", "version": n, "name": format!("lamp v{n}") }).to_string();
    let read = |text: &String| serde_json::from_str::<Value>(text).expect("JSON").to_string();
    assert_eq!(names.iter().map(read).collect::<Vec<_>>(), [version(1), version(3), version(4)]);
    let store = &flow.hub.works().engine.store;
    assert_eq!(store.search("lamp", 10).await.expect("it can be searched").len(), 4, "four events, one of them twice");
    assert!(flow.dead().await.is_empty());
    flow.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_system_answered_is_remembered_with_the_end_of_the_delivery() {
    let (flow, _erp) = hub("hooks-remember", "").await;
    assert_eq!(tell(&flow, "t0ken", json!([event(1, "lamp", 1)])).await, 200);
    let answer = async || post(&flow.url("/ask"), r#"{"id":"lamp"}"#).await.1;
    let origin = flow.hub.works().engine.store.search("lamp", 1).await.expect("it can be searched")[0];
    flow.until(origin, Event::Delivered).await;
    assert_eq!(serde_json::from_str::<Value>(&answer().await).expect("JSON"), json!({ "erp": "erp-lamp" }));
    let hops = flow.hub.works().engine.store.journal(origin).await.expect("it can be read");
    let note = hops.into_iter().find(|hop| hop.event == Event::Delivered).and_then(|hop| hop.note);
    assert_eq!(note.as_deref(), Some(r#"200 {"id":"erp-lamp"}"#));
    flow.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_made_does_not_repeat_the_delivery() {
    let (flow, erp) = hub("hooks-row", ", other: $result.nothing").await;
    assert_eq!(tell(&flow, "t0ken", json!([event(1, "lamp", 1)])).await, 200);
    let origin = flow.hub.works().engine.store.search("lamp", 1).await.expect("it can be searched")[0];
    flow.until(origin, Event::Delivered).await;
    let hops = flow.hub.works().engine.store.journal(origin).await.expect("it can be read");
    let note = hops.into_iter().find(|hop| hop.event == Event::Delivered).and_then(|hop| hop.note).unwrap_or_default();
    assert!(note.ends_with("not remembered: FORMULA-MISSING"), "{note}");
    wait_for("the end of the delivery", || erp.requests().len().eq(&1).then_some(())).await;
    assert!(flow.dead().await.is_empty());
    assert_eq!(flow.depth("articles.to.erp").await, 0);
    flow.hub.stop().await;
}

#[test]
fn a_case_says_what_a_system_answers_and_expects_the_row() {
    let folder = folder("hooks-case", "", "http://127.0.0.1:1");
    let case = r"
about: The ERP's number is remembered.
given: { id: lamp, version: 1, name: Lamp }
results: { erp: { id: E-7 } }
expect:
  erp:
    - document: { id: lamp, version: 1, name: Lamp }
  remembered:
    - { table: erp-ids, row: { article: lamp, erp: E-7 } }
";
    folder.write("pipelines/articles/cases/number.yaml", case);
    folder.raccord(&["test"]).expect(0, &[]);
    folder.replace("pipelines/articles/cases/number.yaml", "erp: E-7 }", "erp: E-8 }");
    folder.raccord(&["test"]).expect(1, &["remembered[0].row.erp: expected", "E-8"]);
}

#[test]
fn what_cannot_be_remembered_is_told_when_the_hub_is_checked() {
    let folder = folder("hooks-check", "", "http://127.0.0.1:1");
    folder.raccord(&["check"]).expect(0, &[]);
    folder.replace("connectors/shop.yaml", "auth: { bearer: $connection.token }", "status: 202");
    folder.raccord(&["check"]).expect(0, &["anybody who reaches the hub may send to /hooks/shop/article.changed"]);
    folder.replace("connectors/shop.yaml", "status: 202", "status: 302");
    folder.raccord(&["check"]).expect(1, &["`status` is not one of 200 to 299"]);
    folder.write("connectors/shop.yaml", SHOP);
    folder.replace("pipelines/articles/pipeline.yaml", "erp: $result.id", "erp: $headers.id");
    folder.raccord(&["check"]).expect(1, &["`$headers.id` is not kept until the delivery"]);
    folder.replace("pipelines/articles/pipeline.yaml", "erp: $headers.id", "number: $result.id");
    folder.raccord(&["check"]).expect(1, &["unknown column `number`"]);
    let ends = "connection: erp\n    operation: article.put";
    folder.replace(
        "pipelines/articles/pipeline.yaml",
        ends,
        "protocol: file\n    folder: out\n    name: a.json\n    format: json",
    );
    folder.raccord(&["check"]).expect(1, &["this destination has no `connection`"]);
}
