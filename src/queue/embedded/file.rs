//! Opening the file, its writer and its readers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::consumer::FileConsumer;
use super::disk::{self, Lock, Reserve};
use super::writer::{Command, Registry, Work, Writer};
use super::writing::Queues;
use super::{GROUP, faults, read};
use crate::clock::Clock;
use crate::message::{Fault, Text};
use crate::queue::{Consumer, Depth, Queue, Window};

/// Reading connections open at a time.
const READERS: usize = 4;

/// Bytes of a page, and pages of the WAL before it is folded back.
const PAGE: u64 = 8192;
const WAL_PAGES: u64 = 4000;

/// Where the file is and how it is treated.
pub struct FileSettings<'a> {
    pub folder: &'a Path,
    /// Disk space kept for settling.
    pub reserve_bytes: u64,
    /// The schema beside the queues, one step a version; steps already taken never change.
    pub migrations: &'a [&'a str],
}

/// The file, open. Dropping it commits what was submitted and closes it.
pub struct File<W: Work> {
    commands: Option<mpsc::Sender<Command<W::Operation>>>,
    thread: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    registry: Arc<Registry>,
    clock: Clock,
}

/// The queues' own tables; `held` are keys that wait for a person.
const QUEUES: &str = "
    CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL, entries INTEGER NOT NULL);
    CREATE TABLE held (queue INTEGER NOT NULL, key TEXT NOT NULL, at INTEGER, message BLOB, PRIMARY KEY (queue, key)) WITHOUT ROWID;
";

impl<W: Work> File<W> {
    /// Opens the folder's file, or makes it. `work` is made from the open file.
    ///
    /// # Errors
    /// `STORE-LOCKED`, `STORE-READONLY`, `STORE-CORRUPT`, `STORE-VERSION`, `STORE-FULL`, `STORE-IO`.
    pub fn open(
        settings: &FileSettings<'_>,
        clock: Clock,
        work: impl FnOnce(&Connection) -> Result<W, Fault>,
        #[cfg(test)] crash: Option<Arc<super::Crash>>,
    ) -> Result<File<W>, Fault> {
        let folder = settings.folder;
        std::fs::create_dir_all(folder).map_err(|error| disk::folder_fault(folder, error))?;
        let lock = Lock::take(folder)?;
        let path = folder.join("raccord.db");
        let connection = connect(&path)?;
        prepare(&connection, settings.reserve_bytes)?;
        migrate(&connection, settings.migrations)?;
        let (sender, commands) = mpsc::channel(4 * GROUP);
        let registry = Arc::new(Registry::default());
        let writer = Writer {
            work: work(&connection)?,
            queues: Queues::load(&connection)?,
            connection,
            reserve: Reserve::new(folder, settings.reserve_bytes),
            registry: registry.clone(),
            clock: clock.clone(),
            commands,
            waiting_for_queue: std::collections::HashMap::new(),
            changes: Vec::new(),
            open_to_intake: true,
            #[cfg(test)]
            crash,
        };
        writer.publish();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                writer.run();
                drop(lock);
            })
            .map_err(|error| {
                Fault::misconfigured("STORE-IO", "no thread could be started for the store").cause(error)
            })?;
        let readers = Arc::new(Readers { path, idle: Mutex::new(Vec::new()), permits: Semaphore::new(READERS) });
        Ok(File { commands: Some(sender), thread: Some(thread), readers, registry, clock })
    }

    /// Gives an operation to the writer, in the order of the callers; its reply comes after its commit.
    pub async fn submit(&self, operation: W::Operation) -> Result<(), Fault> {
        let Some(commands) = &self.commands else { return Err(faults::gone()) };
        // Unconstrained: a task that has used up its turn would else be put off before it stands in line.
        let sent = tokio::task::unconstrained(commands.send(Command::Work(operation))).await;
        sent.map_err(|_| faults::gone())
    }

    /// The keys of a queue that have entries or are held: with how many, and whether held.
    pub async fn keys(&self, queue: &str) -> Result<Vec<(Text, u64, bool)>, Fault> {
        let id = self.registry.known().queues.get(queue).map(|counters| counters.id);
        let Some(id) = id else { return Ok(Vec::new()) };
        self.read(move |connection| read::keys(connection, id)).await
    }

    /// Reads what is committed, on a thread where waiting for the disk disturbs nobody.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let readers = self.readers.clone();
        let _permit = self.readers.permits.acquire().await.map_err(|_| faults::gone())?;
        tokio::task::spawn_blocking(move || readers.with(read)).await.map_err(|_| faults::gone())?
    }
}

#[cfg(test)]
impl<W: Work> File<W> {
    /// How often the consumer of `queue` has read the file.
    pub fn readings(&self, queue: &str) -> u64 {
        let known = self.registry.known();
        known.queues.get(queue).and_then(|queue| known.consumers.get(&queue.id)).map_or(0, |lane| lane.state().readings)
    }
}

impl<W: Work> Drop for File<W> {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl<W: Work> Queue for File<W> {
    async fn consume(&self, queue: &str, window: Window) -> Result<Box<dyn Consumer>, Fault> {
        let Some(commands) = &self.commands else { return Err(faults::gone()) };
        let (reply, answer) = oneshot::channel();
        let command = Command::Consume { queue: queue.into(), window, reply };
        commands.send(command).await.map_err(|_| faults::gone())?;
        let lane = answer.await.map_err(|_| faults::gone())??;
        Ok(Box::new(FileConsumer::new(lane, self.readers.clone(), self.clock.clone())))
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Fault> {
        let (counters, waiting) = {
            let known = self.registry.known();
            let Some(counters) = known.queues.get(queue).copied() else { return Ok(Depth::default()) };
            let waiting = known.consumers.get(&counters.id).map_or(0, |lane| lane.state().count_waiting());
            (counters, waiting as u64)
        };
        if counters.entries == 0 {
            return Ok(Depth::default());
        }
        let oldest = self.read(move |connection| read::oldest(connection, counters.id)).await?;
        Ok(Depth { entries: counters.entries, waiting, oldest })
    }

    async fn entries(&self, queue: &str) -> Result<u64, Fault> {
        Ok(self.registry.known().queues.get(queue).map_or(0, |counters| counters.entries))
    }

    async fn queues(&self) -> Result<Vec<(Text, u64)>, Fault> {
        let known = self.registry.known();
        let mut queues: Vec<_> = known.queues.iter().map(|(name, queue)| (name.clone(), queue.entries)).collect();
        queues.sort();
        Ok(queues)
    }
}

/// A few reading connections, kept open between uses.
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    /// Runs `read` on a snapshot of its own; each statement of it is a short read transaction.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path)?;
                connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4096")?;
                connection
            }
        };
        let outcome = read(&connection);
        let mut idle = self.idle();
        if idle.len() < READERS {
            idle.push(connection);
        }
        outcome
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(512);
    Ok(connection)
}

/// Durable at each commit; the WAL small enough that folding it back fits into the reserve of the disk.
fn prepare(connection: &Connection, reserve_bytes: u64) -> Result<(), Fault> {
    let wal_pages = if reserve_bytes == 0 { WAL_PAGES } else { (reserve_bytes / 2 / PAGE).clamp(64, WAL_PAGES) };
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {wal_pages}; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -4096"
    ))?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::misconfigured(
            "STORE-IO",
            "the folder's file system cannot hold the store safely (a network share?); give it a folder on a local disk",
        ));
    }
    Ok(())
}

/// Takes the steps the file has not taken, each in a transaction with its number.
fn migrate(connection: &Connection, migrations: &[&str]) -> Result<(), Fault> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let steps: Vec<&str> = std::iter::once(QUEUES).chain(migrations.iter().copied()).collect();
    if version > steps.len() as i64 {
        return Err(Fault::misconfigured(
            "STORE-VERSION",
            format!(
                "the store's file was written by a newer version of raccord (schema {version}, this one knows {}); start that version again, or restore the folder from before the upgrade",
                steps.len()
            ),
        ));
    }
    for (index, step) in steps.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {step}; PRAGMA user_version = {}; COMMIT", index + 1))?;
    }
    Ok(())
}
