//! Changing to what the folder says now: checked, opened beside the old, swapped, drained. All or nothing.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::running::Opened;
use super::{Hub, LoadedProblems, StartError};
use crate::message::{Map, Text, Value};
use crate::pipelines::{Configuration, Works, load};

/// How long a reload waits for a web hook to stand on its path.
const DOOR: Duration = Duration::from_secs(1);

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
            Some(configuration) => self.adopt(configuration).await,
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
        let works = Works { tables: configuration.tables.clone(), ..self.works.clone() };
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
        let readers = configuration.pipelines.values().map(|pipeline| 1 + pipeline.destinations.len()).sum();
        self.works.memory.share(readers);
        for name in &changes.removed {
            if let Some(old) = self.registry.take(name) {
                old.stop().await;
            }
        }
        for opened in opened {
            self.swap(opened).await;
        }
        self.works.metrics.config_loaded.set(self.works.clock.now().as_second());
        Ok(changes)
    }

    /// The new one in place of the old one of that name. A source that may stand beside its former self (a web hook) is never
    /// away; another starts once the old one has ended. Stage and lanes have one reader a queue: the old end first.
    async fn swap(&self, opened: Opened) {
        let name = opened.pipeline.name.clone();
        if opened.pipeline.source.overlaps() {
            let before = self.surroundings.routes.latest(&name);
            let new = opened.receive();
            self.wait_for_door(&name, before).await;
            if let Some(old) = self.registry.take(&name) {
                old.stop().await;
            }
            new.work();
            self.registry.put(new);
        } else {
            if let Some(old) = self.registry.take(&name) {
                old.stop().await;
            }
            let new = opened.receive();
            new.work();
            self.registry.put(new);
        }
    }

    /// A web hook stands on its path before its former self leaves it, and before the hub says that it runs: a sender that
    /// hears "no such path" does not come back.
    async fn wait_for_door(&self, pipeline: &str, before: Option<u64>) {
        let stands = async {
            while self.surroundings.routes.latest(pipeline) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // The path may be another's that leaves only after this: then the source waits for it by itself.
        let _ = tokio::time::timeout(DOOR, stands).await;
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
        differs("retention", format!("{:?}", old.retention) != format!("{:?}", new.retention));
        differs("stop_within", old.stop_within != new.stop_within);
        out
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::Clock;
    use crate::config::Environment;
    use crate::hub::{Hub, Options};
    use crate::queue::embedded::Scratch;

    /// On one thread, where nothing runs beside: who asks right after the start finds the path.
    #[tokio::test]
    async fn a_web_hook_stands_on_its_path_before_the_hub_says_that_it_runs() {
        let scratch = Scratch::make();
        let folder = scratch.0.clone();
        let pipeline = "about: x\nfrom: { protocol: http, path: /in, auth: none, format: json }\norder_by: none\ndedupe: none\n\
            to:\n  out: { protocol: file, folder: out, name: x.json, format: json }\non_error: { retry: [1s] }\n";
        for (path, text) in [("config/raccord.yaml", "name: t\n"), ("pipelines/in/pipeline.yaml", pipeline)] {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("folders can be made");
            std::fs::write(path, text).expect("files can be written");
        }
        let environment = Environment { only: Some([].into()), folder: folder.clone() };
        let listen = Some("127.0.0.1:0".to_owned());
        let options = Options { folder, environment, clock: Clock::real(), watch: false, listen };
        let hub = Hub::start(options).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert!(hub.surroundings.routes.latest("in").is_some());
        hub.stop().await;
    }
}
