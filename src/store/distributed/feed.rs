//! What this process holds of one queue: deliveries of the broker and entries of the ledger, and which of them may go out.
//! Memory only, no I/O.
//!
//! The entries of a key come from the broker in order. While one waits in the ledger (*parked*: a retry, a held key), all later
//! ones of the key are parked behind it, and the ledger hands them out in order; when none is left there, the key flows from
//! the broker again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::lanes;
use crate::message::{Fault, MessageId, Text};
use crate::queue::broker::{Acks, Envelope};
use crate::queue::{Entry, EntryRef, NewEntry, Window};
use crate::store::{Fence, Key};

/// The number of a lane: see [`crate::queue::broker::BrokerLane`].
pub type LaneNumber = Option<u32>;

type Keys = HashMap<(LaneNumber, Text), KeyState, foldhash::fast::RandomState>;

pub struct Feed {
    queue: Text,
    window: Window,
    /// Of the consumer that has the queue.
    generation: u64,
    items: BTreeMap<i64, Item>,
    ready: BTreeSet<i64>,
    rests: BTreeSet<(Timestamp, i64)>,
    keys: Keys,
    /// Items that came from the broker by the copy they are, to know them when they come again.
    by_copy: HashMap<(LaneNumber, MessageId), i64, foldhash::fast::RandomState>,
    lanes: HashMap<LaneNumber, Lane>,
    /// To be stored in the ledger (or, of a competing queue, in a wait queue) and acknowledged, in order.
    parking: VecDeque<i64>,
    /// Keys whose entries in the ledger must be counted anew.
    recount: VecDeque<(LaneNumber, Text)>,
    out: usize,
    out_bytes: usize,
}

#[derive(Default)]
struct Lane {
    /// Of the ledger's side; the broker's side of a competing lane needs none.
    fence: Option<Fence>,
    session: u64,
    acks: Option<Arc<dyn Acks>>,
    /// Nothing more is taken in or handed out.
    ending: bool,
}

struct Item {
    lane: LaneNumber,
    from: From,
    entry: NewEntry,
    attempts: u32,
    stored: Timestamp,
    /// Of one from the broker: see [`Envelope::copy`].
    copy: MessageId,
    phase: Phase,
    /// A settle of it is under way.
    settling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Broker {
        session: u64,
        tag: u64,
        /// Its subscription is over: it will be delivered again.
        void: bool,
    },
    Ledger(EntryRef),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// An earlier one of its key is ahead.
    Behind,
    Ready,
    Out,
    /// Waits a moment, in memory.
    Resting(Timestamp),
    Parking,
}

#[derive(Default)]
struct KeyState {
    /// Ready, out or resting.
    front: Option<i64>,
    from_broker: VecDeque<i64>,
    from_ledger: VecDeque<i64>,
    /// Entries in the ledger, or on their way there.
    parked: u64,
    /// Others may change what the ledger has of this key: it is counted before the broker's flow again.
    uncounted: bool,
}

impl KeyState {
    fn waits_in_ledger(&self) -> bool {
        self.parked > 0 || self.uncounted
    }
}

/// One input of a settlement, as the ledger and the broker know it.
#[derive(Clone, Debug)]
pub struct Input {
    pub at: EntryRef,
    pub lane: LaneNumber,
    pub from: From,
    pub entry: NewEntry,
    pub attempts: u32,
    pub stored: Timestamp,
    /// See [`Envelope::copy`].
    pub copy: MessageId,
}

/// How a settle begins.
pub enum Begin {
    Begun(Vec<Input>),
    /// Another settle of one of them is under way; nothing was marked.
    Busy,
    /// One of them is not out (any more); nothing was marked.
    Gone,
}

/// What became of an input, once that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    Ended,
    /// It is in the ledger now (or again).
    Parked,
    /// It is in a wait queue of the broker.
    Delayed,
    /// Its key stops until a person acts.
    Held,
    /// To be handed out again shortly; nothing was committed about it.
    Resting(Timestamp),
}

/// Deliveries to acknowledge.
pub struct ToAck {
    pub acks: Arc<dyn Acks>,
    pub tags: Vec<u64>,
}

impl Feed {
    pub fn new(queue: Text) -> Feed {
        Feed {
            queue,
            window: Window { entries: 0, bytes: 0 },
            generation: 0,
            items: BTreeMap::new(),
            ready: BTreeSet::new(),
            rests: BTreeSet::new(),
            keys: Keys::default(),
            by_copy: HashMap::default(),
            lanes: HashMap::new(),
            parking: VecDeque::new(),
            recount: VecDeque::new(),
            out: 0,
            out_bytes: 0,
        }
    }

    // ---- its consumer

    /// A new consumer: what is out with the former one is handed out again, unless its settle is under way.
    pub fn consumed(&mut self, window: Window, now: Timestamp) -> u64 {
        self.window = window;
        self.generation += 1;
        let out: Vec<i64> = self
            .items
            .iter()
            .filter(|(_, item)| item.phase == Phase::Out && !item.settling)
            .map(|(number, _)| *number)
            .collect();
        for number in out {
            let Some(item) = self.items.get_mut(&number) else { continue };
            self.out -= 1;
            self.out_bytes -= item.entry.body.len();
            item.phase = Phase::Ready;
            if matches!(item.from, From::Broker { void: true, .. }) {
                let name = (item.lane, item.entry.key.clone());
                self.remove(number);
                if let (lane @ Some(_), Some(key)) = name {
                    self.advance(lane, &key, now);
                }
            } else {
                self.ready.insert(number);
            }
        }
        self.generation
    }

    pub fn is_current(&self, generation: u64) -> bool {
        self.generation == generation
    }

    /// Up to `most` entries that may go out now.
    pub fn take(&mut self, most: usize, now: Timestamp) -> Vec<Entry> {
        while let Some((_, number)) = self.rests.first().copied().filter(|(due, _)| *due <= now) {
            self.rests.pop_first();
            if let Some(item) = self.items.get_mut(&number) {
                item.phase = Phase::Ready;
                self.ready.insert(number);
            }
        }
        let mut given = Vec::new();
        while given.len() < most && self.out < self.window.entries {
            let Some(number) = self.ready.first().copied() else { break };
            let Some(item) = self.items.get_mut(&number) else {
                self.ready.pop_first();
                continue;
            };
            let weight = item.entry.body.len();
            if self.out > 0 && self.out_bytes + weight > self.window.bytes {
                break;
            }
            self.ready.pop_first();
            item.phase = Phase::Out;
            self.out += 1;
            self.out_bytes += weight;
            given.push(Entry { at: EntryRef(number), attempts: item.attempts, entry: item.entry.clone() });
        }
        given
    }

    /// When something that rests may go out.
    pub fn next_rest(&self) -> Option<Timestamp> {
        self.rests.first().map(|(due, _)| *due)
    }

    /// Whether nothing is out, being settled or being parked.
    pub fn is_idle(&self) -> bool {
        self.out == 0 && self.parking.is_empty()
    }

    // ---- its lanes

    /// The ledger's side of a lane is this process's now. `keys` are those with entries there.
    pub fn opened(&mut self, lane: LaneNumber, fence: Option<Fence>, keys: Vec<Key>) {
        let entry = self.lanes.entry(lane).or_default();
        entry.fence = fence;
        entry.ending = false;
        for key in keys {
            let state = self.keys.entry((lane, key.key)).or_default();
            state.parked = key.entries;
            state.uncounted = key.held;
        }
    }

    /// A subscription to a lane begins; gives its session.
    pub fn attached(&mut self, lane: LaneNumber, acks: Arc<dyn Acks>) -> u64 {
        self.detached(lane);
        let lane = self.lanes.entry(lane).or_default();
        lane.session += 1;
        lane.acks = Some(acks);
        lane.session
    }

    /// The subscription to a lane is over: what it delivered and is not out will come again.
    pub fn detached(&mut self, lane: LaneNumber) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.acks = None;
        }
        let of_broker = self.items.iter_mut().filter(|(_, item)| item.lane == lane);
        let mut dropped = Vec::new();
        for (number, item) in of_broker {
            let From::Broker { void, .. } = &mut item.from else { continue };
            *void = true;
            if !matches!(item.phase, Phase::Out | Phase::Parking) {
                dropped.push(*number);
            }
        }
        // The last first, so that none becomes ready in between.
        for number in dropped.into_iter().rev() {
            self.remove(number);
        }
    }

    /// Nothing of the lane is handed out any more; what is out may still be settled.
    pub fn ending(&mut self, lane: LaneNumber) {
        self.lanes.entry(lane).or_default().ending = true;
        let waiting: Vec<i64> = self
            .items
            .iter()
            .filter(|(_, item)| item.lane == lane && !matches!(item.phase, Phase::Out | Phase::Parking))
            .map(|(number, _)| *number)
            .collect();
        for number in waiting.into_iter().rev() {
            self.remove(number);
        }
    }

    pub fn is_lane_idle(&self, lane: LaneNumber) -> bool {
        !self.items.values().any(|item| item.lane == lane && matches!(item.phase, Phase::Out | Phase::Parking))
    }

    /// The lane is another's: what is out of it is stale.
    pub fn closed(&mut self, lane: LaneNumber) {
        let all: Vec<i64> =
            self.items.iter().filter(|(_, item)| item.lane == lane).map(|(number, _)| *number).collect();
        for number in all.into_iter().rev() {
            self.remove(number);
        }
        self.keys.retain(|(of, _), _| *of != lane);
        self.recount.retain(|(of, _)| *of != lane);
        self.lanes.remove(&lane);
    }

    /// The ledger's side of a competing lane is another's: only what came from there is stale.
    pub fn ledger_closed(&mut self, lane: LaneNumber) {
        let theirs: Vec<i64> = self
            .items
            .iter()
            .filter(|(_, item)| item.lane == lane && matches!(item.from, From::Ledger(_)))
            .map(|(number, _)| *number)
            .collect();
        theirs.into_iter().rev().for_each(|number| self.remove(number));
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.fence = None;
        }
    }

    pub fn fence(&self, lane: LaneNumber) -> Option<Fence> {
        self.lanes.get(&lane)?.fence.clone()
    }

    // ---- what comes

    /// Whether a message that was delivered again is still here: then it is the same item, under its new tag.
    pub fn known_again(&mut self, lane: LaneNumber, session: u64, tag: u64, copy: MessageId) -> bool {
        let Some(item) = self.by_copy.get(&(lane, copy)).and_then(|number| self.items.get_mut(number)) else {
            return false;
        };
        let From::Broker { void: true, .. } = item.from else { return false };
        item.from = From::Broker { session, tag, void: false };
        true
    }

    /// A delivery of the broker, under a number of its own, larger than any before.
    pub fn delivered(
        &mut self,
        number: i64,
        lane: LaneNumber,
        session: u64,
        tag: u64,
        envelope: Envelope,
        now: Timestamp,
    ) {
        let Some(of) = self.lanes.get(&lane) else { return };
        if of.session != session || of.ending {
            return;
        }
        let Envelope { entry, attempts, stored, copy } = envelope;
        let waits = entry.due.is_some_and(|due| due > now);
        let key = entry.key.clone().filter(|_| lane.is_some());
        self.by_copy.insert((lane, copy), number);
        let from = From::Broker { session, tag, void: false };
        let item = Item { lane, from, entry, attempts, stored, copy, phase: Phase::Behind, settling: false };
        self.items.insert(number, item);
        match key {
            Some(key) => {
                let state = self.keys.entry((lane, key.clone())).or_default();
                state.from_broker.push_back(number);
                if state.waits_in_ledger() {
                    self.park_key(lane, &key);
                } else {
                    self.advance(lane, &key, now);
                }
            }
            None if waits => self.park(number),
            None => self.make_ready(number),
        }
    }

    /// An entry the ledger hands out.
    pub fn came_back(&mut self, number: i64, lane: LaneNumber, entry: Entry, now: Timestamp) {
        if self.lanes.get(&lane).is_none_or(|lane| lane.ending) {
            return;
        }
        let Entry { at, attempts, mut entry } = entry;
        entry.queue = self.queue.clone();
        let key = entry.key.clone().filter(|_| lane.is_some());
        let from = From::Ledger(at);
        let (stored, copy) = (entry.time, entry.message);
        let item = Item { lane, from, entry, attempts, stored, copy, phase: Phase::Behind, settling: false };
        self.items.insert(number, item);
        match key {
            Some(key) => {
                let state = self.keys.entry((lane, key.clone())).or_default();
                if state.parked == 0 {
                    // A replay by another instance.
                    state.parked = 1;
                    state.uncounted = true;
                }
                state.from_ledger.push_back(number);
                self.park_key(lane, &key);
                self.advance(lane, &key, now);
            }
            None => self.make_ready(number),
        }
    }

    // ---- settling

    pub fn has(&self, at: EntryRef) -> bool {
        self.items.contains_key(&at.0)
    }

    pub fn copy(&self, at: EntryRef) -> Option<MessageId> {
        self.items.get(&at.0).map(|item| item.copy)
    }

    /// Marks inputs as being settled.
    pub fn begin(&mut self, refs: &[EntryRef]) -> Begin {
        let mut inputs = Vec::with_capacity(refs.len());
        for (index, at) in refs.iter().enumerate() {
            match self.items.get_mut(&at.0) {
                Some(item) if item.phase == Phase::Out && !item.settling => {
                    item.settling = true;
                    inputs.push(Input {
                        at: *at,
                        lane: item.lane,
                        from: item.from,
                        entry: item.entry.clone(),
                        attempts: item.attempts,
                        stored: item.stored,
                        copy: item.copy,
                    });
                }
                found => {
                    let busy = found.is_some_and(|item| item.settling);
                    self.unbegin(&refs[..index]);
                    return if busy { Begin::Busy } else { Begin::Gone };
                }
            }
        }
        Begin::Begun(inputs)
    }

    /// The settle failed, nothing was kept: the inputs are out as before.
    pub fn unbegin(&mut self, refs: &[EntryRef]) {
        for at in refs {
            if let Some(item) = self.items.get_mut(&at.0) {
                item.settling = false;
            }
        }
    }

    /// What was committed becomes true here; gives what to acknowledge.
    pub fn became(&mut self, outcomes: &[(EntryRef, Became)], now: Timestamp) -> Vec<ToAck> {
        let mut acks: BTreeMap<LaneNumber, Vec<u64>> = BTreeMap::new();
        for (at, became) in outcomes {
            let Some(item) = self.items.get_mut(&at.0) else { continue };
            item.settling = false;
            let (lane, from) = (item.lane, item.from);
            let key = item.entry.key.clone().filter(|_| lane.is_some());
            if let Became::Resting(until) = became {
                self.rest(at.0, *until);
                continue;
            }
            if let From::Broker { session, tag, void: false } = from
                && self.lanes.get(&lane).is_some_and(|lane| lane.session == session)
            {
                acks.entry(lane).or_default().push(tag);
            }
            self.remove_quietly(at.0);
            let Some(key) = key else { continue };
            let Some(state) = self.keys.get_mut(&(lane, key.clone())) else { continue };
            match (became, from) {
                (Became::Parked, From::Broker { .. }) => state.parked += 1,
                (Became::Ended | Became::Held, From::Ledger(_)) => {
                    state.parked = state.parked.saturating_sub(1);
                    // A replay by another instance was never counted, so the last one counted need not be the last.
                    state.uncounted |= state.parked == 0;
                }
                _ => {}
            }
            if *became == Became::Held {
                state.uncounted = true;
            }
            if state.waits_in_ledger() {
                self.park_key(lane, &key);
            }
            self.advance(lane, &key, now);
        }
        acks.into_iter().filter_map(|(lane, tags)| self.to_ack(lane, tags)).collect()
    }

    fn to_ack(&self, lane: LaneNumber, tags: Vec<u64>) -> Option<ToAck> {
        let acks = self.lanes.get(&lane)?.acks.clone()?;
        Some(ToAck { acks, tags })
    }

    // ---- parking

    /// The next items to park, of one lane, in order.
    pub fn next_to_park(&mut self, most: usize) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        self.parking.retain(|number| self.items.contains_key(number));
        for number in &self.parking {
            let Some(item) = self.items.get(number) else { continue };
            if inputs.len() == most || inputs.first().is_some_and(|first| first.lane != item.lane) {
                break;
            }
            inputs.push(Input {
                at: EntryRef(*number),
                lane: item.lane,
                from: item.from,
                entry: item.entry.clone(),
                attempts: item.attempts,
                stored: item.stored,
                copy: item.copy,
            });
        }
        inputs
    }

    /// They are stored elsewhere; gives what to acknowledge. Their keys have counted them already.
    pub fn parked(&mut self, inputs: &[Input]) -> Vec<ToAck> {
        self.leave(inputs)
    }

    /// They had been stored (or done) before: what was delivered again is acknowledged and forgotten.
    pub fn were_settled(&mut self, inputs: &[Input], now: Timestamp) -> Vec<ToAck> {
        for input in inputs {
            if let Some(item) = self.items.get_mut(&input.at.0)
                && item.phase == Phase::Parking
                && let Some(key) = &item.entry.key
                && let Some(state) = self.keys.get_mut(&(item.lane, key.clone()))
            {
                state.parked = state.parked.saturating_sub(1);
                state.uncounted = true;
            }
        }
        let acks = self.leave(inputs);
        for input in inputs {
            if let Some(key) = input.entry.key.as_ref().filter(|_| input.lane.is_some()) {
                self.advance(input.lane, key, now);
            }
        }
        acks
    }

    fn leave(&mut self, inputs: &[Input]) -> Vec<ToAck> {
        let mut acks: BTreeMap<LaneNumber, Vec<u64>> = BTreeMap::new();
        for input in inputs {
            let Some(item) = self.items.get(&input.at.0) else { continue };
            if let From::Broker { session, tag, void: false } = item.from
                && self.lanes.get(&input.lane).is_some_and(|lane| lane.session == session)
            {
                acks.entry(input.lane).or_default().push(tag);
            }
            self.remove_quietly(input.at.0);
        }
        self.parking.retain(|number| self.items.contains_key(number));
        acks.into_iter().filter_map(|(lane, tags)| self.to_ack(lane, tags)).collect()
    }

    /// Keys to count anew in the ledger.
    pub fn take_recount(&mut self) -> Vec<(LaneNumber, Text)> {
        std::mem::take(&mut self.recount).into()
    }

    /// They could not be counted now.
    pub fn ask_recount(&mut self, keys: Vec<(LaneNumber, Text)>) {
        self.recount.extend(keys);
    }

    /// What the ledger has of a key.
    pub fn counted(&mut self, lane: LaneNumber, key: &Text, found: Option<&Key>, now: Timestamp) {
        let Some(state) = self.keys.get_mut(&(lane, key.clone())) else { return };
        let on_the_way = self
            .parking
            .iter()
            .filter_map(|number| self.items.get(number))
            .any(|item| item.lane == lane && item.entry.key.as_ref() == Some(key));
        if on_the_way || !state.from_ledger.is_empty() || state.front.is_some() {
            return;
        }
        match found {
            Some(found) if found.entries > 0 || found.held => state.parked = found.entries,
            _ => {
                state.parked = 0;
                state.uncounted = false;
                self.advance(lane, key, now);
            }
        }
    }

    // ---- what there is

    /// Items of the broker that are not acknowledged, those of them being parked, and the time of the oldest.
    pub fn unacknowledged(&self) -> (u64, u64, Option<Timestamp>) {
        let of_broker = || self.items.values().filter(|item| matches!(item.from, From::Broker { void: false, .. }));
        let parking = of_broker().filter(|item| item.phase == Phase::Parking).count();
        (of_broker().count() as u64, parking as u64, of_broker().map(|item| item.stored).min())
    }

    // ---- inside

    /// The next of a key becomes ready, if none is before it.
    fn advance(&mut self, lane: LaneNumber, key: &Text, now: Timestamp) {
        let name = (lane, key.clone());
        let Some(state) = self.keys.get_mut(&name) else { return };
        if state.front.is_some() {
            return;
        }
        if let Some(number) = state.from_ledger.pop_front() {
            state.front = Some(number);
            self.make_ready(number);
            return;
        }
        if state.waits_in_ledger() {
            if state.parked == 0 && !self.recount.contains(&name) {
                self.recount.push_back(name);
            }
            return;
        }
        let Some(number) = state.from_broker.front().copied() else {
            self.keys.remove(&name);
            return;
        };
        if self.items.get(&number).is_some_and(|item| item.entry.due.is_some_and(|due| due > now)) {
            // Not yet: it waits in the ledger, and the later ones of its key behind it.
            self.park_key(lane, key);
            return;
        }
        state.from_broker.pop_front();
        state.front = Some(number);
        self.make_ready(number);
    }

    /// All of a key that came from the broker and are not out go to the ledger; not ahead of one that is under way. That one may
    /// yet go back to the broker, with its lane or with this process, and would come again behind those in the ledger.
    fn park_key(&mut self, lane: LaneNumber, key: &Text) {
        let Some(state) = self.keys.get_mut(&(lane, key.clone())) else { return };
        let under_way = state.front.and_then(|number| self.items.get(&number));
        if under_way.is_some_and(|item| matches!(item.from, From::Broker { .. })) {
            return;
        }
        let numbers: Vec<i64> = state.from_broker.drain(..).collect();
        state.parked += numbers.len() as u64;
        numbers.into_iter().for_each(|number| self.park(number));
    }

    fn park(&mut self, number: i64) {
        if let Some(item) = self.items.get_mut(&number) {
            item.phase = Phase::Parking;
            self.parking.push_back(number);
        }
    }

    fn make_ready(&mut self, number: i64) {
        if let Some(item) = self.items.get_mut(&number) {
            item.phase = Phase::Ready;
            self.ready.insert(number);
        }
    }

    fn rest(&mut self, number: i64, until: Timestamp) {
        let Some(item) = self.items.get_mut(&number) else { return };
        if item.phase == Phase::Out {
            self.out -= 1;
            self.out_bytes -= item.entry.body.len();
        }
        if matches!(item.from, From::Broker { void: true, .. }) {
            item.phase = Phase::Ready;
            self.remove(number);
            return;
        }
        item.phase = Phase::Resting(until);
        self.rests.insert((until, number));
    }

    /// Takes an item away as if it had never come: its key goes on when it comes again.
    fn remove(&mut self, number: i64) {
        let Some(item) = self.items.get(&number) else { return };
        let (lane, key) = (item.lane, item.entry.key.clone().filter(|_| item.lane.is_some()));
        let parking = item.phase == Phase::Parking;
        self.remove_quietly(number);
        let Some(key) = key else { return };
        let name = (lane, key);
        let Some(state) = self.keys.get_mut(&name) else { return };
        state.from_broker.retain(|other| *other != number);
        state.from_ledger.retain(|other| *other != number);
        if parking {
            state.parked = state.parked.saturating_sub(1);
        }
        let empty = state.from_broker.is_empty() && state.from_ledger.is_empty() && !state.waits_in_ledger();
        if state.front.is_none() && empty {
            self.keys.remove(&name);
        }
    }

    /// Takes an item out of all lists but those of its key's other items.
    fn remove_quietly(&mut self, number: i64) {
        let Some(item) = self.items.remove(&number) else { return };
        match item.phase {
            Phase::Out => {
                self.out -= 1;
                self.out_bytes -= item.entry.body.len();
            }
            Phase::Ready => drop(self.ready.remove(&number)),
            Phase::Resting(until) => drop(self.rests.remove(&(until, number))),
            Phase::Behind | Phase::Parking => {}
        }
        let copy = (item.lane, item.copy);
        if self.by_copy.get(&copy) == Some(&number) {
            self.by_copy.remove(&copy);
        }
        if let Some(key) = item.entry.key.filter(|_| item.lane.is_some())
            && let Some(state) = self.keys.get_mut(&(item.lane, key))
            && state.front == Some(number)
        {
            state.front = None;
        }
    }
}

/// The name of this entry's place in the ledger.
pub fn ledger_name(queue: &Text, lane: LaneNumber) -> Text {
    lanes::name(&crate::queue::broker::BrokerLane { queue: queue.clone(), partition: lane })
}

/// The work is not this caller's any more.
pub fn stale() -> Fault {
    Fault::reconnect("STORE-STALE", "what was decided here has been settled elsewhere, or its turn has passed on")
}
