//! RabbitMQ itself at both ends.

mod settings;
mod source;
mod target;

use std::sync::Arc;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel};
use serde_json::json;

use super::settings::BrokerSettings;
use crate::config::{Secret, Size};
use crate::parts::rabbitmq::{Rabbit, Vhost};
use crate::protocols::conformance::surroundings;
use crate::queue::rabbitmq::Link;

/// A virtual host of the shared broker, or of another.
struct Room {
    vhost: Arc<Vhost>,
    /// Where clients connect: the broker's, or that of a proxy.
    port: u16,
}

impl Room {
    async fn new() -> Room {
        blocking(|| {
            let rabbit = Rabbit::shared();
            Room { vhost: Arc::new(rabbit.vhost()), port: rabbit.port() }
        })
        .await
    }

    /// `broker: ...`, on one line.
    fn broker(&self) -> String {
        let Room { vhost, port } = self;
        format!(
            "broker: {{ addresses: ['{}:{port}'], vhost: {}, heartbeat: 1s }}\n",
            vhost.rabbit().host(),
            vhost.name()
        )
    }

    async fn declare(&self, queue: &'static str) {
        self.ask(move |vhost| vhost.declare_queue(queue, &json!({ "x-queue-type": "quorum" }))).await;
    }

    /// Something asked of the management interface, beside the runtime.
    async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Vhost) -> T + Send + 'static) -> T {
        let vhost = self.vhost.clone();
        blocking(move || question(&vhost)).await
    }

    /// A client of our own, straight to the broker.
    async fn client(&self) -> Client {
        let broker = BrokerSettings {
            addresses: vec![format!("{}:{}", self.vhost.rabbit().host(), self.vhost.rabbit().port()).into()],
            vhost: self.vhost.name().into(),
            user: Some(self.vhost.rabbit().api().user.as_str().into()),
            password: Some(Secret::new(self.vhost.rabbit().api().password.as_str())),
            tls: None,
            heartbeat: Duration::from_secs(10),
        };
        let link = Link::open(broker.link("test", &surroundings(".".as_ref()))).expect("the settings are right");
        let channel = link.channel().await.expect("the broker is there");
        Client { _link: link, channel }
    }

    /// Waits until as many messages of `queue` were acknowledged, ever.
    async fn acknowledged(&self, queue: &'static str, count: u64) {
        for _ in 0..600 {
            if self.acks(queue).await >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{count} messages of {queue} were not acknowledged");
    }

    /// Messages of `queue` acknowledged so far, as last counted.
    async fn acks(&self, queue: &'static str) -> u64 {
        self.ask(move |vhost| vhost.queue(queue).and_then(|told| told["message_stats"]["ack"].as_u64()))
            .await
            .unwrap_or(0)
    }
}

struct Client {
    _link: Link,
    channel: Channel,
}

impl Client {
    async fn send(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        let published =
            self.channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, properties);
        published.await.expect("the broker is there").await.expect("no confirms are asked for");
    }
}

async fn blocking<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(question).await.expect("the question does not panic")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// So many bytes of JSON.
fn large(size: Size) -> String {
    format!("\"{}\"", "x".repeat(size.bytes()))
}
