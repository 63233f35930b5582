//! "Delivery, exactly" in its plainest form: everything in memory, every rule as it is said. What the real engines are held
//! against: `scenario.rs` drives both the same way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::clock::Clock;
use crate::queue::conformance::Place;
use crate::queue::{Consumer, Depth, Entry, Window};

/// What is on the model's disk.
#[derive(Default)]
struct Disk {
    last: i64,
    entries: BTreeMap<i64, Kept>,
    /// Claims, and whether what they guard is stored.
    claims: HashMap<[u8; 16], (Claim, bool)>,
    dead: Vec<DeadLetter>,
    /// Held keys, and the entry that stopped each.
    held: HashMap<(Text, Text), Option<(i64, MessageId)>>,
    settled: HashSet<(Text, MessageId)>,
    cursors: HashMap<Text, Value>,
    leases: BTreeMap<Text, Held>,
    instances: BTreeMap<Text, (Instant, Beat)>,
}

struct Held {
    epoch: i64,
    holder: Option<Text>,
    until: Instant,
}

#[derive(Clone)]
struct Kept {
    entry: NewEntry,
    attempts: u32,
    due: Option<Timestamp>,
}

#[derive(Clone)]
pub struct Model {
    disk: Arc<Mutex<Disk>>,
    vault: Arc<MemoryVault>,
    clock: Clock,
}

impl Model {
    pub fn new() -> Model {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        Model { disk: Arc::default(), vault: Arc::new(MemoryVault::new(clock.clone())), clock }
    }

    /// Gives a lease to somebody else.
    pub fn steal(&self, name: &Text) {
        if let Some(lease) = self.disk().leases.get_mut(name) {
            lease.epoch += 1;
            lease.holder = Some("thief".into());
            lease.until = Instant::now() + Duration::from_secs(60);
        }
    }

    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.disk.lock().expect("the model does not panic")
    }
}

#[async_trait]
impl Place for Model {
    async fn open(&self) -> Engine {
        Engine { queue: Arc::new(self.clone()), store: Arc::new(self.clone()), instances: Arc::new(Alone) }
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[async_trait]
impl Queue for Model {
    async fn consume(&self, queue: &str, window: Window) -> Result<Box<dyn Consumer>, Fault> {
        Ok(Box::new(ModelConsumer { model: self.clone(), queue: queue.into(), window, out: HashSet::new() }))
    }

    async fn depth(&self, queue: &str) -> Result<Depth, Fault> {
        let entries = self.disk().entries.values().filter(|kept| kept.entry.queue == queue).count() as u64;
        Ok(Depth { entries, ..Depth::default() })
    }

    async fn entries(&self, queue: &str) -> Result<u64, Fault> {
        Ok(self.depth(queue).await?.entries)
    }

    async fn queues(&self) -> Result<Vec<(Text, u64)>, Fault> {
        let mut queues = std::collections::BTreeMap::new();
        for kept in self.disk().entries.values() {
            *queues.entry(kept.entry.queue.clone()).or_default() += 1;
        }
        Ok(queues.into_iter().collect())
    }
}

struct ModelConsumer {
    model: Model,
    queue: Text,
    window: Window,
    out: HashSet<i64>,
}

#[async_trait]
impl Consumer for ModelConsumer {
    async fn next(&mut self, most: usize) -> Result<Vec<Entry>, Fault> {
        loop {
            let given = self.ready(most);
            if !given.is_empty() {
                return Ok(given);
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
}

impl ModelConsumer {
    /// In order; an entry whose key has an earlier one, or is held, is passed.
    fn ready(&mut self, most: usize) -> Vec<Entry> {
        let (disk, now) = (self.model.disk(), self.model.clock.now());
        self.out.retain(|number| disk.entries.get(number).is_some_and(|kept| kept.due.is_none_or(|due| due <= now)));
        let (mut given, mut keys) = (Vec::new(), HashSet::new());
        for (number, kept) in disk.entries.iter().filter(|(_, kept)| kept.entry.queue == self.queue) {
            let key = kept.entry.key.clone();
            let first = key.as_ref().is_none_or(|key| keys.insert(key.clone()));
            let held = key.is_some_and(|key| disk.held.contains_key(&(self.queue.clone(), key)));
            let due = kept.due.is_none_or(|due| due <= now);
            let room = given.len() < most && self.out.len() < self.window.entries;
            if first && !held && due && room && self.out.insert(*number) {
                given.push(Entry { at: EntryRef(*number), attempts: kept.attempts, entry: kept.entry.clone() });
            }
        }
        given
    }
}

impl Disk {
    fn store(&mut self, entry: &NewEntry) {
        self.last += 1;
        self.entries.insert(self.last, Kept { entry: entry.clone(), attempts: 0, due: entry.due });
    }

    fn accept(&mut self, arrival: &Intake) -> Accepted {
        let Stored::Entry(entry) = &arrival.stored else { unreachable!("the scenario sends what can be read") };
        if let Some(claim) = &arrival.claim {
            match self.claims.get(&claim.key) {
                Some((first, _)) if first.content == claim.content => return Accepted::Repeat(first.message),
                Some(_) => return Accepted::Conflict(entry.message),
                None => drop(self.claims.insert(claim.key, (claim.clone(), true))),
            }
        }
        self.store(entry);
        Accepted::New(entry.message)
    }

    fn settle(&mut self, settlement: &Settlement) -> Result<(), Fault> {
        let stale = || Fault::reconnect("STORE-STALE", "gone");
        let here = |at: &EntryRef| self.entries.contains_key(&at.0);
        let holds = |fence: &Fence| self.leases.get(&fence.lease).is_some_and(|lease| lease.epoch == fence.epoch);
        let all = settlement.ended.iter().all(here)
            && settlement.retries.iter().all(|retry| here(&retry.at))
            && settlement.fences.iter().all(holds)
            && !settlement.settled.iter().any(|mark| self.settled.contains(mark))
            && settlement.dead_ended.iter().all(|id| self.dead.iter().any(|dead| dead.message == *id));
        if !all {
            return Err(stale());
        }
        self.settled.extend(settlement.settled.iter().cloned());
        for (queue, key) in &settlement.held {
            let of_entry = settlement.ended.iter().find_map(|at| {
                let entry = &self.entries.get(&at.0)?.entry;
                (entry.queue == *queue && entry.key.as_ref() == Some(key)).then_some((at.0, entry.message))
            });
            // One that came from elsewhere has its place from now on, before all that comes later.
            let mut of_letter = || {
                let is_it = |dead: &&DeadLetter| dead.replay.queue == *queue && dead.replay.key.as_ref() == Some(key);
                let letter = settlement.dead.iter().find(is_it)?;
                self.last += 1;
                Some((self.last, letter.replay.message))
            };
            let stopped = of_entry.or_else(&mut of_letter);
            self.held.insert((queue.clone(), key.clone()), stopped);
        }
        for (entry, attempts) in &settlement.parked {
            self.last += 1;
            self.entries.insert(self.last, Kept { entry: entry.clone(), attempts: *attempts, due: entry.due });
        }
        for claim in &settlement.claimed {
            self.claims.insert(claim.key, (claim.clone(), true));
        }
        for (name, value) in &settlement.cursors {
            self.cursors.insert(name.clone(), value.clone());
        }
        for at in &settlement.ended {
            self.entries.remove(&at.0).ok_or_else(stale)?;
        }
        for retry in &settlement.retries {
            let kept = self.entries.get_mut(&retry.at.0).ok_or_else(stale)?;
            kept.due = Some(retry.due);
            kept.attempts += u32::from(retry.counts);
        }
        self.dead.extend(settlement.dead.iter().cloned());
        let mut outputs = settlement.outputs.clone();
        for message in &settlement.dead_ended {
            let index = self.dead.iter().position(|dead| dead.message == *message).ok_or_else(stale)?;
            let replay = self.dead.remove(index).replay;
            let Some(key) = replay.key else { continue };
            let name = (replay.queue.clone(), key);
            if let Some(Some((number, stopped))) = self.held.get(&name).copied()
                && stopped == replay.message
            {
                self.held.remove(&name);
                if let Some(index) = outputs.iter().position(|output| output.message == stopped) {
                    self.entries.insert(number, Kept { entry: outputs.remove(index), attempts: 0, due: None });
                }
            }
        }
        outputs.iter().for_each(|output| self.store(output));
        Ok(())
    }
}

#[async_trait]
impl Store for Model {
    async fn intake(&self, arrivals: Vec<Intake>, _: Option<(Text, Value)>) -> Result<Vec<Accepted>, Fault> {
        let mut disk = self.disk();
        Ok(arrivals.iter().map(|arrival| disk.accept(arrival)).collect())
    }

    async fn settle_shared(&self, settlement: Arc<Settlement>) -> Result<(), Fault> {
        self.disk().settle(&settlement)
    }

    async fn dead_letters(&self, filter: DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
        Ok(self.disk().dead.iter().take(filter.most as usize).cloned().collect())
    }

    async fn release(&self, queue: &str, key: &str) -> Result<(), Fault> {
        self.disk().held.remove(&(queue.into(), key.into()));
        Ok(())
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        Ok(self.disk().cursors.get(name).cloned())
    }

    async fn row(&self, _: &str, _: &str, _: Timestamp) -> Result<Option<Map>, Fault> {
        Ok(None)
    }

    async fn rows(&self, _: &str, _: &str, _: Timestamp, _: u32) -> Result<Vec<Map>, Fault> {
        Ok(Vec::new())
    }

    async fn answers(&self, _: MessageId) -> Result<Vec<(Text, Option<Value>)>, Fault> {
        Ok(Vec::new())
    }

    async fn group(&self, _: &GroupKey) -> Result<Group, Fault> {
        Ok(Group::default())
    }

    async fn due_groups(&self, _: &str, _: Timestamp, _: u32) -> Result<Vec<DueGroup>, Fault> {
        Ok(Vec::new())
    }

    async fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>, Fault> {
        Ok(self.disk().dead.iter().find(|dead| dead.message == message).cloned())
    }

    async fn dead_count(&self) -> Result<Vec<(Text, u64)>, Fault> {
        Ok(Vec::new())
    }

    async fn journal(&self, _: MessageId) -> Result<Vec<Hop>, Fault> {
        Ok(Vec::new())
    }

    async fn search(&self, _: &str, _: u32) -> Result<Vec<MessageId>, Fault> {
        Ok(Vec::new())
    }

    async fn recent(&self, _: u32) -> Result<Vec<MessageId>, Fault> {
        Ok(Vec::new())
    }

    async fn sweep(&self, _: Timestamp, _: Retention) -> Result<bool, Fault> {
        Ok(false)
    }

    async fn well(&self) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl Vault for Model {
    async fn kept(&self, name: &str) -> Result<super::Kept, Fault> {
        self.vault.kept(name).await
    }

    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<super::Kept>, Fault> {
        self.vault.take_turn(name, holder, lives).await
    }

    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault> {
        self.vault.keep(name, holder, version, value).await
    }

    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault> {
        self.vault.pass_on(name, holder).await
    }
}

#[async_trait]
impl Ledger for Model {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>, Fault> {
        let mut disk = self.disk();
        let claim = |claim: &Claim| match disk.claims.get(&claim.key) {
            Some((first, _)) if first.content != claim.content => Claimed::Conflict,
            Some((first, done)) if *done || first.message != claim.message => Claimed::Repeat(first.message),
            Some(_) => Claimed::Taken,
            None => {
                disk.claims.insert(claim.key, (claim.clone(), false));
                Claimed::Taken
            }
        };
        Ok(claims.iter().map(claim).collect())
    }

    async fn settled(&self, entries: &[(Text, MessageId)]) -> Result<Vec<bool>, Fault> {
        let disk = self.disk();
        Ok(entries.iter().map(|entry| disk.settled.contains(entry)).collect())
    }

    async fn keys(&self, queue: &str) -> Result<Vec<Key>, Fault> {
        let disk = self.disk();
        let mut keys: BTreeMap<Text, Key> = BTreeMap::new();
        let of_entries = disk.entries.values().filter(|kept| kept.entry.queue == queue);
        for key in of_entries.filter_map(|kept| kept.entry.key.clone()) {
            keys.entry(key.clone()).or_insert(Key { key, entries: 0, held: false }).entries += 1;
        }
        for (_, key) in disk.held.keys().filter(|(of, _)| of == queue) {
            keys.entry(key.clone()).or_insert(Key { key: key.clone(), entries: 0, held: false }).held = true;
        }
        Ok(keys.into_values().collect())
    }

    async fn beat(&self, beat: Beat) -> Result<Pulse, Fault> {
        let mut disk = self.disk();
        let now = Instant::now();
        let Disk { leases, instances, .. } = &mut *disk;
        instances.retain(|_, (until, _)| *until > now);
        for fence in beat.renew.iter().chain(&beat.pass_on) {
            let Some(lease) = leases.get_mut(&fence.lease).filter(|lease| lease.epoch == fence.epoch) else { continue };
            if beat.pass_on.contains(fence) || beat.leaves {
                lease.holder = None;
            } else {
                lease.until = now + beat.lives;
            }
        }
        for lease in leases.values_mut() {
            if lease.until <= now {
                lease.holder = None;
            }
        }
        for name in &beat.take {
            let lease = leases.entry(name.clone()).or_insert(Held { epoch: 0, holder: None, until: now });
            if lease.holder.is_none() {
                *lease = Held { epoch: lease.epoch + 1, holder: Some(beat.instance.clone()), until: now + beat.lives };
            }
        }
        if beat.leaves {
            instances.remove(&beat.instance);
        } else {
            instances.insert(beat.instance.clone(), (now + beat.lives, beat.clone()));
        }
        let mine = leases.iter().filter(|(_, lease)| lease.holder.as_ref() == Some(&beat.instance));
        Ok(Pulse {
            held: mine.map(|(name, lease)| Fence { lease: name.clone(), epoch: lease.epoch }).collect(),
            leases: leases
                .iter()
                .map(|(name, lease)| Lease { name: name.clone(), holder: lease.holder.clone() })
                .collect(),
            instances: instances
                .values()
                .map(|(_, other)| Instance {
                    name: other.name.clone(),
                    revision: other.revision.clone(),
                    seen: self.clock.now(),
                    holds: leases
                        .iter()
                        .filter(|(_, lease)| lease.holder.as_ref() == Some(&other.instance))
                        .map(|(name, _)| name.clone())
                        .collect(),
                    this: other.instance == beat.instance,
                })
                .collect(),
            wants: instances.iter().map(|(name, (_, other))| (name.clone(), other.wants.clone())).collect(),
        })
    }

    fn is_shared(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario;
    use super::*;

    #[tokio::test]
    async fn the_model_keeps_the_promises() {
        for seed in scenario::seeds(20) {
            scenario::run(&Model::new(), seed, 60).await;
        }
    }
}
