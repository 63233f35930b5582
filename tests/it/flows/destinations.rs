//! Each destination on its own, repeats, back-pressure, and a stop with deliveries under way.

use std::net::SocketAddr;
use std::time::Duration;

use raccord::clock::Clock;
use raccord::protocols::ReceiptOutcome;
use raccord::store::Event;
use serde_json::Value;

use super::Flow;
use crate::harness::{Answer, Folder, Peer, client, post, wait_for};

const TWO: &str = r"
about: To two peers.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: $.key
dedupe: none
to:
  well: { protocol: http, url: WELL, format: json }
  ill: { protocol: http, url: ILL, format: json }
on_error: { retry: [50ms, 50ms] }
";

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address")
}

async fn well() -> Peer {
    Peer::start(|_| Answer::Status(200)).await
}

fn bodies(peer: &Peer) -> Vec<String> {
    peer.requests().into_iter().map(|request| request.body).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_down_delays_no_other_and_gets_all_when_it_is_back() {
    let (well, down) = (well().await, nobody());
    let yaml = TWO.replace("WELL", &well.url("/")).replace("ILL", &format!("http://{down}/"));
    let flow = Flow::start("down", &[("orders", &yaml)]).await;
    let order = |n: usize| format!(r#"{{"key":"k","n":{n}}}"#);
    for n in 0..30 {
        flow.send("/orders", order(n)).await;
    }
    let expected: Vec<String> = (0..30).map(order).collect();
    wait_for("all at the one that is well", || (bodies(&well) == expected).then_some(())).await;
    let flow = flow.again().await;
    assert_eq!(flow.depth("orders.to.ill").await, 30);
    let back = Peer::start_at(down, |_| Answer::Status(200)).await;
    wait_for("all at the one that is back", || (bodies(&back).len() >= 30).then_some(())).await;
    assert_eq!(bodies(&back), expected, "in order, once");
    assert_eq!(bodies(&well), expected, "and nothing twice at the other");
    assert!(flow.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_one_destination_is_replayed_to_that_one_alone() {
    let (well, other) = (well().await, well().await);
    let yaml = TWO.replace("WELL", &well.url("/")).replace(
        "  ill: { protocol: http, url: ILL, format: json }",
        &format!(
            "  ill:\n    protocol: http\n    url: {}\n    format: json\n    steps:\n      - map: {{ total: $.total }}",
            other.url("/")
        ),
    );
    let flow = Flow::start("own-steps", &[("orders", &yaml)]).await;
    let original = "{ \"key\": \"k\",\n\t\"n\" : 1.50 }";
    flow.send("/orders", original).await;
    flow.send("/orders", r#"{"key":"k","n":2,"total":7}"#).await;
    other.got("7").await;
    well.got(r#""n":2"#).await;
    let dead = flow.dead_letters(1).await;
    assert_eq!(dead[0].destination.as_deref(), Some("ill"));
    assert_eq!(&dead[0].body[..], original.as_bytes(), "the bytes as they came");
    assert_eq!(bodies(&well).len(), 2, "the other destination has both");
    flow.folder.replace("pipelines/orders/pipeline.yaml", "total: $.total", "total: '=coalesce($.total, 0)'");
    flow.hub.reload().await.expect("the edit is right");
    flow.replay(dead[0].message).await;
    other.got(r#""total":0"#).await;
    assert_eq!(flow.dead().await.len(), 0);
    // A message behind it, so that anything that is still to come has come.
    flow.send("/orders", r#"{"key":"k","n":3,"total":9}"#).await;
    other.got("9").await;
    well.got(r#""n":3"#).await;
    assert_eq!(bodies(&well).len(), 3, "the replay went to one alone");
    assert_eq!(bodies(&other).len(), 3);
}

const ONCE: &str = r"
about: Each order once.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: none
dedupe: { by: [$.id], keep: 1h }
to:
  peer: { protocol: http, url: PEER, format: json }
on_error: { retry: [50ms] }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_has_no_effect_a_conflict_is_kept_and_after_keep_it_is_new() {
    let peer = well().await;
    let folder = Folder::hub("dedupe", &[("orders", &ONCE.replace("PEER", &peer.url("/")))]);
    let flow = Flow::of(folder, Clock::simulated("2026-11-02T09:00:00Z".parse().expect("an instant"))).await;
    let send = async |flow: &Flow, body: &str| {
        let (status, said) = post(&flow.url("/orders"), body.to_owned()).await;
        let said: Value = serde_json::from_str(&said).expect("an answer in JSON");
        (status, said["id"].as_str().unwrap_or_default().to_owned())
    };
    let (status, first) = send(&flow, r#"{"id":1,"total":5}"#).await;
    assert_eq!(status, 202);
    peer.got("5").await;
    let flow = flow.again().await;
    assert_eq!(send(&flow, r#"{"id":1,"total":5}"#).await, (200, first.clone()), "a repeat is told the first one's id");
    let (status, other) = send(&flow, r#"{"id":1,"total":6}"#).await;
    assert_eq!(status, 409);
    assert_ne!(other, first);
    let dead = flow.dead_letters(1).await;
    assert_eq!((dead[0].code.as_str(), &dead[0].body[..]), ("DEDUPE-CONFLICT", br#"{"id":1,"total":6}"#.as_slice()));
    assert!(dead[0].cause.contains(&first), "the cause names the message it conflicts with: {}", dead[0].cause);
    // Another conflict does not take the first one's place.
    assert_eq!(send(&flow, r#"{"id":1,"total":7}"#).await.0, 409);
    flow.dead_letters(2).await;
    assert_eq!(peer.requests().len(), 1);
    flow.clock.advance(Duration::from_secs(3601));
    assert_eq!(send(&flow, r#"{"id":1,"total":6}"#).await.0, 202);
    peer.got("6").await;
    assert_eq!(peer.requests().len(), 2);
}

/// Also where two senders race with the same message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_send_the_same_one_is_first() {
    let peer = well().await;
    let flow = Flow::start("dedupe-race", &[("orders", &ONCE.replace("PEER", &peer.url("/")))]).await;
    let (client, url) = (client(), flow.url("/orders"));
    let sending = (0..40).map(|n| {
        let request = client.post(&url).body(format!(r#"{{"id":{}}}"#, n % 4));
        async move { request.send().await.expect("an answer").status().as_u16() }
    });
    let statuses = futures_util::future::join_all(sending).await;
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 4, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 36, "{statuses:?}");
    wait_for("four effects", || (peer.requests().len() == 4).then_some(())).await;
    // Both in one portion, too.
    let receipts = flow.receive("orders", [r#"{"id":9}"#.to_owned(), r#"{"id":9}"#.to_owned()]).await;
    let outcomes: Vec<ReceiptOutcome> = receipts.iter().map(|receipt| receipt.outcome).collect();
    assert_eq!(outcomes, [ReceiptOutcome::Stored, ReceiptOutcome::Repeat]);
    peer.got("9").await;
    assert_eq!(peer.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_sends_its_own_sources_away_and_no_others() {
    let (down, peer) = (nobody(), well().await);
    let full = ONCE.replace("PEER", &format!("http://{down}/"));
    let other = ONCE.replace("PEER", &peer.url("/")).replace("/orders", "/other");
    let folder = Folder::hub("quota", &[("orders", &full), ("other", &other)]);
    folder.write("config/raccord.yaml", "name: test-hub\nlisten: 127.0.0.1:0\nqueue: { quota: 8 }\n");
    let flow = Flow::of(folder, Clock::real()).await;
    let (client, mut accepted) = (client(), Vec::new());
    let refused = 'full: {
        for n in 0..2000 {
            let body = format!(r#"{{"id":{n}}}"#);
            let answer = client.post(flow.url("/orders")).body(body.clone()).send().await.expect("an answer");
            match answer.status().as_u16() {
                202 => accepted.push(body),
                _ => break 'full answer,
            }
        }
        panic!("2000 were taken where 8 may wait");
    };
    assert_eq!(refused.status().as_u16(), 503);
    let after = refused.headers().get("retry-after").expect("when to come back").to_str().expect("digits");
    assert!(after.parse::<u64>().expect("seconds") >= 1);
    assert!(refused.text().await.expect("a body").contains("STORE-FULL"));
    assert!(flow.depth("orders").await <= 8);
    for n in 0..20 {
        flow.send("/other", format!(r#"{{"id":{n}}}"#)).await;
        peer.got(&format!(":{n}}}")).await;
    }
    let back = Peer::start_at(down, |_| Answer::Status(200)).await;
    wait_for("all that was accepted", || (back.requests().len() >= accepted.len()).then_some(())).await;
    let mut came = bodies(&back);
    came.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(came, accepted, "once each");
    flow.send("/orders", r#"{"id":"after"}"#).await;
    back.got("after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_what_is_being_delivered() {
    let peer = Peer::start(|_| Answer::Late(Duration::from_millis(400), 200)).await;
    let flow = Flow::start("stop", &[("orders", &ONCE.replace("PEER", &peer.url("/")))]).await;
    let receipts = flow.receive("orders", (0..100).map(|n| format!(r#"{{"id":{n}}}"#))).await;
    wait_for("deliveries under way", || (!peer.requests().is_empty()).then_some(())).await;
    let flow = flow.again().await;
    for receipt in receipts {
        flow.until(receipt.id, Event::Delivered).await;
    }
    let mut came = bodies(&peer);
    came.sort_unstable();
    came.dedup();
    assert_eq!(
        (came.len(), peer.requests().len()),
        (100, 100),
        "each once, although the hub was stopped in the middle"
    );
}
