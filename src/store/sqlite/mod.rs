//! The embedded store: in the queues' own file, so that a settle is one transaction.
//!
//! Every writing call becomes an [`Operation`] for the file's one writer; reading calls use its readers. One file a thing
//! remembered; `settle.rs` brings them together.

mod answers;
mod claims;
mod cursors;
mod dead_letters;
mod groups;
mod journal;
mod ledger;
mod schema;
mod settle;
mod settled;
mod sweep;
mod tables;
#[cfg(test)]
mod tests;
mod vault;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    Accepted, Alone, DeadFilter, DeadLetter, DueGroup, Engine, Hop, Intake, Ledger, Retention, Settlement, Store,
};
use crate::clock::Clock;
use crate::config::QueueSettings;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::queue::embedded::{File, FileSettings, faults};
use crate::steps::{Group, GroupKey};
use settle::{Operation, StoreWork};

/// Opens the embedded engine in `folder` (`settings.folder` under the hub's own), or makes it.
///
/// # Errors
/// `STORE-LOCKED`, `STORE-READONLY`, `STORE-CORRUPT`, `STORE-VERSION`, `STORE-FULL`, `STORE-IO`, each with what to do.
pub fn open(folder: &Path, settings: &QueueSettings, clock: Clock) -> Result<Engine, Fault> {
    let store = SqliteStore::open(
        folder,
        settings,
        clock,
        #[cfg(test)]
        None,
    )?;
    Ok(store.engine())
}

/// The same file as the database of the distributed engine, which then has one instance.
///
/// # Errors
/// As [`open`].
pub fn open_ledger(folder: &Path, settings: &QueueSettings, clock: Clock) -> Result<Arc<dyn Ledger>, Fault> {
    let store = SqliteStore::open(
        folder,
        settings,
        clock,
        #[cfg(test)]
        None,
    )?;
    Ok(Arc::new(store))
}

pub struct SqliteStore {
    file: Arc<File<StoreWork>>,
    clock: Clock,
}

impl SqliteStore {
    pub fn open(
        folder: &Path,
        settings: &QueueSettings,
        clock: Clock,
        #[cfg(test)] crash: Option<Arc<crate::queue::embedded::Crash>>,
    ) -> Result<SqliteStore, Fault> {
        let quota = u64::from(settings.quota);
        let file_settings = FileSettings { folder, reserve_bytes: settings.reserve.0, migrations: schema::MIGRATIONS };
        let file = File::open(
            &file_settings,
            clock.clone(),
            |connection| StoreWork::new(connection, quota),
            #[cfg(test)]
            crash,
        )?;
        Ok(SqliteStore { file: Arc::new(file), clock })
    }

    pub fn engine(self) -> Engine {
        Engine { queue: self.file.clone(), store: Arc::new(self), instances: Arc::new(Alone) }
    }

    /// Submits, then waits for the commit.
    async fn write<T>(&self, operation: impl FnOnce(Reply<T>) -> Operation) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        self.file.submit(operation(reply)).await?;
        answer.await.map_err(|_| faults::gone())?
    }
}

type Reply<T> = oneshot::Sender<Result<T, Fault>>;

#[async_trait]
impl Store for SqliteStore {
    async fn intake(&self, arrivals: Vec<Intake>, cursor: Option<(Text, Value)>) -> Result<Vec<Accepted>, Fault> {
        self.write(|reply| Operation::Intake { arrivals, cursor, accepted: Vec::new(), reply }).await
    }

    async fn settle_shared(&self, settlement: Arc<Settlement>) -> Result<(), Fault> {
        self.write(|reply| Operation::Settle { settlement, reply }).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        let name = name.to_owned();
        self.file.read(move |connection| cursors::read(connection, &name)).await
    }

    async fn row(&self, table: &str, key: &str, now: Timestamp) -> Result<Option<Map>, Fault> {
        let (table, key) = (table.to_owned(), key.to_owned());
        self.file.read(move |connection| tables::read(connection, &table, &key, now)).await
    }

    async fn rows(&self, table: &str, prefix: &str, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault> {
        let (table, prefix) = (table.to_owned(), prefix.to_owned());
        self.file.read(move |connection| tables::list(connection, &table, &prefix, now, most)).await
    }

    async fn answers(&self, message: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault> {
        self.file.read(move |connection| answers::read(connection, message)).await
    }

    async fn group(&self, key: &GroupKey) -> Result<Group, Fault> {
        let key = key.clone();
        self.file.read(move |connection| groups::read(connection, &key)).await
    }

    async fn due_groups(&self, pipeline: &str, now: Timestamp, most: u32) -> Result<Vec<DueGroup>, Fault> {
        let pipeline = pipeline.to_owned();
        self.file.read(move |connection| groups::due(connection, &pipeline, now, most)).await
    }

    async fn dead_letters(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
        self.file.read(move |connection| dead_letters::list(connection, &filter)).await
    }

    async fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>, Fault> {
        self.file.read(move |connection| dead_letters::read(connection, message)).await
    }

    async fn dead_count(&self) -> Result<Vec<(Text, u64)>, Fault> {
        self.file.read(dead_letters::count).await
    }

    async fn journal(&self, origin: MessageId) -> Result<Vec<Hop>, Fault> {
        self.file.read(move |connection| journal::read(connection, origin)).await
    }

    async fn search(&self, value: &str, most: u32) -> Result<Vec<MessageId>, Fault> {
        let value = value.to_owned();
        self.file.read(move |connection| journal::search(connection, &value, most)).await
    }

    async fn recent(&self, most: u32) -> Result<Vec<MessageId>, Fault> {
        self.file.read(move |connection| journal::recent(connection, most)).await
    }

    async fn release(&self, queue: &str, key: &str) -> Result<(), Fault> {
        let (queue, key) = (queue.into(), key.into());
        self.write(|reply| Operation::Release { queue, key, reply }).await
    }

    async fn sweep(&self, now: Timestamp, retention: Retention) -> Result<bool, Fault> {
        self.write(|reply| Operation::Sweep { now, retention, more: false, reply }).await
    }

    async fn well(&self) -> Result<(), Fault> {
        self.write(|reply| Operation::Well { reply }).await
    }
}
