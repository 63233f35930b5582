//! What one consumer knows: which entries may go out, which keys are busy, who waits until when. Memory only, no I/O.
//!
//! The entries of a queue are met in the order of their numbers, up to `cursor`. The first of a key takes the key's lane;
//! later ones stand *behind*, as numbers only, until the lane is free again. So the head of a lane is always the oldest of
//! its key, also when everything is met anew after a restart.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;

use super::{Entry, EntryRef, Window};
use crate::message::{Fault, Text};

/// Numbers of one queue: 2^44, a thousand years at 500 a second. The bits above name the queue.
const NUMBER_BITS: u32 = 44;

// The tests' bounds are small, so that they meet what lies past them.

/// Keys busy or held and entries waiting for a retry that one consumer keeps in memory; past it the lane pauses.
const PATIENCE: usize = if cfg!(test) { 400 } else { 100_000 };

/// Numbers of entries behind a busy key that one consumer keeps in memory; past it they are looked up where they are stored.
const BEHIND: usize = if cfg!(test) { 20 } else { 100_000 };

impl EntryRef {
    pub fn new(queue: i64, number: i64) -> EntryRef {
        EntryRef(queue << NUMBER_BITS | number)
    }

    pub fn queue(self) -> i64 {
        self.0 >> NUMBER_BITS
    }

    pub fn number(self) -> i64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }
}

/// What a commit means for the consumer of a queue.
#[derive(Debug)]
pub enum Change {
    /// Stored at the end; the entry itself where a consumer may want it.
    Stored {
        number: i64,
        entry: Option<Box<Entry>>,
    },
    /// Stored again at its old place, ahead of its key.
    Again {
        number: i64,
        key: Option<Text>,
    },
    Ended {
        number: i64,
    },
    Returned {
        number: i64,
        due: Timestamp,
    },
    Held {
        key: Text,
    },
    Released {
        key: Text,
    },
}

type Numbers = HashMap<i64, Inside, foldhash::fast::RandomState>;

/// The mind of a consumer.
pub struct Waiting {
    /// The queue's table; `None` before the first entry.
    pub queue: Option<i64>,
    /// Met up to here, inclusive.
    pub cursor: i64,
    /// Committed up to here.
    pub tail: i64,
    /// A reading of the file is on its way: nobody else moves the cursor.
    pub reading: bool,
    /// Readings begun, so that a test sees whether it reads in vain.
    pub readings: u64,
    /// Counts restarts: what a reading begun before one found is worth nothing.
    pub generation: u64,
    /// Another consumer has taken the queue.
    pub replaced: bool,
    /// What stopped the last reading.
    pub fault: Option<Fault>,
    window: Window,
    ready: VecDeque<Entry>,
    /// Ready, being loaded or out.
    inside: Numbers,
    inside_bytes: usize,
    /// To be loaded by number: retries that are due, heads of freed keys.
    loads: VecDeque<(i64, Option<Text>)>,
    /// Keys whose next entry must be looked for in the file.
    searches: VecDeque<Text>,
    lanes: HashMap<Text, Lane, foldhash::fast::RandomState>,
    behind: usize,
    /// Stored again at an old number and taken up already: the cursor passes them.
    again: BTreeSet<i64>,
    /// The last reading stopped for want of room: no use to read before an entry leaves.
    starved: bool,
    /// Retries and delayed entries, by time.
    due: BTreeMap<(Timestamp, i64), Option<Text>>,
}

struct Inside {
    key: Option<Text>,
    bytes: usize,
    out: bool,
}

/// A key with an entry on its way, waiting or held.
#[derive(Default)]
struct Lane {
    busy: bool,
    /// Its head waits for a retry.
    waits: bool,
    held: bool,
    /// Numbers of later entries, in order.
    behind: VecDeque<i64>,
    /// Later entries after this number are not in `behind`: look in the file.
    more_after: Option<i64>,
}

/// Entries of `key` between two numbers, whose bytes were passed over.
pub struct Search {
    pub key: Text,
    pub after: i64,
    pub until: i64,
    pub most: usize,
}

/// What to do with an entry that is met.
#[derive(Debug, PartialEq, Eq)]
pub enum Met {
    /// Goes out: give it to [`Waiting::admit`].
    Take,
    /// Remembered; its bytes are not needed now.
    Pass,
    /// No room: not met.
    Stop,
}

impl Waiting {
    pub fn new(queue: Option<i64>, tail: i64, window: Window, held: Vec<Text>) -> Waiting {
        let lanes = held.into_iter().map(|key| (key, Lane { held: true, ..Lane::default() })).collect();
        Waiting {
            queue,
            cursor: 0,
            tail,
            reading: false,
            readings: 0,
            generation: 0,
            replaced: false,
            fault: None,
            window,
            ready: VecDeque::new(),
            inside: Numbers::default(),
            inside_bytes: 0,
            loads: VecDeque::new(),
            searches: VecDeque::new(),
            lanes,
            behind: 0,
            again: BTreeSet::new(),
            starved: false,
            due: BTreeMap::new(),
        }
    }

    /// Up to `most` entries that may go out; they are out from now on.
    pub fn give(&mut self, most: usize) -> Vec<Entry> {
        let count = most.min(self.ready.len());
        for entry in self.ready.range(..count) {
            if let Some(inside) = self.inside.get_mut(&entry.at.number()) {
                inside.out = true;
            }
        }
        self.ready.drain(..count).collect()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Moves what is due by `now` to the loads; tells when the next is due.
    pub fn wake(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((&(due, number), _)) = self.due.first_key_value() {
            if due > now {
                return Some(due);
            }
            let key = self.due.remove(&(due, number)).flatten();
            if let Some(lane) = key.as_ref().and_then(|key| self.lanes.get_mut(key)) {
                lane.waits = false;
            }
            self.loads.push_back((number, key));
        }
        None
    }

    /// Whether reading the file would bring something, and there is room for it.
    pub fn wants_reading(&self) -> bool {
        let room = !self.starved && self.has_room(1);
        let low = self.ready.len() * 2 <= self.window.entries;
        !self.searches.is_empty()
            || (room && low && (!self.loads.is_empty() || (self.cursor < self.tail && !self.is_full())))
    }

    /// Takes numbers to load, at most `most`; each comes back through [`Waiting::loaded`], [`Waiting::missing`] or
    /// [`Waiting::put_back`].
    pub fn take_loads(&mut self, most: usize) -> Vec<(i64, Option<Text>)> {
        let room = self.window.entries.saturating_sub(self.inside.len());
        let count = self.loads.len().min(most).min(room);
        self.loads.drain(..count).collect()
    }

    /// Numbers that could not be loaded for want of room, or for a fault of the disk.
    pub fn put_back(&mut self, numbers: Vec<(i64, Option<Text>)>) {
        for number in numbers.into_iter().rev() {
            self.loads.push_front(number);
        }
    }

    /// Whether an entry of so many bytes fits now; otherwise nothing is read before one leaves.
    pub fn fits(&mut self, bytes: usize) -> bool {
        let fits = self.has_room(bytes);
        self.starved |= !fits;
        fits
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.inside.is_empty()
            || (self.inside.len() < self.window.entries && self.inside_bytes.saturating_add(bytes) <= self.window.bytes)
    }

    /// A loaded entry: goes out, or waits on if it is not due (a delayed entry whose turn has come).
    pub fn loaded(&mut self, entry: Entry, now: Timestamp) {
        let number = entry.at.number();
        if let Some(due) = entry.entry.due.filter(|due| *due > now) {
            self.wait(number, entry.entry.key, due);
            return;
        }
        self.enter(number, entry.entry.key.clone(), entry.entry.body.len());
        self.admit(entry);
    }

    /// What is known of a number taken from the loads, before its bytes are read.
    pub fn meet_load(
        &mut self,
        number: i64,
        key: Option<Text>,
        due: Option<Timestamp>,
        bytes: usize,
        now: Timestamp,
    ) -> Met {
        if let Some(due) = due.filter(|due| *due > now) {
            self.wait(number, key, due);
            return Met::Pass;
        }
        if !self.fits(bytes) {
            return Met::Stop;
        }
        self.enter(number, key, bytes);
        Met::Take
    }

    /// The bytes of an entry that was taken could not be read: later.
    pub fn load_again(&mut self, number: i64) {
        if self.inside.contains_key(&number) {
            let key = self.leave(number);
            self.loads.push_front((number, key));
        }
    }

    /// Numbers that are out.
    pub fn out(&self) -> Vec<i64> {
        self.inside.iter().filter(|(_, inside)| inside.out).map(|(number, _)| *number).collect()
    }

    /// Meets everything anew, since someone else has changed it. What is out stays out, if it is `stored` still.
    pub fn restart(&mut self, tail: i64, held: Vec<Text>, stored: impl Fn(i64) -> bool) {
        let mut anew = Waiting::new(self.queue, tail, self.window, held);
        (anew.generation, anew.readings) = (self.generation + 1, self.readings);
        for (number, inside) in self.inside.drain().filter(|(number, inside)| inside.out && stored(*number)) {
            anew.enter(number, inside.key, inside.bytes);
            if let Some(inside) = anew.inside.get_mut(&number) {
                inside.out = true;
            }
            // The cursor passes it.
            anew.again.insert(number);
        }
        *self = anew;
    }

    /// A number that is no longer in the file: settled elsewhere. Its key goes on.
    pub fn missing(&mut self, key: Option<Text>) {
        if let Some(key) = key {
            self.free(&key);
        }
    }

    /// A key to look for in the file, and how: see [`Waiting::found`].
    pub fn take_search(&mut self) -> Option<Search> {
        let key = self.searches.pop_front()?;
        let after = self.lanes.get(&key).and_then(|lane| lane.more_after).unwrap_or(0);
        let most = BEHIND.saturating_sub(self.behind).clamp(1, 256);
        Some(Search { key, after, until: self.cursor, most })
    }

    /// A search that failed is to be done again.
    pub fn search_again(&mut self, search: Search) {
        self.searches.push_front(search.key);
    }

    /// Numbers of `key` found after the one asked for; `until` is how far the search went.
    pub fn found(&mut self, key: &Text, numbers: Vec<i64>, until: i64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        self.behind += numbers.len();
        lane.behind.extend(numbers);
        lane.more_after = (until < self.cursor).then_some(until);
        self.free(key);
    }

    /// Decides about the next entry of the queue and moves the cursor past it, unless there is no room.
    pub fn meet(
        &mut self,
        number: i64,
        key: Option<&Text>,
        due: Option<Timestamp>,
        bytes: usize,
        now: Timestamp,
    ) -> Met {
        if !self.again.contains(&number)
            && let Some(lane) = key.and_then(|key| self.lanes.get_mut(key))
        {
            if lane.more_after.is_none() {
                if self.behind < BEHIND {
                    lane.behind.push_back(number);
                    self.behind += 1;
                } else {
                    lane.more_after = Some(self.cursor);
                }
            }
            self.cursor = number;
            return Met::Pass;
        }
        if self.again.remove(&number) {
            self.cursor = number;
            return Met::Pass;
        }
        if self.is_full() {
            return Met::Stop;
        }
        let met = match due.filter(|due| *due > now) {
            Some(due) => {
                self.wait(number, key.cloned(), due);
                Met::Pass
            }
            None if !self.fits(bytes) => return Met::Stop,
            None => {
                self.enter(number, key.cloned(), bytes);
                Met::Take
            }
        };
        self.cursor = number;
        met
    }

    /// Everything up to here was met: what is not in the file has been settled.
    pub fn reached(&mut self, number: i64) {
        self.cursor = self.cursor.max(number);
    }

    /// The entry of a number that was taken.
    pub fn admit(&mut self, entry: Entry) {
        self.ready.push_back(entry);
    }

    /// What a commit changed.
    pub fn apply(&mut self, change: Change, now: Timestamp) {
        match change {
            Change::Stored { number, entry } => self.stored(number, entry, now),
            Change::Again { number, key } => self.stored_again(number, key),
            Change::Ended { number } => {
                if let Some(key) = self.leave(number) {
                    self.free(&key);
                }
            }
            Change::Returned { number, due } => {
                let key = self.leave(number);
                self.wait(number, key, due);
            }
            Change::Held { key } => self.lanes.entry(key).or_default().held = true,
            Change::Released { key } => {
                if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.held) {
                    lane.held = false;
                    if !lane.busy {
                        self.free(&key);
                    }
                }
            }
        }
    }

    /// The consumer has gone: nothing is handed out any more, and nothing kept.
    pub fn let_go(&mut self) {
        *self = Waiting { replaced: true, ..Waiting::new(self.queue, self.tail, self.window, Vec::new()) };
    }

    /// Entries that wait for a retry or stand behind one or behind a held key.
    pub fn count_waiting(&self) -> usize {
        let behind = |lane: &Lane| if lane.waits || lane.held { lane.behind.len() } else { 0 };
        self.due.len() + self.lanes.values().map(behind).sum::<usize>()
    }

    fn stored(&mut self, number: i64, entry: Option<Box<Entry>>, now: Timestamp) {
        let caught_up = !self.reading && self.cursor == self.tail;
        self.tail = number;
        let Some(entry) = entry.filter(|_| caught_up) else { return };
        let new = &entry.entry;
        if self.meet(number, new.key.as_ref(), new.due, new.weight(), now) == Met::Take {
            self.admit(*entry);
        }
    }

    /// The oldest of its key again: ahead of those behind. Taken up now also where the cursor has not passed, since a
    /// reading on its way may not see it.
    fn stored_again(&mut self, number: i64, key: Option<Text>) {
        if number > self.cursor {
            self.again.insert(number);
        }
        let Some(key) = key else {
            self.loads.push_back((number, None));
            return;
        };
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.behind.push_front(number);
        self.behind += 1;
        if !lane.busy && !lane.held {
            self.free(&key);
        }
    }

    fn is_full(&self) -> bool {
        self.lanes.len() + self.due.len() + self.loads.len() >= PATIENCE
    }

    fn enter(&mut self, number: i64, key: Option<Text>, bytes: usize) {
        if let Some(key) = &key {
            let lane = self.lanes.entry(key.clone()).or_default();
            (lane.busy, lane.waits) = (true, false);
        }
        self.inside_bytes += bytes;
        self.inside.insert(number, Inside { key, bytes, out: false });
    }

    fn wait(&mut self, number: i64, key: Option<Text>, due: Timestamp) {
        if let Some(key) = &key {
            let lane = self.lanes.entry(key.clone()).or_default();
            (lane.busy, lane.waits) = (true, true);
        }
        self.due.insert((due, number), key);
    }

    fn leave(&mut self, number: i64) -> Option<Text> {
        let inside = self.inside.remove(&number)?;
        self.inside_bytes -= inside.bytes;
        self.starved = false;
        inside.key
    }

    /// The key's head is gone: the next of the key is loaded, or the lane closes.
    fn free(&mut self, key: &Text) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        (lane.busy, lane.waits) = (false, false);
        if lane.held {
            return;
        }
        if let Some(number) = lane.behind.pop_front() {
            self.behind -= 1;
            lane.busy = true;
            self.loads.push_back((number, Some(key.clone())));
        } else if lane.more_after.is_some() {
            lane.busy = true;
            self.searches.push_back(key.clone());
        } else {
            self.lanes.remove(key);
        }
    }
}
