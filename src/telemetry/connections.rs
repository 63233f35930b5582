//! What is seen of connected systems.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{Counter, CounterVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::metrics::{add, counter, gauge};

/// The metrics of all connections.
#[derive(Clone, Debug)]
pub struct Connecting {
    requests: IntCounterVec,
    waited: CounterVec,
    tokens: IntCounterVec,
    pages: IntCounterVec,
    items: IntCounterVec,
    rounds: IntGaugeVec,
}

/// The counters of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    requests: IntCounterVec,
    connection: String,
    /// Seconds that requests waited for the connection's limits.
    pub waited: Counter,
    /// Tokens and sessions it was given.
    pub tokens: IntCounter,
}

/// The counters of one poll.
#[derive(Clone, Debug)]
pub struct PollMetrics {
    pub pages: IntCounter,
    pub stored: IntCounter,
    pub repeats: IntCounter,
    pub dead: IntCounter,
    /// Unix time of the end of the last round that was well.
    pub last_round: IntGauge,
}

/// What became of the requests of a connection since the hub was started, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    /// Of these, those that were not answered as they should be.
    pub failed: u64,
    /// The end of the last round of a poll that was well.
    pub last_round: Option<Timestamp>,
}

/// Outcomes of a request that are no failure.
const WELL: [&str; 2] = ["ok", "missing"];

impl Connecting {
    pub(super) fn new(registry: &Registry) -> Connecting {
        let operation = ["connection", "operation"];
        let poll = ["pipeline", "connection", "operation"];
        let waited = Opts::new(
            "raccord_connection_limited_seconds_total",
            "Time that requests waited because of the limits of a connection.",
        );
        Connecting {
            requests: add(
                registry,
                counter(
                    "raccord_connection_requests_total",
                    "Requests to a connected system by what came of them.",
                    &["connection", "operation", "outcome"],
                ),
            ),
            waited: add(registry, CounterVec::new(waited, &["connection"]).expect("a constant definition")),
            tokens: add(
                registry,
                counter(
                    "raccord_connection_tokens_total",
                    "Tokens and sessions that a connected system gave.",
                    &["connection"],
                ),
            ),
            pages: add(registry, counter("raccord_poll_pages_total", "Pages that polls asked for.", &poll)),
            items: add(
                registry,
                counter(
                    "raccord_poll_items_total",
                    "Items of polls by what became of them.",
                    &["pipeline", "connection", "operation", "outcome"],
                ),
            ),
            rounds: add(
                registry,
                gauge(
                    "raccord_poll_last_round_timestamp_seconds",
                    "When the last round of a poll ended that was well.",
                    &[&["pipeline"], &operation[..]].concat(),
                ),
            ),
        }
    }

    pub(super) fn of(&self, connection: &str) -> ConnectionMetrics {
        ConnectionMetrics {
            requests: self.requests.clone(),
            connection: connection.to_owned(),
            waited: self.waited.with_label_values(&[connection]),
            tokens: self.tokens.with_label_values(&[connection]),
        }
    }

    pub(super) fn poll(&self, pipeline: &str, connection: &str, operation: &str) -> PollMetrics {
        let items = |outcome| self.items.with_label_values(&[pipeline, connection, operation, outcome]);
        PollMetrics {
            pages: self.pages.with_label_values(&[pipeline, connection, operation]),
            stored: items("stored"),
            repeats: items("repeat"),
            dead: items("dead"),
            last_round: self.rounds.with_label_values(&[pipeline, connection, operation]),
        }
    }

    /// By connection, those that were asked for something.
    pub(super) fn traffic(&self) -> BTreeMap<String, Traffic> {
        let mut traffic: BTreeMap<String, Traffic> = BTreeMap::new();
        let families = self.requests.collect().into_iter().chain(self.rounds.collect());
        for metric in families.flat_map(|mut family| family.take_metric()) {
            let label =
                |name: &str| metric.get_label().iter().find(|label| label.name() == name).map(|label| label.value());
            let Some(connection) = label("connection") else { continue };
            let one = traffic.entry(connection.to_owned()).or_default();
            match label("outcome") {
                Some(outcome) => {
                    let count = metric.get_counter().get_value() as u64;
                    one.requests += count;
                    one.failed += if WELL.contains(&outcome) { 0 } else { count };
                }
                None => {
                    let at = Timestamp::from_second(metric.get_gauge().get_value() as i64).ok();
                    one.last_round = one.last_round.max(at.filter(|at| *at > Timestamp::UNIX_EPOCH));
                }
            }
        }
        traffic
    }
}

impl ConnectionMetrics {
    pub fn request(&self, operation: &str, outcome: &str) {
        self.requests.with_label_values(&[self.connection.as_str(), operation, outcome]).inc();
    }
}
