//! The consumer: waits for entries, and reads ahead in short readings on a thread of their own.
//!
//! A reading puts what it finds into the shared state itself, so a caller may drop `next` at any point and lose nothing.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::file::Readers;
use super::read::{self, Loaded};
use crate::clock::Clock;
use crate::message::{Fault, Text};
use crate::queue::waiting::{Change, Met, Search, Waiting};
use crate::queue::{Consumer, Entry};

/// Rows looked at in one reading: it ends soon, so that it does not keep the WAL from being folded back.
const ROWS: usize = 2048;
/// Entries loaded by number in one reading.
const LOADS: usize = 256;
/// Numbers passed over in one search for a key.
const SEARCH: i64 = if cfg!(test) { 50 } else { 20_000 };

/// What writer and consumer share.
pub struct Lane {
    name: Text,
    state: Mutex<Waiting>,
    changed: Notify,
}

pub struct FileConsumer {
    lane: Arc<Lane>,
    readers: Arc<Readers>,
    clock: Clock,
}

impl Lane {
    pub fn new(name: Text, state: Waiting) -> Lane {
        Lane { name, state: Mutex::new(state), changed: Notify::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What a commit changed; `queue` is known from the first entry on.
    pub fn apply(&self, queue: i64, changes: impl Iterator<Item = Change>, now: Timestamp) {
        let mut state = self.state();
        if state.replaced {
            return;
        }
        state.queue = Some(queue);
        for change in changes {
            state.apply(change, now);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub fn replace(&self) {
        self.state().replaced = true;
        self.changed.notify_one();
    }
}

impl FileConsumer {
    pub fn new(lane: Arc<Lane>, readers: Arc<Readers>, clock: Clock) -> FileConsumer {
        FileConsumer { lane, readers, clock }
    }

    /// What to do now; starts a reading where one is useful.
    fn step(&self, most: usize) -> Result<Step, Fault> {
        let mut state = self.lane.state();
        if state.replaced {
            return Err(Fault::reconnect(
                "QUEUE-REPLACED",
                format!("another consumer has taken the queue {}", self.lane.name),
            ));
        }
        if let Some(fault) = state.fault.take() {
            return Err(fault);
        }
        let due = state.wake(self.clock.now());
        if !state.reading && state.queue.is_some() && state.wants_reading() {
            state.reading = true;
            state.readings += 1;
            let (lane, readers, clock) = (self.lane.clone(), self.readers.clone(), self.clock.clone());
            tokio::task::spawn_blocking(move || Reading { lane: &lane, now: clock.now() }.run(&readers));
        }
        Ok(if state.has_ready() { Step::Give(state.give(most)) } else { Step::Wait(due) })
    }
}

enum Step {
    Give(Vec<Entry>),
    Wait(Option<Timestamp>),
}

#[async_trait]
impl Consumer for FileConsumer {
    async fn next(&mut self, most: usize) -> Result<Vec<Entry>, Fault> {
        loop {
            match self.step(most.max(1))? {
                Step::Give(entries) => return Ok(entries),
                Step::Wait(None) => self.lane.changed.notified().await,
                Step::Wait(Some(due)) => tokio::select! {
                    () = self.lane.changed.notified() => {}
                    () = self.clock.sleep_until(due) => {}
                },
            }
        }
    }
}

impl Drop for FileConsumer {
    /// Nobody is left to hand entries to: what is held in memory is let go.
    fn drop(&mut self) {
        self.lane.state().let_go();
    }
}

/// One reading: what is due or freed by number, one search, then ahead.
struct Reading<'a> {
    lane: &'a Lane,
    now: Timestamp,
}

impl Reading<'_> {
    fn run(&self, readers: &Readers) {
        let outcome = readers.with(|connection| {
            self.load(connection)?;
            self.search(connection)?;
            self.ahead(connection)
        });
        let mut state = self.lane.state();
        state.reading = false;
        state.fault = outcome.err();
        drop(state);
        self.lane.changed.notify_one();
    }

    fn queue(&self) -> i64 {
        self.lane.state().queue.unwrap_or_default()
    }

    fn load(&self, connection: &rusqlite::Connection) -> Result<(), Fault> {
        let mut loads = self.lane.state().take_loads(LOADS).into_iter();
        let queue = self.queue();
        while let Some((number, key)) = loads.next() {
            let fits = |bytes| self.lane.state().fits(bytes);
            match read::load(connection, (queue, &self.lane.name), number, fits) {
                Ok(Loaded::Entry(entry)) => self.lane.state().loaded(*entry, self.now),
                Ok(Loaded::Missing) => self.lane.state().missing(key),
                Ok(Loaded::NoRoom) => {
                    self.lane.state().put_back(std::iter::once((number, key)).chain(loads.by_ref()).collect());
                    break;
                }
                Err(fault) => {
                    self.lane.state().put_back(std::iter::once((number, key)).chain(loads).collect());
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn search(&self, connection: &rusqlite::Connection) -> Result<(), Fault> {
        let Some(search) = self.lane.state().take_search() else { return Ok(()) };
        let Search { key, after, until, most } = &search;
        let to = (*until).min(after + SEARCH);
        match read::numbers_of(connection, self.queue(), key, (*after, to), *most) {
            Ok(numbers) => {
                let to = if numbers.len() < *most { to } else { numbers.last().copied().unwrap_or(to) };
                self.lane.state().found(key, numbers, to);
                Ok(())
            }
            Err(fault) => {
                self.lane.state().search_again(search);
                Err(fault)
            }
        }
    }

    fn ahead(&self, connection: &rusqlite::Connection) -> Result<(), Fault> {
        let (cursor, tail) = {
            let state = self.lane.state();
            (state.cursor, state.tail)
        };
        let queue = (self.queue(), &self.lane.name);
        let (mut rows, mut stopped) = (0, false);
        read::scan(connection, queue, cursor, ROWS, |head, entry| {
            let met = self.lane.state().meet(head.number, head.key.as_ref(), head.due, head.bytes, self.now);
            if met == Met::Take {
                self.lane.state().admit(entry()?);
            }
            (rows, stopped) = (rows + 1, met == Met::Stop);
            Ok(!stopped)
        })?;
        if !stopped && rows < ROWS {
            self.lane.state().reached(tail);
        }
        Ok(())
    }
}
