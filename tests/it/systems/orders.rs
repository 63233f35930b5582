//! Orders of the shop become sales of the ERP, whatever is killed meanwhile. `RACCORD_ORDERS=12` places a dozen instead of 2,000.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::harness::{Folder, HubProcess};
use crate::parts::tryton::Tryton;
use crate::parts::vendure::Vendure;

const SHOP_ORDER: &str = r"
about: Each order placed in the shop becomes one sale in the ERP.
from: { connection: shop, operation: order.placed, every: 1s }
track: { order: $.number }
order_by: $.number
dedupe: none
steps:
  - filter: $.customer.email == 'EMAIL'
to:
  erp:
    connection: erp
    operation: order.post
    concurrency: 2
on_error:
  # So many that none is given up while the ERP is away.
  retry: [1s, 1s, 2s, 2s, 5s, 5s, 5s, 5s, 5s, 5s, 5s, 5s, 5s, 5s, 10s, 10s, 10s, 10s, 10s, 10s, 10s, 10s, 10s, 10s]
";
const EMAIL: &str = "camille.orders@exemple.example";
/// An article of both systems.
const ARTICLE: &str = "2000000000015";

/// The shop's orders reach the ERP though it is killed twice and the hub once: each is one sale, and the money is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_the_shop_become_sales_of_the_erp_one_each() {
    if !super::asked_for() {
        return;
    }
    let orders = std::env::var("RACCORD_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(2_000);
    let (tryton, vendure) = spawn_blocking(|| (Tryton::private(), Vendure::shared())).await.expect("both start");
    let tryton = std::sync::Arc::new(tryton);
    let folder = Folder::hub("systems-orders", &[("shop-order", &SHOP_ORDER.replace("EMAIL", EMAIL))]);
    folder.write("secrets/shop", vendure.api_key());
    folder.write("secrets/erp", tryton.api_key());
    let shop = format!("system: vendure\nurl: {}\napi_key: ${{file:secrets/shop}}\n", vendure.url());
    folder.write("config/connections/shop.yaml", shop);
    let erp = format!(
        "system: tryton\nurl: {}/{}\nkey: ${{file:secrets/erp}}\nwarehouse: 5\npayment_term: At once\n",
        tryton.url(),
        tryton.database()
    );
    folder.write("config/connections/erp.yaml", erp);
    let mut hub = HubProcess::start(&folder).await;
    let mut placed = Vec::new();
    for n in 0..orders {
        let quantity = 1 + u32::try_from(n % 3).expect("a small number");
        placed.push(spawn_blocking(move || vendure.order(ARTICLE, quantity, EMAIL)).await.expect("it is placed"));
        if n == orders / 4 || n == orders / 2 {
            let tryton = tryton.clone();
            spawn_blocking(move || {
                tryton.kill();
                tryton.start();
            })
            .await
            .expect("it is back");
        }
        if n == orders * 3 / 4 {
            hub.kill9();
            hub = HubProcess::start(&folder).await;
        }
    }
    let sales = until_all_are_there(&tryton, &placed).await;
    let mut codes: Vec<&str> = sales.iter().filter_map(|sale| sale["web_id"].as_str()).collect();
    codes.sort_unstable();
    placed.sort();
    assert_eq!(codes, placed, "one sale for each order\n{}", hub.log());
    let of_the_shop = spawn_blocking(move || totals(vendure, &placed)).await.expect("the shop answers");
    let of_the_erp: i64 = sales.iter().map(|sale| cents(&sale["total_amount"])).sum();
    assert_eq!(of_the_erp, of_the_shop, "cents in all");
    assert!(hub.terminate().await.success());
}

/// Waits until the ERP has a confirmed sale for each order, as long as more of them come.
async fn until_all_are_there(tryton: &std::sync::Arc<Tryton>, placed: &[String]) -> Vec<Value> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let (tryton, codes) = (tryton.clone(), placed.to_vec());
        let found = spawn_blocking(move || {
            let mut found = Vec::new();
            for codes in codes.chunks(100) {
                let domain = json!([["web_id", "in", codes]]);
                found.extend(tryton.search("sale.sale", &domain, &["web_id", "state", "total_amount"]));
            }
            found
        })
        .await
        .expect("the ERP answers");
        let done = found.iter().filter(|sale| sale["state"] == "processing" || sale["state"] == "done").count();
        if done >= placed.len() {
            return found;
        }
        if done > last {
            (last, since) = (done, Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(120), "{done} of {} are sales:\n{found:?}", placed.len());
        sleep(Duration::from_secs(1)).await;
    }
}

/// The sum of the shop's orders, in cents.
fn totals(vendure: &Vendure, codes: &[String]) -> i64 {
    let query = "query($codes: [String!]) { orders(options: { take: 100, filter: { code: { in: $codes } } }) { items { totalWithTax } } }";
    let of = |codes: &[String]| -> i64 {
        let told = vendure.admin(query, json!({ "codes": codes }));
        let items = told["orders"]["items"].as_array().cloned().unwrap_or_default();
        assert_eq!(items.len(), codes.len(), "the shop has them all");
        items.iter().filter_map(|order| order["totalWithTax"].as_i64()).sum()
    };
    codes.chunks(100).map(of).sum()
}

/// An exact amount of Tryton, `{"decimal": "34.90"}`, in cents.
fn cents(amount: &Value) -> i64 {
    let text = amount["decimal"].as_str().expect("an amount");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: String = part.chars().chain("00".chars()).take(2).collect();
    whole.parse::<i64>().expect("digits") * 100 + part.parse::<i64>().expect("digits")
}
