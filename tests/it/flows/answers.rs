//! Request/reply, and people's data.

use raccord::clock::Clock;
use raccord::pipelines::pseudonym;
use serde_json::{Value, json};

use super::Flow;
use crate::harness::{Answer, Folder, HubProcess, Peer, get, post, wait_for};

const ASK: &str = r"
about: A form asks who a card belongs to.
from:
  protocol: http
  path: /ask
  auth: none
  format: json
  reply: { within: WITHIN, otherwise: { found: false } }
steps:
  - lookup: { table: cards, where: { card: $.card }, into: customer }
reply:
  found: true
  name: $.customer.name
";

/// A hub that answers, beside a pipeline that fills the table it reads.
fn hub(name: &str, within: &str) -> Folder {
    const FILL: &str = r"
about: Cards are remembered.
from: { protocol: http, path: /cards, auth: none, format: json }
order_by: none
dedupe: none
steps:
  - remember: { table: cards, row: { card: $.card, name: $.name } }
to:
  out: { protocol: file, folder: out, name: cards.ndjson, mode: append, format: ndjson }
on_error: { retry: [50ms] }
";
    let folder = Folder::hub(name, &[("ask", &ASK.replace("WITHIN", within)), ("fill", FILL)]);
    folder.write("config/tables/cards.yaml", "key: [card]\ncolumns: [name]\nretention: 1d\n");
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_at_once_and_leaves_no_trace() {
    let flow = Flow::of(hub("reply", "20s"), Clock::real()).await;
    flow.send("/cards", r#"{"card":"1234","name":"Odile"}"#).await;
    flow.lines("out/cards.ndjson", 1).await;
    let ask = async |body: &str| {
        let (status, said) = post(&flow.url("/ask"), body.to_owned()).await;
        (status, serde_json::from_str::<Value>(&said).expect("an answer in JSON"))
    };
    let before = flow.hub.works().engine.store.recent(100).await.expect("it can be read");
    assert_eq!(ask(r#"{"card":"1234"}"#).await, (200, json!({ "found": true, "name": "Odile" })));
    assert_eq!(ask(r#"{"card":"9"}"#).await, (200, json!({ "found": false })), "a fault in the steps");
    assert_eq!(ask("{\"card\":").await, (200, json!({ "found": false })), "a question that cannot be read");
    let after = flow.hub.works().engine.store.recent(100).await.expect("it can be read");
    assert_eq!(after, before, "the journal says nothing");
    assert_eq!(flow.depth("ask").await, 0);
    assert!(flow.dead().await.is_empty());
    // Across a reload, too.
    flow.folder.replace("pipelines/ask/pipeline.yaml", "found: true", "found: 'yes'");
    flow.hub.reload().await.expect("the edit is right");
    assert_eq!(ask(r#"{"card":"1234"}"#).await.1["found"], json!("yes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_gets_the_fallback() {
    let flow = Flow::of(hub("reply-late", "0ms"), Clock::real()).await;
    let (status, said) = post(&flow.url("/ask"), r#"{"card":"1234"}"#.to_owned()).await;
    assert_eq!((status, said.as_str()), (200, r#"{"found":false}"#));
}

const PEOPLE: &str = r"
about: Orders with people in them.
from: { protocol: http, path: /orders, auth: none, format: json }
track: { order: $.id, email: $.customer.email }
order_by: none
dedupe: none
private: [$.customer]
steps:
  - log: { text: 'an order came' }
to:
  peer: { protocol: http, url: PEER, format: json }
on_error: { retry: [50ms] }
";

const EMAIL: &str = "odile.exemple@mail.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peoples_data_is_masked_where_it_is_shown_and_found_all_the_same() {
    let peer = Peer::start(|_| Answer::Status(422)).await;
    let folder = Folder::hub("private", &[("orders", &PEOPLE.replace("PEER", &peer.url("/")))]);
    let mut hub = HubProcess::start(&folder).await;
    let good = format!(r#"{{"id":"1042","customer":{{"email":"{EMAIL}","name":"Odile Exemple"}}}}"#);
    // One is refused by the peer, one cannot be read, one lacks what is tracked.
    assert_eq!(post(&hub.url("/orders"), good.clone()).await.0, 202);
    let (status, _) = post(&hub.url("/orders"), format!(r#"{{"id":"1043","customer":{{"email":"{EMAIL}""#)).await;
    assert_eq!(status, 422);
    let (status, _) = post(&hub.url("/orders"), format!(r#"{{"customer":{{"email":"{EMAIL}"}}}}"#)).await;
    assert_eq!(status, 422);
    let list = wait_for("three dead letters", || {
        let list = folder.asked(&["dead", "list"]);
        (list.as_array().map(Vec::len) == Some(3)).then_some(list)
    })
    .await;
    let mut shown = folder.raccord(&["dead", "list"]).out;
    for dead in list.as_array().expect("a list") {
        let id = dead["id"].as_str().expect("an id");
        shown += &folder.raccord(&["dead", "show", id]).out;
        shown += &folder.raccord(&["dead", "show", id, "--json"]).out;
        assert!(folder.raccord(&["dead", "show", id, "--reveal"]).out.contains(EMAIL), "asked for, it is shown");
    }
    let traces = [
        folder.raccord(&["trace", "1042"]).out,
        folder.raccord(&["trace", "1042", "--json"]).out,
        folder.raccord(&["trace", EMAIL, "--json"]).out,
    ];
    let found: Value = serde_json::from_str(&traces[2]).expect("JSON");
    assert_eq!(found.as_array().map(Vec::len), Some(1), "found by the private value: {found}");
    assert!(traces[1].contains(pseudonym(EMAIL).as_str()), "{}", traces[1]);
    shown += &folder.raccord(&["status"]).out;
    shown += &get(hub.address, "/metrics").await.expect("metrics").1;
    shown += &traces.concat();
    assert!(hub.terminate().await.success());
    shown += &hub.log();
    assert!(hub.log().contains("an order came"), "the log was captured");
    for word in [EMAIL, "Odile"] {
        assert!(!shown.contains(word), "`{word}` is shown:\n{shown}");
    }
}
