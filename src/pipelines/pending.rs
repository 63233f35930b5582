//! What a pipeline's stage sees of the world: the store, and over it what was decided and is not committed yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use super::Works;
use super::calls::Recorded;
use super::numbers::allocate;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::steps::{Answer, Ask, Call, Group, GroupKey, World};
use crate::store::RowWrite;

/// What was decided and is not committed yet: later messages see it. Each thing carries the number of the run that touched it
/// last, and goes once that run is on disk.
#[derive(Clone, Default)]
pub(super) struct Pending(Arc<Mutex<PendingState>>);

#[derive(Default)]
struct PendingState {
    /// The run being processed.
    run: u64,
    rows: HashMap<(Text, Text), (u64, Timestamp, Map)>,
    groups: HashMap<GroupKey, (u64, Group)>,
}

impl Pending {
    fn state(&self) -> std::sync::MutexGuard<'_, PendingState> {
        self.0.lock().expect("no code panics while holding what is pending")
    }

    /// A run begins; gives its number.
    pub fn begin(&self) -> u64 {
        let mut state = self.state();
        state.run += 1;
        state.run
    }

    /// This run and those before it are on disk: what no later one touched is in the store.
    pub fn committed(&self, run: u64) {
        let mut state = self.state();
        state.rows.retain(|_, (touched, ..)| *touched > run);
        state.groups.retain(|_, (touched, _)| *touched > run);
    }

    fn row(&self, table: &Text, key: &Text) -> Option<Map> {
        self.state().rows.get(&(table.clone(), key.clone())).map(|(_, _, row)| row.clone())
    }

    /// As in the store, an older message's row never covers a newer one's.
    pub fn remember(&self, table: &Text, key: &Text, row: &Map, time: Timestamp) {
        let mut state = self.state();
        let (run, place) = (state.run, (table.clone(), key.clone()));
        if state.rows.get(&place).is_none_or(|(_, written, _)| *written <= time) {
            state.rows.insert(place, (run, time, row.clone()));
        }
    }

    pub fn group(&self, key: &GroupKey) -> Option<Group> {
        self.state().groups.get(key).map(|(_, group)| group.clone())
    }

    fn hold(&self, key: &GroupKey, group: &Group) {
        let mut state = self.state();
        let run = state.run;
        state.groups.insert(key.clone(), (run, group.clone()));
    }

    pub fn join(&self, key: &GroupKey, member: &Value, at: Timestamp) {
        let mut state = self.state();
        let run = state.run;
        let (touched, group) = state.groups.entry(key.clone()).or_default();
        *touched = run;
        group.opened.get_or_insert(at);
        group.members.push(member.clone());
    }

    pub fn close(&self, key: &GroupKey, window: u64) {
        self.hold(key, &Group { window: window + 1, ..Group::default() });
    }
}

/// The world of production: the store, and what is decided but not committed yet.
pub(super) struct LiveWorld<'a> {
    pub works: &'a Works,
    pub pending: &'a Pending,
    pub message: MessageId,
    pub recorded: Recorded<'a>,
}

#[async_trait]
impl World for LiveWorld<'_> {
    async fn answer(&self, ask: &Ask) -> Result<Answer, Fault> {
        let store = &self.works.engine.store;
        match ask {
            Ask::Row { table, key, .. } => match self.pending.row(table, key) {
                Some(row) => Ok(Answer::Row(Some(row))),
                None => store.row(table, key, self.works.clock.now()).await.map(Answer::Row),
            },
            Ask::Group { group: key } => match self.pending.group(key) {
                Some(group) => Ok(Answer::Group(group)),
                None => {
                    let group = store.group(key).await?;
                    self.pending.hold(key, &group);
                    Ok(Answer::Group(group))
                }
            },
            Ask::Number(counter) => {
                let row = match self.pending.row(&counter.table, &counter.key) {
                    Some(row) => Some(row),
                    None => store.row(&counter.table, &counter.key, self.works.clock.now()).await?,
                };
                let (number, written) = allocate(self.works, counter, self.message, row).await?;
                for RowWrite { table, key, row, time, .. } in written {
                    self.pending.remember(&table, &key, &row, time);
                }
                Ok(Answer::Number(number))
            }
            Ask::Call(call) => {
                self.recorded.answer(&[call]).await.map(|mut answers| Answer::Called(answers.pop().flatten()))
            }
        }
    }

    async fn answer_calls(&self, calls: &[&Arc<Call>]) -> Result<Vec<Option<Value>>, Fault> {
        self.recorded.answer(calls).await
    }
}
