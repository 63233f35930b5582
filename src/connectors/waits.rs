//! Asking again after a fault that may pass, where giving up would throw away what was done before.

use std::time::Duration;

use crate::clock::Clock;
use crate::message::{Fault, Next};

/// Waits grow from the first to the last.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Who is told to come back later than this gives up, so that everybody can see why nothing comes.
const TOO_LONG: Duration = Duration::from_secs(120);

/// The waits of one request that is asked again.
#[derive(Debug)]
pub struct Waits<'c> {
    clock: &'c Clock,
    left: u32,
    wait: Duration,
}

impl<'c> Waits<'c> {
    /// Asks again so many `times` at most.
    pub fn new(clock: &'c Clock, times: u32) -> Waits<'c> {
        Waits { clock, left: times, wait: FIRST }
    }

    /// Waits after `fault`, as long as the system said, if it did.
    ///
    /// # Errors
    /// The fault, where it will not pass, or does not in time.
    pub async fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        let said = match fault.next() {
            Next::Retry { after } => after,
            Next::Reconnect => None,
            Next::Refuse | Next::Misconfigured => return Err(fault),
        };
        let wait = said.unwrap_or(self.wait);
        if self.left == 0 || wait > TOO_LONG {
            return Err(fault);
        }
        tracing::warn!(code = fault.code(), "asked again in {wait:?}: {}", fault.clone().without_detail());
        self.left -= 1;
        self.wait = (self.wait * 2).min(LONGEST);
        self.clock.sleep(wait).await;
        Ok(())
    }
}
