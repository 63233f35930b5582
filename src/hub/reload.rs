//! Changing to what the folder says now: checked, opened beside the old, swapped, drained. All or nothing.

use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use tracing::{info, warn};

use super::health::running_instances;
use super::running::{Opened, Running};
use super::{Hub, LoadedProblems, StartError, declare};
use crate::config::{HubSettings, StoreSettings, TlsSettings};
use crate::connectors::Systems;
use crate::message::{Map, Text, Value};
use crate::pipelines::{Calls, Configuration, Pipeline, Works, load};
use crate::protocols::Surroundings;

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<Text>,
    pub changed: Vec<Text>,
    pub removed: Vec<Text>,
    pub unchanged: Vec<Text>,
    /// Settings that were edited and wait for a restart, by their names.
    pub needs_restart: Vec<&'static str>,
    /// What to look after, in sentences.
    pub warnings: Vec<String>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        let pipelines = [&self.added, &self.changed, &self.removed];
        pipelines.iter().all(|names| names.is_empty()) && self.needs_restart.is_empty()
    }

    pub fn to_value(&self) -> Value {
        let list = |names: &[Text]| Value::List(names.iter().cloned().map(Value::Text).collect());
        let mut out = Map::new();
        out.insert("added", list(&self.added));
        out.insert("changed", list(&self.changed));
        out.insert("removed", list(&self.removed));
        out.insert("unchanged", list(&self.unchanged));
        out.insert("needs_restart", Value::List(self.needs_restart.iter().map(|name| Value::from(*name)).collect()));
        out.insert("warnings", Value::List(self.warnings.iter().map(|said| Value::from(said.as_str())).collect()));
        out.into()
    }

    fn log(&self) {
        for name in &self.needs_restart {
            warn!(setting = name, "{}", waits_for_restart(name));
        }
        let (added, changed, removed) = (self.added.join(", "), self.changed.join(", "), self.removed.join(", "));
        info!(added, changed, removed, "the configuration was reloaded");
    }
}

impl Hub {
    /// Reads the folder again and changes to it. An error anywhere changes nothing.
    pub async fn reload(self: &Arc<Hub>) -> Result<Changes, StartError> {
        let _turn = self.reloading.lock().await;
        let mut loaded = load(&self.options.folder, &self.options.environment);
        let outcome = match loaded.configuration.take() {
            None => Err(StartError::Configuration(Box::new(LoadedProblems(loaded)))),
            Some(configuration) => match declare(&self.works, &configuration).await {
                Ok(()) => self.adopt(configuration).await,
                Err(fault) => Err(fault.into()),
            },
        };
        let word = if outcome.is_ok() { "changed" } else { "refused" };
        match &outcome {
            Ok(changes) if changes.is_empty() => return outcome,
            Ok(changes) => changes.log(),
            Err(StartError::Fault(fault)) => {
                warn!(code = fault.code(), "the new configuration cannot run, the old one goes on: {fault}");
            }
            Err(StartError::Configuration(_)) => warn!("the new configuration has errors, the old one goes on"),
        }
        self.works.metrics.reloaded(word);
        outcome
    }

    /// Makes the running pipelines those of `configuration`.
    pub(super) async fn adopt(&self, configuration: Configuration) -> Result<Changes, StartError> {
        // With answers of their own: what a connection said before it was changed is not its answer now.
        let systems = Systems { connectors: configuration.connectors.clone(), around: self.surroundings.clone() };
        let surroundings = Surroundings { connections: Arc::new(systems), ..self.surroundings.clone() };
        let calls = Calls::new(surroundings.connections.clone(), self.works.clock.clone());
        let works = Works { tables: configuration.tables.clone(), calls: Arc::new(calls), ..self.works.clone() };
        let needs_restart = needs_restart(&self.settings, &configuration.hub);
        let mut changes = Changes { needs_restart, ..Changes::default() };
        // Until the restart the former ones hold, and are part of what this instance runs.
        let configuration = Configuration { hub: self.settings.clone(), ..configuration };
        let mut opened = Vec::new();
        for (name, pipeline) in &configuration.pipelines {
            match self.registry.pipeline(name) {
                Some(old) if old.revision == pipeline.revision => {
                    changes.unchanged.push(name.clone());
                    continue;
                }
                Some(_) => changes.changed.push(name.clone()),
                None => changes.added.push(name.clone()),
            }
            opened.push(Opened::open(pipeline, &works, &surroundings)?);
        }
        for old in self.registry.pipelines() {
            if !configuration.pipelines.contains_key(&old.name) {
                changes.removed.push(old.name.clone());
            }
        }
        // From here on nothing can fail.
        let revision = configuration.revision();
        changes.warnings = changes.needs_restart.iter().map(|name| waits_for_restart(name)).collect();
        changes.warnings.extend(self.shared_otherwise(&configuration, &revision).await);
        self.works.engine.instances.runs(&revision);
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = revision;
        let readers = configuration.pipelines.values().map(|pipeline| 1 + pipeline.destinations.len()).sum();
        self.works.memory.share(readers);
        let (beside, after): (Vec<_>, Vec<_>) =
            opened.into_iter().partition(|opened| opened.pipeline.source.overlaps());
        // Sources that may stand beside their former selves (web hooks) are never away: all of them take their places first.
        let former = beside.into_iter().map(|opened| {
            let name = opened.pipeline.name.clone();
            (name, self.registry.put(opened.receive()))
        });
        let former: Vec<_> = former.collect();
        let removed = changes.removed.iter().filter_map(|name| self.registry.take(name));
        join_all(removed.map(Running::stop)).await;
        // Stage and lanes have one reader a queue: the old end first. One pipeline's slow peer holds up no other.
        join_all(former.into_iter().map(async |(name, old)| {
            if let Some(old) = old {
                old.stop().await;
            }
            self.registry.work(&name);
        }))
        .await;
        for opened in after {
            self.swap(opened).await;
        }
        for (queue, entries) in self.left_over().await {
            warn!(%queue, entries, "messages wait where no pipeline takes them: bring the pipeline or destination of that name back");
        }
        self.works.metrics.config_loaded.set(self.works.clock.now().as_second());
        Ok(changes)
    }

    /// The new one in place of the old one of that name, which ends first.
    async fn swap(&self, opened: Opened) {
        if let Some(old) = self.registry.take(&opened.pipeline.name) {
            old.stop().await;
        }
        let new = opened.receive();
        new.work();
        self.registry.put(new);
    }

    /// Pipelines whose messages have an order from now on, or have none any more, while other instances run another revision.
    async fn shared_otherwise(&self, configuration: &Configuration, revision: &Text) -> Option<String> {
        let otherwise = |pipeline: &Pipeline| {
            let former = self.registry.pipeline(&pipeline.name).map(|old| old.queues()).unwrap_or_default();
            let of = |queue: &Text| former.iter().find(|(name, _)| name == queue).map(|(_, sharing)| *sharing);
            pipeline.queues().iter().any(|(queue, sharing)| of(queue).is_some_and(|former| former != *sharing))
        };
        let changed = configuration.pipelines.values().filter(|pipeline| otherwise(pipeline));
        let names: Vec<&str> = changed.map(|pipeline| pipeline.name.as_str()).collect();
        if names.is_empty() {
            return None;
        }
        let living = running_instances(&self.works).await.unwrap_or_default().into_iter();
        let others: Vec<Text> =
            living.filter(|one| !one.this && one.revision != *revision).map(|one| one.name).collect();
        (!others.is_empty()).then(|| {
            format!(
                "whether the messages of {} have an order has changed here, and another configuration runs on {}: until all run \
                 this one, messages that are taken in there pass those that are taken in here",
                names.join(", "),
                others.join(", ")
            )
        })
    }
}

fn waits_for_restart(name: &str) -> String {
    match name {
        "queue.rabbitmq.partitions" | "queue.rabbitmq.prefix" | "queue.rabbitmq.vhost" => format!(
            "`{name}` has changed and does not hold yet; it says where messages are: stop all instances, let the queues run empty, \
             delete them, start all. Or change it back"
        ),
        name => format!("`{name}` has changed and holds after a restart"),
    }
}

/// Settings that only a restart changes, of those that differ.
fn needs_restart(old: &HubSettings, new: &HubSettings) -> Vec<&'static str> {
    let mut out = Vec::new();
    let mut differs = |name, differs: bool| {
        if differs {
            out.push(name);
        }
    };
    differs("name", old.name != new.name);
    differs("listen", old.listen != new.listen);
    let (queue, next) = (old.queue.clone().unwrap_or_default(), new.queue.clone().unwrap_or_default());
    differs("queue.folder", queue.folder != next.folder);
    differs("queue.memory", queue.memory.bytes() != next.memory.bytes());
    differs("queue.reserve", queue.reserve.bytes() != next.reserve.bytes());
    differs("queue.quota", queue.quota != next.quota);
    match (&queue.rabbitmq, &next.rabbitmq) {
        (Some(old), Some(new)) => {
            differs("queue.rabbitmq.addresses", old.addresses != new.addresses);
            differs("queue.rabbitmq.vhost", old.vhost != new.vhost);
            differs("queue.rabbitmq.user", old.user != new.user);
            differs("queue.rabbitmq.password", old.password != new.password);
            differs("queue.rabbitmq.tls", !same_tls(old.tls.as_ref(), new.tls.as_ref()));
            differs("queue.rabbitmq.heartbeat", old.heartbeat != new.heartbeat);
            differs("queue.rabbitmq.confirm_within", old.confirm_within != new.confirm_within);
            differs("queue.rabbitmq.unconfirmed", old.unconfirmed != new.unconfirmed);
            differs("queue.rabbitmq.declare", old.declare != new.declare);
            differs("queue.rabbitmq.partitions", old.partitions != new.partitions);
            differs("queue.rabbitmq.prefix", old.prefix != new.prefix);
        }
        (old, new) => differs("queue.rabbitmq", old.is_some() != new.is_some()),
    }
    match (&old.store, &new.store) {
        (Some(StoreSettings { postgres: old }), Some(StoreSettings { postgres: new })) => {
            differs("store.postgres.addresses", old.addresses != new.addresses);
            differs("store.postgres.database", old.database != new.database);
            differs("store.postgres.user", old.user != new.user);
            differs("store.postgres.password", old.password != new.password);
            differs("store.postgres.tls", !same_tls(old.tls.as_ref(), new.tls.as_ref()));
            differs("store.postgres.schema", old.schema != new.schema);
            differs("store.postgres.connections", old.connections != new.connections);
            differs("store.postgres.statement_within", old.statement_within != new.statement_within);
        }
        (old, new) => differs("store", old.is_some() != new.is_some()),
    }
    let (kept, next) = (old.retention.clone().unwrap_or_default(), new.retention.clone().unwrap_or_default());
    differs("retention.journal", kept.journal != next.journal);
    differs("retention.dead_letters", kept.dead_letters != next.dead_letters);
    differs("stop_within", old.stop_within != new.stop_within);
    out
}

fn same_tls(old: Option<&TlsSettings>, new: Option<&TlsSettings>) -> bool {
    let parts = |tls: &TlsSettings| (tls.ca.clone(), tls.certificate.clone(), tls.key.clone(), tls.server_name.clone());
    old.map(parts) == new.map(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Files, Reader, parse};

    fn settings(yaml: &str) -> HubSettings {
        let files = Files::default();
        let variables = [("ONE".to_owned(), "1".to_owned()), ("TWO".to_owned(), "2".to_owned())];
        let environment = Environment { only: Some(variables.into()), ..Environment::default() };
        let mut reader = Reader::new(&files, &environment);
        let text = format!("name: shop\n{yaml}\n");
        let node = parse(files.add("config/raccord.yaml", text.clone()), &text, &mut reader.problems).expect("YAML");
        let hub = HubSettings::read_checked(&node, &mut reader);
        hub.filter(|_| reader.problems.is_empty()).unwrap_or_else(|| panic!("{:?}", reader.problems))
    }

    #[test]
    fn what_holds_after_a_restart_only_is_named() {
        let check = |old: &str, new: &str, expect: &[&str]| {
            assert_eq!(needs_restart(&settings(old), &settings(new)), expect, "{old} to {new}");
        };
        let rabbit = |more: &str| format!("queue: {{ rabbitmq: {{ addresses: [a], user: hub, {more} }} }}");
        let one = rabbit("password: '${ONE}'");
        check("", "queue: { folder: data }", &[]);
        check("", "listen: 127.0.0.1:9\nstop_within: 5s", &["listen", "stop_within"]);
        check("", "queue: { quota: 5 }\nretention: { journal: 5d }", &["queue.quota", "retention.journal"]);
        check("", &one, &["queue.rabbitmq"]);
        check(&one, &rabbit("password: '${TWO}'"), &["queue.rabbitmq.password"]);
        let changed = rabbit("password: '${ONE}', partitions: 8, tls: { server_name: b.example }");
        check(&one, &changed, &["queue.rabbitmq.tls", "queue.rabbitmq.partitions"]);
        let postgres = |more: &str| format!("{one}\nstore: {{ postgres: {{ addresses: [{more}] }} }}");
        check(&one, &postgres("a"), &["store"]);
        check(&postgres("a"), &postgres("a, b"), &["store.postgres.addresses"]);
    }
}
