//! What follows from a delivery's outcome: purely from (policy, attempts so far, fault, time).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::{OnError, Then};
use crate::clock::later;
use crate::message::{Fault, Next};

/// How long a lane rests after its connection failed: doubled each time, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a lane rests for a person to mend the configuration before it looks again.
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(30);
/// A peer that asks for more patience than this is asked again anyway.
const LONGEST_AFTER: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try this message again at `due`; its key waits, others go on.
    RetryAt { due: Timestamp },
    /// The peer, not the message: the whole lane rests until `until`; no attempt is counted.
    Pause { until: Timestamp },
    /// To dead letters; with `hold_key` the key waits for a person.
    GiveUp { hold_key: bool },
}

/// `attempts` counts those that failed before this one; `pauses` the lane's pauses in a row.
pub fn decide(policy: &OnError, attempts: u32, pauses: u32, fault: &Fault, now: Timestamp) -> Decision {
    match fault.next() {
        Next::Retry { after } => match policy.retry.get(attempts as usize) {
            Some(delay) => {
                let wait = after.unwrap_or_default().min(LONGEST_AFTER).max(*delay);
                Decision::RetryAt { due: later(now, wait) }
            }
            None => Decision::GiveUp { hold_key: policy.then == Then::HoldKey },
        },
        Next::Refuse => Decision::GiveUp { hold_key: policy.then == Then::HoldKey },
        Next::Reconnect => Decision::Pause { until: later(now, pause(pauses)) },
        Next::Misconfigured => Decision::Pause { until: later(now, MISCONFIGURED_PAUSE) },
    }
}

/// 250 ms, 500 ms, 1 s ... 60 s.
pub fn pause(pauses: u32) -> Duration {
    Duration::from_millis(250).saturating_mul(1 << pauses.min(10)).min(LONGEST_PAUSE)
}

/// The rests of something that starts again after a fault: longer with each failure in a row, short again once it has worked.
#[derive(Debug, Default)]
pub struct Rests(AtomicU32);

impl Rests {
    /// It failed: how long to rest.
    pub fn failed(&self) -> Duration {
        pause(self.0.fetch_add(1, Ordering::Relaxed))
    }

    pub fn worked(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault, attempts: u32, then: Then, expect: &str) {
        let policy = OnError { retry: vec![Duration::from_secs(5), Duration::from_secs(30)], then };
        let decision = match decide(&policy, attempts, 1, &fault, Timestamp::UNIX_EPOCH) {
            Decision::RetryAt { due } => format!("retry at {}", due.as_second()),
            Decision::Pause { until } => format!("pause until {} ms", until.as_millisecond()),
            Decision::GiveUp { hold_key } => format!("give up, hold {hold_key}"),
        };
        assert_eq!(decision, expect, "{fault}");
    }

    #[test]
    fn faults_decide() {
        let may_pass = || Fault::retry("HTTP-500", "the ERP answered 500");
        check(may_pass(), 0, Then::DeadLetter, "retry at 5");
        check(may_pass(), 1, Then::DeadLetter, "retry at 30");
        check(may_pass().after(Duration::from_secs(60)), 1, Then::DeadLetter, "retry at 60");
        check(may_pass().after(Duration::from_secs(1)), 1, Then::DeadLetter, "retry at 30");
        check(may_pass(), 2, Then::DeadLetter, "give up, hold false");
        check(may_pass(), 2, Then::HoldKey, "give up, hold true");
        check(Fault::refuse("HTTP-422", "no"), 0, Then::DeadLetter, "give up, hold false");
        check(Fault::reconnect("HTTP-GONE", "no"), 7, Then::DeadLetter, "pause until 500 ms");
        check(Fault::misconfigured("HTTP-401", "no"), 7, Then::DeadLetter, "pause until 30000 ms");
    }

    #[test]
    fn rests_are_short_again_after_a_success() {
        let rests = Rests::default();
        let failed = || rests.failed().as_millis();
        assert_eq!([failed(), failed(), failed()], [250, 500, 1000]);
        rests.worked();
        assert_eq!([failed(), failed()], [250, 500]);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!([0, 1, 3, 20, u32::MAX].map(|n| pause(n).as_millis()), [250, 500, 2000, 60_000, 60_000]);
    }
}
