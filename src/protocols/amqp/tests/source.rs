//! A queue with somebody who fills it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Client, Room, large, text};
use crate::config::Size;
use crate::message::{Fault, Next, Value};
use crate::parts::proxy::{Mode, Proxy};
use crate::protocols::conformance::{
    self, Mood, Recorder, Running, SourcePeer, Told, codec, read_source_yaml, surroundings,
};
use crate::protocols::{Arrival, Source};

/// Somebody who fills the queue `orders`.
struct Shop {
    room: Room,
    client: Client,
    lines: String,
    sent: std::sync::atomic::AtomicU64,
}

impl Shop {
    async fn new(lines: &str) -> Shop {
        let room = Room::new().await;
        room.declare("orders").await;
        let client = room.client().await;
        Shop { room, client, lines: lines.to_owned(), sent: Default::default() }
    }

    async fn send_with_id(&self, id: &str, body: &str) {
        self.client.send("orders", body.as_bytes(), BasicProperties::default().with_message_id(id.into())).await;
    }
}

#[async_trait]
impl SourcePeer for Shop {
    fn open(&self) -> Result<Box<dyn Source>, Fault> {
        let yaml = format!("protocol: amqp\n{}queue: orders\n{}", self.room.broker(), self.lines);
        read_source_yaml(&yaml).open("web-order", codec(), &surroundings(".".as_ref()))
    }

    async fn send(&self, message: &str, recorder: &Recorder) -> Told {
        let (refused, acknowledged) = (recorder.refused(), self.sent.load(std::sync::atomic::Ordering::Relaxed));
        self.send_with_id(message, &Value::from(message).to_string()).await;
        loop {
            if recorder.refused() > refused {
                return Told::ComeBack;
            }
            if self.room.acks("orders").await > acknowledged {
                self.sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return Told::Accepted;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_queue_passes_the_suite_of_all_sources() {
    conformance::source(async || Shop::new("").await).await;
}

#[tokio::test]
async fn what_is_not_stored_is_not_acknowledged_and_comes_again() {
    let mut shop = Shop::new("").await;
    let proxy = Proxy::start(shop.room.port).await;
    shop.room.port = proxy.port();
    let peer: Arc<Shop> = Arc::new(shop);
    let running = Running::start(&(peer.clone() as Arc<dyn SourcePeer>));
    running.recorder.set(Mood::Hold);
    peer.send_with_id("o-1", "1").await;
    running.recorder.until("it is handed over", |state| state.waiting > 0).await;
    // Longer than the broker takes to count.
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(peer.room.acks("orders").await, 0);
    // The connection is cut: what was out comes again.
    proxy.cut();
    sleep(Duration::from_millis(300)).await;
    running.recorder.set(Mood::Accept);
    running.recorder.until("it comes again", |state| state.handed.len() >= 2).await;
    peer.room.ask(|vhost| vhost.wait_depth("orders", 0)).await;
    let handed = running.recorder.handed();
    assert!(handed.iter().all(|arrival| arrival.position.as_deref() == Some("o-1")), "{handed:?}");
    let last = handed.last().and_then(|arrival| arrival.headers.get("amqp")?.get("redelivered")).cloned();
    assert_eq!(last, Some(Value::from(true)));
    running.stop().await;
}

#[tokio::test]
async fn what_is_stored_during_a_stop_is_acknowledged_too() {
    let shop = Arc::new(Shop::new("").await);
    let peer: Arc<dyn SourcePeer> = shop.clone();
    let running = Running::start(&peer);
    running.recorder.set(Mood::Hold);
    for number in 0..600 {
        shop.send_with_id(&format!("o-{number}"), "1").await;
    }
    running.recorder.until("several runs are out", |state| state.waiting > 2).await;
    running.stop.cancel();
    sleep(Duration::from_millis(100)).await;
    let recorder = running.recorder.clone();
    recorder.set(Mood::Accept);
    running.stop().await;
    let stored = recorder.stored().len();
    let again = Running::start_with(&peer, recorder.clone());
    recorder.until("the rest comes", |state| state.stored.len() == 600).await;
    shop.room.ask(|vhost| vhost.wait_depth("orders", 0)).await;
    again.stop().await;
    assert_eq!(recorder.handed().len(), 600, "{stored} were stored before the stop, and came again");
}

#[tokio::test]
async fn messages_come_in_runs_several_at_a_time() {
    let shop = Arc::new(Shop::new("").await);
    for number in 0..3000 {
        shop.send_with_id(&format!("o-{number}"), &number.to_string()).await;
    }
    let running = Running::start(&(shop.clone() as Arc<dyn SourcePeer>));
    running.recorder.set(Mood::Hold);
    running
        .recorder
        .until("several runs are handed over before the first is answered", |state| state.waiting > 1)
        .await;
    running.recorder.set(Mood::Accept);
    running.recorder.until("all come", |state| state.stored.len() == 3000).await;
    shop.room.ask(|vhost| vhost.wait_depth("orders", 0)).await;
    let mut bodies: Vec<u32> =
        running.recorder.stored().iter().map(|one| text(&one.body).parse().unwrap_or(0)).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..3000).collect::<Vec<_>>());
    assert_eq!(running.recorder.handed().len(), 3000, "none came twice");
    running.stop().await;
}

#[tokio::test]
async fn a_slow_run_does_not_hold_back_the_acknowledgment_of_others() {
    let shop = Arc::new(Shop::new("prefetch: 100\n").await);
    let running = Running::start(&(shop.clone() as Arc<dyn SourcePeer>));
    running.recorder.set(Mood::Refuse);
    shop.send_with_id("slow", "0").await;
    running.recorder.until("it is refused", |state| state.refused > 0).await;
    running.recorder.set(Mood::Accept);
    for number in 1..=20 {
        shop.send_with_id(&format!("o-{number}"), &number.to_string()).await;
    }
    running.recorder.until("the others come", |state| state.stored.len() >= 20).await;
    shop.room.acknowledged("orders", 20).await;
    // The refused one comes back after the seconds that the recorder asked for.
    running.recorder.until("the slow one", |state| state.stored.len() == 21).await;
    shop.room.acknowledged("orders", 21).await;
    running.stop().await;
}

#[tokio::test]
async fn large_messages_come_few_at_a_time() {
    let shop = Arc::new(Shop::new("").await);
    for number in 0..200 {
        shop.send_with_id(&format!("small-{number}"), "1").await;
    }
    for number in 0..60 {
        shop.send_with_id(&format!("large-{number}"), &large(Size(1 << 20))).await;
    }
    let running = Running::start(&(shop.clone() as Arc<dyn SourcePeer>));
    running.recorder.until("all come", |state| state.stored.len() == 260).await;
    shop.room.acknowledged("orders", 260).await;
    assert_eq!(running.recorder.handed().len(), 260, "another number of messages at a time repeats none");
    running.stop().await;
}

#[tokio::test]
async fn headers_and_properties_keep_their_types() {
    let shop = Arc::new(Shop::new("id: x-order\n").await);
    let mut inner = FieldTable::default();
    inner.insert("deep".into(), AMQPValue::ShortInt(-3));
    let mut headers = FieldTable::default();
    headers.insert("X-Order".into(), AMQPValue::LongString("4711".into()));
    headers.insert("count".into(), AMQPValue::LongInt(7));
    headers.insert("paid".into(), AMQPValue::Boolean(true));
    headers.insert("amount".into(), AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 1250 }));
    headers.insert("rate".into(), AMQPValue::Double(0.1));
    headers.insert("at".into(), AMQPValue::Timestamp(1_700_000_000));
    headers.insert("raw".into(), AMQPValue::ByteArray(vec![0, 255].into()));
    headers.insert("list".into(), AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::LongLongInt(9)].into()));
    headers.insert("map".into(), AMQPValue::FieldTable(inner));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id("m-1".into())
        .with_correlation_id("c-1".into())
        .with_type("order.paid".into())
        .with_priority(3)
        .with_timestamp(1_700_000_000)
        .with_delivery_mode(2);
    let running = Running::start(&(shop.clone() as Arc<dyn SourcePeer>));
    shop.client.send("orders", b"{}", properties).await;
    running.recorder.until("it comes", |state| state.stored.len() == 1).await;
    let arrival: Arrival = running.recorder.stored().remove(0);
    running.stop().await;
    assert_eq!(arrival.position.as_deref(), Some("4711"), "the header that `id` names");
    let told = Value::from(arrival.headers);
    let expect = r#"{"x_order":"4711","count":7,"paid":true,"amount":12.50,"rate":0.1,"at":"2023-11-14T22:13:20Z","raw":"AP8=","list":[null,9],"map":{"deep":-3},"amqp":{"exchange":"","routing_key":"orders","redelivered":false,"message_id":"m-1","correlation_id":"c-1","type":"order.paid","priority":3,"timestamp":"2023-11-14T22:13:20Z","persistent":true}}"#;
    let expect = crate::message::json::read(expect.as_bytes()).expect("it is JSON");
    assert_eq!(told, expect, "{told}");
}

/// Runs the source once, until it ends by itself.
async fn ends_with(shop: &Shop) -> Fault {
    let mut source = shop.open().expect("it opens");
    let ran = source.run(Arc::new(Recorder::default()), CancellationToken::new());
    conformance::bounded("the end of the source", ran).await.expect_err("it cannot run")
}

#[tokio::test]
async fn a_missing_queue_waits_for_a_person_and_one_that_goes_away_is_looked_for_again() {
    let mut shop = Shop::new("").await;
    shop.room.ask(|vhost| vhost.delete_queue("orders")).await;
    let fault = ends_with(&shop).await;
    assert_eq!((fault.code(), fault.next()), ("AMQP-MISSING", Next::Misconfigured), "{fault}");
    assert!(fault.to_string().contains("queue `orders`"), "{fault}");
    shop.room.declare("orders").await;
    let deleted = shop.room.ask(|vhost| {
        std::thread::sleep(Duration::from_millis(700));
        vhost.delete_queue("orders");
    });
    let (fault, ()) = tokio::join!(ends_with(&shop), deleted);
    assert_eq!((fault.code(), fault.next()), ("AMQP-CANCELLED", Next::Reconnect), "{fault}");
    // And one that it makes itself, with its bindings, and again where it is there.
    shop.lines =
        "declare:\n  arguments: { x-max-length: 10 }\n  bind: [{ exchange: amq.topic, routing_key: order.* }]\n".into();
    let shop = Arc::new(shop);
    for _ in 0..2 {
        let running = Running::start(&(shop.clone() as Arc<dyn SourcePeer>));
        let routed = || shop.room.ask(|vhost| vhost.publish("amq.topic", "order.paid", "1"));
        while !routed().await {
            sleep(Duration::from_millis(50)).await;
        }
        running.recorder.until("what the binding brings", |state| !state.stored.is_empty()).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_queue_that_is_otherwise_says_in_what() {
    let shop = Shop::new("declare: { type: classic }\n").await;
    let fault = ends_with(&shop).await;
    assert_eq!((fault.code(), fault.next()), ("AMQP-DIFFERENT", Next::Misconfigured), "{fault}");
    assert!(fault.to_string().contains("x-queue-type"), "{fault}");
}

#[tokio::test]
async fn a_network_that_goes_and_comes_loses_nothing() {
    let mut shop = Shop::new("").await;
    let proxy = Proxy::start(shop.room.port).await;
    shop.room.port = proxy.port();
    let shop = Arc::new(shop);
    let running = Running::start(&(shop.clone() as Arc<dyn SourcePeer>));
    for (number, mode) in [Mode::Refuse, Mode::BlackHole, Mode::Refuse].into_iter().enumerate() {
        shop.send_with_id(&format!("before-{number}"), "1").await;
        running.recorder.until("the network is there", |state| state.stored.len() > number * 2).await;
        proxy.set(mode);
        if mode == Mode::Refuse {
            proxy.cut();
        }
        shop.send_with_id(&format!("during-{number}"), "1").await;
        // Longer than two heartbeats.
        sleep(Duration::from_millis(2500)).await;
        proxy.set(Mode::Forward);
        running.recorder.until("the network is back", |state| state.stored.len() == (number + 1) * 2).await;
    }
    shop.room.ask(|vhost| vhost.wait_depth("orders", 0)).await;
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_acknowledged_and_does_not_come_again() {
    let shop = Arc::new(Shop::new("").await);
    let running = Running::start(&(shop.clone() as Arc<dyn SourcePeer>));
    shop.send_with_id("bad", "{ this is not JSON").await;
    shop.send_with_id("good", "1").await;
    shop.room.acknowledged("orders", 2).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(running.recorder.handed().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn two_sources_share_a_queue() {
    let shop = Arc::new(Shop::new("prefetch: 8\n").await);
    let peer: Arc<dyn SourcePeer> = shop.clone();
    let (one, other) = (Running::start(&peer), Running::start(&peer));
    while shop.room.ask(|vhost| vhost.queue("orders").map(|told| told["consumers"] == json!(2))).await != Some(true) {
        sleep(Duration::from_millis(50)).await;
    }
    for number in 0..400 {
        shop.send_with_id(&format!("o-{number}"), "1").await;
    }
    conformance::bounded("all messages", async {
        while one.recorder.stored().len() + other.recorder.stored().len() < 400 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let shares = (one.recorder.stored().len(), other.recorder.stored().len());
    assert!(shares.0 > 0 && shares.1 > 0 && shares.0 + shares.1 == 400, "{shares:?}");
    one.stop().await;
    other.stop().await;
}

#[test]
fn headers_nested_too_deep_make_a_dead_letter() {
    let mut value = AMQPValue::Void;
    for _ in 0..40 {
        value = AMQPValue::FieldArray(vec![value].into());
    }
    let mut table = FieldTable::default();
    table.insert("deep".into(), value);
    let properties = BasicProperties::default().with_headers(table);
    let envelope = super::super::properties::Envelope {
        exchange: "",
        routing_key: "orders",
        redelivered: false,
        properties: &properties,
    };
    let fault = super::super::properties::headers(&envelope).expect_err("it is too deep");
    assert_eq!((fault.code(), fault.next()), ("AMQP-HEADERS", Next::Refuse));
}
