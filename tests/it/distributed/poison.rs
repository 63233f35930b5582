//! Messages that cannot pass: too large for the broker, or not the hub's at all. Others flow past.

use super::load::Load;
use super::{Site, aside};
use crate::harness::{Random, client, wait_for};
use crate::parts::postgres::Postgres;
use crate::parts::rabbitmq::{Options, Rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_larger_than_the_broker_takes_is_refused_alone() {
    let options = Options { config: vec!["max_message_size = 65536".into()], ..Options::default() };
    let rabbit = aside(move || Rabbit::private(&options)).await;
    let mut load = Load::new(10, 200, 0, Random::new()).await;
    let site = Site::on("large", &rabbit, Postgres::shared(), &[("orders", &load.pipeline())]);
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    load.accepted(20).await;
    let large = format!(r#"{{"key":"k-large","seq":0,"text":"{}"}}"#, "x".repeat(200_000));
    let answer = client().post(one.url("/orders")).body(large).send().await.expect("the hub answers");
    let status = answer.status().as_u16();
    assert!([202, 413, 422].contains(&status), "{status}: refused, or taken and kept as a dead letter");
    load.judge().await;
    if status == 202 {
        let kept = || one.folder.asked(&["dead", "list"]).as_array().is_some_and(|dead| dead.len() == 1);
        wait_for("the dead letter", || kept().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_entry_of_the_hub_is_kept_and_harms_nobody() {
    let mut load = Load::new(20, 400, 0, Random::new()).await;
    let site = Site::shared("garbage", &[("orders", &load.pipeline())]);
    let queues = {
        let one = site.start(1).await;
        let queues = site.queues("orders");
        drop(one);
        queues
    };
    // Already there when the hub comes.
    for queue in &queues {
        assert!(site.vhost.publish("", &format!("raccord.{queue}"), "\u{0}not an entry of any hub"));
    }
    let two = site.start(2).await;
    load.begin(&[two.hub.address]);
    load.judge().await;
    wait_for("the dead letters", || {
        let dead = two.folder.asked(&["dead", "list"]);
        (dead.as_array().map(Vec::len) == Some(queues.len())).then_some(())
    })
    .await;
}
