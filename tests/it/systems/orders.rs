//! Orders of the shop become sales of the ERP, whatever is killed meanwhile. `RACCORD_ORDERS=12` places a dozen instead of 2,000.

mod payments;
mod story;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Variables;
use crate::parts::tryton::Tryton;
use crate::parts::vendure::Vendure;

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
    let (tryton, vendure) = systems().await;
    let folder = super::lay_out("systems-orders", &["shop-order"]);
    let variables = Variables::new().tryton(&tryton).vendure(&vendure);
    let mut hub = super::run(&folder, &variables).await;
    let mut placed = Vec::new();
    for n in 0..orders {
        let quantity = 1 + u32::try_from(n % 3).expect("a small number");
        placed.push(on(&vendure, move |vendure| vendure.order(ARTICLE, quantity, EMAIL)).await);
        if n == orders / 4 || n == orders / 2 {
            on(&tryton, |tryton| {
                tryton.kill();
                tryton.start();
            })
            .await;
        }
        if n == orders * 3 / 4 {
            hub.kill9();
            hub = super::run(&folder, &variables).await;
        }
    }
    let sales = until_all_are_there(&tryton, &placed).await;
    let mut codes: Vec<&str> = sales.iter().filter_map(|sale| sale["web_id"].as_str()).collect();
    codes.sort_unstable();
    placed.sort();
    assert_eq!(codes, placed, "one sale for each order\n{}", hub.log());
    let of_the_shop = on(&vendure, move |vendure| totals(vendure, &placed)).await;
    let of_the_erp: i64 = sales.iter().map(|sale| cents(&sale["total_amount"])).sum();
    assert_eq!(of_the_erp, of_the_shop, "cents in all");
    assert!(hub.terminate().await.success());
}

/// An ERP and a shop for one test alone: the shipped pipelines take every order they find.
async fn systems() -> (Arc<Tryton>, Arc<Vendure>) {
    let started = spawn_blocking(|| (Arc::new(Tryton::private()), Arc::new(Vendure::private())));
    started.await.expect("both start")
}

/// Does something with a system, whose client blocks.
async fn on<S: Send + Sync + 'static, T: Send + 'static>(
    system: &Arc<S>,
    act: impl FnOnce(&S) -> T + Send + 'static,
) -> T {
    let system = system.clone();
    spawn_blocking(move || act(&system))
        .await
        .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// Waits until the ERP has a confirmed sale for each order, as long as more of them come.
async fn until_all_are_there(tryton: &Arc<Tryton>, placed: &[String]) -> Vec<Value> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let codes = placed.to_vec();
        let found = on(tryton, move |tryton| {
            let mut found = Vec::new();
            for codes in codes.chunks(100) {
                let domain = json!([["web_id", "in", codes]]);
                found.extend(tryton.search("sale.sale", &domain, &["web_id", "state", "total_amount"]));
            }
            found
        })
        .await;
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
