//! Secrets that change by themselves and must survive: a refresh token that is another after each use.
//!
//! Whoever renews one takes a turn, so that no two instances use the same token; what came of it is kept only over the version
//! it was made from. A turn ends with its time, so an instance that dies in it holds nobody up longer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::clock::{Clock, later};
use crate::message::{Fault, Text, Value};

#[async_trait]
pub trait Vault: Send + Sync {
    /// What is kept under `name`.
    async fn kept(&self, name: &str) -> Result<Kept, Fault>;

    /// Takes the turn to renew what is kept under `name`, for `lives` at most, and tells what that is; `None` while it is
    /// another's turn. `holder` is drawn for each turn; asking again with it is no harm.
    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<Kept>, Fault>;

    /// Keeps `value` in the place of version `version`, and ends the holder's turn; on disk once it answers. `false` where
    /// another version is kept by now: then nothing was changed. A turn whose time has passed hinders nothing as long as the
    /// version is the same: what is kept may be useless by then, and `value` is the newest there is.
    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault>;

    /// Ends the holder's turn without a change.
    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault>;
}

/// What is kept under a name, and how often it was changed; version 0 where nothing was ever kept.
#[derive(Clone, Default, PartialEq)]
pub struct Kept {
    pub version: i64,
    pub value: Option<Value>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of a secret", self.version)
    }
}

/// A vault that forgets when the process ends: for cases of manifests and for tests.
#[derive(Debug)]
pub struct MemoryVault {
    clock: Clock,
    rows: Mutex<BTreeMap<Text, Row>>,
}

#[derive(Debug, Default)]
struct Row {
    kept: Kept,
    turn: Option<(Text, Timestamp)>,
}

impl MemoryVault {
    pub fn new(clock: Clock) -> MemoryVault {
        MemoryVault { clock, rows: Mutex::default() }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Text, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn kept(&self, name: &str) -> Result<Kept, Fault> {
        Ok(self.rows().get(name).map(|row| row.kept.clone()).unwrap_or_default())
    }

    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<Kept>, Fault> {
        let (now, mut rows) = (self.clock.now(), self.rows());
        let row = rows.entry(name.into()).or_default();
        if row.turn.as_ref().is_some_and(|(other, until)| other != holder && *until > now) {
            return Ok(None);
        }
        row.turn = Some((holder.into(), later(now, lives)));
        Ok(Some(row.kept.clone()))
    }

    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault> {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(name).filter(|row| row.kept.version == version) else { return Ok(false) };
        row.kept = Kept { version: version + 1, value: Some(value.clone()) };
        row.turn.take_if(|(mine, _)| mine == holder);
        Ok(true)
    }

    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault> {
        if let Some(row) = self.rows().get_mut(name) {
            row.turn.take_if(|(mine, _)| mine == holder);
        }
        Ok(())
    }
}
