//! The network between the hub and its servers: cut, and silent for longer than any heartbeat.

use std::time::Duration;

use tokio::time::sleep;

use super::Site;
use super::load::Load;
use crate::harness::Random;
use crate::parts::proxy::{Mode, Proxy};

/// Longer than two heartbeats of two seconds, and than the five that a confirm or a statement may take.
const SILENCE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the engine"]
async fn the_broker_is_cut_off_and_silent_and_comes_back() {
    let mut load = Load::new(20, 2_000, 0, Random::new()).await;
    let mut site = Site::shared("cut", &[("orders", &load.pipeline())]);
    let proxy = Proxy::start(site.vhost.rabbit().port()).await;
    let direct = site.brokers.clone();
    site.brokers = vec![proxy.address.to_string()];
    let one = site.start(1).await;
    // The other one has a better network.
    site.brokers = direct;
    let two = site.start(2).await;
    load.begin(&[one.hub.address, two.hub.address]);
    load.accepted(300).await;
    proxy.cut();
    load.accepted(600).await;
    proxy.set(Mode::BlackHole);
    sleep(SILENCE).await;
    one.wait_ready(false).await;
    proxy.set(Mode::Forward);
    one.wait_ready(true).await;
    load.accepted(1_200).await;
    proxy.set(Mode::Refuse);
    proxy.cut();
    sleep(Duration::from_secs(2)).await;
    proxy.set(Mode::Delay(Duration::from_millis(5)));
    load.judge().await;
    one.wait_ready(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the engine"]
async fn the_database_is_cut_off_and_silent_and_comes_back() {
    let mut load = Load::new(20, 1_000, 0, Random::new()).await;
    let mut site = Site::shared("database-cut", &[("orders", &load.pipeline())]);
    let port = site.postgres.rsplit(':').next().and_then(|port| port.parse().ok()).expect("host:port");
    let proxy = Proxy::start(port).await;
    site.postgres = proxy.address.to_string();
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    load.accepted(200).await;
    proxy.cut();
    load.accepted(400).await;
    proxy.set(Mode::BlackHole);
    sleep(SILENCE).await;
    proxy.set(Mode::Forward);
    load.judge().await;
    one.wait_ready(true).await;
}
