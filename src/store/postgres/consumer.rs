//! The consumer of a queue in the database: as the embedded one, its readings put what they find into the shared state, so a
//! caller may drop `next` at any point and lose nothing. A reading that began before a restart of the state puts nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::connection::Pool;
use super::queues;
use crate::clock::Clock;
use crate::message::{Fault, Text};
use crate::queue::waiting::{Change, Met, Search, Waiting};
use crate::queue::{Consumer, Entry};

/// Heads looked at in one reading.
const ROWS: usize = 2048;
/// Entries loaded by number in one reading.
const LOADS: usize = 256;

/// What writer and consumer share.
pub struct Lane {
    pub name: Text,
    queue: i64,
    state: Mutex<Waiting>,
    changed: Notify,
}

impl Lane {
    pub fn new(name: Text, queue: i64, state: Waiting) -> Lane {
        Lane { name, queue, state: Mutex::new(state), changed: Notify::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a commit of this process changed.
    pub fn apply(&self, changes: impl Iterator<Item = Change>, now: Timestamp) {
        let mut state = self.state();
        changes.for_each(|change| state.apply(change, now));
        drop(state);
        self.changed.notify_one();
    }

    /// Somebody else has changed the queue.
    pub fn restart(&self, tail: i64, held: Vec<Text>, stored: impl Fn(i64) -> bool) {
        let mut state = self.state();
        if !state.replaced {
            state.restart(tail, held, stored);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub fn replace(&self) {
        self.state().replaced = true;
        self.changed.notify_one();
    }
}

pub struct DatabaseConsumer {
    pub lane: Arc<Lane>,
    pub pool: Arc<Pool>,
    pub clock: Clock,
}

enum Step {
    Give(Vec<Entry>),
    Wait(Option<Timestamp>),
}

impl DatabaseConsumer {
    /// What to do now; starts a reading where one is useful.
    fn step(&self, most: usize) -> Result<Step, Fault> {
        let mut state = self.lane.state();
        if state.replaced {
            let sentence = format!("another consumer has taken the queue {}", self.lane.name);
            return Err(Fault::reconnect("QUEUE-REPLACED", sentence));
        }
        if let Some(fault) = state.fault.take() {
            return Err(fault);
        }
        let due = state.wake(self.clock.now());
        if !state.reading && state.wants_reading() {
            state.reading = true;
            state.readings += 1;
            let (lane, pool, now) = (self.lane.clone(), self.pool.clone(), self.clock.now());
            let generation = state.generation;
            tokio::spawn(async move { Reading { lane: &lane, pool: &pool, now, generation }.run().await });
        }
        Ok(if state.has_ready() { Step::Give(state.give(most)) } else { Step::Wait(due) })
    }
}

#[async_trait]
impl Consumer for DatabaseConsumer {
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

impl Drop for DatabaseConsumer {
    /// Nobody is left to hand entries to: what is held in memory is let go.
    fn drop(&mut self) {
        self.lane.state().let_go();
    }
}

/// One reading: what is due or freed by number, one search, then ahead; heads first, then the bytes of those that go out.
struct Reading<'a> {
    lane: &'a Lane,
    pool: &'a Pool,
    now: Timestamp,
    generation: u64,
}

impl Reading<'_> {
    async fn run(&self) {
        let outcome = self.read().await;
        if let Some(mut state) = self.state() {
            state.reading = false;
            state.fault = outcome.err();
        }
        self.lane.changed.notify_one();
    }

    /// The state, unless what is read is worth nothing any more.
    fn state(&self) -> Option<MutexGuard<'_, Waiting>> {
        let state = self.lane.state();
        (state.generation == self.generation && !state.replaced).then_some(state)
    }

    async fn read(&self) -> Result<(), Fault> {
        let mut taken = self.loads().await?;
        let read = async {
            self.search().await?;
            self.ahead(&mut taken).await
        };
        let read = read.await;
        self.bytes(&taken).await?;
        read
    }

    async fn loads(&self) -> Result<Vec<i64>, Fault> {
        let Some(loads) = self.state().map(|mut state| state.take_loads(LOADS)) else { return Ok(Vec::new()) };
        if loads.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<i64> = loads.iter().map(|(number, _)| *number).collect();
        let heads = queues::heads(self.pool, self.lane.queue, &numbers).await;
        let Some(mut state) = self.state() else { return Ok(Vec::new()) };
        let mut heads = match heads {
            Ok(heads) => heads,
            Err(fault) => {
                state.put_back(loads);
                return Err(fault);
            }
        };
        let (mut taken, mut loads) = (Vec::new(), loads.into_iter());
        while let Some((number, key)) = loads.next() {
            let Some(head) = heads.remove(&number) else {
                state.missing(key);
                continue;
            };
            match state.meet_load(number, head.key, head.due, head.bytes, self.now) {
                Met::Take => taken.push(number),
                Met::Pass => {}
                Met::Stop => {
                    state.put_back(std::iter::once((number, key)).chain(loads.by_ref()).collect());
                }
            }
        }
        Ok(taken)
    }

    async fn search(&self) -> Result<(), Fault> {
        let Some(search) = self.state().and_then(|mut state| state.take_search()) else { return Ok(()) };
        let Search { key, after, until, most } = &search;
        let numbers = queues::numbers_of(self.pool, (self.lane.queue, key), (*after, *until), *most).await;
        let Some(mut state) = self.state() else { return Ok(()) };
        match numbers {
            Ok(numbers) => {
                let to = if numbers.len() < *most { *until } else { numbers.last().copied().unwrap_or(*until) };
                state.found(key, numbers, to);
                Ok(())
            }
            Err(fault) => {
                state.search_again(search);
                Err(fault)
            }
        }
    }

    async fn ahead(&self, taken: &mut Vec<i64>) -> Result<(), Fault> {
        let Some((cursor, tail)) = self.state().map(|state| (state.cursor, state.tail)) else { return Ok(()) };
        if cursor >= tail {
            return Ok(());
        }
        let heads = queues::ahead(self.pool, self.lane.queue, cursor, ROWS).await?;
        let Some(mut state) = self.state() else { return Ok(()) };
        let mut stopped = heads.len() == ROWS;
        for head in heads {
            match state.meet(head.number, head.key.as_ref(), head.due, head.bytes, self.now) {
                Met::Take => taken.push(head.number),
                Met::Pass => {}
                Met::Stop => {
                    stopped = true;
                    break;
                }
            }
        }
        if !stopped {
            state.reached(tail);
        }
        Ok(())
    }

    /// Reads the entries that were taken.
    async fn bytes(&self, taken: &[i64]) -> Result<(), Fault> {
        if taken.is_empty() {
            return Ok(());
        }
        let entries = queues::load(self.pool, self.lane.queue, &self.lane.name, taken).await;
        let Some(mut state) = self.state() else { return Ok(()) };
        let entries = match entries {
            Ok(entries) => entries,
            Err(fault) => {
                taken.iter().rev().for_each(|number| state.load_again(*number));
                return Err(fault);
            }
        };
        let mut entries: std::collections::HashMap<i64, Entry> =
            entries.into_iter().map(|entry| (entry.at.number(), entry)).collect();
        for number in taken {
            match entries.remove(number) {
                Some(entry) => state.admit(entry),
                // Settled elsewhere meanwhile.
                None => state.apply(Change::Ended { number: *number }, self.now),
            }
        }
        Ok(())
    }
}
