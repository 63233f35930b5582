//! What a hub keeps to itself, and what it does not keep quiet about.

use super::harness::{Folder, HubProcess, wait_for};

const ORDERS: &str = r#"about: Orders become files.
from: { protocol: file, folder: in, format: json }
order_by: $.id
dedupe: none
private: [$.customer]
steps:
  - map: { id: $.id, phone: =$.customer.phone + 1 }
to:
  erp: { protocol: file, folder: out, name: "=concat($.id, '.json')", format: json, retry: [1s] }
"#;

#[tokio::test]
async fn a_fault_says_no_private_value_in_log_or_dead_letter() {
    let folder = Folder::hub("private-faults", &[("orders", ORDERS)]);
    let mut hub = HubProcess::start(&folder).await;
    folder.write("order.json", r#"{"id":"W-1","customer":{"phone":"+33 1 99 00 12 34"}}"#);
    folder.raccord(&["send", "order.json", "--to", "orders"]).expect(0, &["stored"]);
    let letter = wait_for("the dead letter", || folder.asked(&["dead", "list"]).get(0).cloned()).await;
    assert_eq!(letter["code"], "FORMULA-TYPE");
    let id = letter["id"].as_str().expect("it has an id");
    let shown = format!("{letter} {:?} {}", folder.raccord(&["dead", "show", id]), hub.log());
    assert!(shown.contains("'***'") && !shown.contains("99 00 12"), "{shown}");
    folder.raccord(&["dead", "show", id, "--reveal"]).expect(0, &["+33 1 99 00 12 34"]);
    hub.terminate().await;
}

#[test]
fn messages_of_a_pipeline_that_was_renamed_are_told() {
    let folder = Folder::hub("left-over", &[("orders", ORDERS)]);
    folder.write("order.json", r#"{"id":"W-1","customer":{}}"#);
    folder.raccord(&["send", "order.json", "--to", "orders"]).expect(0, &["stored"]);
    std::fs::rename(folder.path("pipelines/orders"), folder.path("pipelines/web-orders")).expect("the folder is ours");
    folder.raccord(&["status"]).expect(0, &["1 waiting in orders, which no pipeline takes any more"]);
    std::fs::rename(folder.path("pipelines/web-orders"), folder.path("pipelines/orders")).expect("the folder is ours");
    let said = folder.raccord(&["status"]);
    assert!(!said.out.contains("no pipeline takes"), "{said:?}");
}

#[test]
fn a_file_too_large_to_send_by_hand_is_refused_at_once() {
    let folder = Folder::hub("large-send", &[("orders", ORDERS)]);
    let file = std::fs::File::create(folder.path("large.json")).expect("the folder is ours");
    file.set_len(46 << 20).expect("a file may have a hole");
    folder
        .raccord(&["send", "large.json", "--to", "orders"])
        .expect(3, &["leave it where the pipeline's source takes it"]);
}

#[test]
fn a_folder_that_runs_nothing_is_told() {
    let folder = Folder::hub("no-pipeline", &[]);
    folder.raccord(&["check"]).expect(0, &["No pipeline: each has a folder of its own"]);
    folder.write("pipelines/orders/pipeline.yml", ORDERS);
    folder.raccord(&["check"]).expect(0, &["no pipeline.yaml in pipelines/orders", "rename `pipeline.yml`"]);
}

#[tokio::test]
async fn a_key_is_held_where_a_destinations_own_step_fails() {
    let pipeline = r#"about: Orders become files.
from: { protocol: file, folder: in, format: json }
order_by: $.id
dedupe: none
to:
  erp:
    protocol: file
    folder: out
    name: "=concat($.id, '-', $.n, '.json')"
    format: json
    retry: [1s]
    then: hold_key
    steps:
      - map: { id: $.id, n: $.n, store: $.store }
"#;
    let folder = Folder::hub("held-by-step", &[("orders", pipeline)]);
    let mut hub = HubProcess::start(&folder).await;
    for (name, order) in [("1", r#"{"id":"K","n":"1"}"#), ("2", r#"{"id":"K","n":"2","store":"P01"}"#)] {
        folder.write(name, order);
        folder.raccord(&["send", name, "--to", "orders"]).expect(0, &["stored"]);
    }
    folder.write("3", r#"{"id":"L","n":"1","store":"P01"}"#);
    folder.raccord(&["send", "3", "--to", "orders"]).expect(0, &["stored"]);
    wait_for("the other key's file", || folder.names("out").contains(&"L-1.json".to_owned()).then_some(())).await;
    assert_eq!(folder.names("out"), ["L-1.json"], "the key waits");
    let letter = folder.asked(&["dead", "list"])[0].clone();
    assert_eq!((&letter["code"], &letter["destination"]), (&"FORMULA-MISSING".into(), &"erp".into()));
    folder.replace("pipelines/orders/pipeline.yaml", "$.store", "$.store?");
    folder.raccord(&["reload"]).expect(0, &["orders"]);
    folder.raccord(&["dead", "replay", letter["id"].as_str().expect("it has an id")]).expect(0, &["goes again"]);
    wait_for("all files", || (folder.names("out") == ["K-1.json", "K-2.json", "L-1.json"]).then_some(())).await;
    hub.terminate().await;
}

#[tokio::test]
async fn a_message_that_failed_at_the_gate_is_known_after_its_replay() {
    let pipeline = r#"about: Orders become files.
from: { protocol: file, folder: in, format: json }
track: { order: $.reference }
order_by: $.id
dedupe: { by: [$.id] }
to:
  erp: { protocol: file, folder: out, name: "=concat($.id, '.json')", format: json, retry: [1s] }
"#;
    let folder = Folder::hub("replay-at-gate", &[("orders", pipeline)]);
    let mut hub = HubProcess::start(&folder).await;
    folder.write("order.json", r#"{"id":"W-1"}"#);
    folder.raccord(&["send", "order.json", "--to", "orders"]).expect(1, &["kept as a dead letter"]);
    let letter = folder.asked(&["dead", "list"])[0].clone();
    folder.replace("pipelines/orders/pipeline.yaml", "$.reference", "$.reference?");
    folder.raccord(&["reload"]).expect(0, &[]);
    folder.raccord(&["dead", "replay", letter["id"].as_str().expect("it has an id")]).expect(0, &["goes again"]);
    wait_for("the file", || (folder.names("out") == ["W-1.json"]).then_some(())).await;
    folder.raccord(&["send", "order.json", "--to", "orders"]).expect(0, &["seen before, nothing done"]);
    folder.raccord(&["dead", "list"]).expect(0, &["No dead letter."]);
    hub.terminate().await;
}
