//! Something that is away: told when it begins, again at growing intervals, and when it is over.

use std::time::Duration;

use tokio::time::Instant;

/// The same outage is told again after so long, then after twice as long ...
const AGAIN: Duration = Duration::from_secs(10);
/// ... and at last so often.
const SELDOM: Duration = Duration::from_secs(600);

/// Says when an outage is to be told.
#[derive(Debug, Default)]
pub struct Outage(Option<Begun>);

#[derive(Debug)]
struct Begun {
    since: Instant,
    told: Instant,
    times: u32,
}

impl Outage {
    /// It is away, still or from now on: how long, where it is to be told now.
    pub fn lasts(&mut self) -> Option<Duration> {
        self.lasts_at(Instant::now())
    }

    /// It is there: how long it was away, where it was.
    pub fn ends(&mut self) -> Option<Duration> {
        self.0.take().map(|begun| begun.since.elapsed())
    }

    /// How long it has been away; `None` while it is there.
    pub fn length(&self) -> Option<Duration> {
        self.0.as_ref().map(|begun| begun.since.elapsed())
    }

    fn lasts_at(&mut self, now: Instant) -> Option<Duration> {
        let Some(begun) = &mut self.0 else {
            self.0 = Some(Begun { since: now, told: now, times: 1 });
            return Some(Duration::ZERO);
        };
        let pause = AGAIN.saturating_mul(1 << (begun.times - 1).min(10)).min(SELDOM);
        if now.duration_since(begun.told) < pause {
            return None;
        }
        (begun.told, begun.times) = (now, begun.times.saturating_add(1));
        Some(now.duration_since(begun.since))
    }
}

/// `40 s`, `12 min`, `3 h`, `2 d`.
pub fn in_words(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_less_and_less_often() {
        let (mut outage, begun) = (Outage::default(), Instant::now());
        let told: Vec<u64> = (0..3_600)
            .filter_map(|second| outage.lasts_at(begun + Duration::from_secs(second)))
            .map(|length| length.as_secs())
            .collect();
        assert_eq!(told, [0, 10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430, 3_030]);
        assert!(outage.length().is_some() && outage.ends().is_some());
        assert_eq!((outage.length(), outage.ends()), (None, None));
        assert_eq!(outage.lasts(), Some(Duration::ZERO), "another one is told at once");
    }

    #[test]
    fn spans_are_words() {
        let words = [0, 119, 120, 7_199, 7_200, 172_800].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(words, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
