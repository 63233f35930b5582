//! The one thread that writes: groups of operations, one commit each, answers after the commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::GROUP;
use super::consumer::Lane;
use super::disk::Reserve;
use super::writing::{Queues, Writing};
use crate::clock::Clock;
use crate::message::{Fault, Text};
use crate::queue::Window;
use crate::queue::waiting::{Change, Waiting};

/// What is done in the transactions of the file: the store, as the queue sees it.
pub trait Work: Send + 'static {
    type Operation: Send;

    /// Writes one operation. Applied again where the transaction had to be undone, so it keeps what it needs.
    fn apply(&mut self, operation: &mut Self::Operation, writing: &mut Writing<'_>) -> Result<(), Fault>;

    /// Writes what is gathered over a group; its last part.
    fn finish(&mut self, writing: &mut Writing<'_>) -> Result<(), Fault>;

    /// The transaction was undone.
    fn undone(&mut self);

    /// The transaction is on disk.
    fn committed(&mut self);

    /// Whether the operation finishes what was accepted, and so may use the reserve of the disk.
    fn settles(operation: &Self::Operation) -> bool;

    fn reply(operation: Self::Operation, result: Result<(), Fault>);
}

pub enum Command<O> {
    Work(O),
    Consume { queue: Text, window: Window, reply: oneshot::Sender<Result<Arc<Lane>, Fault>> },
}

/// What the rest of the process may know about the file: counters as of the last commit, and who consumes.
#[derive(Default)]
pub struct Registry(Mutex<Known>);

#[derive(Default)]
pub struct Known {
    pub queues: HashMap<Text, Counters>,
    pub consumers: HashMap<i64, Arc<Lane>>,
}

#[derive(Clone, Copy, Default)]
pub struct Counters {
    pub id: i64,
    pub entries: u64,
}

impl Registry {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub struct Writer<W: Work> {
    pub connection: Connection,
    pub work: W,
    pub(super) queues: Queues,
    pub reserve: Reserve,
    pub registry: Arc<Registry>,
    pub clock: Clock,
    pub commands: mpsc::Receiver<Command<W::Operation>>,
    /// Consumers of queues that have no entry yet.
    pub waiting_for_queue: HashMap<Text, Arc<Lane>>,
    pub changes: Vec<(i64, Change)>,
    /// Whether the disk had room for new messages at the last group.
    pub open_to_intake: bool,
    #[cfg(test)]
    pub crash: Option<Arc<Crash>>,
}

/// A group that was not committed: the operation at fault, if it was one.
struct Undone {
    index: Option<usize>,
    fault: Fault,
}

impl<W: Work> Writer<W> {
    /// Until every sender is gone.
    pub fn run(mut self) {
        while let Some(first) = self.commands.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            // No waiting for more: while one group is being synced the next one gathers by itself.
            while let Some(command) = next {
                match command {
                    Command::Work(operation) => group.push(operation),
                    Command::Consume { queue, window, reply } => {
                        if !self.commit(std::mem::take(&mut group)) {
                            return;
                        }
                        let lane = self.consume(queue, window);
                        let _ = reply.send(lane);
                    }
                }
                next = if group.len() < GROUP { self.commands.try_recv().ok() } else { None };
            }
            if !self.commit(group) {
                return;
            }
        }
    }

    /// Commits a group and answers; false where the process is to behave as killed.
    fn commit(&mut self, mut group: Vec<W::Operation>) -> bool {
        while !group.is_empty() {
            self.look_at_disk();
            let Undone { index, fault } = match self.attempt(&mut group) {
                Ok(refused) => {
                    if self.crashes(Gap::AfterCommit) {
                        return false;
                    }
                    self.tell();
                    answer::<W>(group, refused);
                    return true;
                }
                Err(undone) => undone,
            };
            if self.crashes(Gap::Never) {
                return false;
            }
            self.undo();
            match index {
                _ if fault.code() == "STORE-FULL" && self.reserve.give_up() => self.fold(),
                Some(index) => W::reply(group.remove(index), Err(fault)),
                None if fault.code() == "STORE-FULL" && group.iter().any(|each| !W::settles(each)) => {
                    let (settling, others) = group.into_iter().partition(|each| W::settles(each));
                    group = settling;
                    others.into_iter().for_each(|each| W::reply(each, Err(fault.clone())));
                }
                None => {
                    group.drain(..).for_each(|each| W::reply(each, Err(fault.clone())));
                }
            }
        }
        true
    }

    /// One transaction with the whole group. Gives the faults of operations that wrote nothing.
    fn attempt(&mut self, group: &mut [W::Operation]) -> Result<Vec<Option<Fault>>, Undone> {
        let whole = |fault| Undone { index: None, fault };
        run(&self.connection, "BEGIN IMMEDIATE").map_err(whole)?;
        let mut refused = Vec::with_capacity(group.len());
        let mut writing = Writing {
            connection: &self.connection,
            now: self.clock.now(),
            open_to_intake: self.open_to_intake,
            queues: &mut self.queues,
            changes: &mut self.changes,
        };
        for (index, operation) in group.iter_mut().enumerate() {
            let before = writing.connection.total_changes();
            match self.work.apply(operation, &mut writing) {
                Ok(()) => refused.push(None),
                Err(fault) if writing.connection.total_changes() == before && !writing.connection.is_autocommit() => {
                    refused.push(Some(fault));
                }
                Err(fault) => return Err(Undone { index: Some(index), fault }),
            }
        }
        self.work.finish(&mut writing).map_err(whole)?;
        self.queues.save(&self.connection).map_err(whole)?;
        if self.crashes(Gap::BeforeCommit) {
            return Err(whole(super::faults::gone()));
        }
        run(&self.connection, "COMMIT").map_err(whole)?;
        self.queues.committed();
        self.work.committed();
        Ok(refused)
    }

    /// Closes or opens the intake. At the closing the WAL is folded back while there is room for it: from then on its file
    /// is used again from the start, and settling needs no more of the disk than it has.
    fn look_at_disk(&mut self) {
        let one = |sql| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
        let inside = || u64::try_from(one("PRAGMA freelist_count") * one("PRAGMA page_size")).unwrap_or(0);
        let now = self.reserve.open_to_intake(inside);
        let before = std::mem::replace(&mut self.open_to_intake, now);
        if before && !self.open_to_intake {
            self.fold();
        }
    }

    fn fold(&self) {
        // Without success it is done at a later commit.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
    }

    fn undo(&mut self) {
        // A full disk has rolled back by itself.
        if !self.connection.is_autocommit() {
            let _ = run(&self.connection, "ROLLBACK");
        }
        self.queues.undone();
        self.work.undone();
        self.changes.clear();
    }

    /// Tells the consumers and the registry what was committed.
    fn tell(&mut self) {
        let now = self.clock.now();
        let mut known = self.registry.known();
        let mut by_queue: Vec<(i64, Vec<Change>)> = Vec::new();
        for (queue, change) in self.changes.drain(..) {
            match by_queue.iter_mut().find(|(id, _)| *id == queue) {
                Some((_, changes)) => changes.push(change),
                None => by_queue.push((queue, vec![change])),
            }
        }
        for (id, changes) in by_queue {
            let Some(queue) = self.queues.get(id) else { continue };
            known.queues.insert(queue.name.clone(), Counters { id, entries: queue.entries });
            if let Some(lane) = self.waiting_for_queue.remove(&queue.name) {
                known.consumers.insert(id, lane);
            }
            if let Some(lane) = known.consumers.get(&id) {
                lane.apply(id, changes.into_iter(), now);
            }
            if known.consumers.contains_key(&id)
                && let Ok(queue) = self.queues.get_mut(id)
            {
                queue.consumed = true;
            }
        }
    }

    /// Makes the counters known, before anyone asks.
    pub fn publish(&self) {
        let mut known = self.registry.known();
        for (id, queue) in self.queues.each() {
            known.queues.insert(queue.name.clone(), Counters { id, entries: queue.entries });
        }
    }

    /// A new consumer, between two commits: it misses none and sees none twice.
    fn consume(&mut self, name: Text, window: Window) -> Result<Arc<Lane>, Fault> {
        let id = self.queues.find(&name);
        let tail = id.and_then(|id| self.queues.get(id)).map_or(0, |queue| queue.last);
        let held = id.map_or(Ok(Vec::new()), |id| held(&self.connection, id))?;
        let lane = Arc::new(Lane::new(name.clone(), Waiting::new(id, tail, window, held)));
        let former = match id {
            Some(id) => {
                self.queues.get_mut(id)?.consumed = true;
                self.registry.known().consumers.insert(id, lane.clone())
            }
            None => self.waiting_for_queue.insert(name, lane.clone()),
        };
        if let Some(former) = former {
            former.replace();
        }
        Ok(lane)
    }

    #[cfg(test)]
    fn crashes(&self, gap: Gap) -> bool {
        self.crash.as_ref().is_some_and(|crash| crash.strikes(gap))
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "the tests' build uses it")]
    fn crashes(&self, _: Gap) -> bool {
        false
    }
}

fn answer<W: Work>(group: Vec<W::Operation>, refused: Vec<Option<Fault>>) {
    for (operation, fault) in group.into_iter().zip(refused) {
        W::reply(operation, fault.map_or(Ok(()), Err));
    }
}

fn run(connection: &Connection, sql: &str) -> Result<(), Fault> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn held(connection: &Connection, queue: i64) -> Result<Vec<Text>, Fault> {
    let mut statement = connection.prepare_cached("SELECT key FROM held WHERE queue = ?")?;
    let keys = statement.query_map([queue], |row| row.get::<_, String>(0))?;
    Ok(keys.map(|key| key.map(Text::from)).collect::<Result<_, _>>()?)
}

/// Where a kill may strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    BeforeCommit,
    AfterCommit,
    /// Struck before: nothing more is done.
    Never,
}

/// A kill for tests: at the given gap of the given group the folder is copied as a killed process would leave it.
#[cfg(test)]
pub struct Crash {
    pub gap: Gap,
    pub groups_left: std::sync::atomic::AtomicI64,
    pub from: std::path::PathBuf,
    pub to: std::path::PathBuf,
}

#[cfg(test)]
impl Crash {
    pub fn struck(&self) -> bool {
        self.groups_left.load(std::sync::atomic::Ordering::SeqCst) < 0
    }

    fn strikes(&self, gap: Gap) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        if gap == Gap::Never {
            return self.struck();
        }
        if gap != self.gap || self.groups_left.fetch_sub(1, SeqCst) > 0 {
            return false;
        }
        self.groups_left.store(-1, SeqCst);
        std::fs::create_dir_all(&self.to).expect("the copy's folder can be made");
        for name in ["raccord.db", "raccord.db-wal"] {
            if self.from.join(name).exists() {
                std::fs::copy(self.from.join(name), self.to.join(name)).expect("the file can be copied");
            }
        }
        true
    }
}
