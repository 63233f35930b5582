//! The database of the distributed engine: PostgreSQL, shared by all instances of the hub.
//!
//! Every writing call becomes an [`Operation`] for the process's one writer, claims go to a task of their own, reading calls
//! and beats use a pool. Nothing a caller was told is lost with a connection: see `writer.rs`. What waits in the database
//! (parked entries) is handed out as by the embedded queue; `queues.rs` says how its order survives several writers.

mod answers;
mod claiming;
mod claims;
mod connection;
mod consumer;
mod dead_letters;
mod faults;
mod groups;
mod journal;
mod leases;
mod listening;
mod queues;
mod schema;
mod settle;
mod sweep;
mod tables;
#[cfg(test)]
mod tests;
mod vault;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{
    Accepted, Beat, Claim, Claimed, DeadFilter, DeadLetter, DueGroup, Fence, Hop, Intake, Key, Ledger, Pulse,
    Retention, Settlement, Store,
};
use crate::clock::Clock;
use crate::config::PostgresSettings;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::queue::embedded::{GROUP, faults::gone};
use crate::queue::{Consumer, Depth, Queue, Window};
use crate::steps::{Group, GroupKey};
use claiming::Wanted;
use connection::{Connection, Connector, Pool};
use consumer::DatabaseConsumer;
use settle::Operation;
use writer::{Command, Lanes, Writer};

/// Connections that are not the pool's: the writer's, the claims', the listener's, the beat's.
const OWN: u32 = 4;

const WELL: &str = "INSERT INTO fact (name, value) VALUES ('well', 1)
    ON CONFLICT (name) DO UPDATE SET value = fact.value + 1 RETURNING value";
const SETTLED: &str = claims::SETTLED;

pub struct Postgres {
    commands: mpsc::Sender<Command>,
    claims: mpsc::Sender<Wanted>,
    pool: Arc<Pool>,
    /// Nobody else's: that this instance lives must not wait until others have what they ask for.
    beating: tokio::sync::Mutex<Option<Connection>>,
    lanes: Arc<Lanes>,
    clock: Clock,
    _stopped: DropGuard,
}

/// Opens the database, and makes or renews the hub's schema in it. `quota` is the most entries of one queue before its intake
/// is refused, `folder` where the paths of certificates start.
///
/// # Errors
/// `STORE-LOGIN`, `CONFIG-TLS`, `STORE-VERSION` (misconfigured); `STORE-IO` (retry) where the database does not answer.
pub async fn open(
    settings: &PostgresSettings,
    quota: u64,
    folder: &Path,
    clock: Clock,
) -> Result<Arc<dyn Ledger>, Fault> {
    Ok(Postgres::open(settings, quota, folder, clock).await?)
}

impl Postgres {
    /// See [`open`].
    pub async fn open(
        settings: &PostgresSettings,
        quota: u64,
        folder: &Path,
        clock: Clock,
    ) -> Result<Arc<Postgres>, Fault> {
        let connector = Arc::new(Connector::new(settings, folder)?);
        schema::migrate(&connector).await?;
        let (commands, received) = mpsc::channel(4 * GROUP);
        let (claims, wanted) = mpsc::channel(4 * GROUP);
        let (lanes, stopped, looking) =
            (Arc::new(Lanes::default()), CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let process = Uuid::new_v4();
        let writer = Writer {
            connector: connector.clone(),
            commands: received,
            lanes: lanes.clone(),
            clock: clock.clone(),
            quota,
            process,
            channel: listening::channel(&connector.schema),
            stopped: stopped.clone(),
            looking: looking.clone(),
            connection: None,
            queues: HashMap::new(),
            transactions: 0,
            #[cfg(test)]
            kill: tests::kill_of(&connector.schema),
        };
        tokio::spawn(writer.run());
        tokio::spawn(claiming::run(connector.clone(), wanted, clock.clone()));
        let listener = listening::Listener {
            connector: connector.clone(),
            commands: commands.downgrade(),
            looking,
            process: process.to_string(),
        };
        tokio::spawn(stopped.clone().run_until_cancelled_owned(listener.run()));
        let most = settings.connections.saturating_sub(OWN).max(1) as usize;
        let pool = Arc::new(Pool::new(connector, most));
        Ok(Arc::new(Postgres {
            commands,
            claims,
            pool,
            beating: tokio::sync::Mutex::default(),
            lanes,
            clock,
            _stopped: stopped.drop_guard(),
        }))
    }

    /// Submits, then waits for the commit.
    async fn write<T>(
        &self,
        operation: impl FnOnce(oneshot::Sender<Result<T, Fault>>) -> Operation,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        // Unconstrained: a task that has used up its turn would else be put off before it stands in line.
        let sent = tokio::task::unconstrained(self.commands.send(Command::Work(operation(reply)))).await;
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Store for Postgres {
    async fn intake(&self, arrivals: Vec<Intake>, cursor: Option<(Text, Value)>) -> Result<Vec<Accepted>, Fault> {
        self.intake_under(arrivals, cursor, None).await
    }

    async fn intake_under(
        &self,
        arrivals: Vec<Intake>,
        cursor: Option<(Text, Value)>,
        fence: Option<Fence>,
    ) -> Result<Vec<Accepted>, Fault> {
        self.write(|reply| Operation::Intake { arrivals, cursor, fence, reply }).await
    }

    async fn settle_shared(&self, settlement: Arc<Settlement>) -> Result<(), Fault> {
        self.write(|reply| Operation::Settle { settlement, reply }).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        tables::read_cursor(&self.pool, name).await
    }

    async fn row(&self, table: &str, key: &str, now: Timestamp) -> Result<Option<Map>, Fault> {
        tables::read(&self.pool, table, key, now).await
    }

    async fn rows(&self, table: &str, prefix: &str, now: Timestamp, most: u32) -> Result<Vec<Map>, Fault> {
        tables::list(&self.pool, table, prefix, now, most).await
    }

    async fn answers(&self, message: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault> {
        answers::read(&self.pool, message).await
    }

    async fn group(&self, key: &GroupKey) -> Result<Group, Fault> {
        groups::read(&self.pool, key).await
    }

    async fn due_groups(&self, pipeline: &str, now: Timestamp, most: u32) -> Result<Vec<DueGroup>, Fault> {
        groups::due(&self.pool, pipeline, now, most).await
    }

    async fn dead_letters(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
        dead_letters::list(&self.pool, &filter).await
    }

    async fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>, Fault> {
        dead_letters::read(&self.pool, message).await
    }

    async fn dead_count(&self) -> Result<Vec<(Text, u64)>, Fault> {
        dead_letters::count(&self.pool).await
    }

    async fn journal(&self, origin: MessageId) -> Result<Vec<Hop>, Fault> {
        journal::read(&self.pool, origin).await
    }

    async fn search(&self, value: &str, most: u32) -> Result<Vec<MessageId>, Fault> {
        journal::search(&self.pool, value, most).await
    }

    async fn recent(&self, most: u32) -> Result<Vec<MessageId>, Fault> {
        journal::recent(&self.pool, most).await
    }

    async fn release(&self, queue: &str, key: &str) -> Result<(), Fault> {
        let (queue, key) = (queue.into(), key.into());
        self.write(|reply| Operation::Release { queue, key, reply }).await
    }

    async fn sweep(&self, now: Timestamp, retention: Retention) -> Result<bool, Fault> {
        sweep::sweep(&self.pool, now, retention).await
    }

    async fn well(&self) -> Result<(), Fault> {
        self.pool.execute(WELL, &[]).await.map(drop)
    }
}

#[async_trait]
impl Queue for Postgres {
    async fn consume(&self, queue: &str, window: Window) -> Result<Box<dyn Consumer>, Fault> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Consume { queue: queue.into(), window, reply };
        self.commands.send(command).await.map_err(|_| gone())?;
        let lane = answer.await.map_err(|_| gone())??;
        Ok(Box::new(DatabaseConsumer { lane, pool: self.pool.clone(), clock: self.clock.clone() }))
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Fault> {
        let Some((id, entries)) = queues::entries(&self.pool, queue).await? else { return Ok(Depth::default()) };
        if entries == 0 {
            return Ok(Depth::default());
        }
        let waiting = self.lanes.all().get(&id).map_or(0, |(lane, _)| lane.state().count_waiting());
        Ok(Depth { entries, waiting: waiting as u64, oldest: queues::oldest(&self.pool, id).await? })
    }

    async fn entries(&self, queue: &str) -> Result<u64, Fault> {
        Ok(queues::entries(&self.pool, queue).await?.map_or(0, |(_, entries)| entries))
    }

    async fn queues(&self) -> Result<Vec<(Text, u64)>, Fault> {
        queues::all(&self.pool).await
    }
}

#[async_trait]
impl Ledger for Postgres {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>, Fault> {
        let (reply, answer) = oneshot::channel();
        let wanted = Wanted { claims: claims.to_vec(), reply };
        self.claims.send(wanted).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn settled(&self, entries: &[(Text, MessageId)]) -> Result<Vec<bool>, Fault> {
        let places: Vec<Uuid> = entries.iter().map(claims::settled_place).collect();
        let rows = self.pool.query(SETTLED, &[&places]).await?;
        let marked: std::collections::HashSet<Uuid> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        Ok(places.iter().map(|place| marked.contains(place)).collect())
    }

    async fn keys(&self, queue: &str) -> Result<Vec<Key>, Fault> {
        queues::keys(&self.pool, queue).await
    }

    async fn beat(&self, beat: Beat) -> Result<Pulse, Fault> {
        leases::beat(&self.pool.connector, &mut *self.beating.lock().await, &beat).await
    }

    fn is_shared(&self) -> bool {
        true
    }
}

fn uuid_of(message: MessageId) -> Uuid {
    Uuid::from_bytes(*message.as_bytes())
}

fn id_of(uuid: Uuid) -> MessageId {
    MessageId::from_bytes(*uuid.as_bytes())
}
