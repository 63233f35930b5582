//! Several instances, and what a hub does while its broker and database are not there: by the real binary.

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::{Folder, HubProcess, get, wait_for};

const PIPELINE: &str = "about: Orders become files.
from: { protocol: file, folder: in, quiet_for: 50ms, poll: 100ms, format: json }
order_by: none
dedupe: { by: [$.id] }
to: { out: { protocol: file, folder: out, name: \"=concat($.id, '.json')\", format: json, retry: [1s] } }
";

/// A port of this machine on which nobody listens.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// A hub's file with its queues on the broker at `port`.
fn on_broker(port: u16, more: &str) -> String {
    format!(
        "name: test-hub\nlisten: 127.0.0.1:0\nqueue:\n  rabbitmq:\n    addresses: ['127.0.0.1:{port}']\n    user: guest\n    \
         password: ${{file:password.txt}}\n{more}"
    )
}

/// Where a hub listens that waits to start.
async fn waiting_address(hub: &HubProcess) -> SocketAddr {
    wait_for("the hub to say that it waits", || {
        let log = hub.log();
        let line = log.lines().find(|line| line.contains("the hub waits to start"))?;
        line.split("listen=").nth(1)?.split_whitespace().next()?.parse().ok()
    })
    .await
}

#[tokio::test]
async fn a_hub_without_its_broker_lives_waits_and_says_why() {
    let folder = Folder::hub("waits-for-broker", &[("orders", PIPELINE)]);
    folder.write("config/raccord.yaml", on_broker(free_port(), ""));
    folder.write("password.txt", "guest\n");
    folder.raccord(&["check"]).expect(0, &["No problem found"]);
    let mut hub = HubProcess::spawn_run(&folder);
    let address = waiting_address(&hub).await;

    let (status, body) = get(address, "/health/live").await.expect("it answers");
    assert_eq!((status, body.as_str()), (200, "alive\n"));
    let (status, body) = get(address, "/health/ready").await.expect("it answers");
    let ready: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &ready["ready"]), (503, &Value::Bool(false)), "{body}");
    assert!(ready["reasons"][0].as_str().is_some_and(|reason| !reason.is_empty()), "{body}");
    let (status, _) = get(address, "/orders").await.expect("it answers");
    assert_eq!(status, 503, "whoever sends is to come back");

    folder.raccord(&["status"]).expect(0, &["The hub has waited to start since ", "not ready: "]);
    folder.raccord(&["health"]).expect(1, &[]);
    folder.raccord(&["dead", "list"]).expect(3, &["HUB-WAITING", "waits for its broker"]);
    folder.raccord(&["run"]).expect(3, &["HUB-SOCKET", "another hub runs on"]);
    assert!(hub.terminate().await.success(), "a stop does not wait for the broker:\n{}", hub.log());
}

#[test]
fn a_wrong_engine_is_told_with_its_place() {
    let folder = Folder::hub("wrong-engine", &[("orders", PIPELINE)]);
    let postgres = "store:\n  postgres: { addresses: ['postgres://hub:x@db:5432/shop'], password: plain }\n";
    folder.write("config/raccord.yaml", format!("name: test-hub\n{postgres}"));
    folder.raccord(&["check"]).expect(
        1,
        &[
            "`store.postgres` needs `queue.rabbitmq`",
            "config/raccord.yaml:3:13",
            "a secret is never written in a file",
            "it is a URL",
            "write `db:5432`",
        ],
    );
    folder.write("config/raccord.yaml", on_broker(5672, "    partitons: 8\n"));
    folder.write("password.txt", "guest\n");
    folder.raccord(&["check"]).expect(1, &["unknown key `partitons`", "did you mean `partitions`?"]);
}

#[test]
fn a_demo_without_a_broker_says_how_to_get_one() {
    let folder = Folder::new("demo-without-broker");
    let broker = format!("amqp://guest:s3cret@127.0.0.1:{}", free_port());
    let said = folder.raccord(&["demo", "--once", "--queue", "rabbitmq", "--broker", &broker]);
    said.expect(3, &["no broker answers on 127.0.0.1:", "apt-get install rabbitmq-server", "--broker"]);
    assert!(!said.err.contains("s3cret"), "{}", said.err);
    let said = folder.raccord(&["demo", "--once", "--queue", "rabbitmq", "--broker", "localhost"]);
    said.expect(3, &["is not an address such as amqp://user:password@host:5672/vhost"]);
}
