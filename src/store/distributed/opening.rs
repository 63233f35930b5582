//! Opens the distributed engine that a hub's settings describe.

use std::path::Path;
use std::time::Duration;

use super::{Options, open};
use crate::clock::Clock;
use crate::config::{QueueSettings, RabbitSettings, StoreSettings};
use crate::message::Fault;
use crate::queue::rabbitmq::Rabbit;
use crate::store::{Engine, open_postgres, open_sqlite_ledger};
use crate::telemetry::BrokerMetrics;

/// An instance silent for so long is dead to the others: twice what a database's short pause takes.
const LIVES: Duration = Duration::from_secs(10);

/// Opens broker and database: RabbitMQ with PostgreSQL, or, for one instance, with the file in `folder` (`queue.folder` under
/// the hub's own, from which certificates' paths start as well).
///
/// # Errors
/// Settings that cannot work (`misconfigured`), a database that cannot be reached (`retry`). The broker need not be up.
pub async fn open_distributed(
    hub_folder: &Path,
    queue: &QueueSettings,
    rabbitmq: &RabbitSettings,
    store: Option<&StoreSettings>,
    name: &str,
    clock: Clock,
    metrics: BrokerMetrics,
) -> Result<Engine, Fault> {
    let quota = u64::from(queue.quota);
    let ledger = match store {
        Some(StoreSettings { postgres }) => open_postgres(postgres, quota, hub_folder, clock.clone()).await?,
        None => open_sqlite_ledger(&hub_folder.join(&queue.folder), queue, clock.clone())?,
    };
    let broker = Rabbit::open(rabbitmq, hub_folder, name, clock.clone(), metrics)?;
    Ok(open(broker, ledger, Options { name: name.into(), quota, clock, lives: LIVES }))
}
