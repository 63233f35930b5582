//! What a database does to a hub: restarted, killed, full, deadlocked. Back-pressure, never loss.

use std::time::Duration;

use tokio::time::sleep;

use super::load::Load;
use super::{Site, aside};
use crate::harness::Random;
use crate::parts::postgres::{Options, Postgres};
use crate::parts::rabbitmq::Rabbit;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the engine"]
async fn a_database_restarted_and_killed_under_load_loses_nothing() {
    let postgres = aside(|| Postgres::private(&Options::default())).await;
    let mut load = Load::new(20, 2_000, 20, Random::new()).await;
    let site = Site::on("database", Rabbit::shared(), &postgres, &[("orders", &load.pipeline())]);
    let (one, two) = (site.start(1).await, site.start(2).await);
    load.begin(&[one.hub.address, two.hub.address]);
    load.accepted(400).await;
    let server = postgres.clone();
    aside(move || server.restart()).await;
    load.accepted(800).await;
    let server = postgres.clone();
    aside(move || server.kill9()).await;
    sleep(Duration::from_secs(3)).await;
    let server = postgres.clone();
    aside(move || server.start()).await;
    load.judge().await;
    for instance in [&one, &two] {
        instance.wait_ready(true).await;
        assert!(!instance.hub.log().contains("panicked"), "{}", instance.hub.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the engine"]
async fn a_database_without_disk_is_back_pressure() {
    assert!(
        rustix::process::getuid().is_root(),
        "a disk of its own can be mounted by root only: run this test as root, or leave it out with -E 'not test(without_disk)'"
    );
    let options = Options { disk_mb: Some(128), ..Options::default() };
    let postgres = aside(move || Postgres::private(&options)).await;
    let mut load = Load::new(20, 1_000, 0, Random::new()).await;
    let site = Site::on("disk", Rabbit::shared(), &postgres, &[("orders", &load.pipeline())]);
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    load.accepted(200).await;
    let server = postgres.clone();
    aside(move || server.fill_disk()).await;
    sleep(Duration::from_secs(5)).await;
    // A server that could not write its log has ended itself.
    let server = postgres.clone();
    aside(move || {
        server.free_disk();
        server.start_if_ended();
    })
    .await;
    load.judge().await;
    one.wait_ready(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the engine"]
async fn a_deadlock_is_tried_again() {
    let mut load = Load::new(20, 1_000, 0, Random::new()).await;
    let site = Site::shared("deadlock", &[("orders", &load.pipeline())]);
    site.database.query(&format!("alter database {} set deadlock_timeout = '20ms'", site.database.name()));
    let one = site.start(1).await;
    load.begin(&[one.hub.address]);
    let tables = "select tablename from pg_tables where schemaname = 'raccord' order by tablename";
    let tables: Vec<String> = site.database.query(tables).into_iter().filter_map(|row| row[0].clone()).collect();
    assert!(tables.len() > 3, "{tables:?}");
    let mut locked = 0;
    // Two sessions that lock the tables in opposite orders, piece by piece, while the hub works: whoever comes across them
    // both is one of a circle, and as the sessions are patient the hub's is the transaction that the server ends.
    for moment in 1..=8 {
        load.accepted(moment * 80).await;
        for reversed in [false, true] {
            let mut order = tables.clone();
            if reversed {
                order.reverse();
            }
            let locks: Vec<String> = order
                .iter()
                .map(|table| format!("lock table raccord.{table} in share row exclusive mode; select pg_sleep(0.01);"))
                .collect();
            let sql = format!("begin; set local deadlock_timeout = '10s'; {} commit;", locks.concat());
            locked += usize::from(site.database.try_query(&sql).is_ok());
        }
    }
    load.judge().await;
    assert!(locked > 0, "the sessions got their locks now and then");
    let deadlocks = format!("select deadlocks from pg_stat_database where datname = '{}'", site.database.name());
    println!("{:?} deadlocks", site.database.query(&deadlocks));
}
