//! Now and sleep, real or simulated. Nothing else reads the time: `clippy.toml` bans it elsewhere.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

/// The hub's clock. Cheap to clone; clones of a simulated clock share its time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Simulated>>);

#[derive(Debug)]
struct Simulated {
    now: Mutex<Timestamp>,
    moved: Notify,
}

impl Clock {
    /// The machine's clock.
    pub fn real() -> Clock {
        Clock(None)
    }

    /// A clock that stands at `now` until [`Clock::advance`] moves it.
    pub fn simulated(now: Timestamp) -> Clock {
        Clock(Some(Arc::new(Simulated { now: Mutex::new(now), moved: Notify::new() })))
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => Timestamp::now(),
            Some(simulated) => *simulated.now.lock().expect("no code panics while holding the clock"),
        }
    }

    /// Moves a simulated clock forward and wakes who sleeps; does nothing to the machine's clock.
    pub fn advance(&self, by: Duration) {
        if let Some(simulated) = &self.0 {
            let mut now = simulated.now.lock().expect("no code panics while holding the clock");
            *now = later(*now, by);
            simulated.moved.notify_waiters();
        }
    }

    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            None => tokio::time::sleep(duration).await,
            Some(simulated) => simulated.sleep_until(later(self.now(), duration)).await,
        }
    }

    /// Sleeps until `instant`; returns at once if it has passed.
    pub async fn sleep_until(&self, instant: Timestamp) {
        match &self.0 {
            None => {
                let wait = Duration::try_from(instant.duration_since(self.now())).unwrap_or(Duration::ZERO);
                tokio::time::sleep(wait).await;
            }
            // Not a wait from now: the clock may be moved by another thread in between.
            Some(simulated) => simulated.sleep_until(instant).await,
        }
    }
}

impl Simulated {
    async fn sleep_until(&self, instant: Timestamp) {
        loop {
            let moved = self.moved.notified();
            if *self.now.lock().expect("no code panics while holding the clock") >= instant {
                return;
            }
            moved.await;
        }
    }
}

/// `instant + by`, or the end of time where that overflows.
pub fn later(instant: Timestamp, by: Duration) -> Timestamp {
    instant.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_simulated_clock_wakes_its_sleepers() {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(60)).await;
                clock.now().as_second()
            }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        assert_eq!(sleeper.await.expect("the sleeper ends"), 60);
    }
}
