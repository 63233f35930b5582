//! Two instances: what one holds goes to the other when it dies, and what sleeps does not commit when it wakes.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::Site;
use super::load::Load;
use crate::harness::Random;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_killed_leaves_its_work_to_the_other() {
    let mut load = Load::new(20, 1_000, 20, Random::new()).await;
    let site = Site::shared("killed", &[("orders", &load.pipeline())]);
    let mut one = site.start(1).await;
    let two = site.start(2).await;
    load.begin(&[one.hub.address, two.hub.address]);
    load.arrived(300).await;
    one.hub.kill9();
    load.listen_at(&[two.hub.address]);
    load.arrived(600).await;
    one.again().await;
    load.listen_at(&[one.hub.address, two.hub.address]);
    load.judge().await;
    assert_eq!(one.folder.asked(&["dead", "list"]).as_array().map(Vec::len), Some(0), "nothing is given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_slept_repeats_no_effect_and_breaks_no_order() {
    let long = std::env::var_os("RACCORD_LONG").is_some();
    let messages = if long { 10_000 } else { 2_000 };
    let mut load = Load::new(20, messages, 20, Random::new()).await;
    let site = Site::shared("slept", &[("orders", &load.pipeline())]);
    let (one, two) = (site.start(1).await, site.start(2).await);
    load.begin(&[one.hub.address, two.hub.address]);
    load.arrived(400).await;
    one.signal(Signal::STOP);
    load.listen_at(&[two.hub.address]);
    // Longer than every lease and heartbeat: its work went to the other, who may have done some of it.
    sleep(Duration::from_secs(if long { 60 } else { 15 })).await;
    let before = load.accepted_so_far();
    one.signal(Signal::CONT);
    load.listen_at(&[one.hub.address, two.hub.address]);
    // All may have been accepted meanwhile.
    load.accepted((before + 20).min(messages)).await;
    load.judge().await;
    one.wait_ready(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_stops_hands_over_and_none_waits_for_its_lease() {
    let mut load = Load::new(20, 1_000, 0, Random::new()).await;
    let site = Site::shared("stopped", &[("orders", &load.pipeline())]);
    let (mut one, two) = (site.start(1).await, site.start(2).await);
    load.begin(&[one.hub.address, two.hub.address]);
    load.arrived(300).await;
    load.listen_at(&[two.hub.address]);
    assert!(one.hub.terminate().await.success(), "{}", one.hub.log());
    load.judge().await;
    assert_eq!(load.repeats(), 0, "who stops finishes what is under way");
}
