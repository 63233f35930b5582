//! Prometheus metrics. Labels are names from the configuration and fault codes: bounded by what people wrote, never by data.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::connections::{Connecting, ConnectionMetrics, PollMetrics, Traffic};

/// All metrics of a hub.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    messages: IntCounterVec,
    queue_entries: IntGaugeVec,
    queue_waiting: IntGaugeVec,
    queue_oldest: IntGaugeVec,
    deliveries: IntCounterVec,
    delivery_seconds: HistogramVec,
    retries: IntCounterVec,
    dead_letters: IntGaugeVec,
    dead_letters_total: IntCounterVec,
    exchanged: IntCounterVec,
    up: IntGaugeVec,
    reloads: IntCounterVec,
    partitions_held: IntGaugeVec,
    /// Sources that run on one instance at a time, and run on this one.
    pub sources_held: IntGauge,
    /// Instances that share the engine and live, this one among them.
    pub instances: IntGauge,
    /// Of these, those that run another configuration than this one.
    pub instances_differing: IntGauge,
    broker_up: IntGaugeVec,
    broker_blocked: IntGauge,
    broker_unconfirmed: IntGauge,
    broker_events: IntCounterVec,
    /// Unix time of the configuration in use.
    pub config_loaded: IntGauge,
    connecting: Connecting,
}

/// The counters of one pipeline.
#[derive(Clone, Debug)]
pub struct PipelineMetrics {
    pub accepted: IntCounter,
    pub repeats: IntCounter,
    pub conflicts: IntCounter,
    pub undecodable: IntCounter,
    pub refused: IntCounter,
    pub filtered: IntCounter,
    pub processed: IntCounter,
    /// 1 while the source runs.
    pub source_up: IntGauge,
    dead: IntCounterVec,
    pipeline: String,
}

/// The counters of one destination.
#[derive(Clone, Debug)]
pub struct DestinationMetrics {
    pub delivered: IntCounter,
    pub refused: IntCounter,
    pub retries: IntCounter,
    pub seconds: Histogram,
    /// 1 while deliveries go through; 0 while the lane is paused for its peer.
    pub up: IntGauge,
}

/// What is seen of the broker of a distributed queue.
#[derive(Clone, Debug)]
pub struct BrokerMetrics {
    /// 1 while there is a connection to publish over.
    pub publishing: IntGauge,
    /// 1 while there is a connection to consume over.
    pub consuming: IntGauge,
    /// 1 while the broker takes nothing: it is short of memory or disk.
    pub blocked: IntGauge,
    pub unconfirmed: IntGauge,
    pub returned: IntCounter,
    pub redelivered: IntCounter,
    pub reconnects: IntCounter,
}

/// Counts that nobody scrapes.
impl Default for BrokerMetrics {
    fn default() -> BrokerMetrics {
        Metrics::default().broker()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let registry = Registry::new();
        let seconds = HistogramOpts::new("raccord_delivery_seconds", "Time of one delivery attempt.")
            .buckets(vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
        let labels = ["pipeline", "destination"];
        Metrics {
            messages: add(
                &registry,
                counter(
                    "raccord_messages_total",
                    "Messages by what became of them at intake or in the steps.",
                    &["pipeline", "outcome"],
                ),
            ),
            queue_entries: add(&registry, gauge("raccord_queue_entries", "Entries stored and not done.", &["queue"])),
            queue_waiting: add(
                &registry,
                gauge("raccord_queue_waiting", "Entries waiting for a retry or behind one.", &["queue"]),
            ),
            queue_oldest: add(&registry, gauge("raccord_queue_oldest_seconds", "Age of the oldest entry.", &["queue"])),
            deliveries: add(
                &registry,
                counter("raccord_deliveries_total", "Deliveries by outcome.", &["pipeline", "destination", "outcome"]),
            ),
            delivery_seconds: add(&registry, HistogramVec::new(seconds, &labels).expect("a constant definition")),
            retries: add(
                &registry,
                counter("raccord_retries_total", "Deliveries put off for another attempt.", &labels),
            ),
            dead_letters: add(
                &registry,
                gauge("raccord_dead_letters", "Dead letters that wait for a person.", &["pipeline"]),
            ),
            exchanged: add(
                &registry,
                counter(
                    "raccord_partner_documents_total",
                    "Documents exchanged with partners by what became of them.",
                    &["partner", "document", "state"],
                ),
            ),
            dead_letters_total: add(
                &registry,
                counter("raccord_dead_letters_total", "Messages that became dead letters.", &["pipeline", "code"]),
            ),
            up: add(
                &registry,
                gauge(
                    "raccord_connection_up",
                    "1 while the source runs or the destination takes messages.",
                    &["pipeline", "end"],
                ),
            ),
            reloads: add(
                &registry,
                counter("raccord_config_reloads_total", "Reloads of the configuration by outcome.", &["outcome"]),
            ),
            partitions_held: add(
                &registry,
                gauge("raccord_partitions_held", "Partitions of a queue that this instance takes from.", &["queue"]),
            ),
            sources_held: add(
                &registry,
                single("raccord_sources_held", "Sources that only one instance runs, and this one does."),
            ),
            instances: add(&registry, single("raccord_instances", "Instances that live and share the queues.")),
            instances_differing: add(
                &registry,
                single("raccord_instances_differing", "Instances that run another configuration than this one."),
            ),
            broker_up: add(
                &registry,
                gauge("raccord_broker_up", "1 while there is a connection to the broker, by what it is for.", &["for"]),
            ),
            broker_blocked: add(
                &registry,
                IntGauge::new(
                    "raccord_broker_blocked",
                    "1 while the broker takes no messages, short of memory or disk.",
                )
                .expect("a constant definition"),
            ),
            broker_unconfirmed: add(
                &registry,
                IntGauge::new("raccord_broker_unconfirmed", "Messages published and not confirmed yet.")
                    .expect("a constant definition"),
            ),
            broker_events: add(
                &registry,
                counter(
                    "raccord_broker_events_total",
                    "Messages the broker returned or delivered again, and connections made anew.",
                    &["event"],
                ),
            ),
            config_loaded: add(
                &registry,
                single("raccord_config_loaded_timestamp_seconds", "When the configuration in use was loaded."),
            ),
            connecting: Connecting::new(&registry),
            registry,
        }
    }
}

impl Metrics {
    pub fn connection(&self, connection: &str) -> ConnectionMetrics {
        self.connecting.of(connection)
    }

    pub fn poll(&self, pipeline: &str, connection: &str, operation: &str) -> PollMetrics {
        self.connecting.poll(pipeline, connection, operation)
    }

    /// What went to each connected system since the hub was started.
    pub fn traffic(&self) -> BTreeMap<String, Traffic> {
        self.connecting.traffic()
    }

    pub fn pipeline(&self, pipeline: &str) -> PipelineMetrics {
        let outcome = |word| self.messages.with_label_values(&[pipeline, word]);
        PipelineMetrics {
            accepted: outcome("accepted"),
            repeats: outcome("repeat"),
            conflicts: outcome("conflict"),
            undecodable: outcome("undecodable"),
            refused: outcome("refused"),
            filtered: outcome("filtered"),
            processed: outcome("processed"),
            source_up: self.up.with_label_values(&[pipeline, "from"]),
            dead: self.dead_letters_total.clone(),
            pipeline: pipeline.to_owned(),
        }
    }

    pub fn destination(&self, pipeline: &str, destination: &str) -> DestinationMetrics {
        let outcome = |word| self.deliveries.with_label_values(&[pipeline, destination, word]);
        DestinationMetrics {
            delivered: outcome("delivered"),
            refused: outcome("refused"),
            retries: self.retries.with_label_values(&[pipeline, destination]),
            seconds: self.delivery_seconds.with_label_values(&[pipeline, destination]),
            up: self.up.with_label_values(&[pipeline, destination]),
        }
    }

    /// One more document exchanged with a partner.
    pub fn exchanged(&self, partner: &str, document: &str, state: &str) {
        self.exchanged.with_label_values(&[partner, document, state]).inc();
    }

    pub fn broker(&self) -> BrokerMetrics {
        let event = |word| self.broker_events.with_label_values(&[word]);
        BrokerMetrics {
            publishing: self.broker_up.with_label_values(&["publish"]),
            consuming: self.broker_up.with_label_values(&["consume"]),
            blocked: self.broker_blocked.clone(),
            unconfirmed: self.broker_unconfirmed.clone(),
            returned: event("returned"),
            redelivered: event("redelivered"),
            reconnects: event("reconnect"),
        }
    }

    pub fn queue(&self, queue: &str, entries: u64, waiting: u64, oldest_seconds: i64) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.queue_entries.with_label_values(&[queue]).set(gauge(entries));
        self.queue_waiting.with_label_values(&[queue]).set(gauge(waiting));
        self.queue_oldest.with_label_values(&[queue]).set(oldest_seconds);
    }

    /// Sets the number of waiting dead letters of each pipeline named; the others have none.
    pub fn dead_letters(&self, counts: &[(impl AsRef<str>, u64)]) {
        self.dead_letters.reset();
        for (pipeline, count) in counts {
            self.dead_letters.with_label_values(&[pipeline.as_ref()]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// Sets how many partitions of each queue named are held here; of the others none.
    pub fn partitions_held(&self, counts: &[(impl AsRef<str>, i64)]) {
        self.partitions_held.reset();
        for (queue, count) in counts {
            self.partitions_held.with_label_values(&[queue.as_ref()]).set(*count);
        }
    }

    pub fn reloaded(&self, outcome: &str) {
        self.reloads.with_label_values(&[outcome]).inc();
    }

    /// The text format Prometheus scrapes.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out).expect("writing to memory does not fail");
        out
    }
}

impl PipelineMetrics {
    pub fn dead(&self, code: &str) {
        self.dead.with_label_values(&[self.pipeline.as_str(), code]).inc();
    }
}

pub(super) fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("a constant definition")
}

pub(super) fn gauge(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("a constant definition")
}

fn single(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("a constant definition")
}

pub(super) fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each name stands once");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_out_as_text() {
        let metrics = Metrics::default();
        metrics.pipeline("web-order").accepted.inc_by(3);
        metrics.destination("web-order", "erp").retries.inc();
        metrics.queue("web-order", 5, 1, 12);
        let text = String::from_utf8(metrics.render()).expect("metrics are text");
        assert!(text.contains(r#"raccord_messages_total{outcome="accepted",pipeline="web-order"} 3"#), "{text}");
        assert!(text.contains(r#"raccord_retries_total{destination="erp",pipeline="web-order"} 1"#), "{text}");
        assert!(text.contains(r#"raccord_queue_entries{queue="web-order"} 5"#), "{text}");
    }

    #[test]
    fn what_went_to_a_connection_adds_up() {
        let metrics = Metrics::default();
        let shop = metrics.connection("shop");
        shop.waited.inc_by(1.5);
        ["ok", "missing", "limited"].iter().for_each(|outcome| shop.request("order.changed", outcome));
        metrics.poll("orders", "shop", "order.changed").last_round.set(1_800_000_000);
        metrics.poll("prices", "shop", "price.changed").last_round.set(1_700_000_000);
        let last_round = jiff::Timestamp::from_second(1_800_000_000).ok();
        let shop = Traffic { requests: 3, failed: 1, last_round };
        assert_eq!(metrics.traffic(), [("shop".to_owned(), shop)].into());
        let text = String::from_utf8(metrics.render()).expect("metrics are text");
        let waited = r#"raccord_connection_limited_seconds_total{connection="shop"} 1.5"#;
        assert!(text.contains(waited), "{text}");
    }
}
