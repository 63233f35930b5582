//! Order within a key, retries, held keys and replays included; other keys flow past.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use raccord::clock::Clock;
use serde_json::Value;

use super::Flow;
use crate::harness::{Answer, Peer, Request, wait_for};

/// A web hook to a peer, in order.
const ORDERS: &str = r"
about: Orders go to a peer, in order.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: $.key
dedupe: none
to:
  peer: { protocol: http, url: PEER, format: json }
on_error: { retry: [RETRY], then: THEN }
";

/// A peer that answers `status` to the first message of key A while it is told to, and 200 to all else.
struct Moody {
    peer: Peer,
    ill: Arc<AtomicBool>,
}

impl Moody {
    async fn start(status: u16) -> Moody {
        let ill = Arc::new(AtomicBool::new(true));
        let told = ill.clone();
        let first = |request: &Request| key_and_n(&request.body) == ("A".to_owned(), 1);
        let answer = move |request: &Request| {
            let refuses = first(request) && told.load(Ordering::SeqCst);
            Answer::Status(if refuses { status } else { 200 })
        };
        Moody { peer: Peer::start(answer).await, ill }
    }

    fn mend(&self) {
        self.ill.store(false, Ordering::SeqCst);
    }

    fn pipeline(&self, retry: &str, then: &str) -> String {
        ORDERS.replace("PEER", &self.peer.url("/")).replace("RETRY", retry).replace("THEN", then)
    }

    /// The numbers of a key's messages as they came, repeats included.
    fn came(&self, key: &str) -> Vec<u64> {
        let requests = self.peer.requests();
        requests.iter().map(|request| key_and_n(&request.body)).filter(|(k, _)| k == key).map(|(_, n)| n).collect()
    }

    async fn until(&self, key: &str, n: u64) {
        wait_for(format!("{key}{n}"), || self.came(key).contains(&n).then_some(())).await;
    }
}

fn key_and_n(body: &str) -> (String, u64) {
    let document: Value = serde_json::from_str(body).expect("the hub sends JSON");
    (document["key"].as_str().expect("a key").to_owned(), document["n"].as_u64().expect("a number"))
}

fn order(key: &str, n: u64) -> String {
    format!(r#"{{"key":"{key}","n":{n}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_retried_holds_its_key_and_no_other() {
    let moody = Moody::start(503).await;
    let flow =
        Flow::start("order-retry", &[("orders", &moody.pipeline(&["50ms"; 200].join(", "), "dead_letter"))]).await;
    for (key, n) in [("A", 1), ("A", 2), ("B", 1), ("A", 3), ("B", 2)] {
        flow.send("/orders", order(key, n)).await;
    }
    moody.until("B", 2).await;
    // A restart in the middle of the retries changes nothing.
    let flow = flow.again().await;
    flow.send("/orders", order("B", 3)).await;
    moody.until("B", 3).await;
    assert_eq!(moody.came("B"), [1, 2, 3]);
    assert!(moody.came("A").iter().all(|n| *n == 1), "{:?}", moody.came("A"));
    moody.mend();
    moody.until("A", 3).await;
    let mut came = moody.came("A");
    came.dedup();
    assert_eq!(came, [1, 2, 3]);
    let keys: Vec<String> = moody.peer.requests().into_iter().map(|request| request.idempotency_key).collect();
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 6, "one key a message, retries included");
    assert!(flow.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_key_waits_for_the_replay_which_takes_its_old_place() {
    let moody = Moody::start(422).await;
    let flow = Flow::start("order-hold", &[("orders", &moody.pipeline("50ms", "hold_key"))]).await;
    for (key, n) in [("A", 1), ("A", 2), ("B", 1), ("A", 3)] {
        flow.send("/orders", order(key, n)).await;
    }
    let dead = flow.dead_letters(1).await;
    let flow = flow.again().await;
    flow.send("/orders", order("A", 4)).await;
    flow.send("/orders", order("B", 2)).await;
    moody.until("B", 2).await;
    assert_eq!(moody.came("A"), [1]);
    // A replay that fails again holds the key again.
    flow.replay(dead[0].message).await;
    wait_for("the first once more", || (moody.came("A") == [1, 1]).then_some(())).await;
    let dead = flow.dead_letters(1).await;
    flow.send("/orders", order("B", 3)).await;
    moody.until("B", 3).await;
    assert_eq!(moody.came("A"), [1, 1]);
    moody.mend();
    flow.replay(dead[0].message).await;
    moody.until("A", 4).await;
    assert_eq!(moody.came("A"), [1, 1, 1, 2, 3, 4]);
    let first: Vec<String> = moody
        .peer
        .requests()
        .into_iter()
        .filter(|one| one.body.contains(r#""A","n":1"#))
        .map(|one| one.idempotency_key)
        .collect();
    assert!(first.iter().all(|key| *key == first[0]), "a replay keeps its idempotency key: {first:?}");
    assert!(flow.dead_letters(0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_key_goes_on_once_its_dead_letter_is_discarded() {
    let moody = Moody::start(422).await;
    let flow = Flow::start("order-discard", &[("orders", &moody.pipeline("50ms", "hold_key"))]).await;
    for (key, n) in [("A", 1), ("A", 2), ("A", 3), ("B", 1)] {
        flow.send("/orders", order(key, n)).await;
    }
    let dead = flow.dead_letters(1).await;
    moody.until("B", 1).await;
    assert_eq!(moody.came("A"), [1]);
    flow.discard(dead[0].message).await;
    moody.until("A", 3).await;
    assert_eq!(moody.came("A"), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_lets_its_key_go_on() {
    let moody = Moody::start(503).await;
    let flow = Flow::start("order-dead", &[("orders", &moody.pipeline("50ms", "dead_letter"))]).await;
    for n in 1..=3 {
        flow.send("/orders", order("A", n)).await;
    }
    moody.until("A", 3).await;
    assert_eq!(moody.came("A"), [1, 1, 2, 3], "two attempts, then the next");
    assert_eq!(flow.dead_letters(1).await[0].attempts, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_held_too_where_the_steps_fail() {
    let moody = Moody::start(200).await;
    let yaml = moody.pipeline("50ms", "hold_key").replace("to:", "steps:\n  - map: { key: $.key, n: $.number }\nto:");
    let flow = Flow::start("order-steps", &[("orders", &yaml)]).await;
    let good = |key: &str, n: u64| format!(r#"{{"key":"{key}","number":{n}}}"#);
    flow.send("/orders", r#"{"key":"A","broken":1}"#).await;
    flow.send("/orders", good("A", 2)).await;
    flow.send("/orders", good("B", 1)).await;
    moody.until("B", 1).await;
    let dead = flow.dead_letters(1).await;
    assert_eq!(&dead[0].body[..], br#"{"key":"A","broken":1}"#);
    assert!(moody.came("A").is_empty());
    // The steps are mended: the replay comes first.
    flow.folder.replace("pipelines/orders/pipeline.yaml", "n: $.number", "n: '=coalesce($.number, 1)'");
    flow.hub.reload().await.expect("the edit is right");
    flow.send("/orders", good("B", 2)).await;
    moody.until("B", 2).await;
    assert!(moody.came("A").is_empty());
    flow.replay(dead[0].message).await;
    moody.until("A", 2).await;
    assert_eq!(moody.came("A"), [1, 2]);
}

/// The order of a key holds although it was accepted in many commits, with a slow peer and sixteen deliveries at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_each_in_their_order() {
    let moody = Moody::start(200).await;
    let flow = Flow::of(
        crate::harness::Folder::hub("order-many", &[("orders", &moody.pipeline("50ms", "dead_letter"))]),
        Clock::real(),
    )
    .await;
    for n in 0..40 {
        flow.receive("orders", (0..25).map(|key| order(&format!("k{key}"), n))).await;
    }
    wait_for("all of them", || (moody.peer.requests().len() >= 1000).then_some(())).await;
    for key in 0..25 {
        assert_eq!(moody.came(&format!("k{key}")), (0..40).collect::<Vec<_>>());
    }
}
