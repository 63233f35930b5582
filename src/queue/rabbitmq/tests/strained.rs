//! Brokers that take no more: messages over their limit, a memory alarm, silence, one of several that is down.

use std::time::Instant;

use super::*;
use crate::parts::rabbitmq::{Options, Rabbit as Broker};
use crate::queue::broker::Broker as _;

fn letter(size: usize) -> Letter {
    Letter {
        exchange: ShortString::default(),
        routing_key: "there".into(),
        properties: lapin::BasicProperties::default().with_message_id(MessageId::draw().to_string().into()),
        body: Bytes::from(vec![b'x'; size]),
    }
}

fn there(broker: &Broker) -> Vhost {
    let vhost = broker.vhost();
    vhost.declare_queue("there", &json!({"x-queue-type": "quorum"}));
    vhost
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_and_those_beside_it_pass() {
    let options = Options { config: vec!["max_message_size = 5000".into()], ..Options::default() };
    let vhost = there(&Broker::private(&options));
    let rabbit = open(&settings(&vhost));
    let too_large = |said: &Result<(), Fault>| {
        let fault = said.as_ref().expect_err("too large");
        assert_eq!((fault.code(), fault.next()), ("AMQP-TOO-LARGE", Next::Refuse), "{fault}");
        assert!(fault.to_string().contains("max_message_size"), "{fault}");
    };
    // The broker closes the channel: what went with it is sent again, once.
    let said = rabbit.publisher.publish(vec![letter(10), letter(6001), letter(20)]).await;
    too_large(&said[1]);
    for said in [&said[0], &said[2]] {
        assert!(said.as_ref().err().is_none_or(|fault| fault.next() == Next::Reconnect), "{said:?}");
    }
    let closed = || vhost.rabbit().log().matches("is larger than configured max size").count();
    let before = closed();
    for _ in 0..5 {
        let said = rabbit.publisher.publish(vec![letter(10), letter(6002), letter(5001), letter(5000)]).await;
        said[0].as_ref().expect("it passes");
        too_large(&said[1]);
        too_large(&said[2]);
        said[3].as_ref().expect("it passes, just");
    }
    assert_eq!(closed(), before, "the broker was not asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_of_memory_it_takes_nothing_and_is_still_told_what_is_done() {
    let vhost = Broker::private(&Options::default()).vhost();
    let rabbit = open(&settings(&vhost));
    rabbit.declare("orders", Sharing::Single).await.expect("declared");
    publish(&rabbit, Some(0), 0..10).await;
    let mut subscribed = rabbit.subscribe(&lane(Some(0)), WINDOW).await.expect("subscribed");
    let got = receive(&mut subscribed.deliveries, 10).await;
    tokio::task::block_in_place(|| vhost.rabbit().memory_alarm(true));
    // The broker notices who publishes when he does: this one may pass or wait.
    let begun = Instant::now();
    let mut fault = None;
    while fault.is_none() {
        assert!(begun.elapsed() < SOON, "publishing ends, bounded");
        fault = rabbit.publish(&[publication(10, Some(0))]).await.remove(0).err();
    }
    let fault = fault.expect("just seen");
    assert_eq!((fault.code(), fault.next()), ("AMQP-BLOCKED", Next::Retry { after: None }), "{fault}");
    subscribed.acks.ack(&tags(&got));
    let path = format!("/api/queues/{}/raccord.orders.p0", vhost.name());
    tokio::task::block_in_place(|| {
        crate::parts::wait_for("acknowledgements that go on", || {
            let told = vhost.rabbit().api().ask("GET", &path, None);
            told["messages"].as_u64().filter(|messages| *messages < 10)
        });
    });
    tokio::task::block_in_place(|| vhost.rabbit().memory_alarm(false));
    let again = async { while rabbit.publish(&[publication(11, Some(0))]).await.remove(0).is_err() {} };
    timeout(SOON, again).await.expect("publishing goes on");
    let mut seen = Vec::new();
    while seen.last() != Some(&11) {
        seen.extend(numbers(&receive(&mut subscribed.deliveries, 1).await));
    }
    assert!(seen.is_sorted(), "what waited goes out before what came later: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_costs_the_channel_and_nothing_more() {
    let vhost = there(&Broker::private(&Options::default()));
    let rabbit = open(&RabbitSettings { confirm_within: Duration::from_millis(500), ..settings(&vhost) });
    let first = async { while rabbit.publisher.publish(vec![letter(1)]).await[0].is_err() {} };
    timeout(SOON, first).await.expect("published");
    vhost.rabbit().pause();
    let said = timeout(SOON, rabbit.publisher.publish(vec![letter(2), letter(3)])).await.expect("bounded");
    vhost.rabbit().resume();
    for said in said {
        let fault = said.expect_err("nobody confirmed it");
        assert_eq!((fault.code(), fault.next()), ("AMQP-UNCONFIRMED", Next::Reconnect), "{fault}");
    }
    let again = async { while rabbit.publisher.publish(vec![letter(4)]).await[0].is_err() {} };
    timeout(SOON, again).await.expect("publishing goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_addresses_the_dead_are_passed_over() {
    let vhost = vhost();
    let good = settings(&vhost);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let addresses = vec![Text::new(gone.to_string()), good.addresses[0].clone()];
    let rabbit = open(&RabbitSettings { addresses, ..good });
    rabbit.declare("orders", Sharing::Single).await.expect("the second answers");
    publish(&rabbit, Some(0), 0..3).await;
    // Found once, it is asked first.
    vhost.rabbit().close_connections();
    let begun = Instant::now();
    let again = async { while rabbit.publish(&[publication(3, Some(0))]).await[0].is_err() {} };
    timeout(SOON, again).await.unwrap_or_else(|_| panic!("back after {:?}", begun.elapsed()));
}
