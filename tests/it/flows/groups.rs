//! What `aggregate` gathers and what `remember` keeps, in the middle of much traffic and across restarts.

use std::collections::BTreeMap;

use raccord::clock::Clock;
use serde_json::{Value, json};

use super::Flow;
use crate::harness::Folder;

/// A web hook into groups, which go into a growing file.
const GATHER: &str = r"
about: Parcels of an order are gathered.
from: { protocol: http, path: /parcels, auth: none, format: json }
order_by: none
dedupe: none
steps:
  - aggregate: { by: $.order, CLOSES }
to:
  out: { protocol: file, folder: out, name: all.ndjson, mode: append, format: ndjson }
on_error: { retry: [50ms] }
";

fn gather(closes: &str) -> String {
    GATHER.replace("CLOSES", closes)
}

fn parcel(order: usize, n: usize) -> String {
    format!(r#"{{"order":"o{order}","n":{n}}}"#)
}

/// The members' numbers of each group document, by key, in the order they closed.
fn by_key(lines: &[Value]) -> BTreeMap<String, Vec<Vec<u64>>> {
    let mut found: BTreeMap<String, Vec<Vec<u64>>> = BTreeMap::new();
    for line in lines {
        let items = line["items"].as_array().expect("items");
        let numbers = items.iter().map(|item| item["n"].as_u64().expect("a number")).collect();
        found.entry(line["key"].as_str().expect("a key").to_owned()).or_default().push(numbers);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_group_closes_by_count_with_its_own_members_under_load() {
    let flow = Flow::start("groups-load", &[("parcels", &gather("count: 4"))]).await;
    const ORDERS: usize = 1500;
    // In portions that do not fall on the borders of groups, so that groups span runs, commits and portions.
    let all: Vec<String> = (0..ORDERS * 4).map(|n| parcel(n / 4, n % 4)).collect();
    for portion in all.chunks(101) {
        flow.receive("parcels", portion.to_vec()).await;
    }
    let found = by_key(&flow.lines("out/all.ndjson", ORDERS).await);
    assert_eq!(found.len(), ORDERS);
    for (key, groups) in found {
        assert_eq!(groups, [[0, 1, 2, 3]], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_message_remembers_the_next_one_finds_even_before_it_is_committed() {
    const ORDERS: &str = r"
about: An order is remembered, its payment finds it.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: none
dedupe: none
steps:
  - remember: { table: orders, row: { order: $.order, erp_id: $.n } }
    when: $.kind == 'order'
  - lookup: { table: orders, where: { order: $.order }, into: found }
to:
  out: { protocol: file, folder: out, name: all.ndjson, mode: append, format: ndjson }
on_error: { retry: [50ms] }
";
    let folder = Folder::hub("remember-load", &[("orders", ORDERS)]);
    folder.write("config/tables/orders.yaml", "key: [order]\ncolumns: [erp_id]\nretention: 1d\n");
    let flow = Flow::of(folder, Clock::real()).await;
    const PAIRS: usize = 3000;
    let pair = |n: usize| {
        [format!(r#"{{"kind":"order","order":"o{n}","n":{n}}}"#), format!(r#"{{"kind":"payment","order":"o{n}"}}"#)]
    };
    let all: Vec<String> = (0..PAIRS).flat_map(pair).collect();
    for portion in all.chunks(101) {
        flow.receive("orders", portion.to_vec()).await;
    }
    let lines = flow.lines("out/all.ndjson", 2 * PAIRS).await;
    let dead = flow.dead().await;
    assert!(dead.is_empty(), "{} are dead letters, the first: {:?}", dead.len(), dead.first());
    for line in lines {
        assert_eq!(line["order"], json!(format!("o{}", line["found"]["erp_id"])), "{line}");
    }
}
