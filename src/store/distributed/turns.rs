//! Turns by key: what is published under one key is confirmed before the next of that key is.
//!
//! Those who ask stand in line in the order they first asked. A settle that failed and may be tried again keeps its turns for
//! that, as long as its caller keeps it in hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::message::Text;

type Name = (Text, Text);

/// The turns of one caller.
type Guards = Vec<(Name, OwnedMutexGuard<()>)>;

/// How often those who wait look whether turns are kept for a caller that gave up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Turns of callers of kind `C`.
pub struct Turns<C> {
    state: Mutex<State<C>>,
}

struct State<C> {
    lines: HashMap<Name, Arc<Turn<()>>, foldhash::fast::RandomState>,
    kept: Vec<(Weak<C>, Guards)>,
}

/// The turns of some keys, passed on when dropped.
pub struct Taken<'a, C> {
    turns: &'a Turns<C>,
    taken: Guards,
}

impl<C> Default for Turns<C> {
    fn default() -> Turns<C> {
        Turns { state: Mutex::new(State { lines: HashMap::default(), kept: Vec::new() }) }
    }
}

impl<C> Turns<C> {
    /// Waits for the turn of each queue and key; those kept for `caller` are there at once.
    pub async fn take(&self, mut names: Vec<Name>, caller: Option<&Arc<C>>) -> Taken<'_, C> {
        // All take them in the same order, so that no two wait for each other.
        names.sort_unstable();
        names.dedup();
        let mut taken = Taken { turns: self, taken: Vec::with_capacity(names.len()) };
        if let Some(kept) = caller.and_then(|caller| self.kept_for(caller)) {
            taken.taken = kept;
            return taken;
        }
        for name in names {
            let line = self.state().lines.entry(name.clone()).or_default().clone();
            let turn = line.lock_owned();
            tokio::pin!(turn);
            let guard = loop {
                match tokio::time::timeout(LOOK_EVERY, &mut turn).await {
                    Ok(guard) => break guard,
                    Err(_) => self.pass_on(),
                }
            };
            taken.taken.push((name, guard));
        }
        taken
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_for(&self, caller: &Arc<C>) -> Option<Guards> {
        let mut state = self.state();
        let at = state.kept.iter().position(|(weak, _)| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(caller)))?;
        Some(state.kept.swap_remove(at).1)
    }

    /// Lets go what is kept for callers that gave up.
    fn pass_on(&self) {
        let mut state = self.state();
        let (kept, gone) = std::mem::take(&mut state.kept).into_iter().partition(|(weak, _)| weak.strong_count() > 0);
        state.kept = kept;
        let gone: Vec<_> = gone;
        gone.into_iter().for_each(|(_, guards)| state.release(guards));
    }
}

impl<C> State<C> {
    fn release(&mut self, guards: Guards) {
        for (name, guard) in guards {
            drop(guard);
            // Nobody but the map has it.
            if self.lines.get(&name).is_some_and(|line| Arc::strong_count(line) == 1) {
                self.lines.remove(&name);
            }
        }
    }
}

impl<C> Taken<'_, C> {
    /// Keeps the turns until `caller` tries again, or is no more.
    pub fn keep_for(mut self, caller: &Arc<C>) {
        let taken = std::mem::take(&mut self.taken);
        if !taken.is_empty() {
            self.turns.state().kept.push((Arc::downgrade(caller), taken));
        }
    }
}

impl<C> Drop for Taken<'_, C> {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if !taken.is_empty() {
            self.turns.state().release(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
        (Text::from("q"), Text::from(key))
    }

    #[tokio::test]
    async fn keys_wait_for_themselves_alone_and_are_forgotten() {
        let turns = Turns::<()>::default();
        let first = turns.take(vec![name("a"), name("b")], None).await;
        drop(turns.take(vec![name("c")], None).await);
        let waits = turns.take(vec![name("b")], None);
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(first);
        drop(waits.await);
        assert!(turns.state().lines.is_empty());
    }

    #[tokio::test]
    async fn who_tries_again_is_ahead_of_those_who_came_later() {
        let turns = Turns::<u8>::default();
        let (first, gives_up) = (Arc::new(1), Arc::new(2));
        turns.take(vec![name("a")], Some(&first)).await.keep_for(&first);
        let mut waits = Box::pin(turns.take(vec![name("a")], Some(&gives_up)));
        assert!(tokio::time::timeout(LOOK_EVERY * 3, &mut waits).await.is_err(), "the turn is kept");
        drop(turns.take(vec![name("a")], Some(&first)).await);
        (&mut waits).await.keep_for(&gives_up);
        drop(waits);
        drop(gives_up);
        drop(turns.take(vec![name("a")], None).await);
        assert!(turns.state().lines.is_empty());
    }
}
