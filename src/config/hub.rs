//! `config/raccord.yaml`: the hub itself.

use std::path::PathBuf;
use std::time::Duration;

use super::{Size, settings};
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
        /// How long finished things are kept.
        retention: Option<RetentionSettings>,
        /// How long a stop waits for messages on their way before it leaves them in the queue.
        stop_within: Duration = "20s",
    }
}

settings! {
    /// The embedded queue and store: one file on this machine.
    pub struct QueueSettings {
        /// Folder of the queue's file, relative to the hub's folder. On a local disk, never a network share.
        folder: PathBuf = "data",
        /// Most bytes of messages kept in memory, over all pipelines. What does not fit waits on disk.
        memory: Size = "64MB",
        /// Disk space kept free for finishing what was accepted: below it, sources are told to come back later.
        reserve: Size = "64MB",
        /// Most messages waiting for one destination before its sources are slowed down.
        quota: u32 = "1000000",
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

impl Default for QueueSettings {
    fn default() -> QueueSettings {
        QueueSettings { folder: "data".into(), memory: Size(64 << 20), reserve: Size(64 << 20), quota: 1_000_000 }
    }
}

impl Default for RetentionSettings {
    fn default() -> RetentionSettings {
        RetentionSettings { journal: Duration::from_secs(30 * 86_400), dead_letters: Duration::from_secs(90 * 86_400) }
    }
}
