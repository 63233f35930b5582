//! A cluster of three brokers that loses one node, then the leader's. Part of the long run: a minute to form.

use super::load::Load;
use super::{Site, aside};
use crate::harness::Random;
use crate::parts::postgres::Postgres;
use crate::parts::rabbitmq::{Options, Rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the engine"]
async fn a_cluster_loses_a_node_and_then_a_leader() {
    if std::env::var_os("RACCORD_LONG").is_none() {
        println!("SKIPPED: three brokers take minutes; RACCORD_LONG=1 (tests/run --long) runs it");
        return;
    }
    let nodes = aside(|| Rabbit::cluster(3, &Options::default())).await;
    let mut load = Load::new(50, 20_000, 20, Random::new()).await;
    let mut site = Site::on("cluster", &nodes[0], Postgres::shared(), &[("orders", &load.pipeline())]);
    site.brokers = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let (one, two) = (site.start(1).await, site.start(2).await);
    load.begin(&[one.hub.address, two.hub.address]);
    load.accepted(2_000).await;
    let queue = format!("raccord.{}", site.queues("orders").first().expect("the hub has queues"));
    let leader = site.vhost.leader(&queue).expect("a quorum queue has a leader");
    let follower = nodes.iter().find(|node| node.name() != leader).expect("three nodes").clone();
    let leading = nodes.iter().find(|node| node.name() == leader).expect("one leads").clone();
    for (node, moment) in [(follower, 6_000), (leading, 12_000)] {
        let down = node.clone();
        aside(move || down.kill9()).await;
        load.accepted(moment).await;
        aside(move || node.start()).await;
        load.accepted(moment + 2_000).await;
    }
    load.judge().await;
    for instance in [&one, &two] {
        instance.wait_ready(true).await;
    }
}
