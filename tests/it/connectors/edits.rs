//! A manifest that is edited while items and events come: what comes again is known, and a replay maps anew.

use serde_json::json;

use super::{System, dead, hub, json as answer, status, the_dead};
use crate::harness::{Folder, HubProcess, client, wait_for};

const SHOP: &str = r#"
system: Shop
verified: { against: nothing }
base: $connection.url
settings: { url: { type: url } }
operations:
  order.changed:
    kind: poll
    every: 200ms
    request: { get: /orders, query: { since: $cursor? } }
    cursor: { value: $item.at, overlap: 5m }
    calls:
      - name: customer
        request: { get: "=concat('/customers/', url($item.customer))" }
    id: "=concat($item.id, '@', $item.at)"
    document: { number: $item.id, name: $calls.customer.name, total: $item.totl }
  order.told:
    kind: listen
    items: $.events
    document: { number: $item.id, total: $item.totl }
"#;

const ERP: &str = r"
system: ERP
verified: { against: nothing }
base: $connection.url
settings: { url: { type: url } }
operations:
  order.put:
    kind: write
    request: { post: /orders, json: $ }
    idempotency: { header: Idempotency-Key, value: $meta.id }
";

const ORDERS: &str = r"
about: Orders of the shop go to the ERP.
from: { connection: shop, operation: order.changed }
order_by: $.number
dedupe: none
private: [$.name]
steps:
  - validate: { rules: [{ that: $.total > 0, otherwise: the total is not positive }] }
to:
  erp: { connection: erp, operation: order.put, retry: [50ms] }
on_error: { retry: [50ms] }
";

const TOLD: &str = "from: { connection: shop, operation: order.told }\n";

/// A shop with these orders, and an ERP.
async fn systems(orders: serde_json::Value) -> (System, System) {
    let shop = System::start(move |asked| match asked.line.as_str() {
        "GET /orders" => answer(&orders),
        line if line.starts_with("GET /customers/") => answer(json!({ "name": "Ada Exemple" })),
        _ => status(404),
    })
    .await;
    (shop, System::start(|_| answer("{}")).await)
}

/// Edits the manifest of a running hub, which takes it up.
fn edit(folder: &Folder, from: &str, to: &str) {
    folder.replace("connectors/shop.yaml", from, to);
    folder.raccord(&["reload"]).expect(0, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_item_is_replayed_through_the_manifest_as_it_is_by_then() {
    let (shop, erp) =
        systems(json!([{ "id": "W-1", "at": "2026-11-02T10:00:00Z", "customer": "7", "total": 12 }])).await;
    let folder = hub("edits-item", &[("shop", SHOP, &shop), ("erp", ERP, &erp)], &[("orders", ORDERS)]);
    let _hub = HubProcess::start(&folder).await;
    let id = the_dead(&folder).await;
    let shown = folder.raccord(&["dead", "show", &id, "--reveal"]);
    shown.expect(0, &["FORMULA-MISSING", "order.changed, items[0], document, $item.totl", r#""customer":"7""#]);
    // Where a person's data stands in what the shop sent is not known.
    let shown = folder.raccord(&["dead", "show", &id]);
    assert!(!shown.out.contains(r#""customer""#), "{shown:#?}");
    folder.raccord(&["dead", "replay", &id]).expect(3, &["FORMULA-MISSING", "it stays a dead letter"]);
    assert_eq!(dead(&folder), ["orders FORMULA-MISSING"]);

    edit(&folder, "$item.totl }\n  order.told", "$item.total }\n  order.told");
    folder.raccord(&["dead", "replay", &id]).expect(0, &["goes again"]);
    erp.asked_times("POST /orders", 1).await;
    let expect = json!({ "number": "W-1", "name": "Ada Exemple", "total": 12 });
    assert_eq!(erp.asked()[0].json(), expect);
    // The item is asked again by the overlap, once with the replay, and is one message.
    let rounds = shop.lines("GET /orders").len();
    shop.asked_times("GET /orders", rounds + 5).await;
    assert_eq!(erp.asked().len(), 1, "{:#?}", erp.asked());
    assert_eq!(dead(&folder), [""; 0]);
    let way = folder.asked(&["trace", &id]);
    let hops = way[0]["hops"].as_array().expect("it has a way");
    let note = hops.iter().find(|hop| hop["event"] == "replayed").expect("it was replayed")["note"].to_string();
    assert!(note.starts_with("\"as "), "{note}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_refused_a_wrong_mapping_gets_the_right_one_on_replay() {
    let (shop, erp) =
        systems(json!([{ "id": "W-1", "at": "2026-11-02T10:00:00Z", "customer": "7", "total": 12, "totl": 0 }])).await;
    let folder = hub("edits-step", &[("shop", SHOP, &shop), ("erp", ERP, &erp)], &[("orders", ORDERS)]);
    let _hub = HubProcess::start(&folder).await;
    let id = the_dead(&folder).await;
    folder.raccord(&["dead", "show", &id]).expect(0, &["VALIDATE-RULE", r#""name": "***""#, r#""total": 0"#]);
    edit(&folder, "$item.totl }\n  order.told", "$item.total }\n  order.told");
    let customers = shop.asked().iter().filter(|asked| asked.line.starts_with("GET /customers")).count();
    folder.raccord(&["dead", "replay", &id]).expect(0, &["goes again"]);
    erp.asked_times("POST /orders", 1).await;
    assert_eq!(erp.asked()[0].json(), json!({ "number": "W-1", "name": "Ada Exemple", "total": 12 }));
    assert_eq!(erp.asked()[0].header("idempotency-key").len(), 36, "the message's own id");
    assert!(customers >= 1);
    assert_eq!(dead(&folder), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_mapping_makes_no_conflict_and_other_content_does() {
    use std::sync::{Arc, Mutex};
    let total = Arc::new(Mutex::new(12));
    let told = total.clone();
    let shop = System::start(move |asked| match asked.line.as_str() {
        "GET /orders" => {
            let total = *told.lock().expect("nobody panics");
            answer(json!([{ "id": "W-1", "at": "2026-11-02T10:00:00Z", "customer": "7", "totl": total }]))
        }
        _ => answer(json!({ "name": "Ada Exemple" })),
    })
    .await;
    let erp = System::start(|_| answer("{}")).await;
    let folder = hub("edits-overlap", &[("shop", SHOP, &shop), ("erp", ERP, &erp)], &[("orders", ORDERS)]);
    let _hub = HubProcess::start(&folder).await;
    erp.asked_times("POST /orders", 1).await;
    edit(&folder, "number: $item.id, name:", "number: $item.id, web: true, name:");
    let rounds = shop.lines("GET /orders").len();
    shop.asked_times("GET /orders", rounds + 4).await;
    assert_eq!((dead(&folder), erp.asked().len()), (Vec::new(), 1), "the same item, made into another document");
    *total.lock().expect("nobody panics") = 13;
    let id = the_dead(&folder).await;
    folder.raccord(&["dead", "show", &id]).expect(0, &["DEDUPE-CONFLICT", r#""total": 13"#, r#""web": true"#]);
    assert_eq!(erp.asked().len(), 1);
    folder.raccord(&["dead", "replay", &id]).expect(0, &["goes again"]);
    erp.asked_times("POST /orders", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_event_is_replayed_through_the_manifest_as_it_is_by_then() {
    let (shop, erp) = systems(json!([])).await;
    let told = ORDERS
        .replace("from: { connection: shop, operation: order.changed }\n", TOLD)
        .replace("private: [$.name]\n", "");
    let folder = hub("edits-event", &[("shop", SHOP, &shop), ("erp", ERP, &erp)], &[("told", &told)]);
    let hub = HubProcess::start(&folder).await;
    let events = json!({ "events": [{ "id": "W-1", "total": 12 }, { "id": "W-2", "totl": 5 }] });
    let post = || client().post(hub.url("/hooks/shop/order.told")).body(events.to_string()).send();
    assert_eq!(post().await.expect("the hub answers").status(), 200);
    erp.asked_times("POST /orders", 1).await;
    let id = the_dead(&folder).await;
    folder.raccord(&["dead", "show", &id]).expect(0, &["FORMULA-MISSING", "order.told, document, $item.totl"]);
    edit(
        &folder,
        "document: { number: $item.id, total: $item.totl }",
        "document: { number: $item.id, total: =coalesce($item.total, $item.totl) }",
    );
    folder.raccord(&["dead", "replay", &id]).expect(0, &["goes again"]);
    erp.asked_times("POST /orders", 2).await;
    assert_eq!(erp.asked()[1].json(), json!({ "number": "W-1", "total": 12 }));
    // The shop tells all of it again.
    assert_eq!(post().await.expect("the hub answers").status(), 200);
    wait_for("both seen before", || dead(&folder).is_empty().then_some(())).await;
    assert_eq!(erp.asked().len(), 2, "{:#?}", erp.asked());
}
