//! What a broker does to a hub: away, killed, full, changed by an operator, locked down.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::load::Load;
use super::{Instance, Site, aside};
use crate::harness::{HubProcess, Random, client, wait_for};
use crate::parts::postgres::Postgres;
use crate::parts::rabbitmq::{Options, Rabbit};

async fn private(options: Options) -> Rabbit {
    aside(move || Rabbit::private(&options)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let rabbit = private(Options::default()).await;
    let mut load = Load::new(10, 50, 0, Random::new()).await;
    let site = Site::on("down", &rabbit, Postgres::shared(), &[("orders", &load.pipeline())]);
    rabbit.kill9();
    let folder = site.folder(1);
    let mut one = Instance { hub: HubProcess::spawn_run(&folder), folder };
    let told = wait_for("a word about the broker", || {
        let log = one.hub.log();
        log.contains(&format!(":{}", site.vhost.rabbit().port())).then_some(log)
    });
    let told = told.await;
    assert!(!told.contains("panicked"), "{told}");
    let back = rabbit.clone();
    aside(move || back.start()).await;
    one.hub.wait_ready().await;
    load.begin(&[one.hub.address]);
    load.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_loses_and_doubles_nothing() {
    let rabbit = private(Options::default()).await;
    let mut load = Load::new(50, 5_000, 0, Random::new()).await;
    let site = Site::on("broker-killed", &rabbit, Postgres::shared(), &[("orders", &load.pipeline())]);
    let (one, two) = (site.start(1).await, site.start(2).await);
    load.begin(&[one.hub.address, two.hub.address]);
    for moment in [1_000, 2_500] {
        load.accepted(moment).await;
        let broker = rabbit.clone();
        aside(move || {
            broker.kill9();
            broker.start();
        })
        .await;
    }
    load.judge().await;
    // For each kill and key: a delivery that was not acknowledged comes again, and what was published and not confirmed, at
    // intake and after the steps, is published again.
    let most = 2 * 50 * 3;
    assert!(load.repeats() <= most, "{} repeated, and only one of a key is under way at a time", load.repeats());
    for instance in [&one, &two] {
        assert!(!instance.hub.log().contains("panicked"), "{}", instance.hub.log());
        instance.wait_ready(true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_is_back_pressure_and_ends() {
    let rabbit = private(Options::default()).await;
    let mut load = Load::new(10, 1_000, 0, Random::new()).await;
    let site = Site::on("alarm", &rabbit, Postgres::shared(), &[("orders", &load.pipeline())]);
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    load.accepted(200).await;
    let broker = rabbit.clone();
    aside(move || broker.memory_alarm(true)).await;
    one.wait_metric("raccord_broker_blocked", "", 1.0).await;
    let before = load.accepted_so_far();
    sleep(Duration::from_secs(2)).await;
    let during = load.accepted_so_far();
    assert!(during <= before + 10, "{} were accepted while the broker took nothing", during - before);
    let broker = rabbit.clone();
    aside(move || broker.memory_alarm(false)).await;
    load.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_an_operator_closes_are_opened_again() {
    let mut load = Load::new(10, 1_000, 0, Random::new()).await;
    let site = Site::shared("closed", &[("orders", &load.pipeline())]);
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    load.accepted(200).await;
    // The management interface learns of a connection some seconds after it was opened.
    wait_for("a connection to close", || (site.vhost.close_connections() > 0).then_some(())).await;
    load.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_deleted_under_their_consumers_are_made_again() {
    let mut load = Load::new(20, 400, 0, Random::new()).await;
    let site = Site::shared("deleted", &[("orders", &load.pipeline())]);
    let one = site.start(1).await;
    let queues = site.queues("orders");
    assert!(!queues.is_empty(), "the hub has made its queues");
    // Nothing waits yet, so that nothing is lost with them.
    for queue in &queues {
        site.vhost.delete_queue(&format!("raccord.{queue}"));
    }
    load.begin(&[one.hub.address]);
    load.judge().await;
    assert_eq!(site.queues("orders"), queues, "all of them are there again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_deleted_under_load_is_made_again() {
    let mut load = Load::new(20, 1_000, 0, Random::new()).await;
    let site = Site::shared("exchange", &[("orders", &load.pipeline())]);
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    load.accepted(200).await;
    site.vhost.delete_exchange("raccord");
    load.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_removed_under_load_are_made_again() {
    let mut load = Load::new(20, 1_000, 0, Random::new()).await;
    let site = Site::shared("bindings", &[("orders", &load.pipeline())]);
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    load.accepted(200).await;
    let queues = site.queues("orders");
    assert!(!queues.is_empty(), "the hub has made its queues");
    for queue in queues.iter().map(|name| format!("raccord.{name}")) {
        site.vhost.unbind("raccord", &queue, &queue);
    }
    // Each message that no queue took came back, and is there after all.
    load.judge().await;
    let returned = one.metric("raccord_broker_events_total", "event=\"returned\"").await;
    assert!(returned.is_some_and(|count| count > 0.0), "{returned:?}: nothing was ever returned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_otherwise_is_explained_with_the_difference() {
    let mut load = Load::new(10, 50, 0, Random::new()).await;
    let site = Site::shared("mismatch", &[("orders", &load.pipeline())]);
    let names = {
        let one = site.start(1).await;
        let names = site.queues("orders");
        drop(one);
        names
    };
    let name = format!("raccord.{}", names[0]);
    site.vhost.delete_queue(&name);
    site.vhost.declare_queue(&name, &json!({ "x-queue-type": "classic" }));
    let folder = site.folder(2);
    // It does not start on what it did not make, and says what is otherwise.
    let refused = folder.raccord(&["run"]);
    refused.expect(3, &["AMQP-DIFFERENT", &name, "is a classic queue; a quorum queue is needed"]);
    assert!(!format!("{refused:?}").contains("STORE-"), "nothing is wrong with the database: {refused:#?}");
    site.vhost.delete_queue(&name);
    let hub = HubProcess::start(&folder).await;
    load.begin(&[hub.address]);
    load.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_refused_is_told_and_waited_for() {
    let mut load = Load::new(10, 50, 0, Random::new()).await;
    let mut site = Site::shared("permission", &[("orders", &load.pipeline())]);
    site.user = format!("{}-shop", site.vhost.name());
    site.vhost.user(&site.user, "^$", ".*", ".*");
    let folder = site.folder(1);
    folder.raccord(&["run"]).expect(3, &["AMQP-RIGHTS", &site.user, "(`queue.rabbitmq.user`)", "set_permissions"]);
    site.vhost.user(&site.user, ".*", ".*", ".*");
    let one = HubProcess::start(&folder).await;
    load.begin(&[one.address]);
    load.judge().await;
    // A broker where everything stands needs no right to make anything.
    site.vhost.user(&site.user, "^$", ".*", ".*");
    site.broker_settings.push("declare: false".into());
    let two = site.start(2).await;
    let body = r#"{"key":"late","seq":0}"#;
    let answer = client().post(two.url("/orders")).body(body).send().await.expect("the hub answers");
    assert_eq!(answer.status().as_u16(), 202);
    load.peer.got("late").await;
}
