//! The shorter way: rows of a file into a file that grows with it.

use std::fmt::Write as _;

use raccord::clock::Clock;
use serde_json::json;

use super::Flow;
use crate::harness::{Folder, wait_for};

const ROWS: &str = r#"
about: Each row of a price list, in order.
from: { protocol: file, folder: in, complete: rename, format: csv }
track: { sku: $.sku }
order_by: none
dedupe: none
steps:
  - map: { sku: $.sku, price: =number($.price) }
to:
  out: { protocol: file, folder: out, name: "=concat($headers.file_name, '.ndjson')", mode: append, format: ndjson }
on_error: { retry: [50ms] }
"#;

/// A price list whose every `bad`th price is no number.
fn list(rows: usize, bad: usize) -> String {
    let mut text = "sku,price\n".to_owned();
    for n in 0..rows {
        let price = if n % bad == bad - 1 { "free".to_owned() } else { n.to_string() };
        writeln!(text, "S{n},{price}").expect("a text takes it");
    }
    text
}

fn put(folder: &Folder, name: &str, content: &str) {
    folder.write("in/.arriving", content);
    std::fs::rename(folder.path("in/.arriving"), folder.path(&format!("in/{name}"))).expect("renames");
}

async fn away(flow: &Flow, name: &str) {
    wait_for(format!("{name} is put away"), || flow.folder.names("in/done").contains(&name.to_owned()).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_are_kept_and_the_others_come_in_order_under_their_final_name() {
    let flow = Flow::start("rows", &[("prices", ROWS)]).await;
    put(&flow.folder, "prices.csv", &list(500, 100));
    away(&flow, "prices.csv").await;
    let lines = flow.lines("out/prices.csv.ndjson", 495).await;
    let expected: Vec<_> =
        (0..500).filter(|n| n % 100 != 99).map(|n| json!({ "sku": format!("S{n}"), "price": n })).collect();
    assert_eq!(lines, expected);
    assert_eq!(flow.folder.names("out"), ["prices.csv.ndjson"]);
    let dead = flow.dead().await;
    let bodies: Vec<String> = dead.iter().map(|dead| String::from_utf8_lossy(&dead.body).into_owned()).collect();
    assert_eq!(bodies.len(), 5);
    for (n, body) in bodies.iter().enumerate() {
        assert!(body.contains(&format!("S{},free", n * 100 + 99)), "{body}");
    }
    let found = flow.hub.works().engine.store.search("S42", 10).await.expect("it can be searched");
    assert_eq!(found.len(), 1, "a row is found by what it tracks");
    // A bad row, put right by an edit, goes again and comes behind the others.
    flow.folder.replace("pipelines/prices/pipeline.yaml", "price: =number($.price)", "price: $.price");
    flow.hub.reload().await.expect("the edit is right");
    flow.replay(dead[0].message).await;
    let lines = flow.lines("out/prices.csv.ndjson", 496).await;
    assert_eq!(lines[495], json!({ "sku": "S99", "price": "free" }));
    // Neither another file nor a restart takes it away again.
    put(&flow.folder, "more.csv", &list(10, 1000));
    away(&flow, "more.csv").await;
    let flow = flow.again().await;
    put(&flow.folder, "last.csv", &list(10, 1000));
    away(&flow, "last.csv").await;
    assert_eq!(flow.folder.read("out/prices.csv.ndjson").lines().count(), 496);
    assert_eq!(flow.lines("out/more.csv.ndjson", 10).await.len(), 10);
    assert_eq!(flow.lines("out/last.csv.ndjson", 10).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_in_the_middle_it_repeats_and_skips_nothing() {
    const COUNT: usize = 60_000;
    let flow = Flow::start("rows-stop", &[("prices", ROWS)]).await;
    put(&flow.folder, "prices.csv", &list(COUNT, 20_000));
    let partial = |flow: &Flow| {
        let entries = std::fs::read_dir(flow.folder.path("out")).into_iter().flatten().flatten();
        let partial = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".partial"));
        partial.map(|entry| entry.metadata().map_or(0, |told| told.len())).sum::<u64>()
    };
    let (mut flow, mut stops) = (flow, 0);
    for stop in 1..=3 {
        let enough = stop * 400_000;
        wait_for("some rows", || {
            (partial(&flow) >= enough || flow.folder.path("out/prices.csv.ndjson").exists()).then_some(())
        })
        .await;
        stops += usize::from(!flow.folder.path("out/prices.csv.ndjson").exists());
        // A stop, or an edit in the middle of the file.
        flow = if stop == 2 {
            flow.folder.replace("pipelines/prices/pipeline.yaml", "in order.", "in its order.");
            flow.hub.reload().await.expect("the edit is right");
            flow
        } else {
            flow.again().await
        };
    }
    away(&flow, "prices.csv").await;
    let lines = flow.lines("out/prices.csv.ndjson", COUNT - 3).await;
    let skus: Vec<&str> = lines.iter().map(|line| line["sku"].as_str().expect("a number")).collect();
    let expected: Vec<String> = (0..COUNT).filter(|n| n % 20_000 != 19_999).map(|n| format!("S{n}")).collect();
    assert!(
        skus == expected,
        "{} lines, first wrong at {:?}",
        skus.len(),
        skus.iter().zip(&expected).position(|(a, b)| a != b)
    );
    assert_eq!(flow.dead().await.len(), 3);
    println!("{stops} of 3 interruptions fell in the middle of the file");
    assert!(stops > 0, "none fell in the middle: make the file longer");
}

/// What is sent in by hand has no place in a file that grows with another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_sent_by_hand_arrive_at_once_and_bad_ones_are_each_kept() {
    let yaml = ROWS.replace("$headers.file_name", "coalesce($headers.file_name, 'by-hand')");
    let flow = Flow::of(Folder::hub("rows-send", &[("prices", &yaml)]), Clock::real()).await;
    flow.folder.write("by-hand.csv", "sku,price\nA,free\nB,free\nC,3\n");
    flow.folder.raccord(&["send", "by-hand.csv", "--to", "prices"]).expect(0, &["3 messages"]);
    assert_eq!(flow.lines("out/by-hand.ndjson", 1).await, [json!({ "sku": "C", "price": 3 })]);
    let dead = flow.dead_letters(2).await;
    assert!(String::from_utf8_lossy(&dead[0].body).contains("A,free"), "{dead:?}");
    assert!(String::from_utf8_lossy(&dead[1].body).contains("B,free"), "{dead:?}");
}
