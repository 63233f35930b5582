//! This instance's leases: taken, renewed, passed on and lost.
//!
//! One task beats: it says that this instance lives, and learns who else does. A lease is believed in for less long than others
//! respect it, by this machine's own steady clock, so that a process that was stopped for a while knows on waking that its
//! turn may be over, before anybody tells it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::share;
use crate::message::{Fault, MessageId, Text};
use crate::store::{Beat, Fence, Instance, Ledger, Pulse};
use crate::telemetry::{Outage, in_words};

/// A lease is renewed so many times in its life.
const BEATS: u32 = 4;

/// How long what was passed on may take to be finished, in lives of a lease.
const FINISH: u32 = 1;

pub struct Keeper {
    ledger: Arc<dyn Ledger>,
    instance: Text,
    name: Text,
    lives: Duration,
    state: Mutex<State>,
    poke: Notify,
}

#[derive(Default)]
struct State {
    revision: Text,
    wanted: BTreeMap<Text, Wanted>,
    held: HashMap<Text, Held>,
    pulse: Pulse,
    leaving: bool,
    /// Held by the database's account alone.
    abandoned: Vec<Fence>,
    /// The database does not answer, and why.
    silent: Outage,
    why: Option<Fault>,
}

struct Wanted {
    /// How many want it: an old pipeline and its successor may both do during a reload.
    by: usize,
    turn: watch::Sender<Option<Turn>>,
}

struct Held {
    fence: Fence,
    until: Instant,
    lost: CancellationToken,
    /// Asked to finish, then to be passed on.
    passing: Option<Instant>,
    finished: bool,
}

/// A lease that is held.
#[derive(Clone, Debug)]
pub struct Turn {
    pub fence: Fence,
    /// It has passed on, or time is up.
    pub lost: CancellationToken,
    /// It is to pass on: finish what is under way, then say [`Keeper::finished`].
    pub ends: bool,
}

impl Keeper {
    pub fn new(ledger: Arc<dyn Ledger>, name: Text, lives: Duration) -> Arc<Keeper> {
        let instance = format!("{name}-{}", MessageId::draw()).into();
        Arc::new(Keeper { ledger, instance, name, lives, state: Mutex::default(), poke: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the turns of `name`, which this instance wants from now on until [`Keeper::unwant`].
    pub fn want(&self, name: &Text) -> watch::Receiver<Option<Turn>> {
        let mut state = self.state();
        let wanted =
            state.wanted.entry(name.clone()).or_insert_with(|| Wanted { by: 0, turn: watch::Sender::new(None) });
        wanted.by += 1;
        let receiver = wanted.turn.subscribe();
        drop(state);
        self.poke.notify_one();
        receiver
    }

    pub fn unwant(&self, name: &str) {
        let mut state = self.state();
        if let Some(wanted) = state.wanted.get_mut(name) {
            wanted.by -= 1;
            if wanted.by == 0 {
                state.wanted.remove(name);
                if let Some(held) = state.held.get_mut(name) {
                    held.finished = true;
                    held.lost.cancel();
                }
            }
        }
        drop(state);
        self.poke.notify_one();
    }

    /// All that was under way in this turn is done.
    pub fn finished(&self, fence: &Fence) {
        if let Some(held) = self.state().held.get_mut(&fence.lease).filter(|held| held.fence == *fence) {
            held.finished = true;
        }
        self.poke.notify_one();
    }

    /// The fence of `name`, while it can be believed in. What was once found to be over stays so, even if a late beat could
    /// still renew it: on that word settles were dropped, so the lane must begin anew.
    pub fn fence(&self, name: &str) -> Option<Fence> {
        let state = self.state();
        let held = state.held.get(name)?;
        if held.until <= Instant::now() && !held.lost.is_cancelled() {
            held.lost.cancel();
            self.poke.notify_one();
        }
        (!held.lost.is_cancelled()).then(|| held.fence.clone())
    }

    pub fn wants(&self, name: &str) -> bool {
        self.state().wanted.contains_key(name)
    }

    pub fn runs(&self, revision: &str) {
        self.state().revision = revision.into();
    }

    pub fn living(&self) -> Vec<Instance> {
        let mut living = self.state().pulse.instances.clone();
        living.sort_by_key(|instance| (!instance.this, instance.name.clone()));
        living
    }

    /// One beat, then a rest until the next.
    pub async fn step(&self, stop: &CancellationToken) {
        let again = match self.beat().await {
            Ok(again) => {
                self.answers();
                again
            }
            Err(fault) => {
                // At the end the connections close: nothing is wrong with the database then.
                if !stop.is_cancelled() {
                    self.is_silent(&fault);
                }
                self.expire();
                false
            }
        };
        if !again {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.poke.notified() => {}
                () = tokio::time::sleep(self.lives / BEATS) => {}
            }
        }
    }

    /// For how long the database has not answered, and why; `None` while it does.
    pub fn silence(&self) -> Option<(Duration, Fault)> {
        let state = self.state();
        Some((state.silent.length()?, state.why.clone()?))
    }

    fn answers(&self) {
        let mut state = self.state();
        state.why = None;
        let length = state.silent.ends();
        drop(state);
        if let Some(length) = length {
            info!("the database answers again, after {}", in_words(length));
        }
    }

    fn is_silent(&self, fault: &Fault) {
        let mut state = self.state();
        state.why = Some(fault.clone());
        let length = state.silent.lasts();
        drop(state);
        match length {
            Some(Duration::ZERO) => warn!(
                code = fault.code(),
                "the database does not answer: what one instance does alone may pass on: {fault}"
            ),
            Some(length) => {
                warn!(code = fault.code(), "the database has not answered for {} now: {fault}", in_words(length));
            }
            None => {}
        }
    }

    /// Lets others have all that is held.
    pub async fn leave(&self) {
        {
            let mut state = self.state();
            state.leaving = true;
            for held in state.held.values_mut() {
                held.finished = true;
            }
        }
        if let Err(fault) = self.beat().await {
            warn!(
                code = fault.code(),
                "could not pass on what only one instance does; others take it shortly: {fault}"
            );
        }
    }

    /// One beat; true where another should follow at once.
    async fn beat(&self) -> Result<bool, Fault> {
        let began = Instant::now();
        let beat = self.next_beat(began);
        let taken: Vec<Text> = beat.take.clone();
        // Who wants what was passed on, perhaps this instance again, is known at the next.
        let passed = !beat.pass_on.is_empty();
        let pulse = match tokio::time::timeout(self.lives / 2, self.ledger.beat(beat)).await {
            Ok(pulse) => pulse?,
            Err(_) => return Err(Fault::retry("STORE-SLOW", "the database did not answer a beat in time")),
        };
        let mut state = self.state();
        let until = began + self.lives - self.lives / 5;
        let State { wanted, held, abandoned, .. } = &mut *state;
        held.retain(|name, one| {
            let kept = pulse.held.contains(&one.fence) && !one.lost.is_cancelled();
            if !kept {
                one.lost.cancel();
                tell(wanted, name, None);
            }
            kept
        });
        // What was given up here may still be ours there. It is taken anew under a new epoch: a commit of ours that is still
        // under way must not land behind what we learn on taking it.
        let (asked, left): (Vec<_>, Vec<_>) = pulse
            .held
            .iter()
            .cloned()
            .partition(|fence| held.contains_key(&fence.lease) || taken.contains(&fence.lease));
        *abandoned = left;
        for fence in &asked {
            if let Some(one) = held.get_mut(&fence.lease) {
                one.until = until;
                continue;
            }
            let lost = CancellationToken::new();
            let turn = Turn { fence: fence.clone(), lost: lost.clone(), ends: false };
            tell(wanted, &fence.lease, Some(turn));
            held.insert(
                fence.lease.clone(),
                Held { fence: fence.clone(), until, lost, passing: None, finished: false },
            );
        }
        if !taken.is_empty() {
            info!(held = held.len(), instances = pulse.instances.len(), "turns taken: {}", taken.join(", "));
        }
        let soon = state.pulse.instances.is_empty() || !state.abandoned.is_empty() || passed;
        state.pulse = pulse;
        Ok(soon && !state.leaving)
    }

    fn next_beat(&self, now: Instant) -> Beat {
        let mut state = self.state();
        let State { wanted, held, pulse, revision, leaving, abandoned, .. } = &mut *state;
        let fences: Vec<_> = held.values().map(|held| held.fence.clone()).collect();
        let mut plan = share::plan(&self.instance, &fences, pulse);
        if *leaving {
            plan = share::Plan { take: Vec::new(), pass_on: fences };
        }
        let mut pass_on = std::mem::take(abandoned);
        for (name, one) in held.iter_mut() {
            if one.lost.is_cancelled() {
                pass_on.push(one.fence.clone());
                continue;
            }
            // What was told to finish does finish, whatever else has changed since. So does what was let go and is wanted
            // again (a reload): its turn is over, and the next one is another.
            if one.passing.is_none() && !one.finished && !plan.pass_on.contains(&one.fence) {
                continue;
            }
            let ends = *one.passing.get_or_insert_with(|| {
                let turn = Turn { fence: one.fence.clone(), lost: one.lost.clone(), ends: true };
                tell(wanted, name, Some(turn));
                now + self.lives * FINISH
            });
            if one.finished || !wanted.contains_key(name) || now >= ends {
                one.lost.cancel();
                pass_on.push(one.fence.clone());
            }
        }
        let take = plan.take.into_iter().filter(|name| wanted.contains_key(name)).collect();
        let renew = held.values().map(|held| held.fence.clone()).filter(|fence| !pass_on.contains(fence)).collect();
        Beat {
            instance: self.instance.clone(),
            name: self.name.clone(),
            revision: revision.clone(),
            wants: if *leaving { Vec::new() } else { wanted.keys().cloned().collect() },
            lives: self.lives,
            renew,
            pass_on,
            take,
            leaves: *leaving,
        }
    }

    /// What cannot be believed in any more is lost, though nobody said so.
    fn expire(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let State { wanted, held, .. } = &mut *state;
        held.retain(|name, one| {
            let kept = one.until > now;
            if !kept {
                one.lost.cancel();
                tell(wanted, name, None);
            }
            kept
        });
    }
}

fn tell(wanted: &BTreeMap<Text, Wanted>, name: &Text, turn: Option<Turn>) {
    if let Some(wanted) = wanted.get(name) {
        wanted.turn.send_replace(turn);
    }
}
