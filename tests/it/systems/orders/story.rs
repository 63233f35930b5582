//! What becomes of an order: confirmed, sent in two parcels, partly given back, cancelled from either side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{ARTICLE, on, systems};
use crate::harness::{Folder, HubProcess};
use crate::parts::tryton::Tryton;
use crate::parts::vendure::Vendure;
use crate::systems::{Variables, asked_for, eventually, lay_out, run};

const EMAIL: &str = "oda.story@exemple.example";

/// An ERP and a shop, joined by shipped pipelines.
pub(super) struct Story {
    pub tryton: Arc<Tryton>,
    pub vendure: Arc<Vendure>,
    pub folder: Folder,
    pub hub: HubProcess,
}

impl Story {
    /// `waits` are what to write in place of a pipeline's patience: pipeline, what stands there, what shall.
    pub async fn begin(name: &str, pipelines: &[&str], waits: &[(&str, &str, &str)]) -> Story {
        let (tryton, vendure) = systems().await;
        let folder = lay_out(name, pipelines);
        for (pipeline, from, to) in waits {
            folder.replace(&format!("pipelines/{pipeline}/pipeline.yaml"), from, to);
        }
        let hub = run(&folder, &Variables::new().tryton(&tryton).vendure(&vendure)).await;
        Story { tryton, vendure, folder, hub }
    }

    /// Places an order of so many of the article, for 15 euros each and 4.90 for the parcel.
    pub async fn order(&self, quantity: u32) -> String {
        on(&self.vendure, move |vendure| vendure.order(ARTICLE, quantity, EMAIL)).await
    }

    /// What the ERP says of an order's sale, once `holds` does.
    pub async fn sale(&self, what: &str, code: &str, holds: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Value {
        let (tryton, code) = (self.tryton.clone(), code.to_owned());
        let ask = move || {
            let fields = ["number", "state", "shipment_state", "shipments.number", "shipments.state", "invoices.state"];
            let sales = tryton.search("sale.sale", &json!([["web_id", "=", code]]), &fields);
            assert!(sales.len() < 2, "one sale for {code}: {sales:?}");
            sales.into_iter().next().filter(|sale| holds(sale))
        };
        eventually(what, &self.hub, ask).await
    }

    /// What the shop says of an order, once `holds` does.
    pub async fn shop(&self, what: &str, code: &str, holds: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Value {
        let (vendure, code) = (self.vendure.clone(), code.to_owned());
        eventually(what, &self.hub, move || Some(of_the_shop(&vendure, &code)).filter(|order| holds(order))).await
    }

    /// Fails where the hub gave something up, but for these faults.
    pub fn nothing_is_given_up(&self, but: &[&str]) {
        let dead = self.folder.asked(&["dead", "list"]);
        let dead = dead.as_array().unwrap_or_else(|| panic!("a list: {dead}"));
        let codes: Vec<&str> = dead.iter().filter_map(|dead| dead["code"].as_str()).collect();
        assert_eq!(codes, but, "{dead:#?}");
    }
}

/// The order as the shop's own administrators see it.
fn of_the_shop(vendure: &Vendure, code: &str) -> Value {
    let query = "query($code: String!) { orders(options: { filter: { code: { eq: $code } } }) { items {
        id code state totalWithTax fulfillments { state trackingCode lines { quantity } }
        payments { state refunds { state total reason } }
        history(options: { filter: { type: { eq: \"ORDER_NOTE\" } } }) { items { data isPublic } } } } }";
    vendure.admin(query, json!({ "code": code }))["orders"]["items"][0].clone()
}

/// The notes of an order, oldest first.
pub(super) fn notes(order: &Value) -> Vec<String> {
    let items = order["history"]["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|note| note["data"]["note"].as_str()).map(str::to_owned).collect()
}

/// Sends the sale's open shipment, with so many pieces in it; what is left becomes another one. Answers its number.
fn ship(tryton: &Tryton, sale: i64, quantity: u32) -> String {
    let fields = "f=shipments.number&f=shipments.state&f=shipments.outgoing_moves.quantity";
    let told = tryton.get(&format!("model/sale.sale/{sale}?{fields}"));
    let mut open = told["shipments"].as_array().cloned().unwrap_or_default();
    open.retain(|shipment| shipment["state"] == "waiting");
    assert_eq!(open.len(), 1, "one shipment is open: {told}");
    let shipment = format!("model/stock.shipment.out/{}", open[0]["id"]);
    tryton.post(&format!("{shipment}/draft"), &json!({}));
    let moved = format!("model/stock.move/{}", open[0]["outgoing_moves"][0]["id"]);
    let changed = tryton.request("PUT", &moved, Some(&json!({ "quantity": quantity })));
    assert!(matches!(changed, Ok((200, _))), "{changed:?}");
    for step in ["wait", "assign_try", "pick", "pack", "do"] {
        tryton.post(&format!("{shipment}/{step}"), &json!({}));
    }
    open[0]["number"].as_str().expect("shipments have numbers").to_owned()
}

/// Takes so many pieces of a sale back, and posts the credit note. Answers its number.
fn take_back(tryton: &Tryton, sale: i64, quantity: i64) -> String {
    let wizard = tryton.rpc("wizard.sale.return_sale.create", json!([{}]))[0].clone();
    let of = json!({ "active_model": "sale.sale", "active_id": sale, "active_ids": [sale], "company": 1 });
    let made = tryton.rpc("wizard.sale.return_sale.execute", json!([wizard, {}, "return_", of]));
    let back = made["actions"][0][1]["res_id"].clone();
    let back = back.as_i64().or_else(|| back[0].as_i64()).unwrap_or_else(|| panic!("a sale came of it: {made}"));
    let fields = ["type", "quantity", "product.code"];
    for line in tryton.search("sale.line", &json!([["sale", "=", back]]), &fields) {
        let path = format!("model/sale.line/{}", line["id"]);
        let done = if line["product"]["code"] == ARTICLE {
            tryton.request("PUT", &path, Some(&json!({ "quantity": -quantity })))
        } else {
            tryton.request("DELETE", &path, None)
        };
        assert!(matches!(done, Ok((200 | 204, _))), "{done:?}");
    }
    tryton.post(&format!("model/sale.sale/{back}/quote"), &json!({}));
    tryton.post(&format!("model/sale.sale/{back}/confirm"), &json!({}));
    let notes = tryton.search("account.invoice", &json!([["sales", "=", back]]), &["state"]);
    assert_eq!(notes.len(), 1, "one credit note: {notes:?}");
    let posted = tryton.post(&format!("model/account.invoice/{}/post?f=number", notes[0]["id"]), &json!({}));
    posted["number"].as_str().expect("it has a number").to_owned()
}

/// Cancels an order in the shop, as its staff would.
fn cancel_in_the_shop(vendure: &Vendure, code: &str) {
    let query =
        "mutation($input: CancelOrderInput!) { cancelOrder(input: $input) { __typename ... on Order { state } } }";
    let input =
        json!({ "orderId": of_the_shop(vendure, code)["id"], "reason": "no longer wanted", "cancelShipping": true });
    let told = vendure.admin(query, json!({ "input": input }));
    assert_eq!(told["cancelOrder"]["state"], "Cancelled", "{told}");
}

/// Cancels a sale that is in process, as a clerk would: shipment and invoice are stopped, and both are left at that.
fn cancel_in_the_erp(tryton: &Tryton, sale: i64) {
    let sale = format!("model/sale.sale/{sale}");
    let told = tryton.get(&format!("{sale}?f=shipments&f=invoices&f=lines.moves"));
    for (model, field) in [("stock.shipment.out", "shipments"), ("account.invoice", "invoices")] {
        for id in told[field].as_array().expect("a list") {
            tryton.post(&format!("model/{model}/{id}/cancel"), &json!({}));
        }
    }
    let lines = told["lines"].as_array().expect("a list").iter();
    let ignored = lines.map(|line| json!(["write", [line["id"]], { "moves_ignored": [["add", ids(&line["moves"])]] }]));
    let left = json!({ "invoices_ignored": [["add", told["invoices"]]], "lines": ignored.collect::<Vec<_>>() });
    let changed = tryton.request("PUT", &sale, Some(&left));
    assert!(matches!(changed, Ok((200, _))), "{changed:?}");
    tryton.post(&format!("{sale}/process"), &json!({}));
}

fn ids(records: &Value) -> Vec<Value> {
    records.as_array().into_iter().flatten().map(|record| record.get("id").unwrap_or(record).clone()).collect()
}

/// Order, confirmation, two parcels, a credit note: each is seen at the other side, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_confirmed_sent_in_two_parcels_and_partly_given_back() {
    if !asked_for() {
        return;
    }
    let pipelines = ["shop-order", "order-status", "order-shipped", "credit-note"];
    let mut story = Story::begin("systems-story", &pipelines, &[]).await;
    let code = story.order(5).await;

    let sale = story.sale("the sale", &code, |sale| sale["state"] == "processing").await;
    let id = sale["id"].as_i64().expect("sales have ids");
    let confirmed = story.shop("the confirmation", &code, |order| !notes(order).is_empty()).await;
    let number = sale["number"].as_str().expect("a sale has a number");
    assert!(notes(&confirmed)[0].contains(number), "{confirmed}");
    assert_eq!(confirmed["history"]["items"][0]["isPublic"], false, "it is not the customer's to read");

    let first = on(&story.tryton, move |tryton| ship(tryton, id, 2)).await;
    let partly = story.shop("the first parcel", &code, |order| order["state"] == "PartiallyShipped").await;
    assert_eq!(parcels(&partly), [(first.clone(), 2)], "{partly}");
    let second = on(&story.tryton, move |tryton| ship(tryton, id, 3)).await;
    let sent = story.shop("the second parcel", &code, |order| order["state"] == "Shipped").await;
    assert_eq!(parcels(&sent), [(first, 2), (second, 3)], "{sent}");

    let reference = on(&story.tryton, move |tryton| take_back(tryton, id, 1)).await;
    let settled = |order: &Value| order["payments"][0]["refunds"][0]["state"] == "Settled";
    story.shop("the refund", &code, settled).await;
    // The ERP tells the credit note again when it is paid: that gives nothing back a second time.
    sleep(Duration::from_secs(5)).await;
    let ended = story.shop("the refund", &code, settled).await;
    let refunds = &ended["payments"][0]["refunds"];
    assert_eq!(refunds, &json!([{ "state": "Settled", "total": 1500, "reason": reference }]));
    let all = notes(&ended);
    assert_eq!(all.len(), 2, "taken on, all has left: {all:?}");

    story.nothing_is_given_up(&[]);
    assert!(story.hub.terminate().await.success());
}

/// Tracking number and pieces of each parcel, in the order of the numbers.
fn parcels(order: &Value) -> Vec<(String, i64)> {
    let parcels = order["fulfillments"].as_array().cloned().unwrap_or_default();
    let read = |parcel: &Value| {
        let lines = parcel["lines"].as_array().cloned().unwrap_or_default();
        let pieces = lines.iter().filter_map(|line| line["quantity"].as_i64()).sum();
        (parcel["trackingCode"].as_str().unwrap_or_default().to_owned(), pieces)
    };
    let mut parcels: Vec<_> = parcels.iter().map(read).collect();
    parcels.sort();
    parcels
}

/// A cancellation in the shop stops the sale in the ERP, one in the ERP cancels the shop's order; neither comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_crosses_once_from_either_side() {
    if !asked_for() {
        return;
    }
    let waits = [("order-cancelled", "within: 10m", "within: 1m")];
    let pipelines = ["shop-order", "order-status", "order-cancelled"];
    let mut story = Story::begin("systems-cancelled", &pipelines, &waits).await;
    let at_once = story.order(1).await;
    cancel(&story, &at_once).await;
    let gone = Instant::now();
    let (by_shop, by_erp) = (story.order(2).await, story.order(3).await);
    for code in [&by_shop, &by_erp] {
        story.sale("a sale", code, |sale| sale["state"] == "processing").await;
        story.shop("a confirmation", code, |order| !notes(order).is_empty()).await;
    }

    cancel(&story, &by_shop).await;
    let stopped = |sale: &Value| {
        let states = ["shipments", "invoices"].map(|of| sale[of].as_array().cloned().unwrap_or_default()).concat();
        states.len() == 2 && states.iter().all(|one| one["state"] == "cancelled")
    };
    story.sale("the stopped sale", &by_shop, stopped).await;

    let sale = story.sale("a sale", &by_erp, |_| true).await["id"].as_i64().expect("sales have ids");
    on(&story.tryton, move |tryton| cancel_in_the_erp(tryton, sale)).await;
    let cancelled = story.shop("the cancelled order", &by_erp, |order| order["state"] == "Cancelled").await;
    assert_eq!(cancelled["totalWithTax"], 0, "{cancelled}");

    // The shop tells its own cancellations ten seconds later, and the first may have waited its minute; then nothing moves.
    sleep(Duration::from_secs(20).max(Duration::from_secs(70).saturating_sub(gone.elapsed()))).await;
    let told = polled(&story.hub);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(polled(&story.hub), told, "neither system changes: {}", story.hub.log());
    let never =
        on(&story.tryton, move |tryton| tryton.search("sale.sale", &json!([["web_id", "=", at_once]]), &["state"]));
    assert_eq!(never.await, Vec::<Value>::new(), "cancelled before it was heard of");

    story.nothing_is_given_up(&[]);
    assert!(story.hub.terminate().await.success());
}

async fn cancel(story: &Story, code: &str) {
    let code = code.to_owned();
    on(&story.vendure, move |vendure| cancel_in_the_shop(vendure, &code)).await;
}

/// How often something new was heard of one of the systems.
fn polled(hub: &HubProcess) -> usize {
    hub.log().lines().filter(|line| line.contains(" polled ")).count()
}
