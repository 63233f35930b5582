//! The pipelines that run, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::running::Running;
use super::supervise::Doing;
use crate::message::Text;
use crate::pipelines::{Gate, Pipeline};
use crate::protocols::{Pipelines, Receiver};

/// The pipelines that run.
#[derive(Default)]
pub struct Registry(RwLock<BTreeMap<Text, Running>>);

impl Registry {
    pub fn len(&self) -> usize {
        self.read(BTreeMap::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn pipelines(&self) -> Vec<Arc<Pipeline>> {
        self.read(|running| running.values().map(|one| one.pipeline.clone()).collect())
    }

    pub fn pipeline(&self, name: &str) -> Option<Arc<Pipeline>> {
        self.read(|running| running.get(name).map(|one| one.pipeline.clone()))
    }

    pub fn gate(&self, name: &str) -> Option<Arc<Gate>> {
        self.read(|running| running.get(name).map(|one| one.gate.clone()))
    }

    /// Names of the pipelines whose source cannot run, with why.
    pub fn ill(&self) -> Vec<(Text, String)> {
        let ill = |(name, one): (&Text, &Running)| match one.source() {
            Doing::Rests(why) => Some((name.clone(), why)),
            Doing::Runs | Doing::Waits => None,
        };
        self.read(|running| running.iter().filter_map(ill).collect())
    }

    /// What the source of a pipeline does.
    pub(super) fn source(&self, name: &str) -> Option<Doing> {
        self.read(|running| running.get(name).map(Running::source))
    }

    /// Queues whose entries are not taken now, because of their stage or destination, with why.
    pub fn resting(&self) -> Vec<(Text, String)> {
        self.read(|running| running.values().flat_map(Running::resting).collect())
    }

    pub(super) fn put(&self, running: Running) -> Option<Running> {
        self.write(|all| all.insert(running.pipeline.name.clone(), running))
    }

    pub(super) fn take(&self, name: &str) -> Option<Running> {
        self.write(|running| running.remove(name))
    }

    /// Starts the stage and the lanes of a pipeline that takes messages already.
    pub(super) fn work(&self, name: &str) {
        self.read(|running| running.get(name).into_iter().for_each(Running::work));
    }

    /// Stops all: first every source, so that nothing new comes, then the rest.
    pub(super) async fn stop_all(&self) {
        self.read(|running| running.values().for_each(Running::stop_source));
        let all = self.write(std::mem::take);
        futures_util::future::join_all(all.into_values().map(Running::stop)).await;
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<Text, Running>) -> T) -> T {
        look(&self.0.read().expect("no code panics while holding the registry"))
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<Text, Running>) -> T) -> T {
        change(&mut self.0.write().expect("no code panics while holding the registry"))
    }
}

impl Pipelines for Registry {
    fn receiver(&self, pipeline: &str) -> Option<Arc<dyn Receiver>> {
        self.gate(pipeline).map(|gate| gate as Arc<dyn Receiver>)
    }
}
