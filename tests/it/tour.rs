//! What a new user does in the first quarter of an hour, by the real binary.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Folder, HubProcess, client, wait_for};

const PIPELINE: &str = "pipelines/orders/pipeline.yaml";

#[tokio::test]
async fn the_tour() {
    let outside = Folder::new("tour");
    for command in ["check", "test", "run", "status"] {
        outside.raccord(&[command]).expect(3, &["is not a hub's folder", "`raccord init FOLDER` makes one"]);
    }
    outside.raccord(&["init", "shop"]).expect(0, &["shop is a working hub", "raccord run"]);
    outside.raccord(&["init", "shop"]).expect(3, &["is not empty: nothing was written"]);
    // `-C` from outside is the same as standing inside.
    outside.raccord(&["-C", "shop", "test"]).expect(0, &["2 passed, 0 failed"]);
    outside.raccord(&["-C", "shop", "check", "--strict"]).expect(0, &["No problem found in 1 pipeline."]);
    let shop = Folder::at(outside.path("shop"));
    shop.replace("config/raccord.yaml", "127.0.0.1:8080", "127.0.0.1:0");
    shop.raccord(&["status"]).expect(0, &["No hub runs here", "orders.to.erp"]);

    let mut hub = HubProcess::start(&shop).await;
    let first = arrives(&shop, "W-1001.json").await;
    assert_eq!((&first["country"], &first["total_net"]), (&json!("France"), &json!(28.25)), "{first}");
    wait_for("the file is put away", || (shop.names("in/orders") == ["done"]).then_some(())).await;

    a_wrong_edit_changes_nothing(&shop, &hub).await;
    a_right_edit_is_taken_over(&shop, &hub).await;
    where_is_it(&shop);
    a_bad_file_is_mended_by_replay(&shop, &hub).await;

    let holder = format!("process {} already runs on ", hub.id());
    shop.raccord(&["run"]).expect(3, &["STORE-LOCKED", &holder]);
    assert!(hub.terminate().await.success(), "{}", hub.log());
    assert!(hub.log().contains("the hub has stopped"), "{}", hub.log());
    assert!(!hub.log().contains("ada@example.test"), "people's data stand in the log:\n{}", hub.log());
    shop.raccord(&["health"]).expect(1, &["no hub runs here"]);
}

async fn a_wrong_edit_changes_nothing(shop: &Folder, hub: &HubProcess) {
    shop.replace(PIPELINE, "- filter: $.status == 'paid'", "- filtre: $.status == 'paid'");
    let told = wait_for("the error", || Some(hub.log()).filter(|log| log.contains("did you mean `filter`?"))).await;
    for word in ["unknown step `filtre`", &format!("{PIPELINE}:18:5"), "the old one goes on"] {
        assert!(told.contains(word), "`{word}` is not said:\n{told}");
    }
    shop.raccord(&["status"]).expect(0, &["The hub runs."]);
    shop.raccord(&["reload"]).expect(1, &["unknown step `filtre`", "the old one goes on"]);
    drop_order(shop, "W-1002", "paid");
    let second = arrives(shop, "W-1002.json").await;
    assert_eq!(second["number"], "W-1002", "the old pipeline goes on");
}

async fn a_right_edit_is_taken_over(shop: &Folder, hub: &HubProcess) {
    let yaml = shop
        .read(PIPELINE)
        .replace("- filtre:", "- filter:")
        .replace("country: \"=", "channel: web\n      country: \"=");
    shop.write(PIPELINE, yaml);
    wait_for("the reload", || hub.log().contains("the configuration was reloaded").then_some(())).await;
    drop_order(shop, "W-1003", "paid");
    let third = arrives(shop, "W-1003.json").await;
    assert_eq!(third["channel"], "web", "{third}");
}

fn where_is_it(shop: &Folder) {
    shop.raccord(&["status"]).expect(0, &["The hub runs.", "orders.to.erp"]);
    shop.raccord(&["health"]).expect(0, &["ready"]);
    shop.raccord(&["trace", "W-1001"]).expect(0, &["accepted", "routed", "delivered", "erp", "order=W-1001"]);
    shop.raccord(&["trace", "W-9999"]).expect(1, &["Nothing is known of `W-9999`."]);
    let traced = shop.asked(&["trace", "W-1001"]);
    let events: Vec<_> = traced[0]["hops"].as_array().expect("hops").iter().map(|hop| &hop["event"]).collect();
    assert_eq!(events, ["accepted", "routed", "delivered"]);
    shop.raccord(&["dead", "list"]).expect(0, &["No dead letter."]);
}

async fn a_bad_file_is_mended_by_replay(shop: &Folder, hub: &HubProcess) {
    // An order from a country that the table does not know.
    let order = shop.read("in/orders/done/first.json").replace("W-1001", "W-1004").replace("\"FR\"", "\"LU\"");
    shop.write("order.json", order);
    shop.raccord(&["send", "order.json", "--to", "orders"]).expect(0, &["stored", "1 message."]);
    let dead = wait_for("a dead letter", || shop.asked(&["dead", "list"]).get(0).cloned()).await;
    let text = |name: &str| dead[name].as_str().unwrap_or_default();
    assert_eq!((text("pipeline"), text("code")), ("orders", "FORMULA-MISSING"), "{dead}");
    assert!(text("cause").contains("LU"), "{dead}");
    let id = text("id");
    shop.raccord(&["dead", "list"]).expect(0, &[id, "FORMULA-MISSING"]);
    let hidden = shop.raccord(&["dead", "show", id]);
    hidden.expect(0, &["W-1004", "***", "raccord dead replay"]);
    assert!(!hidden.out.contains("ada@example.test"), "{hidden:?}");
    shop.raccord(&["dead", "show", id, "--reveal"]).expect(0, &["ada@example.test"]);
    shop.raccord(&["explain", "FORMULA-MISSING"]).expect(0, &["What to do"]);

    let reloads = hub.log().matches("the configuration was reloaded").count();
    shop.write("config/tables/countries.csv", shop.read("config/tables/countries.csv") + "LU,Luxembourg\n");
    wait_for("the reload", || (hub.log().matches("the configuration was reloaded").count() > reloads).then_some(()))
        .await;
    shop.raccord(&["dead", "replay", id]).expect(0, &["goes again"]);
    let fourth = arrives(shop, "W-1004.json").await;
    assert_eq!(fourth["country"], "Luxembourg", "{fourth}");
    assert_eq!(shop.asked(&["dead", "list"]), json!([]));

    // What is no order at all.
    shop.write("bad.json", "{\"number\": ");
    shop.raccord(&["send", "bad.json", "--to", "orders"]).expect(1, &["cannot be read: kept as a dead letter"]);
    let dead = shop.asked(&["dead", "list"])[0].clone();
    let id = dead["id"].as_str().expect("an id");
    shop.raccord(&["dead", "discard", id, "--why", "a test of ours"]).expect(0, &["is discarded"]);
    shop.raccord(&["dead", "discard", id, "--why", "again"]).expect(3, &["DEAD-UNKNOWN"]);
    shop.raccord(&["trace", id]).expect(0, &["dead", "DECODE-JSON", "discarded", "a test of ours"]);
}

#[tokio::test]
async fn what_waits_at_a_stop_goes_on_at_the_next_start() {
    let yaml = r"
about: To a peer that is not there yet.
from: { protocol: http, path: /in, auth: none, format: json }
order_by: none
dedupe: none
to:
  peer: { protocol: http, url: 'http://PEER/', format: json }
on_error: { retry: [50ms] }
";
    let place = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = place.local_addr().expect("a bound address");
    drop(place);
    let folder = Folder::hub("stop", &[("in", &yaml.replace("PEER", &address.to_string()))]);
    let mut hub = HubProcess::start(&folder).await;
    for number in 0..20 {
        let sent = client().post(hub.url("/in")).body(format!(r#"{{"number":{number}}}"#)).send().await;
        assert_eq!(sent.expect("the hub answers").status().as_u16(), 202);
    }
    assert!(hub.terminate().await.success(), "{}", hub.log());
    let status = folder.asked(&["status"]);
    let waiting = |status: &Value| -> u64 {
        let queues = status["pipelines"][0]["queues"].as_object().expect("queues");
        queues.values().map(|count| count.as_u64().expect("a number")).sum()
    };
    assert_eq!((&status["running"], waiting(&status)), (&json!(false), 20), "{status}");
    let peer = crate::harness::Peer::start_at(address, |_| crate::harness::Answer::Status(200)).await;
    let _hub = HubProcess::start(&folder).await;
    for number in 0..20 {
        peer.got(&format!("\"number\":{number}}}")).await;
    }
}

#[tokio::test]
async fn neither_a_start_nor_a_reload_turns_a_sender_away() {
    let yaml = |round: usize| {
        format!(
            r"
about: Round {round}.
from: {{ protocol: http, path: /in, auth: none, format: json }}
order_by: none
dedupe: none
to:
  out: {{ protocol: file, folder: out, name: all.ndjson, mode: append, format: ndjson }}
on_error: {{ retry: [50ms] }}
"
        )
    };
    let folder = Folder::hub("doors", &[("in", &yaml(0))]);
    let mut sent = 0;
    for _start in 0..5 {
        let mut hub = HubProcess::start(&folder).await;
        for round in 0..5 {
            let (url, client, done) = (hub.url("/in"), client(), Arc::new(AtomicBool::new(false)));
            let sending = tokio::spawn({
                let done = done.clone();
                async move {
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) || count == 0 {
                        let answer = client.post(&url).body(r#"{"is":"sent"}"#).send().await.expect("the hub answers");
                        assert_eq!(answer.status().as_u16(), 202, "message {count}");
                        count += 1;
                    }
                    count
                }
            });
            folder.write("pipelines/in/pipeline.yaml", yaml(sent + round + 1));
            folder.raccord(&["reload"]).expect(0, &[]);
            done.store(true, Ordering::Relaxed);
            sent += sending.await.expect("each message was taken");
        }
        assert!(hub.terminate().await.success(), "{}", hub.log());
    }
    let _hub = HubProcess::start(&folder).await;
    wait_for("all of them", || (folder.read("out/all.ndjson").lines().count() == sent).then_some(())).await;
}

#[test]
fn the_manual_explains_keys_steps_functions_and_faults() {
    let folder = Folder::new("manual");
    folder.raccord(&["explain"]).expect(0, &["raccord explain"]);
    folder.raccord(&["explain", "from.http.path"]).expect(0, &["path", "/orders"]);
    folder.raccord(&["explain", "hub.listen"]).expect(0, &["127.0.0.1:8080"]);
    folder.raccord(&["explain", "filter"]).expect(0, &["filter"]);
    folder.raccord(&["explain", "round"]).expect(0, &["round("]);
    folder.raccord(&["explain", "http-422"]).expect(0, &["# HTTP-422", "What to do"]);
    folder.raccord(&["explain", "filtre"]).expect(1, &["nothing is called `filtre`", "did you mean `filter`?"]);
}

#[test]
fn the_schemas_hold_what_is_shipped() {
    let folder = Folder::new("schema");
    let schema = |which: &str| -> jsonschema::Validator {
        let text = folder.raccord(&["schema", which]);
        assert_eq!(text.code, Some(0), "{text:?}");
        let schema: Value = serde_json::from_str(&text.out).expect("a schema is JSON");
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{which}: {error}"));
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{which}: {error}"))
    };
    let (pipeline, hub, case) = (schema("pipeline"), schema("hub"), schema("case"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shipped = 0;
    for base in [root.to_owned(), root.join("src/cli/skeleton")] {
        holds(&hub, &base.join("config/raccord.yaml"));
        for folder in fs::read_dir(base.join("pipelines")).expect("pipelines are shipped") {
            let folder = folder.expect("readable").path();
            // Beside the pipelines stands what they have in common, for people.
            if folder.is_file() {
                continue;
            }
            holds(&pipeline, &folder.join("pipeline.yaml"));
            for file in fs::read_dir(folder.join("cases")).expect("each pipeline has cases") {
                holds(&case, &file.expect("readable").path());
            }
            shipped += 1;
        }
    }
    let partner = schema("partner");
    for file in fs::read_dir(root.join("config/partners")).expect("partners are shipped") {
        let file = file.expect("readable").path();
        if file.is_file() {
            holds(&partner, &file);
        }
    }
    assert!(shipped > 3, "only {shipped} pipelines were found");
    let wrong = json!({ "about": "x", "from": { "protocol": "htpp" }, "to": { "out": {} } });
    assert!(!pipeline.is_valid(&wrong), "the schema takes anything");

    folder.raccord(&["schema"]).expect(0, &["wrote"]);
    let written =
        ["case", "connection", "hub", "manifest", "partner", "pipeline"].map(|which| format!("{which}.schema.json"));
    assert_eq!(folder.names(".raccord"), written);
}

/// The schema takes what the file says.
fn holds(schema: &jsonschema::Validator, file: &Path) {
    let text = fs::read_to_string(file).expect("a shipped file");
    let document = to_json(&text, file);
    let errors: Vec<String> =
        schema.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}:\n{}", file.display(), errors.join("\n"));
}

/// As an editor reads it: scalars that look like numbers are numbers.
fn to_json(text: &str, file: &Path) -> Value {
    let mut problems = Vec::new();
    let files = raccord::config::Files::default();
    let id = files.add(file, text);
    let node = raccord::config::parse(id, &files.text(id), &mut problems);
    assert!(problems.is_empty(), "{}", raccord::config::render(&files, &problems, false));
    node.as_ref().map_or(Value::Null, node_to_json)
}

fn node_to_json(node: &raccord::config::Node) -> Value {
    use raccord::config::Kind;
    match &node.kind {
        Kind::Map { fields, .. } => {
            Value::Object(fields.iter().map(|(key, value)| (key.name.to_string(), node_to_json(value))).collect())
        }
        Kind::List(items) => Value::Array(items.iter().map(node_to_json).collect()),
        _ => match node.text() {
            Some(text) => match serde_json::from_str(text) {
                Ok(plain @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => plain,
                _ => Value::String(text.to_owned()),
            },
            None => Value::Null,
        },
    }
}

fn drop_order(shop: &Folder, number: &str, status: &str) {
    let order = shop.read("in/orders/done/first.json").replace("W-1001", number).replace("paid", status);
    shop.write(&format!("in/orders/{number}.json"), order);
}

async fn arrives(shop: &Folder, name: &str) -> Value {
    let name = format!("out/erp/{name}");
    let text = wait_for(name.clone(), || Some(shop.read_if(&name)).filter(|text| !text.is_empty())).await;
    serde_json::from_str(&text).expect("a file appears whole")
}
