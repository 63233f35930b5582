//! Mobile payments, by signed web hook, compared with the orders that the hub remembers.

use hmac::{Hmac, KeyInit, Mac};
use jiff::SignedDuration;
use raccord::clock::Clock;
use serde_json::{Value, json};
use sha2::Sha256;

use super::story::{Story, notes};
use crate::harness::{client, wait_for};
use crate::systems::asked_for;

/// As `config/demo.env` has it.
const SECRET: &str = "demo-mobile-hook-secret";

/// What the provider tells of a payment.
fn event(id: &str, order: &str, kind: &str, cents: u32) -> Value {
    json!({
        "id": id, "type": kind, "created": "2026-11-22T09:30:00Z",
        "payment": {
            "id": id.replace("evt", "pay"), "merchant_reference": order, "amount": cents, "currency": "EUR",
            "refusal": if kind == "payment.refused" { json!("insufficient funds") } else { Value::Null },
            "payer": { "msisdn": "+33600000001" },
        },
    })
}

/// Sends an event as the provider would, signed so long ago with this secret. Answers the status.
async fn tell(story: &Story, event: &Value, secret: &str, ago: SignedDuration) -> u16 {
    let at = (Clock::real().now() - ago).as_second().to_string();
    let body = event.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any secret fits");
    mac.update(format!("{at}.{body}").as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client().post(story.hub.url("/hooks/mobile/payment.ended"));
    let request = request.header("Exemple-Timestamp", at).header("Exemple-Signature", format!("v1={signature}"));
    request.body(body).send().await.expect("the hub answers").status().as_u16()
}

/// A payment that fits is a note on the order, though it came before the order; each other one is a line for accounting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mobile_payments_are_matched_or_stand_in_the_worklist() {
    if !asked_for() {
        return;
    }
    let waits = [("mobile-payment", "within: 30m", "within: 40s")];
    let mut story = Story::begin("systems-payments", &["shop-order", "mobile-payment"], &waits).await;
    let (now, long_ago) = (SignedDuration::ZERO, SignedDuration::from_mins(6));

    // The shop tells an order ten seconds after it was placed: this money is faster.
    let code = story.order(2).await;
    let fits = event("evt_1", &code, "payment.succeeded", 3490);
    assert_eq!(tell(&story, &fits, "a wrong secret", now).await, 401);
    assert_eq!(tell(&story, &fits, SECRET, long_ago).await, 401, "a recording");
    assert_eq!(tell(&story, &fits, SECRET, now).await, 200);
    assert_eq!(tell(&story, &fits, SECRET, now).await, 200, "told twice");
    assert_eq!(tell(&story, &event("evt_2", "NO-SUCH-ORDER", "payment.succeeded", 100), SECRET, now).await, 200);

    let order = story.shop("the payment's note", &code, |order| !notes(order).is_empty()).await;
    assert_eq!(notes(&order), ["Mobile payment pay_1 has come: 34.90 EUR"]);

    let other = story.order(1).await;
    story.sale("the second order's sale", &other, |sale| sale["state"] == "processing").await;
    for (id, order, kind, cents) in [
        ("evt_3", &code, "payment.succeeded", 3490),
        ("evt_4", &other, "payment.refused", 1990),
        ("evt_5", &other, "payment.succeeded", 1989),
    ] {
        assert_eq!(tell(&story, &event(id, order, kind, cents), SECRET, now).await, 200);
    }
    let file = "out/worklist/mobile-payments-2026-11-22.csv";
    let complete = || Some(story.folder.read_if(file)).filter(|text| text.lines().count() >= 5);
    let worklist = wait_for("the worklist", complete).await;
    let mut lines: Vec<&str> = worklist.lines().collect();
    assert_eq!(lines.remove(0), "day;order;payment;amount;currency;expected;customer;problem;to_do");
    lines.sort_by_key(|line| line.split(';').nth(2).map(str::to_owned));
    let begins = [
        "2026-11-22;NO-SUCH-ORDER;pay_2;1,00;EUR;;+33600000001;unknown order;".to_owned(),
        format!("2026-11-22;{code};pay_3;34,90;EUR;34,90;oda.story@exemple.example;paid twice;"),
        format!("2026-11-22;{other};pay_4;19,90;EUR;19,90;oda.story@exemple.example;refused: insufficient funds;"),
        format!("2026-11-22;{other};pay_5;19,89;EUR;19,90;oda.story@exemple.example;other amount;"),
    ];
    assert_eq!(lines.len(), begins.len(), "{worklist}");
    for (line, begin) in lines.iter().zip(&begins) {
        assert!(line.starts_with(begin.as_str()), "{line}\nis not\n{begin}");
    }
    let matched = story.shop("the order", &code, |_| true).await;
    assert_eq!(notes(&matched).len(), 1, "one note: {matched}");

    story.nothing_is_given_up(&[]);
    assert!(story.hub.terminate().await.success());
}
