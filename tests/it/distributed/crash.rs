//! Two instances and the broker are killed with SIGKILL again and again while orders pass to a peer that fails at random:
//! every accepted order arrives, in order within its key, with one effect.
//!
//! Kills are placed by progress (orders accepted), not by the clock. `RACCORD_SEED` repeats a run's choices.

use std::time::Duration;

use tokio::time::sleep;

use super::load::Load;
use super::{Site, aside};
use crate::harness::Random;
use crate::parts::postgres::Postgres;
use crate::parts::rabbitmq::{Options, Rabbit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the engine"]
async fn instances_and_broker_killed_at_random_moments_lose_and_double_nothing() {
    let long = std::env::var_os("RACCORD_LONG").is_some();
    let (keys, messages, kills) = if long { (100, 50_000, 60) } else { (100, 5_000, 8) };
    let mut random = Random::new();
    let mut load = Load::new(keys, messages, 50, random.fork()).await;
    let rabbit = aside(|| Rabbit::private(&Options::default())).await;
    let site = Site::on("distributed-crash", &rabbit, Postgres::shared(), &[("orders", &load.pipeline())]);
    let mut instances = [site.start(1).await, site.start(2).await];
    let addresses = |instances: &[super::Instance; 2]| [instances[0].hub.address, instances[1].hub.address];
    load.begin(&addresses(&instances));
    let mut moments: Vec<u64> = (0..kills).map(|_| random.below(messages * 9 / 10)).collect();
    moments.sort_unstable();
    for moment in moments {
        load.accepted(moment).await;
        sleep(Duration::from_millis(random.below(300))).await;
        match random.below(4) {
            0 => {
                let broker = rabbit.clone();
                aside(move || {
                    broker.kill9();
                    broker.start();
                })
                .await;
            }
            // Both at once: nobody is there to take over.
            1 => {
                for instance in &mut instances {
                    instance.hub.kill9();
                }
                for instance in &mut instances {
                    instance.again().await;
                }
            }
            which => {
                let instance = &mut instances[usize::from(which == 2)];
                instance.hub.kill9();
                instance.again().await;
            }
        }
        load.listen_at(&addresses(&instances));
    }
    load.judge().await;
    for instance in &mut instances {
        let log = instance.folder.read("hub.log");
        assert!(!log.contains("panicked"), "{}", instance.folder.path("hub.log").display());
        assert!(instance.hub.terminate().await.success());
    }
}
