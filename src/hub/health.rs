//! The listener: the protocols' paths, `/health/live`, `/health/ready`, `/metrics`.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::message::{Map, Text, Value, json};
use crate::pipelines::{Pipeline, Works};

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
    hub.measure().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], hub.works.metrics.render()).into_response()
}

impl Hub {
    /// Why messages cannot be taken now; empty where they can.
    pub async fn reasons_not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Err(fault) = self.works.engine.store.well().await {
            reasons.push(fault.to_string());
        }
        reasons.extend(self.registry.ill().into_iter().map(|(pipeline, why)| format!("source of {pipeline}: {why}")));
        reasons
    }

    /// Queues with messages that no pipeline takes any more: it, or one of its destinations, was renamed or removed.
    pub async fn left_over(&self) -> Vec<(Text, u64)> {
        left_over(&self.works, &self.registry.pipelines()).await
    }

    /// Sets the gauges that are read from the queue and the store.
    async fn measure(&self) {
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
    }
}

pub(super) async fn left_over(works: &Works, pipelines: &[Arc<Pipeline>]) -> Vec<(Text, u64)> {
    let taken: HashSet<&Text> = pipelines
        .iter()
        .flat_map(|pipeline| pipeline.destinations.iter().map(|to| &to.queue).chain([&pipeline.name]))
        .collect();
    let queues = works.engine.queue.queues().await.unwrap_or_default().into_iter();
    queues.filter(|(name, entries)| *entries > 0 && !taken.contains(name)).collect()
}
