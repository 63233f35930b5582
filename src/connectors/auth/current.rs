//! A credential that ends: one at a time, asked for once for all who wait for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::Proof;
use crate::clock::{Clock, later};
use crate::message::{Fault, Next};

/// How long a refusal holds for those who ask next, so that many messages are not many requests. A server may say longer.
const REST: Duration = Duration::from_secs(1);
/// The same where a person must act: asking with what is wrong again and again locks accounts.
const LONG_REST: Duration = Duration::from_secs(10);

/// What there is now, and what came of asking last.
pub(super) struct Current<T> {
    clock: Clock,
    state: Mutex<State<T>>,
    /// Held while somebody asks.
    asking: tokio::sync::Mutex<()>,
}

struct State<T> {
    held: Option<Held<T>>,
    last: u64,
    /// What the system refused though it had not ended.
    refused: Option<T>,
    failed: Option<(Fault, Timestamp)>,
}

struct Held<T> {
    fresh: Fresh<T>,
    proof: Proof,
}

/// A credential just received.
#[derive(Clone)]
pub(super) struct Fresh<T> {
    pub value: T,
    /// From when on another is asked for. `None`: only once it is refused.
    pub renew_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
}

impl<T: Clone> Current<T> {
    pub fn new(clock: &Clock) -> Current<T> {
        let state = State { held: None, last: 0, refused: None, failed: None };
        Current { clock: clock.clone(), state: Mutex::new(state), asking: tokio::sync::Mutex::default() }
    }

    /// The credential; where there is none, or it is near its end, what `ask` gives. `ask` is told the one that was refused.
    ///
    /// # Errors
    /// What `ask` says, to all who wait for it.
    pub async fn get(&self, ask: impl AsyncFnOnce(Option<T>) -> Result<Fresh<T>, Fault>) -> Result<(T, Proof), Fault> {
        if let Some(known) = self.known() {
            return known;
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let refused = self.state().refused.clone();
        match ask(refused).await {
            Ok(fresh) => Ok(self.take(fresh)),
            Err(fault) => {
                self.rest(fault.clone());
                match self.known() {
                    Some(Ok(held)) => {
                        warn!(code = fault.code(), "a credential near its end could not be renewed: {fault}");
                        Ok(held)
                    }
                    Some(Err(_)) | None => Err(fault),
                }
            }
        }
    }

    /// The credential of `proof` is refused; a newer one stays.
    pub fn forget(&self, proof: Proof) {
        let mut state = self.state();
        if let Some(held) = state.held.take_if(|held| held.proof == proof) {
            state.refused = Some(held.fresh.value);
        }
    }

    /// What can be said without asking.
    fn known(&self) -> Option<Result<(T, Proof), Fault>> {
        let (now, state) = (self.clock.now(), self.state());
        let failed = state.failed.as_ref().filter(|(_, until)| now < *until).map(|(fault, _)| fault);
        let held = state.held.as_ref().filter(|held| {
            // One that could not be renewed is good until its very end.
            let until = if failed.is_some() { held.fresh.ends_at } else { held.fresh.renew_at };
            until.is_none_or(|until| now < until)
        });
        match (held, failed) {
            (Some(held), _) => Some(Ok((held.fresh.value.clone(), held.proof))),
            (None, Some(fault)) => Some(Err(fault.clone())),
            (None, None) => None,
        }
    }

    fn take(&self, fresh: Fresh<T>) -> (T, Proof) {
        let mut state = self.state();
        state.last += 1;
        let (value, proof) = (fresh.value.clone(), Proof(state.last));
        (state.held, state.refused, state.failed) = (Some(Held { fresh, proof }), None, None);
        (value, proof)
    }

    fn rest(&self, fault: Fault) {
        let rest = match fault.next() {
            Next::Retry { after } => after.unwrap_or(REST),
            Next::Reconnect => REST,
            Next::Refuse | Next::Misconfigured => LONG_REST,
        };
        self.state().failed = Some((fault, later(self.clock.now(), rest)));
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
