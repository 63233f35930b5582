//! An exchange with queues behind it, and without.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::{Room, blocking};
use crate::message::{Fault, Map, Next, Value, json as hub_json};
use crate::parts::proxy::{Mode, Proxy};
use crate::parts::rabbitmq::{Options, Rabbit};
use crate::protocols::conformance::{
    self, Behaviour, Taken, TargetPeer, codec, deliver_document, delivery, read_target_yaml, surroundings,
};
use crate::protocols::{Delivery, Target};

/// Somebody who reads the queue `orders`.
struct Erp {
    room: Room,
    proxy: Proxy,
}

impl Erp {
    async fn new() -> Erp {
        let mut room = Room::new().await;
        room.declare("orders").await;
        let proxy = Proxy::start(room.port).await;
        room.port = proxy.port();
        Erp { room, proxy }
    }

    fn target(&self, lines: &str) -> Arc<dyn Target> {
        target(&self.room, lines)
    }
}

fn target(room: &Room, lines: &str) -> Arc<dyn Target> {
    let yaml = format!("protocol: amqp\n{}confirm_within: 2s\n{lines}", room.broker());
    let opened = read_target_yaml(&yaml).open("web-order.to.erp", codec(), &surroundings(".".as_ref()));
    opened.unwrap_or_else(|fault| panic!("{fault}"))
}

#[async_trait]
impl TargetPeer for Erp {
    fn open(&self) -> Result<Arc<dyn Target>, Fault> {
        Ok(self.target("routing_key: orders\n"))
    }

    async fn behave(&self, behaviour: Behaviour) -> bool {
        match behaviour {
            Behaviour::Well => self.proxy.set(Mode::Forward),
            Behaviour::Refuse => return false,
            Behaviour::Down => {
                self.proxy.set(Mode::Refuse);
                self.proxy.cut();
            }
            Behaviour::Slow => self.proxy.set(Mode::BlackHole),
        }
        true
    }

    async fn taken(&self) -> Vec<Taken> {
        let taken = self.room.ask(|vhost| vhost.take("orders", 1000)).await;
        let one = |told: &serde_json::Value| Taken {
            key: told["properties"]["message_id"].as_str().unwrap_or_default().to_owned(),
            text: told["payload"].as_str().unwrap_or_default().to_owned(),
        };
        taken.iter().map(one).collect()
    }
}

#[tokio::test]
async fn an_exchange_passes_the_suite_of_all_targets() {
    conformance::target(async || Erp::new().await).await;
}

fn many(target: &dyn Target, count: u32) -> Vec<Delivery> {
    (1..=count).map(|number| delivery(target, number)).collect()
}

/// `CODE next` of each outcome that is not well, with how many there are.
fn told(outcomes: &[Result<Option<crate::message::Text>, Fault>]) -> Vec<(String, usize)> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for outcome in outcomes {
        let said = match outcome {
            Ok(_) => "delivered".to_owned(),
            Err(fault) => format!("{} {:?}", fault.code(), fault.next()),
        };
        match counted.iter_mut().find(|(known, _)| *known == said) {
            Some((_, count)) => *count += 1,
            None => counted.push((said, 1)),
        }
    }
    counted
}

#[tokio::test]
async fn runs_at_once_are_all_confirmed() {
    let erp = Erp::new().await;
    let target = erp.target("routing_key: orders\n");
    let runs = (0..4).map(|run| {
        let target = target.clone();
        tokio::spawn(async move {
            let deliveries: Vec<_> = (1..=250).map(|number| delivery(&*target, run * 1000 + number)).collect();
            told(&target.deliver_all(&deliveries).await)
        })
    });
    for run in futures_util::future::join_all(runs).await {
        assert_eq!(run.expect("it does not panic"), [("delivered".to_owned(), 250)]);
    }
    erp.room.ask(|vhost| vhost.wait_depth("orders", 1000)).await;
}

#[tokio::test]
async fn only_the_message_that_no_queue_takes_is_told_so() {
    let erp = Erp::new().await;
    let target = erp.target("routing_key: $.name\nproperties: { message_id: same }\n");
    for name in ["order-3", "order-7", "order-8"] {
        erp.room.ask(move |vhost| vhost.declare_queue(name, &json!({}))).await;
    }
    let outcomes = conformance::bounded("outcomes", target.deliver_all(&many(&*target, 9))).await;
    let well: Vec<usize> = outcomes.iter().enumerate().filter(|(_, one)| one.is_ok()).map(|(at, _)| at + 1).collect();
    assert_eq!(well, [3, 7, 8], "{outcomes:?}");
    let fault = outcomes[0].as_ref().expect_err("no queue takes it");
    assert_eq!((fault.code(), fault.next()), ("AMQP-UNROUTED", Next::Misconfigured));
    assert!(fault.to_string().contains("`order-1`"), "{fault}");
    // Once the queue is there, so is the message.
    erp.room.ask(|vhost| vhost.declare_queue("order-1", &json!({}))).await;
    target.deliver(&delivery(&*target, 1)).await.expect("it is routed");
}

#[tokio::test]
async fn an_exchange_that_is_missing_waits_for_a_person_or_is_made() {
    let erp = Erp::new().await;
    let missing = erp.target("exchange: shop\nrouting_key: order.paid\n");
    let outcomes = conformance::bounded("outcomes", missing.deliver_all(&many(&*missing, 3))).await;
    assert_eq!(told(&outcomes), [("AMQP-MISSING Misconfigured".to_owned(), 3)], "{outcomes:?}");
    let made = erp.target("exchange: shop\nrouting_key: order.paid\ndeclare: { type: topic }\n");
    let fault = made.deliver(&delivery(&*made, 1)).await.expect_err("nothing is bound to it yet");
    assert_eq!(fault.code(), "AMQP-UNROUTED");
    erp.room.ask(|vhost| vhost.bind("shop", "orders", "order.*")).await;
    made.deliver(&delivery(&*made, 1)).await.expect("it is bound");
    missing.deliver(&delivery(&*missing, 2)).await.expect("it is there now");
    // Gone and made again on the next connection.
    erp.room.ask(|vhost| vhost.delete_exchange("shop")).await;
    assert_eq!(made.deliver(&delivery(&*made, 3)).await.expect_err("it is gone").code(), "AMQP-MISSING");
    erp.proxy.cut();
    let fault = conformance::bounded("a new connection", async {
        loop {
            match made.deliver(&delivery(&*made, 3)).await {
                Err(fault) if fault.code() != "AMQP-MISSING" && fault.next() != Next::Reconnect => return fault,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    assert_eq!(fault.code(), "AMQP-UNROUTED", "{fault}");
    let other = erp.target("exchange: shop\nrouting_key: order.paid\ndeclare: { type: direct }\n");
    let fault = other.deliver(&delivery(&*other, 1)).await.expect_err("it is a topic exchange");
    assert_eq!((fault.code(), fault.next()), ("AMQP-DIFFERENT", Next::Misconfigured), "{fault}");
}

#[tokio::test]
async fn a_user_with_a_wrong_password_waits_for_a_person() {
    let erp = Erp::new().await;
    let user = erp.room.ask(|vhost| {
        let user = format!("u{}", vhost.name());
        vhost.user(&user, "", "", ".*");
        user
    });
    let user = user.await;
    let (host, port, vhost) = (erp.room.vhost.rabbit().host(), erp.room.vhost.rabbit().port(), erp.room.vhost.name());
    let broker = format!(
        "broker: {{ addresses: ['{host}:{port}'], vhost: {vhost}, user: {user}, password: '${{TEST_SECRET}}' }}"
    );
    let yaml = format!("protocol: amqp\n{broker}\nrouting_key: orders\n");
    let open = read_target_yaml(&yaml).open("t", codec(), &surroundings(".".as_ref()));
    let target = open.unwrap_or_else(|fault| panic!("{fault}"));
    let fault = target.deliver(&delivery(&*target, 1)).await.expect_err("the password is wrong");
    assert_eq!((fault.code(), fault.next()), ("AMQP-LOGIN", Next::Misconfigured), "{fault}");
    assert!(!fault.to_string().contains("s3cret"), "{fault}");
}

#[tokio::test]
async fn a_message_says_what_its_formulas_say_and_carries_its_id() {
    let erp = Erp::new().await;
    let target = erp.target(
        "routing_key: =concat('ord', 'ers')\nheaders:\n  store: $.store\n  lines: $.lines\n  net: $.net\n  nothing: $.nothing?\n  at: { '@timestamp': $.at }\nproperties: { correlation_id: $.store, priority: =2+3, type: order.paid, expiration: 60000, app_id: raccord }\n",
    );
    let document = r#"{"store":"lyon","lines":[1,{"x":null}],"net":12.50,"at":"2023-11-14T22:13:20Z"}"#;
    let document = hub_json::read(document.as_bytes()).expect("it is JSON");
    let delivery = deliver_document(&*target, 1, &document).unwrap_or_else(|fault| panic!("{fault}"));
    target.deliver(&delivery).await.unwrap_or_else(|fault| panic!("{fault}"));
    let mut told = erp.room.ask(|vhost| vhost.take("orders", 1)).await.remove(0);
    // Added by the queue.
    told["properties"]["headers"].as_object_mut().expect("there are headers").remove("x-delivery-count");
    // The interface shows a void as a word.
    let expect = json!({
        "message_id": delivery.id.to_string(), "correlation_id": "lyon", "priority": 5, "type": "order.paid",
        "expiration": "60000", "app_id": "raccord", "timestamp": 0, "delivery_mode": 2, "content_type": "application/json",
        "headers": { "store": "lyon", "lines": [1, { "x": "undefined" }], "net": 12.5, "at": 1_700_000_000 },
    });
    assert_eq!(told["properties"], expect, "{told}");
    assert_eq!(told["routing_key"], "orders");
}

#[tokio::test]
async fn what_amqp_cannot_carry_is_refused_before_it_is_queued() {
    let erp = Erp::new().await;
    let check = |lines: &str, document: &str| {
        let target = erp.target(lines);
        let document = hub_json::read(document.as_bytes()).expect("it is JSON");
        let fault = deliver_document(&*target, 1, &document).expect_err("it cannot be sent");
        assert_eq!((fault.code(), fault.next()), ("AMQP-PROPERTY", Next::Refuse), "{fault}");
        fault.to_string()
    };
    let long = format!("{{\"key\":\"{}\"}}", "k".repeat(300));
    assert!(check("routing_key: $.key\n", &long).contains("300 bytes"));
    check("routing_key: $.key\n", r#"{"key":[1]}"#);
    check("routing_key: x\nproperties: { priority: $.p }\n", r#"{"p":256}"#);
    check("routing_key: x\nproperties: { correlation_id: $.p }\n", r#"{"p":{}}"#);
    check("routing_key: x\nproperties: { timestamp: $.p }\n", r#"{"p":"yesterday"}"#);
    check("routing_key: x\nheaders: { at: { '@timestamp': $.p } }\n", r#"{"p":"1960-01-01T00:00:00Z"}"#);
    check("routing_key: x\nheaders: { at: { '@decimal': $.p } }\n", r#"{"p":-1}"#);
    let said = check("routing_key: x\nheaders: { raw: { '@bytes': $.p } }\n", r#"{"p":"!"}"#);
    assert!(said.contains("headers.raw"), "{said}");
}

#[tokio::test]
async fn a_message_too_large_is_refused_and_those_beside_it_are_tried_again() {
    let rabbit =
        blocking(|| Rabbit::private(&Options { config: vec!["max_message_size = 1000".into()], ..Options::default() }));
    let rabbit = rabbit.await;
    let room = {
        let rabbit = rabbit.clone();
        blocking(move || Room { vhost: Arc::new(rabbit.vhost()), port: rabbit.port() }).await
    };
    room.declare("orders").await;
    let target = target(&room, "routing_key: orders\n");
    let large: Map = [("name", "x".repeat(2000))].into_iter().collect();
    let mut deliveries = many(&*target, 5);
    deliveries[2] = deliver_document(&*target, 3, &Value::from(large)).unwrap_or_else(|fault| panic!("{fault}"));
    let outcomes = conformance::bounded("outcomes", target.deliver_all(&deliveries)).await;
    let fault = outcomes[2].as_ref().expect_err("it is too large");
    assert_eq!((fault.code(), fault.next()), ("AMQP-TOO-LARGE", Next::Refuse), "{fault}");
    for (at, outcome) in outcomes.iter().enumerate().filter(|(at, _)| *at != 2) {
        if let Err(fault) = outcome {
            assert!(matches!(fault.next(), Next::Retry { .. }), "{at}: {fault}");
        }
    }
    target.deliver(&deliveries[4]).await.expect("a new channel takes it");
    // Short of memory: nothing is taken, and it is told why; then all is well again.
    {
        let rabbit = rabbit.clone();
        blocking(move || rabbit.memory_alarm(true)).await
    };
    let fault = conformance::bounded("the alarm", async {
        loop {
            if let Err(fault) = target.deliver(&deliveries[0]).await {
                return fault;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let fault = fault.await;
    assert_eq!((fault.code(), fault.next()), ("AMQP-BLOCKED", Next::Reconnect), "{fault}");
    {
        let rabbit = rabbit.clone();
        blocking(move || rabbit.memory_alarm(false)).await
    };
    let well = async {
        while target.deliver(&deliveries[0]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    conformance::bounded("the end of the alarm", well).await;
}
