//! The engine that the configuration names: a file of this machine, or a broker and what remembers beside it.

use std::path::PathBuf;

use super::Options;
use crate::config::HubSettings;
use crate::message::{Fault, Text};
use crate::store::{self, Engine};
use crate::telemetry::Metrics;

/// The folder of what this instance keeps.
pub(super) fn data(settings: &HubSettings, options: &Options) -> PathBuf {
    options.folder.join(settings.queue.clone().unwrap_or_default().folder)
}

/// Opens it. A broker that is away does not fail here, but whatever uses it.
pub(super) async fn open(settings: &HubSettings, options: &Options, metrics: &Metrics) -> Result<Engine, Fault> {
    let queue = settings.queue.clone().unwrap_or_default();
    let clock = options.clock.clone();
    let Some(rabbit) = &queue.rabbitmq else { return store::open(&data(settings, options), &queue, clock) };
    let (name, store) = (instance(settings), settings.store.as_ref());
    store::open_distributed(&options.folder, &queue, rabbit, store, &name, clock, metrics.broker()).await
}

/// This instance's name, for people: the hub's, the machine's, and the process, which tells it from others there.
fn instance(settings: &HubSettings) -> Text {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{machine}:{}", settings.name, std::process::id()).into()
}
