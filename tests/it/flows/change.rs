//! A reload is all or nothing, and nobody outside notices it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use raccord::hub::StartError;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Flow;
use crate::harness::{Answer, Folder, Peer, client, get, post, wait_for};

const ORDERS: &str = r"
about: Orders into a file.
from: { protocol: http, path: /NAME, auth: none, format: json }
order_by: none
dedupe: none
steps:
  - set: { version: v0 }
to:
  out: { protocol: file, folder: out, name: NAME.ndjson, mode: append, format: ndjson }
on_error: { retry: [50ms] }
";

fn orders(name: &str) -> String {
    ORDERS.replace("NAME", name)
}

/// Sends without a pause until it is told to stop; gives how many were taken. Anything but 202 fails the test.
fn sender(url: String, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (client, stop) = (client(), stop.clone());
    tokio::spawn(async move {
        let mut taken = 0;
        while !stop.load(Ordering::SeqCst) {
            let answer = client.post(&url).body(format!(r#"{{"n":{taken}}}"#)).send().await;
            let answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
            let (status, said) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
            assert_eq!(status, 202, "{url}: {said}");
            taken += 1;
        }
        taken
    })
}

/// The numbers in a file.
fn numbers(lines: &[Value]) -> BTreeSet<u64> {
    lines.iter().map(|line| line["n"].as_u64().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_messages_flow_a_reload_loses_and_refuses_none() {
    let flow = Flow::start("reload-flow", &[("same", &orders("same")), ("changed", &orders("changed"))]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (same, changed) = (sender(flow.url("/same"), &stop), sender(flow.url("/changed"), &stop));
    for version in 1..=10 {
        let edited = orders("changed").replace("v0", &format!("v{version}"));
        flow.folder.write("pipelines/changed/pipeline.yaml", edited);
        let more = version % 2 == 1;
        if more {
            flow.folder.write("pipelines/more/pipeline.yaml", orders("more"));
        } else {
            std::fs::remove_dir_all(flow.folder.path("pipelines/more")).expect("it is there");
        }
        let changes = flow.hub.reload().await.expect("the edits are right");
        assert_eq!(changes.changed, ["changed"]);
        assert_eq!((changes.added.len(), changes.removed.len()), (usize::from(more), usize::from(!more)));
        if more {
            // A new path is there once the reload has ended.
            flow.send("/more", r#"{"n":0}"#).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let (same, changed) = (same.await.expect("none was refused"), changed.await.expect("none was refused"));
    assert!(same > 0 && changed > 0);
    assert_eq!(numbers(&flow.lines("out/same.ndjson", same).await), (0..same as u64).collect());
    let lines = flow.lines("out/changed.ndjson", changed).await;
    assert_eq!((lines.len(), numbers(&lines)), (changed, (0..changed as u64).collect()));
    assert_eq!(get(flow.hub.address(), "/more").await.expect("an answer").0, 404, "it is gone");
    assert!(flow.dead().await.is_empty());
}

/// A renamed pipeline keeps its path: senders notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_passes_to_another_pipeline_is_never_away() {
    let flow = Flow::start("reload-rename", &[("first", &orders("orders"))]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sending = sender(flow.url("/orders"), &stop);
    for (from, to) in [("first", "second"), ("second", "first"), ("first", "third")] {
        let (from, to) = (format!("pipelines/{from}"), format!("pipelines/{to}"));
        std::fs::rename(flow.folder.path(&from), flow.folder.path(&to)).expect("renames");
        flow.hub.reload().await.expect("the edit is right");
    }
    stop.store(true, Ordering::SeqCst);
    let taken = sending.await.expect("none was refused");
    assert!(taken > 0);
    // What the former owner had taken and not yet brought away waits in its queues; nothing is lost.
    let waits = flow.depth("first").await + flow.depth("second").await;
    let delivered = flow.folder.read_if("out/orders.ndjson").lines().count() as u64;
    println!("{taken} taken, {delivered} delivered so far, {waits} wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_edit_changes_nothing() {
    let flow = Flow::start("reload-bad", &[("one", &orders("one")), ("two", &orders("two"))]).await;
    flow.folder.write("pipelines/one/pipeline.yaml", orders("one").replace("v0", "v1"));
    flow.folder.write("pipelines/two/pipeline.yaml", orders("two").replace("- set", "- sett"));
    flow.folder.write("pipelines/three/pipeline.yaml", orders("three"));
    match flow.hub.reload().await {
        Err(StartError::Configuration(_)) => {}
        other => panic!("the edit is wrong: {other:?}"),
    }
    unchanged(&flow).await;
}

/// The configuration is sound, and what it needs is not there: only opening tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_changes_nothing() {
    let flow = Flow::start("reload-open", &[("one", &orders("one")), ("two", &orders("two"))]).await;
    flow.folder.write("a-file", "no folder");
    flow.folder.write("pipelines/one/pipeline.yaml", orders("one").replace("v0", "v1"));
    flow.folder.write("pipelines/two/pipeline.yaml", orders("two").replace("folder: out", "folder: a-file/out"));
    flow.folder.write("pipelines/three/pipeline.yaml", orders("three"));
    match flow.hub.reload().await {
        Err(StartError::Fault(_)) => {}
        other => panic!("it cannot be opened: {other:?}"),
    }
    unchanged(&flow).await;
    // Once it can, it is.
    std::fs::remove_file(flow.folder.path("a-file")).expect("it is there");
    flow.hub.reload().await.expect("now it can be opened");
    flow.send("/one", r#"{"n":2}"#).await;
    assert_eq!(flow.lines("out/one.ndjson", 2).await[1]["version"], json!("v1"));
    flow.send("/two", r#"{"n":2}"#).await;
    flow.lines("a-file/out/two.ndjson", 1).await;
}

/// All goes on as it was before the edit that was refused.
async fn unchanged(flow: &Flow) {
    for name in ["one", "two"] {
        flow.send(&format!("/{name}"), r#"{"n":1}"#).await;
        assert_eq!(flow.lines(&format!("out/{name}.ndjson"), 1).await[0]["version"], json!("v0"));
    }
    assert_eq!(post(&flow.url("/three"), r#"{"n":1}"#).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_table_counts_from_the_reload_on() {
    let yaml = orders("orders")
        .replace("- set: { version: v0 }", "- lookup: { table: stores, where: { store: $.store }, into: found }");
    let folder = Folder::hub("reload-table", &[("orders", &yaml)]);
    folder.write("config/tables/stores.csv", "store,erp\n1,one\n");
    let flow = Flow::of(folder, raccord::clock::Clock::real()).await;
    flow.send("/orders", r#"{"n":0,"store":1}"#).await;
    flow.lines("out/orders.ndjson", 1).await;
    flow.folder.write("config/tables/stores.csv", "store,erp\n1,uno\n2,due\n");
    assert_eq!(flow.hub.reload().await.expect("it is right").changed, ["orders"]);
    flow.send("/orders", r#"{"n":1,"store":2}"#).await;
    flow.send("/orders", r#"{"n":2,"store":1}"#).await;
    let lines = flow.lines("out/orders.ndjson", 3).await;
    let found: BTreeSet<&str> = lines.iter().filter_map(|line| line["found"]["erp"].as_str()).collect();
    assert_eq!(found, BTreeSet::from(["one", "uno", "due"]));
    assert!(flow.hub.reload().await.expect("it is right").is_empty(), "nothing was edited since");
}

/// A file in a folder beside the pipeline belongs to it as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_schema_in_a_folder_of_its_own_counts() {
    let yaml = orders("orders").replace("- set: { version: v0 }", "- validate: { schema: schemas/order.json }");
    let folder = Folder::hub("reload-schema", &[("orders", &yaml)]);
    folder.write("pipelines/orders/schemas/order.json", r#"{"type":"object"}"#);
    let flow = Flow::of(folder, raccord::clock::Clock::real()).await;
    flow.send("/orders", r#"{"n":0}"#).await;
    flow.lines("out/orders.ndjson", 1).await;
    flow.folder.write("pipelines/orders/schemas/order.json", r#"{"type":"object","required":["store"]}"#);
    assert_eq!(flow.hub.reload().await.expect("it is right").changed, ["orders"]);
    flow.send("/orders", r#"{"n":0}"#).await;
    flow.dead_letters(1).await;
}

/// What is being delivered while its pipeline changes arrives once; a slow peer holds up nobody else's change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_delivered_during_a_reload_arrives_once() {
    let peer = Peer::start(|_| Answer::Late(std::time::Duration::from_millis(200), 200)).await;
    let yaml = orders("slow").replace(
        "out: { protocol: file, folder: out, name: slow.ndjson, mode: append, format: ndjson }",
        &format!("out: {{ protocol: http, url: {}, format: json }}", peer.url("/")),
    );
    let flow = Flow::start("reload-slow", &[("slow", &yaml)]).await;
    flow.receive("slow", (0..100).map(|n| format!(r#"{{"n":{n}}}"#))).await;
    for version in 1..=3 {
        flow.folder.write("pipelines/slow/pipeline.yaml", yaml.replace("v0", &format!("v{version}")));
        flow.hub.reload().await.expect("the edit is right");
    }
    wait_for("all of them", || (peer.requests().len() >= 100).then_some(())).await;
    let flow = flow.again().await;
    assert_eq!(flow.depth("slow.to.out").await, 0);
    let bodies: BTreeSet<String> = peer.requests().into_iter().map(|request| request.idempotency_key).collect();
    assert_eq!((peer.requests().len(), bodies.len()), (100, 100));
}
