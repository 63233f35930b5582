//! Systems that are slow to forgive: tokens that end, limits, pages without end, answers that are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Reply, System, dead, hub, json as answer, status, the_dead};
use crate::harness::{HubProcess, client, post, wait_for};

const ERP: &str = r"
system: ERP
verified: { against: nothing }
base: $connection.url
settings: { url: { type: url }, secret: { type: text, default: s3cret } }
AUTH
operations:
  order.put:
    kind: write
    request: { post: /orders, json: $ }
    idempotency: { header: Idempotency-Key, value: $meta.id }
";

const OAUTH: &str = "auth: { oauth2: { grant: client_credentials, token_url: /token, client_id: hub, client_secret: $connection.secret } }";

const ORDERS: &str = r"
about: Orders go to the ERP.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: none
dedupe: none
to:
  erp: { connection: erp, operation: order.put, retry: [100ms, 100ms, 200ms, 500ms, 1s, 1s, 2s, 2s] }
on_error: { retry: [100ms] }
";

async fn send(hub: &HubProcess, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let (status, said) = post(&hub.url("/orders"), json!({ "number": number }).to_string()).await;
        assert_eq!(status, 202, "{said}");
    }
}

/// How often each order was taken.
type Taken = Arc<Mutex<BTreeMap<u64, u32>>>;

fn take(taken: &Taken, body: &Value) {
    let number = body["number"].as_u64().expect("an order has a number");
    *taken.lock().expect("nobody panics").entry(number).or_default() += 1;
}

/// Waits until `orders` are taken, and then a moment for one too many.
async fn taken_once(taken: &Taken, orders: usize) {
    wait_for("all orders", || (taken.lock().expect("nobody panics").len() >= orders).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let taken = taken.lock().expect("nobody panics");
    assert!(taken.len() == orders && taken.values().all(|times| *times == 1), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_revoked_is_replaced_and_no_order_is_lost_or_doubled() {
    let (taken, tokens) = (Taken::default(), Arc::new(Mutex::new(0)));
    let (seen, given) = (taken.clone(), tokens.clone());
    let erp = System::start(move |asked| {
        let mut given = given.lock().expect("nobody panics");
        if asked.line == "POST /token" {
            *given += 1;
            return answer(
                json!({ "access_token": format!("token-{given}"), "token_type": "Bearer", "expires_in": 3600 }),
            );
        }
        // The first token is good for three orders.
        let good = if seen.lock().expect("nobody panics").len() < 3 { "Bearer token-1" } else { "Bearer token-2" };
        if asked.header("authorization") != good {
            return status(401);
        }
        take(&seen, &asked.json());
        answer("{}")
    })
    .await;
    let folder = hub("faults-revoked", &[("erp", &ERP.replace("AUTH", OAUTH), &erp)], &[("orders", ORDERS)]);
    let hub = HubProcess::start(&folder).await;
    send(&hub, 0..20).await;
    taken_once(&taken, 20).await;
    assert_eq!(*tokens.lock().expect("nobody panics"), 2, "one for all who wait for it");
    assert_eq!(dead(&folder), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_before_it_ends() {
    let (taken, ends, refused) = (Taken::default(), Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
    let (seen, until, turned_away) = (taken.clone(), ends.clone(), refused.clone());
    let mut given = 0;
    let erp = System::start(move |asked| {
        let mut until = until.lock().expect("nobody panics");
        if asked.line == "POST /token" {
            given += 1;
            *until = Some((format!("Bearer token-{given}"), Instant::now() + Duration::from_secs(3)));
            return answer(
                json!({ "access_token": format!("token-{given}"), "token_type": "Bearer", "expires_in": 3 }),
            );
        }
        match &*until {
            Some((good, until)) if asked.header("authorization") == good && Instant::now() < *until => {
                take(&seen, &asked.json());
                answer("{}")
            }
            _ => {
                *turned_away.lock().expect("nobody panics") += 1;
                status(401)
            }
        }
    })
    .await;
    let folder = hub("faults-expired", &[("erp", &ERP.replace("AUTH", OAUTH), &erp)], &[("orders", ORDERS)]);
    let hub = HubProcess::start(&folder).await;
    for number in 0..24 {
        send(&hub, number..number + 1).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    taken_once(&taken, 24).await;
    assert!(erp.lines("POST /token").len() >= 3, "the time of two has passed");
    // One that was on its way when a newer token came is told no, and goes again by itself.
    assert!(*refused.lock().expect("nobody panics") <= 2, "renewed late");
    assert_eq!(dead(&folder), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_says_not_now_is_left_alone_and_gets_all() {
    let taken = Taken::default();
    let (seen, mut began) = (taken.clone(), None);
    let erp = System::start(move |asked| {
        let began = *began.get_or_insert_with(Instant::now);
        if began.elapsed() < Duration::from_secs(3) {
            return Reply { headers: vec![("retry-after", "1".into())], ..status(429) };
        }
        take(&seen, &asked.json());
        answer("{}")
    })
    .await;
    let folder = hub("faults-429", &[("erp", &ERP.replace("AUTH", ""), &erp)], &[("orders", ORDERS)]);
    let hub = HubProcess::start(&folder).await;
    send(&hub, 0..100).await;
    taken_once(&taken, 100).await;
    let turned_away = erp.asked().len() - 100;
    assert!(turned_away <= 20, "{turned_away} requests though it had said how long to wait");
    assert_eq!(dead(&folder), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_repeated_under_the_same_key() {
    let keys = Arc::new(Mutex::new(BTreeSet::new()));
    let known = keys.clone();
    let erp = System::start(move |asked| {
        // It takes the order, and the connection breaks before it has said so.
        let lost = known.lock().expect("nobody panics").insert(asked.header("idempotency-key").to_owned());
        Reply { lost, ..answer("{}") }
    })
    .await;
    let folder = hub("faults-lost", &[("erp", &ERP.replace("AUTH", ""), &erp)], &[("orders", ORDERS)]);
    let hub = HubProcess::start(&folder).await;
    send(&hub, 0..10).await;
    wait_for("the end of all deliveries", || {
        let status = folder.asked(&["status"]);
        (erp.asked().len() >= 20 && status["pipelines"][0]["queues"]["orders.to.erp"] == 0).then_some(())
    })
    .await;
    let asked = erp.asked();
    assert_eq!(
        (asked.len(), keys.lock().expect("nobody panics").len()),
        (20, 10),
        "each twice, and known the second time"
    );
    for key in keys.lock().expect("nobody panics").iter() {
        let bodies: BTreeSet<&str> = asked
            .iter()
            .filter(|asked| asked.header("idempotency-key") == key)
            .map(|asked| asked.body.as_str())
            .collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
    }
    assert_eq!(dead(&folder), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_record_of_two_hundred_is_found_and_the_others_arrive_once() {
    let taken = Taken::default();
    let seen = taken.clone();
    let erp = System::start(move |asked| {
        let body = asked.json();
        let records = body.as_array().expect("a list of documents");
        if records.iter().any(|record| record["number"] == 137) {
            return status(422);
        }
        records.iter().for_each(|record| take(&seen, record));
        answer(json!({ "results": records.iter().map(|_| json!({ "ok": true })).collect::<Vec<_>>() }))
    })
    .await;
    let batch = "    batch: { size: 200, results: $.results, failed: $item.ok == false }\n";
    let manifest = format!(
        "{}{batch}",
        ERP.replace("AUTH", "").replace("    idempotency: { header: Idempotency-Key, value: $meta.id }\n", "")
    );
    let pipeline = ORDERS.replace("to:\n", "steps: [{ split: { each: $.orders } }]\nto:\n");
    let folder = hub("faults-batch", &[("erp", &manifest, &erp)], &[("orders", &pipeline)]);
    let hub = HubProcess::start(&folder).await;
    let orders: Vec<Value> = (0..200).map(|number| json!({ "number": number })).collect();
    assert_eq!(post(&hub.url("/orders"), json!({ "orders": orders }).to_string()).await.0, 202);
    taken_once(&taken, 199).await;
    let id = the_dead(&folder).await;
    folder.raccord(&["dead", "show", &id]).expect(0, &["HTTP-422", r#"{"number":137}"#]);
    assert!(erp.asked().len() <= 40, "{} requests to find one of 200", erp.asked().len());
}

const SHOP: &str = r#"
system: Shop
verified: { against: nothing }
base: $connection.url
settings: { url: { type: url } }
operations:
  order.changed:
    kind: poll
    every: 200ms
    request: { get: /orders, query: { page: $page.cursor? } }
    items: $.orders
    next: { cursor: $.next? }
    id: $item.number
  order.told:
    kind: listen
    auth:
      hmac: { secret: wh-secret, header: X-Signature, signed: "{timestamp}.{body}", timestamp_header: X-Time }
    id: $item.number
"#;

fn polled(operation: &str) -> String {
    let from = format!("from: {{ connection: shop, operation: {operation} }}");
    ORDERS.replace("from: { protocol: http, path: /orders, auth: none, format: json }", &from)
}

/// An ERP that keeps what it takes.
async fn erp() -> (System, Taken) {
    let taken = Taken::default();
    let seen = taken.clone();
    let erp = System::start(move |asked| {
        take(&seen, &asked.json());
        answer("{}")
    })
    .await;
    (erp, taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_without_end_stop_the_round_and_are_told() {
    let mended = Arc::new(Mutex::new(false));
    let right = mended.clone();
    let shop = System::start(move |asked| {
        let number = if asked.query.is_empty() { 1 } else { 2 };
        let last = number == 2 && *right.lock().expect("nobody panics");
        answer(json!({ "orders": [{ "number": number }], "next": if last { Value::Null } else { "p2".into() } }))
    })
    .await;
    let (erp, taken) = erp().await;
    let erp_manifest = ERP.replace("AUTH", "");
    let systems = [("shop", SHOP, &shop), ("erp", erp_manifest.as_str(), &erp)];
    let folder = hub("faults-pages", &systems, &[("orders", &polled("order.changed"))]);
    // Its source rests soon after the start: it may never be seen ready.
    let mut hub = HubProcess::spawn_run(&folder);
    hub.wait_listening().await;
    wait_for("a word about it", || folder.raccord(&["status"]).out.contains("CONNECTOR-PAGE-LOOP").then_some(())).await;
    assert!(shop.asked().len() < 30, "{} pages of a system that has two", shop.asked().len());
    *mended.lock().expect("nobody panics") = true;
    taken_once(&taken, 2).await;
    wait_for("the source runs", || (!folder.raccord(&["status"]).out.contains("rests")).then_some(())).await;
    drop(hub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_for_people_instead_of_json_passes_and_nothing_is_lost() {
    let mut left = 3;
    let shop = System::start(move |_| {
        if left > 0 {
            left -= 1;
            let headers = vec![("content-type", "text/html".to_owned())];
            return Reply { headers, body: "<html>We are back soon</html>".into(), ..status(200) };
        }
        answer(json!({ "orders": [{ "number": 1 }, { "number": 2 }] }))
    })
    .await;
    let (erp, taken) = erp().await;
    let erp_manifest = ERP.replace("AUTH", "");
    let systems = [("shop", SHOP, &shop), ("erp", erp_manifest.as_str(), &erp)];
    let folder = hub("faults-html", &systems, &[("orders", &polled("order.changed"))]);
    let hub = HubProcess::start(&folder).await;
    taken_once(&taken, 2).await;
    assert!(hub.log().contains("CONNECTOR-ANSWER"), "{}", hub.log());
    assert_eq!(dead(&folder), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_signed_an_hour_ago_is_refused_and_one_sent_twice_is_one() {
    use hmac::{Hmac, KeyInit, Mac};
    let (erp, taken) = erp().await;
    let shop = System::start(|_| status(404)).await;
    let erp_manifest = ERP.replace("AUTH", "");
    let systems = [("shop", SHOP, &shop), ("erp", erp_manifest.as_str(), &erp)];
    let folder = hub("faults-clock", &systems, &[("orders", &polled("order.told"))]);
    let hub = HubProcess::start(&folder).await;
    let tell = async |number: u32, ago: i64| {
        let (now, body) = (raccord::clock::Clock::real().now().as_second(), json!({ "number": number }).to_string());
        let time = now - ago;
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"wh-secret").expect("any key will do");
        mac.update(format!("{time}.{body}").as_bytes());
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = client().post(hub.url("/hooks/shop/order.told")).header("x-time", time.to_string());
        let answer = request.header("x-signature", signature).body(body).send().await.expect("the hub answers");
        answer.status().as_u16()
    };
    assert_eq!(tell(1, 3600).await, 401);
    assert_eq!((tell(2, 0).await, tell(1, 60).await, tell(2, 0).await), (200, 200, 200));
    taken_once(&taken, 2).await;
}
