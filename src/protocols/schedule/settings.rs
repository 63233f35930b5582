//! What may be written under `protocol: schedule`, and when a schedule falls due.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Node, Reader, Setting, Shape, choice, settings};

settings! {
    /// Starts the pipeline at the times of a schedule, each with one message: `{ scheduled_at, date }`.
    ///
    /// `scheduled_at` is the planned time with its offset (`2026-11-02T06:00:00+01:00`), `date` its day in `zone`. A time is
    /// one message, however often it is repeated after a kill.
    pub struct ScheduleSettings {
        /// Minute, hour, day of month, month, day of week, as cron writes them: `0 6 * * MON-FRI` is at six from Monday to
        /// Friday, `*/15 * * * *` each quarter of an hour. When the clocks are put forward, a fixed time in the missing hour
        /// is due at its end; when they are put back, a fixed time runs once and an interval goes on.
        cron: Times,
        /// The time zone of `cron`.
        zone: Zone,
        /// What to do about times that passed while raccord did not run.
        missed: Missed = "run_once",
    }
}

choice! {
    /// What to do about times that passed while raccord did not run.
    pub enum Missed {
        /// Runs once, for the last of them.
        RunOnce = "run_once",
        /// Waits for the next one. A time that passed less than a minute ago still runs.
        Skip = "skip",
    }
}

/// A cron line of five fields that falls due at some time.
#[derive(Clone, Debug)]
pub struct Times(Cron);

/// A time zone by its name.
#[derive(Clone, Debug)]
pub struct Zone(pub TimeZone);

impl Times {
    pub fn new(line: &str) -> Result<Times, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(line).map_err(|error| error.to_string())?;
        let times = Times(cron);
        match times.after(Timestamp::UNIX_EPOCH, &Zone(TimeZone::UTC)) {
            Some(_) => Ok(times),
            None => Err("it never falls due".to_owned()),
        }
    }

    /// The first time after `instant`.
    pub fn after(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let from = instant.to_zoned(zone.0.clone());
        self.0.find_next_occurrence(&from, false).ok().map(|next| next.timestamp())
    }

    /// The last time after `after` and not after `now`.
    pub fn last(&self, after: Timestamp, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let next = self.after(after, zone).filter(|next| *next <= now)?;
        let from = now.to_zoned(zone.0.clone());
        let before = self.0.find_previous_occurrence(&from, true).ok().map(|last| last.timestamp());
        Some(before.filter(|before| *before <= now).map_or(next, |before| before.max(next)))
    }
}

impl Setting for Times {
    fn shape() -> Shape {
        Shape::Text { what: "cron line of five fields", pattern: None, example: "0 6 * * MON-FRI" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Times> {
        let text = reader.text(node)?;
        Times::new(&text)
            .map_err(|said| {
                reader
                    .error(node.span, format!("`{text}` is not a cron line: {said}"))
                    .label("expected minute, hour, day of month, month, day of week")
                    .help("for instance \"0 6 * * MON-FRI\": at 06:00 from Monday to Friday");
            })
            .ok()
    }
}

impl Setting for Zone {
    fn shape() -> Shape {
        Shape::Text { what: "time zone", pattern: None, example: "Europe/Paris" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Zone> {
        reader.parsed(node, "a time zone such as `Europe/Paris` or `UTC`", |name| TimeZone::get(name).ok().map(Zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paris() -> Zone {
        Zone(TimeZone::get("Europe/Paris").expect("the zone exists"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// The times of `line` after `from` and not after `until`, in Paris.
    fn check(line: &str, from: &str, until: &str, expect: &[&str]) {
        let times = Times::new(line).expect(line);
        let mut found = Vec::new();
        let mut instant = at(from);
        while let Some(next) = times.after(instant, &paris()).filter(|next| *next <= at(until)) {
            found.push(next.to_string());
            instant = next;
        }
        assert_eq!(found, expect, "{line}");
    }

    #[test]
    fn a_fixed_time_runs_once_a_day_whatever_the_clocks_do() {
        // In 2027 Paris puts its clocks forward on 28 March, 02:00 to 03:00, and back on 31 October, 03:00 to 02:00.
        let spring = ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"];
        check("30 2 * * *", "2027-03-26T12:00:00Z", "2027-03-29T12:00:00Z", &spring);
        let autumn = ["2027-10-30T00:30:00Z", "2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"];
        check("30 2 * * *", "2027-10-29T12:00:00Z", "2027-11-01T12:00:00Z", &autumn);
        check("0 6 * * MON-FRI", "2027-10-29T12:00:00Z", "2027-11-01T12:00:00Z", &["2027-11-01T05:00:00Z"]);
    }

    #[test]
    fn an_interval_goes_on_through_both_changes() {
        let spring = ["2027-03-28T00:00:00Z", "2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z"];
        check("*/30 * * * *", "2027-03-27T23:30:00Z", "2027-03-28T01:30:00Z", &spring);
        let autumn = ["2027-10-31T00:00:00Z", "2027-10-31T00:30:00Z", "2027-10-31T01:00:00Z", "2027-10-31T01:30:00Z"];
        check("*/30 * * * *", "2027-10-30T23:30:00Z", "2027-10-31T01:30:00Z", &autumn);
    }

    #[test]
    fn the_last_missed_time_is_the_last_of_all_that_were_due() {
        for line in ["30 2 * * *", "*/30 * * * *", "0 6 * * MON-FRI", "15 1-3 * * SUN"] {
            let times = Times::new(line).expect(line);
            for (from, days) in [("2027-03-20T00:00:00Z", 12), ("2027-10-25T00:00:00Z", 12)] {
                let (mut due, mut instant) = (None, at(from));
                for minute in 0..days * 24 * 12 {
                    let now = at(from) + jiff::SignedDuration::from_secs(minute * 300);
                    while let Some(next) = times.after(instant, &paris()).filter(|next| *next <= now) {
                        (due, instant) = (Some(next), next);
                    }
                    assert_eq!(times.last(at(from), now, &paris()), due, "{line} at {now}");
                }
            }
        }
    }

    #[test]
    fn a_line_that_never_falls_due_is_no_schedule() {
        for wrong in ["", "* * *", "0 0 6 * * *", "61 * * * *", "0 0 30 2 *", "0 6 * * FUNDAY"] {
            assert!(Times::new(wrong).is_err(), "{wrong}");
        }
    }
}
