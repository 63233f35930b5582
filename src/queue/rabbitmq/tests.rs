//! Against a real broker: each test has a virtual host of its own.

mod encrypted;
mod strained;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::config::Secret;
use crate::message::{Map, MessageId, Text};
use crate::parts::rabbitmq::Vhost;
use crate::queue::broker::{Content, Delivered, Deliveries, Envelope};
use crate::queue::{Decoded, NewEntry};
use crate::telemetry::Metrics;

const WINDOW: Window = Window { entries: 500, bytes: 8 << 20 };

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn vhost() -> Vhost {
    crate::parts::rabbitmq::Rabbit::shared().vhost()
}

fn settings(vhost: &Vhost) -> RabbitSettings {
    let (head, _) = vhost.url().rsplit_once('/').map(|(head, name)| (head.to_owned(), name.to_owned())).expect("a URL");
    let login = head.trim_start_matches("amqp://").split('@').next().expect("a login").to_owned();
    let (user, password) = login.split_once(':').expect("user and password");
    RabbitSettings {
        addresses: vec![Text::new(format!("{}:{}", vhost.rabbit().host(), vhost.rabbit().port()))],
        vhost: Text::new(vhost.name()),
        user: Some(Text::new(user)),
        password: Some(Secret::new(password)),
        tls: None,
        heartbeat: Duration::from_secs(10),
        confirm_within: Duration::from_secs(20),
        unconfirmed: 1000,
        declare: true,
        partitions: 4,
        prefix: "raccord".into(),
    }
}

fn open(settings: &RabbitSettings) -> Arc<Rabbit> {
    let ladder = vec![Duration::from_millis(200), Duration::from_millis(1500)];
    let clock = Clock::real();
    Rabbit::with_ladder(settings, Path::new("."), "test", clock, BrokerMetrics::default(), ladder)
        .expect("sound settings")
}

fn lane(partition: Option<u32>) -> BrokerLane {
    BrokerLane { queue: "orders".into(), partition }
}

fn publication(number: u64, partition: Option<u32>) -> Publication {
    let id = MessageId::derive(&[&number.to_be_bytes()]);
    let entry = NewEntry {
        queue: "orders".into(),
        message: id,
        origin: id,
        key: partition.map(|_| "Tartu".into()),
        time: Timestamp::UNIX_EPOCH,
        headers: Map::default(),
        body: Bytes::from(number.to_string()),
        start_at: 0,
        due: None,
        decoded: Decoded::default(),
    };
    let envelope = Envelope { entry, attempts: 0, stored: Timestamp::UNIX_EPOCH, copy: MessageId::draw() };
    Publication { lane: lane(partition), envelope, delay: None }
}

fn numbers(delivered: &[Delivered]) -> Vec<u64> {
    delivered
        .iter()
        .map(|one| match &one.content {
            Content::Entry(envelope) => {
                std::str::from_utf8(&envelope.entry.body).ok().and_then(|text| text.parse().ok()).expect("a number")
            }
            Content::Unreadable { fault, .. } => panic!("{fault}"),
        })
        .collect()
}

async fn publish(rabbit: &Rabbit, partition: Option<u32>, range: std::ops::Range<u64>) {
    let publications: Vec<_> = range.map(|number| publication(number, partition)).collect();
    for said in rabbit.publish(&publications).await {
        said.expect("published");
    }
}

async fn receive(deliveries: &mut Box<dyn Deliveries>, count: usize) -> Vec<Delivered> {
    let mut all = Vec::new();
    while all.len() < count {
        let next = timeout(SOON, deliveries.next()).await.expect("deliveries come");
        all.extend(next.expect("the subscription lives"));
    }
    all
}

fn tags(delivered: &[Delivered]) -> Vec<u64> {
    delivered.iter().map(|one| one.tag).collect()
}

async fn until_depth(rabbit: &Rabbit, wanted: u64) {
    let mut last = BrokerDepth::default();
    for _ in 0..300 {
        last = rabbit.depth("orders").await.expect("counted");
        if last.ready == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{wanted} should be ready: {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_delivered_in_order_until_it_is_acknowledged() {
    let vhost = vhost();
    let rabbit = open(&settings(&vhost));
    assert_eq!(rabbit.depth("orders").await.expect("counted"), BrokerDepth::default(), "no queue is an empty queue");
    rabbit.declare("orders", Sharing::Keyed).await.expect("declared");
    rabbit.declare("orders", Sharing::Keyed).await.expect("declared again");
    publish(&rabbit, Some(2), 0..3000).await;
    until_depth(&rabbit, 3000).await;
    let mut subscribed = rabbit.subscribe(&lane(Some(2)), WINDOW).await.expect("subscribed");
    let mut got = Vec::new();
    while got.len() < 3000 {
        let some = receive(&mut subscribed.deliveries, 1).await;
        got.extend(numbers(&some));
        subscribed.acks.ack(&tags(&some));
    }
    assert_eq!(got, (0..3000).collect::<Vec<_>>());
    drop(subscribed);
    let mut again = rabbit.subscribe(&lane(Some(2)), WINDOW).await.expect("subscribed again");
    publish(&rabbit, Some(2), 3000..3001).await;
    assert_eq!(numbers(&receive(&mut again.deliveries, 1).await), [3000], "nothing acknowledged comes again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_comes_again_in_order() {
    let vhost = vhost();
    let rabbit = open(&settings(&vhost));
    rabbit.declare("orders", Sharing::Single).await.expect("declared");
    publish(&rabbit, Some(0), 0..50).await;
    let mut first = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    let some = receive(&mut first.deliveries, 50).await;
    assert!(some.iter().all(|one| !one.redelivered));
    // Out of order, and one left out in the middle.
    let done: Vec<u64> = some[..20].iter().rev().map(|one| one.tag).filter(|tag| *tag != some[7].tag).collect();
    first.acks.ack(&done);
    let acks = first.acks.clone();
    drop(first);
    acks.ack(&tags(&some));
    let mut second = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed again");
    let rest = receive(&mut second.deliveries, 31).await;
    assert_eq!(numbers(&rest), std::iter::once(7).chain(20..50).collect::<Vec<_>>());
    assert!(rest.iter().all(|one| one.redelivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_subscriptions_of_a_partition_one_is_active_and_the_other_takes_over() {
    let vhost = vhost();
    let (here, there) = (open(&settings(&vhost)), open(&settings(&vhost)));
    here.declare("orders", Sharing::Keyed).await.expect("declared");
    let mut first = here.subscribe(&lane(Some(1)), WINDOW).await.expect("subscribed");
    let mut second = there.subscribe(&lane(Some(1)), WINDOW).await.expect("subscribed");
    publish(&here, Some(1), 0..40).await;
    let some = receive(&mut first.deliveries, 40).await;
    first.acks.ack(&tags(&some[..10]));
    assert!(timeout(Duration::from_millis(300), second.deliveries.next()).await.is_err(), "the first is active");
    drop(first);
    let rest = receive(&mut second.deliveries, 30).await;
    assert_eq!(numbers(&rest), (10..40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_entry_comes_back_after_a_while() {
    let vhost = vhost();
    let rabbit = open(&settings(&vhost));
    rabbit.declare("orders", Sharing::Competing).await.expect("declared");
    let mut subscribed = rabbit.subscribe(&lane(None), WINDOW).await.expect("subscribed");
    let mut late = publication(1, None);
    late.delay = Some(Duration::from_secs(2));
    late.envelope.attempts = 3;
    let mut early = publication(2, None);
    early.delay = Some(Duration::from_millis(300));
    for said in rabbit.publish(&[late, early, publication(3, None)]).await {
        said.expect("published");
    }
    let all = receive(&mut subscribed.deliveries, 3).await;
    assert_eq!(numbers(&all), [3, 2, 1]);
    assert_eq!(vhost.queues(), ["raccord.orders", "raccord.orders.wait.1500ms", "raccord.orders.wait.200ms"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_are_matched_to_their_letters_among_many() {
    let vhost = vhost();
    vhost.declare_queue("there", &json!({"x-queue-type": "quorum"}));
    let rabbit = open(&settings(&vhost));
    for round in 0..20_u64 {
        let letters = (0..200_u64).map(|number| Letter {
            exchange: ShortString::default(),
            routing_key: if (number + round) % 7 == 0 { "gone".into() } else { "there".into() },
            properties: lapin::BasicProperties::default().with_message_id(format!("{round}-{number}").into()),
            body: Bytes::from("x"),
        });
        let said = rabbit.publisher.publish(letters.collect()).await;
        for (number, said) in (0_u64..).zip(said) {
            match said {
                Ok(()) => assert_ne!((number + round) % 7, 0, "round {round} letter {number} was returned"),
                Err(fault) => {
                    assert_eq!((number + round) % 7, 0, "round {round} letter {number}: {fault}");
                    assert_eq!((fault.code(), fault.next()), ("AMQP-UNROUTED", Next::Misconfigured), "{fault}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_made_again() {
    let vhost = vhost();
    let rabbit = open(&settings(&vhost));
    rabbit.declare("orders", Sharing::Single).await.expect("declared");
    let mut subscribed = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    vhost.delete_queue("raccord.orders.p0");
    let fault = timeout(SOON, subscribed.deliveries.next()).await.expect("it hears of it").expect_err("it is over");
    assert_eq!((fault.code(), fault.next()), ("AMQP-CANCELLED", Next::Reconnect), "{fault}");
    publish(&rabbit, Some(0), 0..5).await;
    let mut subscribed = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed again");
    assert_eq!(numbers(&receive(&mut subscribed.deliveries, 5).await), [0, 1, 2, 3, 4]);
    vhost.delete_exchange("raccord");
    publish(&rabbit, Some(0), 5..7).await;
    assert_eq!(numbers(&receive(&mut subscribed.deliveries, 2).await), [5, 6]);
    drop(subscribed);
    vhost.delete_queue("raccord.orders.p0");
    rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("made again by the subscription");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_unlike_ours_is_explained() {
    let vhost = vhost();
    vhost.declare_queue("raccord.orders", &json!({"x-queue-type": "classic"}));
    let rabbit = open(&settings(&vhost));
    let fault = rabbit.declare("orders", Sharing::Competing).await.expect_err("it is unlike");
    assert_eq!((fault.code(), fault.next()), ("AMQP-DIFFERENT", Next::Misconfigured));
    let said = fault.to_string();
    assert!(
        said.contains("`raccord.orders` is there already and is a classic queue; a quorum queue is needed"),
        "{said}"
    );
    rabbit.declare("other", Sharing::Competing).await.expect("others are not harmed");
    vhost.declare_queue("raccord.open", &json!({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}));
    let fault = rabbit.declare("open", Sharing::Competing).await.expect_err("a full one would drop");
    let said = fault.to_string();
    assert!(said.contains("`x-overflow` must be 'reject-publish', the broker has nothing"), "{said}");
    // Left over alone, and of the wrong kind: that is what is wrong with it, not the number of partitions.
    vhost.declare_queue("raccord.prices.p0", &json!({}));
    let fault = rabbit.declare("prices", Sharing::Keyed).await.expect_err("it is classic");
    assert_eq!(fault.code(), "AMQP-DIFFERENT", "{fault}");
    assert!(fault.to_string().contains("`raccord.prices.p0` is there already and is a classic queue"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_partitions_is_refused() {
    let vhost = vhost();
    let mut settings = settings(&vhost);
    open(&settings).declare("orders", Sharing::Keyed).await.expect("declared");
    for (partitions, word) in [(8, "fewer"), (2, "more"), (3, "more"), (5, "fewer")] {
        settings.partitions = partitions;
        let fault = open(&settings).declare("orders", Sharing::Keyed).await.expect_err("another number");
        assert_eq!(fault.code(), "RABBIT-PARTITIONS");
        assert!(fault.to_string().contains(word), "{fault}");
    }
    settings.partitions = 4;
    open(&settings).declare("orders", Sharing::Keyed).await.expect("the same number");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_declare_what_is_missing_is_told() {
    let vhost = vhost();
    let mut settings = settings(&vhost);
    settings.declare = false;
    let rabbit = open(&settings);
    let fault = rabbit.declare("orders", Sharing::Single).await.expect_err("no exchange");
    assert!(fault.to_string().contains("the exchange `raccord` is missing"), "{fault}");
    vhost.declare_exchange("raccord", "direct");
    let fault = rabbit.declare("orders", Sharing::Single).await.expect_err("no queue");
    let wanted = "the queue `raccord.orders.p0` is missing: make it, durable, with the arguments x-delivery-limit=1000000000, \
                  x-overflow=reject-publish, x-queue-type=quorum, x-single-active-consumer=true, and bind it";
    assert!(fault.to_string().contains(wanted), "{fault}");
    vhost.declare_queue("raccord.orders.p0", &json!({"x-queue-type": "quorum", "x-single-active-consumer": true}));
    vhost.bind("raccord", "raccord.orders.p0", "raccord.orders.p0");
    rabbit.declare("orders", Sharing::Single).await.expect("it is there");
    publish(&rabbit, Some(0), 0..1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_come_in_is_told_why() {
    let vhost = vhost();
    let good = settings(&vhost);
    let check = async |settings: RabbitSettings, code: &str, named: &str| {
        let fault = open(&settings).declare("orders", Sharing::Single).await.expect_err(code);
        assert_eq!((fault.code(), fault.next()), (code, Next::Misconfigured), "{fault}");
        assert!(fault.to_string().contains(named), "{fault}");
        assert!(!fault.to_string().contains("hush"), "{fault}");
    };
    let stranger = RabbitSettings { password: Some(Secret::new("hush")), ..good.clone() };
    check(stranger, "AMQP-LOGIN", "check `queue.rabbitmq.user` and `queue.rabbitmq.password`").await;
    let elsewhere = RabbitSettings { vhost: "nowhere".into(), ..good.clone() };
    check(elsewhere, "AMQP-VHOST", "or correct `queue.rabbitmq.vhost`").await;
    let user = format!("{}-reader", vhost.name());
    vhost.user(&user, "", "", ".*");
    let reader =
        RabbitSettings { user: Some(Text::new(&user)), password: Some(Secret::new(user.as_str())), ..good.clone() };
    check(reader, "AMQP-RIGHTS", "(`queue.rabbitmq.user`) the right to configure").await;
    let mut down = good;
    down.addresses = vec!["127.0.0.1:9".into()];
    let rabbit = open(&down);
    assert!(rabbit.away().is_none(), "nobody has asked for it");
    let fault = rabbit.declare("orders", Sharing::Single).await.expect_err("nobody there");
    assert_eq!((fault.code(), fault.next()), ("AMQP-CONNECT", Next::Reconnect), "{fault}");
    let said = fault.to_string();
    assert!(said.contains("`queue.rabbitmq.addresses`") && said.contains("(127.0.0.1:9)"), "{said}");
    assert_eq!(rabbit.away().expect("it is away").1.to_string(), said);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_hub_wrote_is_handed_over_as_it_is() {
    let vhost = vhost();
    let rabbit = open(&settings(&vhost));
    rabbit.declare("orders", Sharing::Single).await.expect("declared");
    assert!(vhost.publish("raccord", "raccord.orders.p0", "by hand"));
    let mut subscribed = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    let mut all = receive(&mut subscribed.deliveries, 1).await;
    match all.remove(0).content {
        Content::Unreadable { body, fault, .. } => {
            assert_eq!(body.as_ref(), b"by hand");
            assert_eq!(fault.next(), Next::Refuse);
        }
        Content::Entry(_) => panic!("it is no entry"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_ahead_follows_the_size_of_messages() {
    let vhost = vhost();
    let rabbit = open(&settings(&vhost));
    rabbit.declare("orders", Sharing::Single).await.expect("declared");
    publish(&rabbit, Some(0), 0..800).await;
    // Another process knows nothing of their size.
    let other = open(&settings(&vhost));
    let mut subscribed = other.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    let mut got = Vec::new();
    while got.len() < 200 {
        let some = receive(&mut subscribed.deliveries, 1).await;
        got.extend(numbers(&some));
        subscribed.acks.ack(&tags(&some));
    }
    // By now it reads further ahead than at first, without an acknowledgement.
    let some = receive(&mut subscribed.deliveries, 300).await;
    got.extend(numbers(&some));
    subscribed.acks.ack(&tags(&some));
    while got.len() < 800 {
        let some = receive(&mut subscribed.deliveries, 1).await;
        got.extend(numbers(&some));
        subscribed.acks.ack(&tags(&some));
    }
    assert_eq!(got, (0..800).collect::<Vec<_>>(), "in order, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_and_subscription_outlive_a_closed_connection() {
    let vhost = vhost();
    let metrics = Metrics::default();
    let rabbit =
        Rabbit::open(&settings(&vhost), Path::new("."), "test", Clock::real(), metrics.broker()).expect("opened");
    rabbit.declare("orders", Sharing::Single).await.expect("declared");
    let mut kept = BTreeSet::new();
    let closer = {
        let vhost = vhost.on(vhost.rabbit());
        tokio::task::spawn_blocking(move || {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(400));
                vhost.close_connections();
            }
            vhost
        })
    };
    for round in 0..60_u64 {
        let mut left: Vec<_> = (round * 50..round * 50 + 50).map(|number| publication(number, Some(0))).collect();
        while !left.is_empty() {
            let said = rabbit.publish(&left).await;
            left = left
                .into_iter()
                .zip(said)
                .filter_map(|(publication, said)| match said {
                    Ok(()) => {
                        kept.insert(publication.envelope.entry.message);
                        None
                    }
                    Err(fault) => {
                        assert_eq!(fault.next(), Next::Reconnect, "{fault}");
                        Some(publication)
                    }
                })
                .collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Dropped, it would take the virtual host with it.
    let _vhost = closer.await.expect("closed");
    let mut got = BTreeSet::new();
    let mut subscribed = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    while got.len() < kept.len() {
        for one in receive(&mut subscribed.deliveries, 1).await {
            subscribed.acks.ack(&[one.tag]);
            if let Content::Entry(envelope) = one.content {
                got.insert(envelope.entry.message);
            }
        }
    }
    assert_eq!(got, kept);
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_harms_nobody() {
    let vhost = vhost();
    let rabbit = open(&settings(&vhost));
    rabbit.declare("orders", Sharing::Single).await.expect("declared");
    let publications: Vec<_> = (0..500).map(|number| publication(number, Some(0))).collect();
    let _ = timeout(Duration::from_millis(1), rabbit.publish(&publications)).await;
    publish(&rabbit, Some(0), 500..600).await;
    let mut subscribed = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    let got = loop {
        let some = receive(&mut subscribed.deliveries, 1).await;
        subscribed.acks.ack(&tags(&some));
        let some = numbers(&some);
        if some.contains(&599) {
            break some;
        }
    };
    assert!(got.is_sorted());
}
