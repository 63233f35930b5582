//! Instances of the hub that share an engine, and what only one of them does at a time.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::message::{Fault, Text};

/// The instances that share an engine.
#[async_trait]
pub trait Instances: Send + Sync {
    /// Waits until it is this instance's turn to do `name` (a source that polls, a schedule), which no other does meanwhile.
    ///
    /// The wait may be dropped. Within seconds of an instance's death another has what it held.
    async fn hold(&self, name: &str) -> Result<Hold, Fault>;

    /// Those that live, this one first, and what each holds.
    async fn living(&self) -> Result<Vec<Instance>, Fault>;

    /// Tells the others which configuration this instance runs.
    fn runs(&self, _revision: &str) {}

    /// Lets go of all that is held, so that others need not wait for it; for a stop.
    async fn leave(&self) {}
}

/// A turn. Dropping it passes it on.
#[derive(Debug)]
pub struct Hold {
    /// To be checked by every commit made under it; `None` where there is nobody else.
    pub fence: Option<Fence>,
    /// The turn has passed on: whatever is done under it commits nothing any more.
    pub lost: CancellationToken,
    /// Passes the turn on when dropped.
    _given_up: Option<DropGuard>,
}

impl Hold {
    pub fn new(fence: Option<Fence>, lost: CancellationToken, given_up: Option<DropGuard>) -> Hold {
        Hold { fence, lost, _given_up: given_up }
    }
}

/// The number of a lease's turn. A commit that names an old one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    pub lease: Text,
    pub epoch: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub name: Text,
    /// The configuration it runs.
    pub revision: Text,
    pub seen: Timestamp,
    /// `web-order#3`, `source:price-list`.
    pub holds: Vec<Text>,
    /// This very one.
    pub this: bool,
}

/// The only instance of an embedded engine: it is always its turn.
#[derive(Debug, Default)]
pub struct Alone;

#[async_trait]
impl Instances for Alone {
    async fn hold(&self, _name: &str) -> Result<Hold, Fault> {
        Ok(Hold::new(None, CancellationToken::new(), None))
    }

    async fn living(&self) -> Result<Vec<Instance>, Fault> {
        Ok(Vec::new())
    }
}
