//! The listener: the protocols' paths, `/health/live`, `/health/ready`, `/metrics`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Hub;
use super::supervise::SOURCES;
use crate::message::{Fault, Map, Text, Value, json};
use crate::pipelines::{Pipeline, Works};
use crate::store::{Away, Instance, Server};
use crate::telemetry::Metrics;

/// Whoever asks about health or metrics has an answer by then, whatever broker and database do.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// How often an engine just opened is asked for its instances, 100 ms apart.
const FIRST_LOOKS: u32 = 30;

/// Serves until `stop`.
pub(super) async fn serve(hub: Arc<Hub>, listener: TcpListener, stop: CancellationToken) {
    let own = Router::new()
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(hub.clone());
    hub.surroundings.routes.clone().serve(listener, own, stop).await;
}

/// 200 where messages can be taken and stored; 503 with the reasons otherwise.
async fn ready(State(hub): State<Arc<Hub>>) -> Response {
    let reasons = hub.reasons_not_ready().await;
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut out = Map::new();
    out.insert("ready", reasons.is_empty());
    out.insert("reasons", Value::List(reasons.into_iter().map(Value::from).collect()));
    (status, [(header::CONTENT_TYPE, "application/json")], json::to_text(&out.into())).into_response()
}

async fn metrics(State(hub): State<Arc<Hub>>) -> Response {
    // What cannot be read in time keeps its last value: the other metrics tell that something is wrong.
    if tokio::time::timeout(ANSWER_WITHIN, hub.measure()).await.is_err() {
        debug!("queue and store did not answer in time for the metrics");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], hub.works.metrics.render()).into_response()
}

impl Hub {
    /// Why messages cannot be taken now; empty where they can.
    pub async fn reasons_not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(self.engine_ill().await.map(|fault| fault.to_string()));
        if self.works.metrics.broker().blocked.get() == 1 {
            let sentence = "the broker takes no messages now: it is short of memory or disk";
            reasons.push(Fault::retry("AMQP-BLOCKED", sentence).to_string());
        }
        reasons.extend(self.registry.ill().into_iter().map(|(pipeline, why)| format!("source of {pipeline}: {why}")));
        reasons
    }

    /// Why queue and store take nothing now.
    pub(super) async fn engine_ill(&self) -> Option<Fault> {
        let away = self.away();
        // The connection was made when the queues were declared, and is kept ever since.
        let needed = self.settings.is_distributed() && !self.registry.is_empty();
        if needed && self.works.metrics.broker().consuming.get() == 0 {
            let gone = || Fault::reconnect("AMQP-GONE", "there is no connection to the broker");
            let broker = away.iter().find(|away| away.server == Server::Broker);
            return Some(broker.map_or_else(gone, |Away { since, why, .. }| {
                let fault = gone().detail(format!("{} (since {since})", why.sentence()));
                why.position().map_or_else(|| fault.clone(), |place| fault.clone().at(place))
            }));
        }
        match tokio::time::timeout(ANSWER_WITHIN, self.works.engine.store.well()).await {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => match away.iter().find(|away| away.server == Server::Database) {
                Some(Away { since, .. }) => {
                    let sentence = format!("{} (since {since})", fault.sentence());
                    Some(fault.in_other_words(sentence))
                }
                None => Some(fault),
            },
            Err(_) => Some(Fault::retry("HUB-WAITING", "queue and store do not answer")),
        }
    }

    /// The servers of the engine that do not answer, of those that are needed.
    pub(super) fn away(&self) -> Vec<Away> {
        let mut away = self.works.engine.store.away();
        away.retain(|away| away.server != Server::Broker || !self.registry.is_empty());
        away
    }

    /// Queues with messages that no pipeline takes any more: it, or one of its destinations, was renamed or removed.
    pub async fn left_over(&self) -> Vec<(Text, u64)> {
        left_over(&self.works, &self.registry.pipelines()).await
    }

    /// Sets the gauges that are read from the queue and the store.
    async fn measure(&self) {
        if self.engine_ill().await.is_some() {
            return;
        }
        let now = self.works.clock.now();
        for pipeline in self.registry.pipelines() {
            let queues = pipeline.destinations.iter().map(|to| &to.queue).chain([&pipeline.name]);
            for queue in queues {
                if let Ok(depth) = self.works.engine.queue.depth(queue).await {
                    let age = depth.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0));
                    self.works.metrics.queue(queue, depth.entries, depth.waiting, age);
                }
            }
        }
        if let Ok(counts) = self.works.engine.store.dead_count().await {
            self.works.metrics.dead_letters(&counts);
        }
        // While they cannot be told, what was last known stands.
        if let Ok(instances) = running_instances(&self.works).await {
            measure_instances(&self.works.metrics, &instances);
        }
    }
}

/// The instances that run a configuration: not those that still start, and no command that looks at the store.
pub(super) async fn running_instances(works: &Works) -> Result<Vec<Instance>, Fault> {
    let mut instances = works.engine.instances.living().await?;
    instances.retain(|instance| !instance.revision.is_empty());
    Ok(instances)
}

/// As [`running_instances`], for who has just opened the engine and knows nobody yet.
pub(super) async fn first_instances(works: &Works) -> Result<Vec<Instance>, Fault> {
    for _ in 0..FIRST_LOOKS {
        // This one is among them once the store has answered.
        if !works.engine.instances.living().await?.is_empty() {
            break;
        }
        works.clock.sleep(Duration::from_millis(100)).await;
    }
    running_instances(works).await
}

/// An embedded engine tells of no instance: there is this one.
fn measure_instances(metrics: &Metrics, instances: &[Instance]) {
    metrics.instances.set(count(instances.len().max(1)));
    let this = instances.iter().find(|instance| instance.this);
    let differing = instances.iter().filter(|instance| this.is_some_and(|this| instance.revision != this.revision));
    metrics.instances_differing.set(count(differing.count()));
    let holds = this.map_or(&[] as &[Text], |this| &this.holds);
    let (sources, partitions): (Vec<_>, Vec<_>) = holds.iter().partition(|name| name.starts_with(SOURCES));
    metrics.sources_held.set(count(sources.len()));
    let mut queues = BTreeMap::<&str, i64>::new();
    for partition in partitions {
        *queues.entry(partition.split_once('#').map_or(partition.as_str(), |(queue, _)| queue)).or_default() += 1;
    }
    metrics.partitions_held(&queues.into_iter().collect::<Vec<_>>());
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

pub(super) async fn left_over(works: &Works, pipelines: &[Arc<Pipeline>]) -> Vec<(Text, u64)> {
    let taken: HashSet<&Text> = pipelines
        .iter()
        .flat_map(|pipeline| pipeline.destinations.iter().map(|to| &to.queue).chain([&pipeline.name]))
        .collect();
    let queues = works.engine.queue.queues().await.unwrap_or_default().into_iter();
    queues.filter(|(name, entries)| *entries > 0 && !taken.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_instances_hold_is_counted_by_queue() {
        let instance = |this: bool, revision: &str, holds: &[&str]| Instance {
            name: "shop".into(),
            revision: revision.into(),
            seen: jiff::Timestamp::UNIX_EPOCH,
            holds: holds.iter().map(|name| Text::from(*name)).collect(),
            this,
        };
        let metrics = Metrics::default();
        let ours = instance(true, "a1", &["orders#0", "orders#7", "orders.to.erp#1", "source:prices"]);
        measure_instances(&metrics, &[ours, instance(false, "b2", &["orders#1"])]);
        let text = String::from_utf8(metrics.render()).expect("metrics are text");
        for line in [
            "raccord_instances 2",
            "raccord_instances_differing 1",
            "raccord_sources_held 1",
            r#"raccord_partitions_held{queue="orders"} 2"#,
            r#"raccord_partitions_held{queue="orders.to.erp"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        measure_instances(&metrics, &[]);
        let text = String::from_utf8(metrics.render()).expect("metrics are text");
        assert!(text.contains("raccord_instances 1") && !text.contains("raccord_partitions_held{"), "{text}");
    }
}
