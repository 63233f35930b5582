//! Turns by key: what is published under one key is confirmed before the next of that key is.
//!
//! Those who ask stand in line in the order they first asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::message::Text;

type Name = (Text, Text);

#[derive(Default)]
pub struct Turns {
    lines: Mutex<HashMap<Name, Arc<Turn<()>>, foldhash::fast::RandomState>>,
}

/// The turns of some keys, passed on when dropped.
pub struct Taken<'a> {
    turns: &'a Turns,
    taken: Vec<(Name, OwnedMutexGuard<()>)>,
}

impl Turns {
    /// Waits for the turn of each queue and key.
    pub async fn take(&self, mut names: Vec<Name>) -> Taken<'_> {
        // All take them in the same order, so that no two wait for each other.
        names.sort_unstable();
        names.dedup();
        let mut taken = Taken { turns: self, taken: Vec::with_capacity(names.len()) };
        for name in names {
            let line =
                self.lines.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone();
            taken.taken.push((name, line.lock_owned().await));
        }
        taken
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, guard) in self.taken.drain(..) {
            drop(guard);
            // Nobody but the map has it.
            if lines.get(&name).is_some_and(|line| Arc::strong_count(line) == 1) {
                lines.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_wait_for_themselves_alone_and_are_forgotten() {
        let turns = Turns::default();
        let name = |key: &str| (Text::from("q"), Text::from(key));
        let first = turns.take(vec![name("a"), name("b")]).await;
        drop(turns.take(vec![name("c")]).await);
        let waits = turns.take(vec![name("b")]);
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(first);
        drop(waits.await);
        assert!(turns.lines.lock().expect("no panic").is_empty());
    }
}
