//! How fast and how many at once: the gate every request of a connection passes.
//!
//! Whoever comes first goes first. A system that says "not now" is left alone by everybody: else each request on its way
//! would be told so again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::manifest::Limits;
use super::scope::View;
use crate::clock::{Clock, later};
use crate::config::Rate;
use crate::message::Value;

/// The longest the line rests, whatever the system asks for.
const LONGEST: Duration = Duration::from_secs(3600);
/// Moments remembered for a rate. A higher rate is kept in shorter times: 60000/min as 1000/s.
const MOST_MOMENTS: u32 = 1000;

/// The gate of one connection.
pub struct Gate {
    clock: Clock,
    rate: Option<Rate>,
    places: Semaphore,
    state: Mutex<State>,
}

struct State {
    /// When the last requests went, as many as the rate allows in its time; the oldest first.
    moments: VecDeque<Timestamp>,
    closed_until: Timestamp,
}

impl Gate {
    pub fn new(limits: &Limits, clock: Clock) -> Gate {
        let rate = limits.rate.map(|rate| {
            let parts = rate.count.div_ceil(MOST_MOMENTS).max(1);
            Rate { count: (rate.count / parts).max(1), per: rate.per / parts }
        });
        let state = State { moments: VecDeque::new(), closed_until: Timestamp::MIN };
        let places = Semaphore::new(limits.concurrency.max(1) as usize);
        Gate { clock, rate, places, state: Mutex::new(state) }
    }

    /// Waits until a request may go. The place is held until it has its answer.
    pub async fn enter(&self) -> SemaphorePermit<'_> {
        let place = self.places.acquire().await.expect("nobody closes the places");
        self.wait_until_open().await;
        let turn = self.turn();
        self.clock.sleep_until(turn).await;
        // It may have been closed meanwhile.
        self.wait_until_open().await;
        place
    }

    /// Nobody goes for so long, an hour at most.
    pub fn close(&self, wait: Duration) {
        let until = later(self.clock.now(), wait.min(LONGEST));
        let mut state = self.state();
        state.closed_until = state.closed_until.max(until);
    }

    async fn wait_until_open(&self) {
        loop {
            let until = self.state().closed_until;
            if until <= self.clock.now() {
                return;
            }
            self.clock.sleep_until(until).await;
        }
    }

    /// The first moment at which one more request is not too many: never more than the rate's count in any such time.
    fn turn(&self) -> Timestamp {
        let now = self.clock.now();
        let Some(rate) = self.rate else { return now };
        let mut state = self.state();
        let oldest = if state.moments.len() < rate.count as usize { None } else { state.moments.pop_front() };
        let turn = oldest.map_or(now, |oldest| later(oldest, rate.per).max(now));
        state.moments.push_back(turn);
        turn
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait where an answer says that nothing remains (`limits.remaining`, `limits.reset`).
pub fn exhausted(limits: &Limits, answer: &View<'_>, now: Timestamp) -> Option<Duration> {
    // What an answer does not say is no reason to refuse it.
    let number = |template, place| {
        let value = answer.render(template, place).ok().flatten()?;
        Value::number(value.plain()?.trim())?.as_decimal()
    };
    let remaining = number(limits.remaining.as_ref()?, "limits.remaining")?;
    if remaining > 0.into() {
        return None;
    }
    let reset = number(limits.reset.as_ref()?, "limits.reset")?;
    let millis = i64::try_from(reset.checked_mul(1000.into())?.round()).ok()?;
    if reset > 1_000_000_000.into() {
        let until = Timestamp::from_millisecond(millis).ok()?;
        return Duration::try_from(until.duration_since(now)).ok();
    }
    u64::try_from(millis).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connectors::testing::{Seen, connection};

    fn gate(limits: Limits) -> (Arc<Gate>, Clock) {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        (Arc::new(Gate::new(&limits, clock.clone())), clock)
    }

    /// The seconds at which `count` requests go, each made as soon as the gate lets it.
    async fn moments(gate: &Arc<Gate>, clock: &Clock, count: usize) -> Vec<i64> {
        let going = tokio::spawn({
            let (gate, clock) = (gate.clone(), clock.clone());
            async move {
                let mut moments = Vec::new();
                for _ in 0..count {
                    let _place = gate.enter().await;
                    moments.push(clock.now().as_second());
                }
                moments
            }
        });
        while !going.is_finished() {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if !going.is_finished() {
                clock.advance(Duration::from_secs(1));
            }
        }
        going.await.expect("it does not panic")
    }

    #[tokio::test]
    async fn a_rate_is_never_passed() {
        let rate = Some(Rate { count: 2, per: Duration::from_secs(10) });
        let (gate, clock) = gate(Limits { rate, ..Limits::default() });
        assert_eq!(moments(&gate, &clock, 5).await, [0, 0, 10, 10, 20]);
        clock.advance(Duration::from_secs(100));
        assert_eq!(moments(&gate, &clock, 3).await, [120, 120, 130]);
    }

    #[test]
    fn a_high_rate_is_kept_in_shorter_times() {
        let rate = Some(Rate { count: 60_000, per: Duration::from_secs(60) });
        let (gate, _) = gate(Limits { rate, ..Limits::default() });
        assert_eq!(gate.rate, Some(Rate { count: 1000, per: Duration::from_secs(1) }));
    }

    #[tokio::test]
    async fn a_closed_line_lets_nobody_pass_and_opens_within_the_hour() {
        let (gate, clock) = gate(Limits::default());
        gate.close(Duration::from_secs(30));
        gate.close(Duration::from_secs(5));
        assert_eq!(moments(&gate, &clock, 2).await, [30, 30]);
        gate.close(Duration::from_secs(1_000_000));
        assert_eq!(moments(&gate, &clock, 1).await, [30 + 3600]);
    }

    #[tokio::test]
    async fn so_many_are_under_way_at_once_and_the_first_goes_first() {
        let (gate, _) = gate(Limits { concurrency: 1, ..Limits::default() });
        let order = Arc::<Mutex<Vec<usize>>>::default();
        let place = gate.enter().await;
        let mut waiting = Vec::new();
        for number in 0..5 {
            let (gate, order) = (gate.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let _place = gate.enter().await;
                order.lock().expect("nobody panics").push(number);
            }));
            tokio::task::yield_now().await;
        }
        assert!(order.lock().expect("nobody panics").is_empty());
        drop(place);
        for task in waiting {
            task.await.expect("it ends");
        }
        assert_eq!(*order.lock().expect("nobody panics"), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_answer_says_when_more_is_allowed() {
        let yaml = "
system: Test
verified: { against: nothing }
base: $connection.url
limits: { remaining: $.left?, reset: $.reset? }
settings: { url: { type: url } }
operations: {}
";
        let connection = connection(yaml, &[("url", "https://erp.example")]);
        let limits = connection.manifest.head.limits.clone().expect("limits");
        let check = |answer: &str, seconds: Option<u64>| {
            let now = Timestamp::from_second(1_700_000_000).expect("a time");
            let wait = exhausted(&limits, &Seen::of(&connection, answer).view(), now);
            assert_eq!(wait, seconds.map(Duration::from_secs), "{answer}");
        };
        check(r#"{"left": 1, "reset": 5}"#, None);
        check(r#"{"left": 0, "reset": 5}"#, Some(5));
        check(r#"{"left": "0", "reset": "5"}"#, Some(5));
        check(r#"{"left": 0, "reset": 1700000060}"#, Some(60));
        check(r#"{"left": 0, "reset": 1600000000}"#, None);
        check(r#"{"left": 0}"#, None);
        check(r#"{"left": 0, "reset": -5}"#, None);
        check(r#"{"left": 0, "reset": 79228162514264337593543950335}"#, None);
        check(r#"{"left": [], "reset": {}}"#, None);
    }
}
