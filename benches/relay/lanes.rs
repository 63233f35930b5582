//! The queues on both sides of what is measured: one in, filled before; three out behind an exchange, counted and emptied.

use std::time::{Duration, Instant};

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::messages::orders;
use super::parts::rabbitmq::{Rabbit, Vhost};

/// The queue that is read.
pub const IN: &str = "orders";
/// The exchange that is written to.
pub const OUT: &str = "mapped";
/// The routing keys, each with a queue of its name.
pub const KEYS: [&str; 3] = ["order.small", "order.medium", "order.large"];
/// `gross` decides, for the hub.
pub const ROUTING_KEY: &str = "=if($.gross >= 300, 'order.large', if($.gross >= 200, 'order.medium', 'order.small'))";

/// How long nothing may arrive before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The queues of one scenario, in a virtual host of their own.
pub struct Lanes {
    pub vhost: Vhost,
    runtime: Runtime,
    connection: Connection,
    channel: Channel,
    /// The texts of the orders without their ids, which are drawn from a count.
    texts: Vec<String>,
    filled: usize,
}

impl Lanes {
    pub fn new(rabbit: &Rabbit, kind: &str) -> Lanes {
        let vhost = rabbit.vhost();
        let arguments = json!({ "x-queue-type": kind });
        vhost.declare_queue(IN, &arguments);
        vhost.declare_exchange(OUT, "direct");
        for key in KEYS {
            vhost.declare_queue(key, &arguments);
            vhost.bind(OUT, key, key);
        }
        let runtime = Runtime::new().expect("a runtime starts");
        let (connection, channel) = runtime.block_on(async {
            let options = ConnectionProperties::default();
            let connection = Connection::connect(&vhost.url(), options).await.expect("the broker was just started");
            let channel = connection.create_channel().await.expect("a channel");
            channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
            (connection, channel)
        });
        let without_id = |order: String| order[order.find(',').expect("orders have many fields")..].to_owned();
        Lanes { vhost, runtime, connection, channel, texts: orders().into_iter().map(without_id).collect(), filled: 0 }
    }

    /// Puts so many orders into the queue, each with an id of its own, and answers the rate.
    pub fn fill(&mut self, count: usize) -> f64 {
        let from = Instant::now();
        self.runtime.block_on(async {
            for start in (0..count).step_by(1_000) {
                let mut confirms = Vec::with_capacity(1_000);
                for number in start..count.min(start + 1_000) {
                    let id = 10_000_000 + self.filled + number;
                    let body = format!("{{\"id\":{id}{}", self.texts[number % self.texts.len()]);
                    let properties = BasicProperties::default()
                        .with_delivery_mode(2)
                        .with_content_type("application/json".into())
                        .with_message_id(format!("web-{id}").into());
                    let options = BasicPublishOptions::default();
                    let published =
                        self.channel.basic_publish("".into(), IN.into(), options, body.as_bytes(), properties);
                    confirms.push(published.await.expect("the broker lives"));
                }
                for confirm in confirms {
                    assert!(confirm.await.expect("the broker lives").is_ack(), "the broker took the order");
                }
            }
        });
        self.filled += count;
        count as f64 / from.elapsed().as_secs_f64()
    }

    /// Messages that wait in the queues behind the exchange.
    pub fn arrived(&self) -> usize {
        KEYS.iter().map(|key| self.depth(key)).sum()
    }

    fn depth(&self, queue: &str) -> usize {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        self.runtime.block_on(asked).expect("the queue was declared").message_count() as usize
    }

    /// Waits until so many have arrived. Fails when nothing moves any more.
    pub fn wait_arrived(&self, count: usize, said: impl Fn() -> String) {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let now = self.arrived();
            if now >= count {
                return;
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "{now} of {count} arrived, and nothing moves any more:\n{}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One mapped order of each key, as it arrived, for both sides to be compared.
    pub fn samples(&self) -> Vec<Value> {
        let sample = |key: &str| {
            let got = self.runtime.block_on(self.channel.basic_get(key.into(), BasicGetOptions { no_ack: true }));
            let got = got.expect("the broker lives").expect("each key has messages");
            serde_json::from_slice(&got.data).expect("both sides write JSON")
        };
        KEYS.into_iter().map(sample).collect()
    }

    /// Empties every queue.
    pub fn empty(&self) {
        for queue in KEYS.into_iter().chain([IN]) {
            let purged = self.runtime.block_on(self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()));
            purged.expect("the broker lives");
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        let closed = self.connection.close(200, "done".into());
        let _ = self.runtime.block_on(closed);
    }
}
