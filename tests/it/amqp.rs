//! From queue to exchange on a real broker, straight through: orders are read, mapped and published while hub and broker
//! are killed, and while the pipeline is edited.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use raccord::config::Secret;
use raccord::queue::rabbitmq::{Link, LinkSettings};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::{Folder, HubProcess, Random, wait_for};
use crate::parts::rabbitmq::{Options, Rabbit, Vhost};

/// A virtual host with a queue `in` and a queue `out`, and a hub's folder between them.
struct Site {
    vhost: Vhost,
    folder: Folder,
}

impl Site {
    fn on(name: &str, rabbit: &Rabbit) -> Site {
        let vhost = rabbit.vhost();
        for queue in ["in", "out"] {
            vhost.declare_queue(queue, &json!({ "x-queue-type": "quorum" }));
        }
        let api = rabbit.api();
        let broker = format!(
            "broker: {{ addresses: ['{}:{}'], vhost: {}, user: {}, password: '${{file:secrets/amqp}}', heartbeat: 2s }}",
            rabbit.host(),
            rabbit.port(),
            vhost.name(),
            api.user,
        );
        let pipeline = format!(
            "about: Orders from one queue to another.\nfrom:\n  protocol: amqp\n  {broker}\n  queue: in\n  format: json\n\
             track: {{ order: $.id }}\norder_by: none\ndedupe: none\nsteps:\n  - map: {{ number: $.id, twice: \"=$.n * 2\" }}\n\
             to:\n  erp:\n    protocol: amqp\n    {broker}\n    routing_key: out\n    confirm_within: 5s\n    format: json\n\
             on_error: {{ retry: [1s, 5s] }}\n"
        );
        let folder = Folder::hub(name, &[("orders", &pipeline)]);
        folder.write("secrets/amqp", &api.password);
        Site { vhost, folder }
    }

    fn link(&self) -> Link {
        let rabbit = self.vhost.rabbit();
        Link::open(LinkSettings {
            addresses: vec![format!("{}:{}", rabbit.host(), rabbit.port()).into()],
            vhost: self.vhost.name().into(),
            user: Some(rabbit.api().user.as_str().into()),
            password: Some(Secret::new(rabbit.api().password.as_str())),
            tls: None,
            map: "broker",
            heartbeat: Duration::from_secs(10),
            name: "test".into(),
            folder: ".".into(),
        })
        .expect("the settings are right")
    }

    /// Publishes `count` orders, confirmed; one in `bad_each` is not JSON.
    async fn fill(&self, from: u64, count: u64, bad_each: u64) {
        let link = self.link();
        let channel = link.channel().await.expect("the broker is there");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("it confirms");
        let mut confirms = Vec::new();
        for n in from..from + count {
            let body = if n % bad_each == 0 {
                format!("{{ no JSON {n}")
            } else {
                json!({ "id": format!("o-{n}"), "n": n }).to_string()
            };
            let properties = BasicProperties::default().with_message_id(format!("o-{n}").into()).with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish("".into(), "in".into(), options, body.as_bytes(), properties).await;
            confirms.push(sent.expect("the broker takes it"));
        }
        for confirm in confirms {
            assert!(confirm.await.expect("the broker answers").is_ack());
        }
    }

    /// All that arrived: for each `message_id`, the documents under it.
    async fn arrived(&self) -> BTreeMap<String, Vec<Value>> {
        let link = self.link();
        let channel = link.channel().await.expect("the broker is there");
        let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume("out".into(), "".into(), options, FieldTable::default()).await;
        let mut consumer = consumer.expect("the queue is there");
        // The queue is full of them: when none comes for so long, none is left.
        while let Ok(Some(got)) = timeout(Duration::from_secs(5), consumer.next()).await {
            let got = got.expect("the broker is there");
            let id = got.properties.message_id().as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
            all.entry(id).or_default().push(serde_json::from_slice(&got.data).expect("the hub writes JSON"));
        }
        all
    }

    /// Waits until nothing is left to do for the hub, wherever it might wait.
    async fn wait_done(&self, hub: &HubProcess) {
        let idle = || {
            let waits = self.vhost.depth("in")?;
            let metrics = self.folder.raccord(&["status", "--json"]);
            let status: Value = serde_json::from_str(&metrics.out).ok()?;
            let queues = status["pipelines"][0]["queues"].as_object()?;
            let empty = queues.values().all(|entries| entries == 0);
            (waits == 0 && empty).then_some(())
        };
        // Twice, since what the broker counts is some hundred milliseconds old.
        for _ in 0..2 {
            wait_for(format!("the end of the work; the hub said:\n{}", hub.log()), idle).await;
            sleep(Duration::from_millis(1200)).await;
        }
    }
}

/// Each good order arrived, under one id and as one content; answers how many were repeated.
#[track_caller]
fn judge(arrived: &BTreeMap<String, Vec<Value>>, count: u64, bad_each: u64) -> usize {
    let mut numbers = BTreeSet::new();
    let mut repeats = 0;
    for (id, documents) in arrived {
        assert!(!id.is_empty(), "a message without an id");
        assert!(documents.iter().all(|document| *document == documents[0]), "one id, several contents: {documents:?}");
        let number = documents[0]["number"].as_str().expect("the mapping ran").to_owned();
        let n: u64 = number[2..].parse().expect("a number");
        assert_eq!(documents[0]["twice"], json!(n * 2));
        assert!(numbers.insert(n), "{number} came under several ids");
        repeats += documents.len() - 1;
    }
    let expect: BTreeSet<u64> = (0..count).filter(|n| n % bad_each != 0).collect();
    let missing: Vec<_> = expect.difference(&numbers).take(10).collect();
    assert!(missing.is_empty() && numbers.len() == expect.len(), "missing: {missing:?} ...");
    repeats
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_hubs_and_a_killed_broker_lose_nothing_and_repeat_under_the_same_id() {
    const COUNT: u64 = 12_000;
    const BAD_EACH: u64 = 1_000;
    /// What may be delivered and not acknowledged at a kill: the most the source takes at a time.
    const WINDOW: usize = 2_000;
    let rabbit = tokio::task::spawn_blocking(|| Rabbit::private(&Options::default())).await.expect("it starts");
    let site = Site::on("relay-kills", &rabbit);
    site.fill(0, COUNT, BAD_EACH).await;
    let mut random = Random::new();
    let mut hub = HubProcess::start(&site.folder).await;
    let kills = 4;
    for kill in 0..kills {
        sleep(Duration::from_millis(200 + random.below(600))).await;
        if kill == 1 {
            let rabbit = rabbit.clone();
            let again = move || {
                rabbit.kill9();
                rabbit.start();
            };
            tokio::task::spawn_blocking(again).await.expect("it starts again");
        } else {
            hub.kill9();
            hub = HubProcess::start(&site.folder).await;
        }
    }
    site.wait_done(&hub).await;
    let arrived = site.arrived().await;
    let repeats = judge(&arrived, COUNT, BAD_EACH);
    assert!(repeats <= kills * WINDOW, "{repeats} repeats");
    let dead = site.folder.asked(&["dead", "list"]);
    let dead = dead.as_array().map_or(0, Vec::len) as u64;
    assert_eq!(dead, COUNT / BAD_EACH, "what is not JSON is a dead letter, once");
    site.folder.raccord(&["trace", "o-4711"]).expect(0, &["erp", "order=o-4711"]);
    println!("{repeats} of {COUNT} were repeated");
    hub.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_repeats_no_more_than_the_window() {
    /// Enough for the broker's own counts, some seconds old, to tell that messages flow.
    const COUNT: u64 = 120_000;
    /// The most that the source takes before it has acknowledged.
    const WINDOW: usize = 2_000;
    let rabbit = tokio::task::spawn_blocking(|| Rabbit::private(&Options::default())).await.expect("it starts");
    let site = Site::on("relay-broker", &rabbit);
    site.fill(1, COUNT, 1_000_000).await;
    let mut hub = HubProcess::start(&site.folder).await;
    let passed = || site.vhost.depth("out").filter(|passed| *passed >= 2_000);
    let passed = wait_for("the flow", passed).await;
    assert!(passed < COUNT, "the broker is killed while messages flow");
    let broker = rabbit.clone();
    let again = move || {
        broker.kill9();
        broker.start();
    };
    tokio::task::spawn_blocking(again).await.expect("it starts again");
    site.wait_done(&hub).await;
    let arrived = site.arrived().await;
    let repeats = arrived.values().map(|documents| documents.len() - 1).sum::<usize>();
    println!("{repeats} of {COUNT} were repeated");
    assert_eq!(arrived.len() as u64, COUNT, "nothing is lost");
    assert!(repeats <= WINDOW, "{repeats} repeats");
    hub.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_under_load_loses_and_repeats_nothing() {
    const COUNT: u64 = 8_000;
    const BAD_EACH: u64 = 1_000_000;
    let site = Site::on("relay-edit", Rabbit::shared());
    site.fill(0, COUNT, BAD_EACH).await;
    let mut hub = HubProcess::start(&site.folder).await;
    for edit in 0..5 {
        sleep(Duration::from_millis(250)).await;
        let about = format!("about: Orders, edit {edit}.");
        let text = site.folder.read("pipelines/orders/pipeline.yaml");
        let rest = text.split_once('\n').expect("several lines").1.to_owned();
        site.folder.write("pipelines/orders/pipeline.yaml", format!("{about}\n{rest}"));
        site.folder.raccord(&["reload"]).expect(0, &[]);
    }
    site.wait_done(&hub).await;
    // Number 0 counts as bad in `fill`.
    let repeats = judge(&site.arrived().await, COUNT, BAD_EACH);
    assert_eq!(repeats, 0, "a clean stop acknowledges what it has delivered");
    hub.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_cannot_route_waits_until_a_person_has_made_the_queue() {
    let site = Site::on("relay-unrouted", Rabbit::shared());
    site.folder.replace("pipelines/orders/pipeline.yaml", "routing_key: out", "routing_key: out-2");
    site.fill(1, 500, 1_000_000).await;
    let mut hub = HubProcess::start(&site.folder).await;
    wait_for("the warning", || hub.log().contains("AMQP-UNROUTED").then_some(())).await;
    wait_for("an empty queue: the messages wait in the hub", || (site.vhost.depth("in") == Some(0)).then_some(()))
        .await;
    let dead = site.folder.asked(&["dead", "list"]);
    assert_eq!(dead.as_array().map(Vec::len), Some(0), "nothing is given up: {dead}");
    // The person corrects the pipeline.
    site.folder.replace("pipelines/orders/pipeline.yaml", "routing_key: out-2", "routing_key: out");
    site.vhost.declare_queue("out-2", &json!({}));
    site.folder.raccord(&["reload"]).expect(0, &[]);
    let there = || site.vhost.depth("out-2").unwrap_or(0) + site.vhost.depth("out").unwrap_or(0) >= 500;
    wait_for("all messages", || there().then_some(())).await;
    hub.terminate().await;
}
