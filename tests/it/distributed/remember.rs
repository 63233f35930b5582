//! What a system answered is remembered by one instance and found by the others, though the one is killed while it delivers.

use serde_json::{Value, json};

use super::{Instance, Site};
use crate::harness::{Answer, HubProcess, Peer, post, wait_for};

const ERP: &str = r#"
system: ERP
verified: { against: nothing }
base: $connection.url
settings: { url: { type: url } }
operations:
  order.put:
    kind: write
    request: { put: "=concat('/orders/', url($.id))", json: $, answer: none }
    idempotency: { header: Idempotency-Key, value: $meta.id }
    result: { id: "=concat('erp-', $input.id)" }
"#;

const ORDERS: &str = r"
about: Orders go to the ERP, whose numbers are remembered.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: $.id
dedupe: { by: [$.id] }
to:
  erp:
    connection: erp
    operation: order.put
    retry: [100ms, 1s, 1s]
    remember:
      table: erp-ids
      row: { order: $.id, erp: $result.id }
";

const ASK: &str = r"
about: What is the ERP's number of an order?
from: { protocol: http, path: /ask, auth: none, format: json, reply: { within: 20s, otherwise: {} } }
steps:
  - lookup: { table: erp-ids, where: { order: $.id }, into: found }
reply: { erp: $.found.erp }
";

async fn start(site: &Site, number: usize, erp: &Peer) -> Instance {
    let folder = site.folder(number);
    folder.write("connectors/erp.yaml", ERP);
    folder.write("config/connections/erp.yaml", format!("system: erp\nurl: {}\n", erp.url("")));
    folder.write("config/tables/erp-ids.yaml", "key: [order]\ncolumns: [erp]\nretention: 30d\n");
    let hub = HubProcess::start(&folder).await;
    Instance { hub, folder }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_remembered_on_one_instance_is_found_on_another_after_a_kill() {
    let erp = Peer::start(|_| Answer::Status(200)).await;
    let site = Site::shared("remember", &[("orders", ORDERS), ("ask", ASK)]);
    let (mut one, two) = (start(&site, 1, &erp).await, start(&site, 2, &erp).await);
    let orders = 0..40;
    for order in orders.clone() {
        let to = if order % 2 == 0 { &one } else { &two };
        let (status, said) = post(&to.url("/orders"), json!({ "id": format!("W-{order}") }).to_string()).await;
        assert!((200..300).contains(&status), "{status} {said}");
        if order == 30 {
            one.hub.kill9();
            one.again().await;
        }
    }
    let found = async |of: &Instance, order: u32| {
        let (_, said) = post(&of.url("/ask"), json!({ "id": format!("W-{order}") }).to_string()).await;
        serde_json::from_str::<Value>(&said).unwrap_or_default()
    };
    let began = std::time::Instant::now();
    for order in orders {
        for of in [&one, &two] {
            while found(of, order).await != json!({ "erp": format!("erp-W-{order}") }) {
                assert!(began.elapsed() < crate::harness::PATIENCE, "W-{order} is not remembered:\n{}", of.hub.log());
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    // A kill may repeat a delivery, under the same key.
    let keys = |order: u32| {
        let asked = erp.requests().into_iter().filter(|asked| asked.body.contains(&format!("\"W-{order}\"")));
        asked.map(|asked| asked.idempotency_key).collect::<std::collections::BTreeSet<_>>()
    };
    wait_for("one key an order", || (0..40).all(|order| keys(order).len() == 1).then_some(())).await;
    assert_eq!(two.folder.asked(&["dead", "list"]), json!([]));
}
