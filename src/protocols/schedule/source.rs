//! Sleeps until the next time, hands over one message, remembers the time.
//!
//! The cursor (`schedule:<pipeline>`) is the last time handed over and commits with its message, whose position is that time
//! too: whatever is repeated is the same message. It is also kept at the very first start, so that a time missed right after
//! is noticed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::settings::{Missed, ScheduleSettings};
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::message::{Fault, Map, Next, Text, Value};
use crate::protocols::{Arrival, Receiver, Source, SourceSettings, Surroundings};

/// Sleeps are cut into pieces, since the machine's clock may be set and its sleep does not follow.
const PIECE: Duration = Duration::from_secs(30);
/// A time that passed so long ago was missed.
const LATE: Duration = Duration::from_secs(60);
/// Waits after a refused message grow from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl SourceSettings for ScheduleSettings {
    fn open(&self, pipeline: &str, codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        let cursor = Text::from(format!("schedule:{pipeline}"));
        Ok(Box::new(Schedule { settings: self.clone(), cursor, codec, clock: around.clock.clone() }))
    }

    fn alone(&self) -> bool {
        true
    }
}

struct Schedule {
    settings: ScheduleSettings,
    cursor: Text,
    codec: Arc<dyn Codec>,
    clock: Clock,
}

#[async_trait]
impl Source for Schedule {
    async fn run(&mut self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = self.run_on(&*receiver) => ended,
        }
    }
}

impl Schedule {
    async fn run_on(&self, receiver: &dyn Receiver) -> Result<(), Fault> {
        let ScheduleSettings { cron, zone, missed } = &self.settings;
        let mut last = self.start(receiver).await?;
        loop {
            let Some(next) = cron.after(last, zone) else {
                return Err(Fault::misconfigured("SCHEDULE-END", "`cron` never falls due again: correct it"));
            };
            self.sleep_until(next).await;
            let now = self.clock.now();
            let due = cron.last(last, now, zone).unwrap_or(next);
            let late = Duration::try_from(now.duration_since(due)).unwrap_or_default();
            if *missed == Missed::RunOnce || late < LATE {
                self.hand_over(due, receiver).await?;
            } else {
                tracing::info!(schedule = %self.cursor, "missed times left out, the last of them {due}");
            }
            last = due;
        }
    }

    /// The time after which to go on. A cursor ahead of the clock is of a clock that was set back.
    async fn start(&self, receiver: &dyn Receiver) -> Result<Timestamp, Fault> {
        let now = self.clock.now();
        let stored = receiver.cursor(&self.cursor).await?;
        if let Some(last) = stored.as_ref().and_then(Value::as_text).and_then(|text| text.parse::<Timestamp>().ok()) {
            return Ok(last.min(now));
        }
        self.store(receiver, Vec::new(), now).await?;
        Ok(now)
    }

    async fn sleep_until(&self, instant: Timestamp) {
        while self.clock.now() < instant {
            let left = Duration::try_from(instant.duration_since(self.clock.now())).unwrap_or_default();
            self.clock.sleep(left.min(PIECE)).await;
        }
    }

    async fn hand_over(&self, due: Timestamp, receiver: &dyn Receiver) -> Result<(), Fault> {
        self.store(receiver, vec![self.arrival(due)?], due).await
    }

    /// Tries until the receiver has room.
    async fn store(&self, receiver: &dyn Receiver, arrivals: Vec<Arrival>, last: Timestamp) -> Result<(), Fault> {
        let mut wait = FIRST_WAIT;
        loop {
            let cursor = (self.cursor.clone(), Value::from(last.to_string()));
            let fault = match receiver.receive(arrivals.clone(), Some(cursor)).await {
                Ok(_) => return Ok(()),
                Err(fault) => fault,
            };
            let after = match fault.next() {
                Next::Retry { after } => after,
                Next::Reconnect => None,
                Next::Refuse | Next::Misconfigured => return Err(fault),
            };
            self.clock.sleep(after.unwrap_or(wait)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Nothing in it but the planned time: a repeat has the same content.
    fn arrival(&self, due: Timestamp) -> Result<Arrival, Fault> {
        let local = due.to_zoned(self.settings.zone.0.clone());
        let text = |format: &str| Value::from(local.strftime(format).to_string());
        let document = Map::from_iter([("scheduled_at", text("%Y-%m-%dT%H:%M:%S%:z")), ("date", text("%Y-%m-%d"))]);
        let document = Value::Map(document);
        let body = self.codec.encode(&document)?;
        let position = Some(due.to_string());
        Ok(Arrival { body, document: Some(document), headers: Map::new(), position, fault: None })
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::protocols::conformance::{
        self, Recorder, Running, SourcePeer, Told, codec, read_source_yaml, surroundings,
    };

    const QUARTERS: &str = "protocol: schedule\ncron: '*/15 * * * *'\nzone: Europe/Paris\n";

    struct Peer {
        clock: Clock,
        yaml: String,
    }

    impl Peer {
        fn new(now: &str, yaml: &str) -> Peer {
            Peer { clock: Clock::simulated(now.parse().expect("a time")), yaml: yaml.to_owned() }
        }

        /// Moves the clock, and lets the source do what follows from it.
        async fn pass(&self, minutes: u64) {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.clock.advance(Duration::from_secs(minutes * 60));
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[async_trait]
    impl SourcePeer for Peer {
        fn open(&self) -> Result<Box<dyn Source>, Fault> {
            let mut around = surroundings(std::path::Path::new("."));
            around.clock = self.clock.clone();
            read_source_yaml(&self.yaml).open("nightly", codec(), &around)
        }

        async fn send(&self, _message: &str, recorder: &Recorder) -> Told {
            let (stored, refused) = (recorder.stored().len(), recorder.refused());
            // The source keeps its place at the first start, which the receiver may refuse or hold too.
            loop {
                self.pass(1).await;
                if recorder.stored().len() > stored {
                    return Told::Accepted;
                }
                if recorder.refused() > refused {
                    return Told::ComeBack;
                }
            }
        }

        fn carries_text(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_schedule_passes_the_suite_of_all_sources() {
        conformance::source(async || {
            Peer::new("2027-01-04T09:00:00Z", "protocol: schedule\ncron: '* * * * *'\nzone: UTC\n")
        })
        .await;
    }

    fn times(recorder: &Recorder) -> Vec<String> {
        let text = |arrival: &Arrival| arrival.document.as_ref()?.get("scheduled_at")?.as_text().map(str::to_owned);
        recorder.stored().iter().filter_map(text).collect()
    }

    /// Runs from nine o'clock, is off from 09:20 to 11:05, runs again: which times come in.
    async fn check_missed(yaml: &str, expect: &[&str]) {
        let peer = Arc::new(Peer::new("2027-01-04T08:00:00Z", yaml));
        let dynamic: Arc<dyn SourcePeer> = peer.clone();
        let running = Running::start(&dynamic);
        peer.pass(15).await;
        peer.pass(5).await;
        let recorder = running.recorder.clone();
        running.stop().await;
        peer.pass(105).await;
        let running = Running::start_with(&dynamic, recorder.clone());
        peer.pass(10).await;
        running.stop().await;
        assert_eq!(times(&recorder), expect, "{yaml}");
    }

    #[tokio::test]
    async fn missed_times_run_once_or_not_at_all() {
        let run_once = ["2027-01-04T09:15:00+01:00", "2027-01-04T11:00:00+01:00", "2027-01-04T11:15:00+01:00"];
        check_missed(QUARTERS, &run_once).await;
        check_missed(&format!("{QUARTERS}missed: skip\n"), &[run_once[0], run_once[2]]).await;
    }

    #[tokio::test]
    async fn a_time_missed_right_after_the_first_start_is_made_good() {
        let peer = Arc::new(Peer::new("2027-01-04T08:01:00Z", QUARTERS));
        let dynamic: Arc<dyn SourcePeer> = peer.clone();
        let running = Running::start(&dynamic);
        let recorder = running.recorder.clone();
        peer.pass(0).await;
        running.stop().await;
        peer.pass(20).await;
        let running = Running::start_with(&dynamic, recorder.clone());
        peer.pass(0).await;
        running.stop().await;
        assert_eq!(times(&recorder), ["2027-01-04T09:15:00+01:00"]);
    }

    #[tokio::test]
    async fn a_repeat_of_a_time_is_the_same_message() {
        let peer = Peer::new("2027-01-04T08:01:00Z", QUARTERS);
        let open = || {
            let settings = ScheduleSettings {
                cron: super::super::settings::Times::new("0 6 * * *").expect("a schedule"),
                zone: super::super::settings::Zone(jiff::tz::TimeZone::UTC),
                missed: Missed::RunOnce,
            };
            Schedule { settings, cursor: "c".into(), codec: codec(), clock: peer.clock.clone() }
        };
        let due = "2027-01-04T06:00:00Z".parse().expect("a time");
        let first = open().arrival(due).expect("encodes");
        peer.clock.advance(Duration::from_secs(3_600));
        let second = open().arrival(due).expect("encodes");
        assert_eq!((first.position, first.body), (second.position, second.body));
    }

    #[test]
    fn wrong_settings_are_explained() {
        let read = |yaml: &str| {
            conformance::read_yaml(yaml, crate::protocols::read_source).map(drop).expect_err("it is wrong")
        };
        let said = read("protocol: schedule\ncron: every day\nzone: Europe/Pariss\n");
        assert!(
            said.contains("`every day` is not a cron line") && said.contains("`Europe/Pariss` is not a time zone"),
            "{said}"
        );
    }
}
