//! What `aggregate` gathers and what `remember` keeps, in the middle of much traffic and across restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use raccord::clock::Clock;
use raccord::store::Event;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_survives_a_restart_in_its_middle() {
    let flow = Flow::start("groups-restart", &[("parcels", &gather("count: 3"))]).await;
    flow.send("/parcels", parcel(1, 0)).await;
    flow.send("/parcels", parcel(2, 0)).await;
    flow.send("/parcels", parcel(1, 1)).await;
    let flow = flow.again().await;
    flow.send("/parcels", parcel(1, 2)).await;
    flow.send("/parcels", parcel(2, 1)).await;
    let flow = flow.again().await;
    flow.send("/parcels", parcel(2, 2)).await;
    let found = by_key(&flow.lines("out/all.ndjson", 2).await);
    assert_eq!(found["o1"], [[0, 1, 2]]);
    assert_eq!(found["o2"], [[0, 1, 2]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_closes_once_its_condition_holds() {
    let until = gather("until: 'sum($.items[*].n) >= 10', within: 1h");
    let flow = Flow::start("groups-until", &[("parcels", &until)]).await;
    for n in [4, 5, 1, 10] {
        flow.send("/parcels", parcel(1, n)).await;
    }
    let found = by_key(&flow.lines("out/all.ndjson", 2).await);
    assert_eq!(found["o1"], [vec![4, 5, 1], vec![10]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_time_has_come_closes_once_restarts_included() {
    let flow = Flow::start("groups-within", &[("parcels", &gather("within: 1s"))]).await;
    const ORDERS: usize = 250;
    flow.receive("parcels", (0..ORDERS).flat_map(|order| [parcel(order, 0), parcel(order, 1)])).await;
    let flow = flow.again().await;
    flow.lines("out/all.ndjson", ORDERS).await;
    let flow = flow.again().await;
    // The next group of a key comes after all that could still close the former.
    flow.send("/parcels", parcel(0, 2)).await;
    let found = by_key(&flow.lines("out/all.ndjson", ORDERS + 1).await);
    assert_eq!(found.len(), ORDERS);
    for (key, groups) in found {
        let expected = if key == "o0" { vec![vec![0, 1], vec![2]] } else { vec![vec![0, 1]] };
        assert_eq!(groups, expected, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_brings_several_members_to_several_groups() {
    let yaml = gather("count: 3").replace("steps:", "steps:\n  - split: { each: $.parcels }");
    let flow = Flow::start("groups-split", &[("parcels", &yaml)]).await;
    let both =
        |first: usize| format!(r#"{{"parcels":[{},{},{}]}}"#, parcel(1, first), parcel(2, first), parcel(1, first + 1));
    flow.send("/parcels", both(0)).await;
    flow.send("/parcels", both(2)).await;
    let flow = flow.again().await;
    flow.send("/parcels", both(4)).await;
    let found = by_key(&flow.lines("out/all.ndjson", 3).await);
    assert_eq!(found["o1"], [[0, 1, 2], [3, 4, 5]]);
    assert_eq!(found["o2"], [[0, 2, 4]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_a_removed_pipeline_left_hold_nobody_up() {
    let gone = gather("within: 1h").replace("/parcels", "/gone");
    let other = gather("within: 2h").replace("/parcels", "/other").replace("all.ndjson", "other.ndjson");
    let folder = Folder::hub("groups-left", &[("gone", &gone), ("other", &other)]);
    let flow = Flow::of(folder, Clock::simulated("2026-11-02T09:00:00Z".parse().expect("an instant"))).await;
    let receipts = flow.receive("gone", (0..150).map(|order| parcel(order, 0))).await;
    for receipt in receipts {
        flow.until(receipt.id, Event::Joined).await;
    }
    std::fs::remove_dir_all(flow.folder.path("pipelines/gone")).expect("it is there");
    let flow = flow.again().await;
    let receipts = flow.receive("other", [parcel(1, 7)]).await;
    flow.until(receipts[0].id, Event::Joined).await;
    flow.clock.advance(Duration::from_secs(2 * 3600));
    let found = by_key(&flow.lines("out/other.ndjson", 1).await);
    assert_eq!(found["o1"], [[7]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_member_that_closes_a_group_joined_it_too() {
    let flow = Flow::start("groups-journal", &[("parcels", &gather("count: 2"))]).await;
    let receipts = flow.receive("parcels", [parcel(1, 0), parcel(1, 1)]).await;
    flow.lines("out/all.ndjson", 1).await;
    for receipt in receipts {
        assert_eq!(flow.journal(receipt.id).await, [Event::Accepted, Event::Joined]);
    }
}

/// A row written by a message that came earlier and was long held up stays behind the newer one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_message_never_covers_what_a_newer_one_remembered() {
    const PRICES: &str = r"
about: The last price of an article is remembered.
from: { protocol: http, path: /prices, auth: none, format: json }
order_by: none
dedupe: none
steps:
  - lookup: { table: switch, where: { name: $.article }, into: ready }
    when: $.kind == 'slow'
  - remember: { table: prices, row: { article: $.article, price: $.price } }
    when: $.kind != 'ask'
  - lookup: { table: prices, where: { article: $.article }, into: known }
to:
  out: { protocol: file, folder: out, name: all.ndjson, mode: append, format: ndjson }
on_error: { retry: [50ms] }
";
    let folder = Folder::hub("remember-old", &[("prices", PRICES)]);
    folder.write("config/tables/prices.yaml", "key: [article]\ncolumns: [price]\nretention: 1d\n");
    folder.write("config/tables/switch.csv", "name,on\nnone,1\n");
    let flow = Flow::of(folder, Clock::real()).await;
    flow.send("/prices", r#"{"kind":"slow","article":"a","price":1}"#).await;
    let dead = flow.dead_letters(1).await;
    flow.send("/prices", r#"{"kind":"fast","article":"a","price":2}"#).await;
    flow.lines("out/all.ndjson", 1).await;
    // The first one is put in order and goes again.
    flow.folder.write("config/tables/switch.csv", "name,on\na,1\n");
    flow.hub.reload().await.expect("the table is right");
    flow.replay(dead[0].message).await;
    flow.lines("out/all.ndjson", 2).await;
    let flow = flow.again().await;
    flow.send("/prices", r#"{"kind":"ask","article":"a"}"#).await;
    let lines = flow.lines("out/all.ndjson", 3).await;
    assert_eq!(lines[2]["known"]["price"], json!(2), "{lines:?}");
    assert_eq!(lines[2]["known"]["article"], json!("a"));
}
