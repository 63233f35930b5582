//! The one task that writes for this process: operations that wait are one transaction, answered after its commit.
//!
//! If an operation is at fault, the run is written again one by one, each behind a savepoint, so that a fault meets only its
//! own. A transaction that met another (deadlock) or lost its connection is done again. Where the connection is lost
//! during the commit nobody can say at first whether it took place: each transaction leaves its number in `mark`, which is
//! looked up on the next connection before anyone is answered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{Connection, Connector};
use super::consumer::Lane;
use super::faults::Failure;
use super::settle::{Applied, Known, Operation, Touched, apply, go_together};
use super::{answers, claims, dead_letters, faults, groups, journal, leases, queues, tables};
use crate::clock::Clock;
use crate::message::{Fault, Text};
use crate::queue::Window;
use crate::queue::embedded::{GROUP, faults::gone};
use crate::queue::waiting::{Change, Waiting};
use crate::store::Accepted;

/// Bytes of bodies in one transaction, about.
const GROUP_BYTES: usize = 16 << 20;
/// Times a transaction is done again before its operations are answered with the fault.
const TRIES: usize = 5;
/// Between two attempts to connect while an outcome is not known.
const PAUSE: Duration = Duration::from_millis(500);

const MARK: &str = "INSERT INTO mark (process, last, at) VALUES ($1, $2, clock_timestamp())
    ON CONFLICT (process) DO UPDATE SET last = excluded.last, at = excluded.at";
// Waits for a transaction of ours that the server has not ended yet.
const MARKED: &str = "SELECT last FROM mark WHERE process = $1 FOR UPDATE";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// What a transaction may need.
const STATEMENTS: &[&str] = &[
    MARK,
    NOTIFY,
    leases::CHECK,
    queues::LOCK,
    dead_letters::REMOVE,
    claims::SETTLE,
    claims::END,
    claims::INSERT,
    queues::IDENTITY,
    queues::HOLD,
    queues::END,
    queues::RETRY,
    queues::STORE,
    queues::SAVE,
    dead_letters::FORGET,
    dead_letters::INSERT,
    tables::WRITE,
    answers::WRITE,
    tables::WRITE_CURSORS,
    journal::INSERT,
    groups::OPEN,
    groups::JOIN,
    groups::CLOSE,
];

pub enum Command {
    Work(Operation),
    Consume {
        queue: Text,
        window: Window,
        reply: oneshot::Sender<Result<Arc<Lane>, Fault>>,
    },
    /// Somebody else may have changed queues that are consumed here.
    Look,
}

/// The consumers of this process, by queue, each with the version of the queue it knows.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<i64, (Arc<Lane>, i64)>>);

impl Lanes {
    pub fn all(&self) -> MutexGuard<'_, HashMap<i64, (Arc<Lane>, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Writer {
    pub connector: Arc<Connector>,
    pub commands: mpsc::Receiver<Command>,
    pub lanes: Arc<Lanes>,
    pub clock: Clock,
    pub quota: u64,
    /// This process, in `mark` and in its notifications.
    pub process: Uuid,
    pub channel: String,
    pub stopped: CancellationToken,
    /// A look has been asked for and not begun.
    pub looking: Arc<AtomicBool>,
    pub connection: Option<Connection>,
    pub queues: HashMap<Text, i64>,
    pub transactions: i64,
    #[cfg(test)]
    pub kill: Option<Arc<Kill>>,
}

/// What came of a transaction.
struct Outcome {
    results: Vec<Result<Vec<Accepted>, Fault>>,
    touched: Vec<Touched>,
}

enum Undone {
    /// Nothing was kept.
    Failed(Failure),
    /// The connection was lost during the commit.
    Unknown(Outcome),
    /// The process is to behave as killed.
    #[cfg(test)]
    Killed,
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Undone {
        Undone::Failed(failure)
    }
}

impl Writer {
    /// Until every sender is gone.
    pub async fn run(mut self) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(command) => command,
                None => match self.commands.recv().await {
                    Some(command) => command,
                    None => return,
                },
            };
            let operation = match first {
                Command::Work(operation) => operation,
                Command::Consume { queue, window, reply } => {
                    let lane = self.consume(queue, window).await;
                    let _ = reply.send(lane);
                    continue;
                }
                Command::Look => {
                    self.look().await;
                    continue;
                }
            };
            let (mut bytes, mut group) = (operation.weight(), vec![operation]);
            // No waiting for more: while one group is being committed the next one gathers by itself.
            while group.len() < GROUP && bytes < GROUP_BYTES {
                match self.commands.try_recv() {
                    Ok(Command::Work(operation)) => {
                        bytes += operation.weight();
                        group.push(operation);
                    }
                    Ok(other) => {
                        next = Some(other);
                        break;
                    }
                    Err(_) => break,
                }
            }
            if !self.commit(group).await {
                return;
            }
        }
    }

    /// Writes a group and answers; false where the process is to behave as killed.
    async fn commit(&mut self, group: Vec<Operation>) -> bool {
        let operations: Vec<&Operation> = group.iter().collect();
        let Some(outcome) = self.settle(&operations).await else { return false };
        self.tell(outcome.touched).await;
        for (operation, result) in group.into_iter().zip(outcome.results) {
            operation.reply(result);
        }
        true
    }

    async fn settle(&mut self, operations: &[&Operation]) -> Option<Outcome> {
        let (mut together, mut tries) = (operations.len() == 1 || go_together(operations), 0);
        loop {
            let failure = match self.transact(operations, together).await {
                Ok(outcome) => return Some(outcome),
                Err(Undone::Unknown(outcome)) => match self.took_place().await {
                    Ok(true) => return Some(outcome),
                    Ok(false) => Failure::Lost(faults::lost()),
                    Err(fault) => return Some(all_failed(operations, &fault)),
                },
                Err(Undone::Failed(failure)) => failure,
                #[cfg(test)]
                Err(Undone::Killed) => return None,
            };
            tries += 1;
            self.undo(&failure).await;
            match failure {
                Failure::Fault(_) if together && operations.len() > 1 => together = false,
                Failure::Again(_) | Failure::Lost(_) if tries < TRIES => {}
                failure => return Some(all_failed(operations, &failure.fault())),
            }
        }
    }

    async fn undo(&mut self, failure: &Failure) {
        if let Failure::Lost(_) = failure {
            self.connection = None;
            return;
        }
        if let Some(connection) = &self.connection
            && connection.batch("ROLLBACK").await.is_err()
        {
            self.connection = None;
        }
    }

    /// One transaction with the whole group.
    async fn transact(&mut self, operations: &[&Operation], together: bool) -> Result<Outcome, Undone> {
        self.connect().await?;
        self.transactions += 1;
        let consumed: HashSet<i64> = self.lanes.all().keys().copied().collect();
        let Some(connection) = &self.connection else { return Err(Failure::Lost(faults::lost()).into()) };
        let mut names = BTreeSet::new();
        operations.iter().for_each(|operation| operation.names(&mut names));
        queues::know(connection, names, &mut self.queues).await?;
        let known = Known { queues: &self.queues, consumed: &consumed, quota: self.quota, now: self.clock.now() };
        let begin = async {
            let mark = async { connection.execute(MARK, &[&self.process, &self.transactions]).await };
            let (begun, marked) = tokio::join!(biased; connection.batch("BEGIN"), mark);
            begun.and(marked.map(drop))
        };
        let outcome = if together {
            let (begun, applied) = tokio::join!(biased; begin, apply(connection, operations, &known));
            begun?;
            let applied = applied?;
            Outcome { results: applied.accepted.into_iter().map(Ok).collect(), touched: applied.touched }
        } else {
            begin.await?;
            one_by_one(connection, operations, &known).await?
        };
        if outcome.touched.iter().any(|touched| touched.changes.iter().any(others_want)) {
            connection.query(NOTIFY, &[&self.channel, &self.process.to_string()]).await?;
        }
        #[cfg(test)]
        if self.killed(Gap::BeforeCommit) {
            return Err(Undone::Killed);
        }
        match connection.batch("COMMIT").await {
            Ok(()) => {}
            Err(Failure::Lost(_)) => return Err(Undone::Unknown(outcome)),
            Err(failure) => return Err(failure.into()),
        }
        #[cfg(test)]
        if self.killed(Gap::AfterCommit) {
            return Err(Undone::Killed);
        }
        Ok(outcome)
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.connection.is_none() {
            // Not `Lost`: the next attempt would find the same, and callers want to know.
            let connection = self.connector.connect().await.map_err(Failure::Fault)?;
            connection.prepare(STATEMENTS).await?;
            self.connection = Some(connection);
        }
        Ok(())
    }

    /// Whether the last transaction was committed, once the database can tell.
    async fn took_place(&mut self) -> Result<bool, Fault> {
        self.connection = None;
        loop {
            if self.connect().await.is_ok()
                && let Some(connection) = &self.connection
                && let Ok(rows) = connection.query(MARKED, &[&self.process]).await
            {
                let last = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok());
                return Ok(last == Some(self.transactions));
            }
            self.connection = None;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stopped.cancelled() => return Err(gone()),
            }
        }
    }

    /// Tells the consumers what was committed. Where somebody else's commit came between, they read anew.
    async fn tell(&mut self, touched: Vec<Touched>) {
        let now = self.clock.now();
        let mut behind = Vec::new();
        for Touched { queue, before, changes } in touched {
            let mut lanes = self.lanes.all();
            let Some((lane, version)) = lanes.get_mut(&queue) else { continue };
            if lane.state().replaced {
                lanes.remove(&queue);
            } else if *version == before {
                lane.apply(changes.into_iter(), now);
                *version += 1;
            } else {
                behind.push(queue);
            }
        }
        // What fails is done at the next look.
        let _ = self.refresh(behind).await;
    }

    async fn look(&mut self) {
        self.looking.store(false, Ordering::Release);
        let queues: Vec<i64> = self.lanes.all().keys().copied().collect();
        if let Err(failure) = self.refresh(queues).await {
            self.undo(&failure).await;
        }
    }

    /// Lets the consumers of these queues read anew, where somebody else has changed them.
    async fn refresh(&mut self, queues: Vec<i64>) -> Result<(), Failure> {
        if queues.is_empty() {
            return Ok(());
        }
        self.connect().await?;
        let Some(connection) = &self.connection else { return Ok(()) };
        for (queue, last, version) in queues::states(connection, &queues).await? {
            let lane =
                self.lanes.all().get(&queue).filter(|(_, known)| *known != version).map(|(lane, _)| lane.clone());
            let Some(lane) = lane else { continue };
            let held = queues::held(connection, queue).await?;
            let out = lane.state().out();
            let stored = queues::stored(connection, queue, &out).await?;
            // What went out meanwhile is not asked about.
            let asked: HashSet<i64> = out.into_iter().collect();
            lane.restart(last, held, |number| !asked.contains(&number) || stored.contains(&number));
            if let Some((_, known)) = self.lanes.all().get_mut(&queue) {
                *known = version;
            }
        }
        Ok(())
    }

    /// A new consumer, between two commits: it misses none and sees none twice.
    async fn consume(&mut self, name: Text, window: Window) -> Result<Arc<Lane>, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.new_lane(&name, window).await {
                Ok(lane) => return Ok(lane),
                Err(failure) => {
                    self.undo(&failure).await;
                    match failure {
                        Failure::Lost(_) | Failure::Again(_) if tries < TRIES => {}
                        failure => return Err(failure.fault()),
                    }
                }
            }
        }
    }

    async fn new_lane(&mut self, name: &Text, window: Window) -> Result<Arc<Lane>, Failure> {
        self.connect().await?;
        let Some(connection) = &self.connection else { return Err(Failure::Lost(faults::lost())) };
        queues::know(connection, [name.as_str()].into(), &mut self.queues).await?;
        let id = *self.queues.get(name).ok_or_else(|| Failure::Again(faults::busy()))?;
        let states = queues::states(connection, &[id]).await?;
        let held = queues::held(connection, id).await?;
        let (_, last, version) = states.first().copied().ok_or_else(|| Failure::Again(faults::busy()))?;
        let lane = Arc::new(Lane::new(name.clone(), id, Waiting::new(Some(id), last, window, held)));
        if let Some((former, _)) = self.lanes.all().insert(id, (lane.clone(), version)) {
            former.replace();
        }
        Ok(lane)
    }

    #[cfg(test)]
    fn killed(&self, gap: Gap) -> bool {
        self.kill.as_ref().is_some_and(|kill| kill.gap == gap && kill.commits_left.fetch_sub(1, Ordering::SeqCst) == 0)
    }
}

/// Whether another process may wait for it.
fn others_want(change: &Change) -> bool {
    match change {
        Change::Stored { .. } | Change::Again { .. } | Change::Held { .. } | Change::Released { .. } => true,
        Change::Returned { .. } | Change::Ended { .. } => false,
    }
}

fn all_failed(operations: &[&Operation], fault: &Fault) -> Outcome {
    Outcome { results: operations.iter().map(|_| Err(fault.clone())).collect(), touched: Vec::new() }
}

/// Each operation behind a savepoint of its own.
async fn one_by_one(connection: &Connection, operations: &[&Operation], known: &Known<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome { results: Vec::new(), touched: Vec::new() };
    for operation in operations {
        connection.batch("SAVEPOINT one").await?;
        match apply(connection, &[operation], known).await {
            Ok(Applied { accepted, touched }) => {
                connection.batch("RELEASE one").await?;
                outcome.results.extend(accepted.into_iter().map(Ok));
                outcome.touched.extend(touched);
            }
            Err(Failure::Fault(fault)) => {
                connection.batch("ROLLBACK TO one").await?;
                outcome.results.push(Err(fault));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(outcome)
}

/// Where a kill may strike.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    BeforeCommit,
    AfterCommit,
}

/// A kill for tests: at the given gap of a commit the writer is gone without an answer.
#[cfg(test)]
pub struct Kill {
    pub gap: Gap,
    pub commits_left: std::sync::atomic::AtomicI64,
}
