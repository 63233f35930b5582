//! `config/raccord.yaml`: the hub itself.

use std::path::PathBuf;
use std::time::Duration;

use super::{Node, Reader, Secret, Setting, Size, servers, settings};
use crate::message::Text;

settings! {
    /// The hub: its name, where it listens, where it keeps what it must not lose.
    pub struct HubSettings {
        /// The hub's name, on metrics, logs and the console.
        name: Text,
        /// Address and port of the HTTP listener: webhooks, health and metrics. A proxy in front adds TLS.
        listen: Text = "127.0.0.1:8080",
        /// Where messages wait and what the hub remembers.
        queue: Option<QueueSettings>,
        /// Where the hub remembers, when that is not in the queue's own file.
        store: Option<StoreSettings>,
        /// How long finished things are kept.
        retention: Option<RetentionSettings>,
        /// How long a stop waits for messages on their way before it leaves them in the queue.
        stop_within: Duration = "20s",
    }
}

settings! {
    /// Where messages wait: in a file on this machine, or in RabbitMQ.
    pub struct QueueSettings {
        /// Folder of the queue's file, relative to the hub's folder. On a local disk, never a network share.
        folder: PathBuf = "data",
        /// Most bytes of messages kept in memory, over all pipelines. What does not fit waits on disk.
        memory: Size = "64MB",
        /// Disk space kept free for finishing what was accepted: below it, sources are told to come back later.
        reserve: Size = "64MB",
        /// Most messages waiting for one destination before its sources are slowed down.
        quota: u32 = "1000000",
        /// Messages wait in RabbitMQ instead of the file, so that the hub may run on several machines.
        rabbitmq: Option<RabbitSettings>,
    }
}

settings! {
    /// The broker, version 3.10 or later. The hub keeps its messages in durable quorum queues, confirmed and acknowledged.
    pub struct RabbitSettings {
        /// The brokers of the cluster, each `host` or `host:port` (5672, with `tls` 5671); tried in turn.
        addresses: Vec<Text>,
        /// The virtual host.
        vhost: Text = "/",
        /// Who connects. With a client certificate and the broker's plugin for it, leave out user and password.
        user: Option<Text>,
        password: Option<Secret>,
        /// An encrypted connection.
        tls: Option<TlsSettings>,
        /// A connection that is silent for twice as long is taken for dead.
        heartbeat: Duration = "10s",
        /// How long the broker may take to confirm a message before the hub publishes it again on a new channel.
        confirm_within: Duration = "30s",
        /// Messages published and not confirmed at a time.
        unconfirmed: u32 = "1000",
        /// Whether the hub makes its exchange and queues. `false` where an administrator made them; the hub then tells what
        /// is missing.
        declare: bool = "true",
        /// Partitions of a queue whose messages have an order: at most so many instances share it. Fixed once the queues are
        /// made.
        partitions: u32 = "16",
        /// Put before the names of exchange and queues, so that several hubs can share a virtual host.
        prefix: Text = "raccord",
    }
}

settings! {
    /// Certificates, as PEM files relative to the hub's folder.
    pub struct TlsSettings {
        /// Who may have signed the server's certificate. Left out: those the system trusts.
        ca: Option<PathBuf>,
        /// The certificate the hub shows, and its key.
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        /// The name in the server's certificate, where it is not the one in the address.
        server_name: Option<Text>,
    }
}

settings! {
    /// Where the hub remembers: journal, dead letters, keys, tables.
    pub struct StoreSettings {
        /// A PostgreSQL database, shared by all instances. Needs `queue.rabbitmq`.
        postgres: PostgresSettings,
    }
}

settings! {
    /// The database, version 13 or later. The hub makes its tables in a schema of its own.
    pub struct PostgresSettings {
        /// The servers, each `host` or `host:port` (5432); tried in turn until one takes writes.
        addresses: Vec<Text>,
        database: Text = "raccord",
        user: Text = "raccord",
        password: Option<Secret>,
        /// An encrypted connection.
        tls: Option<TlsSettings>,
        /// The schema for the hub's tables. Another one for each hub that shares the database.
        schema: Text = "raccord",
        /// Most connections.
        connections: u32 = "8",
        /// How long one statement may take before it is given up and tried again.
        statement_within: Duration = "30s",
    }
}

settings! {
    /// How long finished things are kept.
    pub struct RetentionSettings {
        /// The journal of hops: where each message went.
        journal: Duration = "30d",
        /// Dead letters that nobody replayed or discarded.
        dead_letters: Duration = "90d",
    }
}

impl HubSettings {
    /// Reads the hub's file, with what its settings must be together.
    pub fn read_checked(file: &Node, reader: &mut Reader<'_>) -> Option<HubSettings> {
        let hub = HubSettings::read(file, reader);
        servers::check(file, hub.as_ref(), reader);
        hub
    }

    /// Whether messages wait in a broker, which several instances may share.
    pub fn is_distributed(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.rabbitmq.is_some())
    }
}

impl Default for QueueSettings {
    fn default() -> QueueSettings {
        QueueSettings {
            folder: "data".into(),
            memory: Size(64 << 20),
            reserve: Size(64 << 20),
            quota: 1_000_000,
            rabbitmq: None,
        }
    }
}

impl Default for RetentionSettings {
    fn default() -> RetentionSettings {
        RetentionSettings { journal: Duration::from_secs(30 * 86_400), dead_letters: Duration::from_secs(90 * 86_400) }
    }
}
