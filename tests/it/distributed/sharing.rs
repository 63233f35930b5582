//! What instances share and what only one of them does: sources with turns, revisions side by side, commands without a hub.

use std::time::Duration;

use serde_json::Value;

use super::{Instance, Site};
use crate::harness::{Folder, HubProcess, get, wait_for};

const HOOK: &str = "about: Orders become files.
from: { protocol: http, path: /orders, auth: none, format: json }
order_by: $.customer
dedupe: { by: [$.id] }
track: { order: $.id }
to: { out: { protocol: file, folder: out, name: \"=concat($.id, '.json')\", format: json, retry: [1s] } }
";

/// A pipeline from a folder that all instances see into another.
fn watching(shared: &Folder) -> String {
    let place = |name: &str| {
        std::fs::create_dir_all(shared.path(name)).expect("folders can be made");
        shared.path(name).display().to_string()
    };
    format!(
        "about: Files.\nfrom: {{ protocol: file, folder: '{}', quiet_for: 50ms, poll: 100ms, format: json }}\n\
         order_by: none\ndedupe: {{ by: [$.id] }}\n\
         to: {{ out: {{ protocol: file, folder: '{}', name: \"=concat($.id, '.json')\", format: json, retry: [1s] }} }}\n",
        place("in"),
        place("out"),
    )
}

fn status(instance: &Instance) -> Value {
    instance.folder.asked(&["status"])
}

/// What the status says of the only pipeline's source; nothing while it runs.
fn source(instance: &Instance) -> Option<String> {
    status(instance)["pipelines"][0]["source"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_runs_on_one_instance_and_moves_within_seconds_when_it_dies() {
    let shared = Folder::new("turns-shared");
    let site = Site::shared("turns", &[("files", &watching(&shared))]);
    let (one, two) = (site.start(1).await, site.start(2).await);
    let held = wait_for("one to run the source and the other to wait", || {
        let doing = [source(&one), source(&two)];
        let waits = doing.iter().flatten().find(|said| said.contains("held by test-hub@"))?;
        doing.contains(&None).then(|| waits.clone())
    })
    .await;
    assert!(held.starts_with("waits for its turn (held by "), "{held}");
    shared.write("in/a.json", r#"{ "id": "a" }"#);
    wait_for("the first file", || shared.path("out/a.json").exists().then_some(())).await;

    let (mut runs, mut waits) = if source(&one).is_none() { (one, two) } else { (two, one) };
    runs.hub.kill9();
    let died = std::time::Instant::now();
    shared.write("in/b.json", r#"{ "id": "b" }"#);
    wait_for("the second file", || shared.path("out/b.json").exists().then_some(())).await;
    println!("the source moved and its file was there after {:?}", died.elapsed());
    runs.again().await;
    wait_for("the first to wait now", || source(&runs)).await;

    // A stop passes the turn on.
    assert!(waits.hub.terminate().await.success(), "{}", waits.hub.log());
    let stopped = std::time::Instant::now();
    shared.write("in/c.json", r#"{ "id": "c" }"#);
    wait_for("the third file", || shared.path("out/c.json").exists().then_some(())).await;
    println!("after a stop: {:?}", stopped.elapsed());
    assert_eq!(shared.names("in/done"), ["a.json", "b.json", "c.json"], "each was taken once");
    assert_eq!(shared.names("in/failed"), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_revisions_run_side_by_side_and_are_told() {
    let site = Site::shared("revisions", &[("orders", HOOK)]);
    let (one, two) = (site.start(1).await, site.start(2).await);
    let instances = |of: &Instance| status(of)["instances"].as_array().cloned().unwrap_or_default();
    let differing = |of: &Instance| instances(of).iter().filter(|one| one["differs"] == true).count();
    wait_for("both to see each other", || (instances(&one).len() == 2).then_some(())).await;
    assert_eq!(differing(&one), 0, "the same files in two folders are one revision: {:?}", instances(&one));
    // All partitions of both queues are somebody's, and nobody's twice.
    wait_for("all partitions to be held", || {
        let instances = instances(&one);
        let held: Vec<&str> = instances
            .iter()
            .flat_map(|one| one["holds"].as_array().into_iter().flatten())
            .filter_map(|name| name.as_str())
            .collect();
        let distinct: std::collections::BTreeSet<_> = held.iter().collect();
        assert_eq!(distinct.len(), held.len(), "{held:?}");
        let shares = instances.iter().all(|one| one["holds"].as_array().is_some_and(|holds| !holds.is_empty()));
        (held.len() == 8 && shares).then_some(())
    })
    .await;

    one.folder.replace("pipelines/orders/pipeline.yaml", "about: Orders become files.", "about: Changed.");
    wait_for("the first to run another revision", || (differing(&two) == 1).then_some(())).await;
    two.folder.raccord(&["status"]).expect(0, &["(this one)", "(differs)", "Not all instances run the same"]);
    one.wait_metric("raccord_instances_differing", "", 1.0).await;
    assert_eq!(one.metric("raccord_instances ", "").await, Some(2.0));
    for (instance, id) in [(&one, "x"), (&two, "y")] {
        let body = format!(r#"{{ "id": "{id}", "customer": "c" }}"#);
        let (status, said) = crate::harness::post(&instance.url("/orders"), body).await;
        assert!((200..300).contains(&status), "{status} {said}");
    }
    two.folder.replace("pipelines/orders/pipeline.yaml", "about: Orders become files.", "about: Changed.");
    wait_for("both to run the new one", || (differing(&one) + differing(&two) == 0).then_some(())).await;
    for id in ["x", "y"] {
        let name = format!("out/{id}.json");
        let there = || one.folder.path(&name).exists() || two.folder.path(&name).exists();
        wait_for(&name, || there().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_without_a_hub_work_on_the_shared_store() {
    let hook = HOOK.replace("track:", "steps:\n  - filter: $.id != 'bad' or $.missing == 1\ntrack:");
    let site = Site::shared("commands", &[("orders", &hook)]);
    let mut one = site.start(1).await;
    let (status, said) = crate::harness::post(&one.url("/orders"), r#"{ "id": "bad", "customer": "c" }"#).await;
    assert!((200..300).contains(&status), "{status} {said}");
    let list = || one.folder.asked(&["dead", "list"]).as_array().cloned().unwrap_or_default();
    let id = wait_for("the dead letter", || Some(list().first()?["id"].as_str()?.to_owned())).await;

    // A folder of the same site in which no hub ever ran.
    let aside = site.folder(9);
    aside.raccord(&["dead", "list"]).expect(0, &[&id, "FORMULA-MISSING"]);
    aside.raccord(&["trace", "bad"]).expect(0, &["accepted", "dead"]);
    aside.raccord(&["status"]).expect(0, &["No hub runs here", "test-hub@", "1 dead letter of orders"]);
    aside.write("order.json", r#"{ "id": "by-hand", "customer": "c" }"#);
    aside.raccord(&["send", "order.json", "--to", "orders"]).expect(0, &[]);
    wait_for("what was sent by hand", || one.folder.path("out/by-hand.json").exists().then_some(())).await;
    aside.raccord(&["dead", "discard", &id, "--why", "a try"]).expect(0, &["is discarded"]);
    one.folder.raccord(&["dead", "list"]).expect(0, &["No dead letter."]);
    let instances = one.folder.asked(&["status"])["instances"].as_array().map(Vec::len);
    assert_eq!(instances, Some(1), "a command is no instance");
    assert!(one.hub.terminate().await.success(), "{}", one.hub.log());
    aside.raccord(&["status"]).expect(0, &["No hub runs here"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_starts_by_itself_when_its_database_comes() {
    let site = Site::shared("database-late", &[("orders", HOOK)]);
    let there = crate::parts::proxy::Proxy::start(crate::parts::postgres::Postgres::shared().port()).await;
    there.set(crate::parts::proxy::Mode::Refuse);
    let folder = site.folder(1);
    folder.replace("config/raccord.yaml", &site.postgres, &format!("127.0.0.1:{}", there.port()));
    let mut hub = HubProcess::spawn_run(&folder);
    let address = wait_for("the hub to say that it waits", || {
        let log = hub.log();
        let line = log.lines().find(|line| line.contains("the hub waits to start"))?;
        line.split("listen=").nth(1)?.split_whitespace().next()?.parse().ok()
    })
    .await;
    let ready = get(address, "/health/ready").await.expect("it answers");
    assert_eq!(ready.0, 503, "{}", ready.1);
    assert_eq!(get(address, "/health/live").await.expect("it answers").0, 200);
    folder.raccord(&["status"]).expect(0, &["not ready: "]);
    there.set(crate::parts::proxy::Mode::Forward);
    hub.wait_ready().await;
    assert_eq!(hub.address, address, "the same listener");
    let (status, said) = crate::harness::post(&hub.url("/orders"), r#"{ "id": "a", "customer": "c" }"#).await;
    assert!((200..300).contains(&status), "{status} {said}");
    wait_for("the order", || folder.path("out/a.json").exists().then_some(())).await;

    // Away again while it runs: not ready, alive, and its status still answers.
    there.set(crate::parts::proxy::Mode::Refuse);
    there.cut();
    let told = wait_for("the status to say so", || {
        let said = folder.raccord(&["status"]);
        said.out.contains("The database has been away since ").then_some(said.out)
    })
    .await;
    for words in
        ["The hub runs.", "not ready: ", "cannot be told now", "check that it runs, and `store.postgres.addresses`"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.contains(&format!("(127.0.0.1:{})", there.port())) && !told.contains("WAITING"), "{told}");
    assert_eq!(get(address, "/health/live").await.expect("it answers").0, 200);
    there.set(crate::parts::proxy::Mode::Forward);
    hub.wait_ready().await;
    wait_for("the log to say that it is back", || {
        hub.log().contains("the database answers again, after ").then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(60), hub.terminate()).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_broker_is_told() {
    let mut site = Site::shared("broker-away", &[("orders", HOOK)]);
    let there = crate::parts::proxy::Proxy::start(site.vhost.rabbit().port()).await;
    site.brokers = vec![there.address.to_string()];
    let one = site.start(1).await;
    there.set(crate::parts::proxy::Mode::Refuse);
    there.cut();
    let told = wait_for("the status to say so", || {
        let said = one.folder.raccord(&["status"]);
        let whole = said.out.contains("The broker has been away since ") && said.out.contains("AMQP-");
        whole.then_some(said.out)
    })
    .await;
    assert!(told.contains("cannot be told now") && !told.contains("WAITING"), "{told}");
    assert!(told.contains("not ready: AMQP-GONE") && told.contains("(since 20"), "{told}");
    let log = one.hub.log();
    let lost = log.lines().find(|line| line.contains("the connection to the broker was lost: "));
    let lost = lost.unwrap_or_else(|| panic!("nothing is said of the loss: {log}"));
    assert!(lost.contains("WARN") && lost.contains(&format!("broker={}", there.address)), "{lost}");
    wait_for("the log to say it again", || one.hub.log().contains("no connection to the broker for ").then_some(()))
        .await;

    // A command without a hub says what it waits for.
    let aside = site.folder(9);
    aside.write("order.json", r#"{ "id": "by-hand", "customer": "c" }"#);
    there.set(crate::parts::proxy::Mode::BlackHole);
    let said = aside.raccord(&["send", "order.json", "--to", "orders"]);
    assert!(said.err.contains("raccord: waits for the broker"), "{said:#?}");

    there.set(crate::parts::proxy::Mode::Forward);
    one.wait_ready(true).await;
    let log = wait_for("the log to say that it is back", || {
        let log = one.hub.log();
        log.contains("connected to the broker again, after ").then_some(log)
    });
    println!("{}", log.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_order_beside_another_revision_is_warned_of() {
    let site = Site::shared("order-changes", &[("orders", HOOK)]);
    let folder = site.folder(1);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_raccord"));
    let mut hub = HubProcess::spawn(&folder, command.args(["run", "--no-watch"]));
    hub.wait_ready().await;
    let two = site.start(2).await;
    wait_for("both to see each other", || {
        (folder.asked(&["status"])["instances"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
    folder.replace("pipelines/orders/pipeline.yaml", "order_by: $.customer", "order_by: none");
    folder.replace("config/raccord.yaml", "partitions: 4", "partitions: 8");
    let said = folder.raccord(&["reload"]);
    said.expect(
        0,
        &[
            "changed:   orders\n",
            "warning: `queue.rabbitmq.partitions` has changed and does not hold yet",
            "warning: whether the messages of orders have an order has changed here, and another configuration runs on test-hub@",
        ],
    );
    assert!(!said.out.contains('{') && !said.out.contains("Some("), "{}", said.out);
    for words in ["the messages of this queue have an order has changed", "setting=\"queue.rabbitmq.partitions\""] {
        assert!(hub.log().contains(words), "{words}: {}", hub.log());
    }
    // Until the restart the revision is the one of the partitions in use.
    two.folder.replace("pipelines/orders/pipeline.yaml", "order_by: $.customer", "order_by: none");
    wait_for("both to run the same", || {
        let status = folder.asked(&["status"]);
        let same = status["instances"].as_array()?.iter().all(|one| one["differs"] == false);
        same.then_some(())
    })
    .await;
    assert!(hub.terminate().await.success(), "{}", hub.log());
}

#[test]
fn the_demo_runs_on_rabbitmq() {
    let vhost = crate::parts::rabbitmq::Rabbit::shared().vhost();
    let folder = Folder::new("demo-rabbitmq");
    let said = folder.raccord(&["demo", "--once", "--queue", "rabbitmq", "--broker", &vhost.url()]);
    said.expect(0, &["web-order", "delivered"]);
    let queues = vhost.queues();
    assert!(queues.iter().any(|name| name == "raccord-demo.web-order.p0"), "{queues:?}");
}
