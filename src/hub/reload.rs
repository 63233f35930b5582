//! Changing to what the folder says now: checked, opened beside the old, swapped, drained. All or nothing.

use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use tracing::{info, warn};

use super::running::{Opened, Running};
use super::{Hub, LoadedProblems, StartError, declare};
use crate::config::{HubSettings, Secret};
use crate::message::{Map, Text, Value};
use crate::pipelines::{Calls, Configuration, Works, load};

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<Text>,
    pub changed: Vec<Text>,
    pub removed: Vec<Text>,
    /// Settings that were edited and wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    pub fn to_value(&self) -> Value {
        let list = |names: &[Text]| Value::List(names.iter().cloned().map(Value::Text).collect());
        let mut out = Map::new();
        out.insert("added", list(&self.added));
        out.insert("changed", list(&self.changed));
        out.insert("removed", list(&self.removed));
        out.insert("needs_restart", Value::List(self.needs_restart.iter().map(|name| Value::from(*name)).collect()));
        out.into()
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
            Ok(changes) => info!(?changes, "the configuration was reloaded"),
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
        let calls = Calls::new(self.surroundings.connections.clone(), self.works.clock.clone());
        let works = Works { tables: configuration.tables.clone(), calls: Arc::new(calls), ..self.works.clone() };
        let mut changes = Changes { needs_restart: self.needs_restart(&configuration), ..Changes::default() };
        let mut opened = Vec::new();
        for (name, pipeline) in &configuration.pipelines {
            match self.registry.pipeline(name) {
                Some(old) if old.revision == pipeline.revision => continue,
                Some(_) => changes.changed.push(name.clone()),
                None => changes.added.push(name.clone()),
            }
            opened.push(Opened::open(pipeline, &works, &self.surroundings)?);
        }
        for old in self.registry.pipelines() {
            if !configuration.pipelines.contains_key(&old.name) {
                changes.removed.push(old.name.clone());
            }
        }
        // From here on nothing can fail.
        let revision = configuration.revision();
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

    /// Settings that only a restart changes.
    fn needs_restart(&self, configuration: &Configuration) -> Vec<&'static str> {
        let (old, new) = (&self.settings, &configuration.hub);
        let mut out = Vec::new();
        let mut differs = |name, differs: bool| {
            if differs {
                out.push(name);
            }
        };
        differs("name", old.name != new.name);
        differs("listen", old.listen != new.listen);
        differs("queue", format!("{:?}", old.queue) != format!("{:?}", new.queue));
        differs("store", format!("{:?}", old.store) != format!("{:?}", new.store));
        differs("password", passwords(old) != passwords(new));
        differs("retention", format!("{:?}", old.retention) != format!("{:?}", new.retention));
        differs("stop_within", old.stop_within != new.stop_within);
        out
    }
}

/// Secrets do not print, so they are compared by themselves.
fn passwords(settings: &HubSettings) -> [Option<&Secret>; 2] {
    let rabbit = settings.queue.as_ref().and_then(|queue| queue.rabbitmq.as_ref());
    let postgres = settings.store.as_ref().map(|store| &store.postgres);
    [rabbit.and_then(|rabbit| rabbit.password.as_ref()), postgres.and_then(|postgres| postgres.password.as_ref())]
}
