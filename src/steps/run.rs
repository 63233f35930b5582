//! Running a list of steps over a message.
//!
//! Step by step over all documents, in order. A document moves from step to step; nothing is copied, allocated or awaited
//! for a step that asks nothing.

use std::collections::HashMap;

use super::{Answer, Ask, Context, Effect, Group, GroupKey, Outcome, Step, World};
use crate::formula::Condition;
use crate::message::{Fault, Map, Text, Value};

/// The steps of a pipeline or of a destination, in order.
#[derive(Debug, Default)]
pub struct Steps(pub(super) Vec<Placed>);

/// A step in its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub verb: &'static str,
    pub when: Option<Condition>,
    pub step: Box<dyn Step>,
    /// `steps[2]`
    pub place: Text,
    /// `steps[2] map`
    pub label: String,
}

impl Steps {
    /// Runs the steps from number `from` (0 for a message that comes in; [`Steps::after`] for a closed group).
    ///
    /// # Errors
    /// The first fault of any document, with the step's place: a message passes whole or not at all.
    pub async fn run(
        &self,
        from: usize,
        document: Value,
        context: &Context<'_>,
        world: &dyn World,
    ) -> Result<Outcome, Fault> {
        let mut current = vec![document];
        let mut out = Outcome::default();
        let mut known = Known::default();
        for placed in self.0.iter().skip(from) {
            known.several = current.len() > 1;
            for (index, document) in current.drain(..).enumerate() {
                let before = out.effects.len();
                if let Err(fault) = placed.apply(document, context, world, &mut known, &mut out).await {
                    return Err(fault.at_step(placed.label_of(index, known.several)));
                }
                known.learn(&out.effects[before..]);
            }
            std::mem::swap(&mut current, &mut out.documents);
        }
        out.documents = current;
        Ok(out)
    }

    /// Whether the verb stands among the steps.
    pub fn has(&self, verb: &str) -> bool {
        self.0.iter().any(|placed| placed.verb == verb)
    }

    /// Whether any step asks the world or changes it.
    pub fn needs_world(&self) -> bool {
        self.0.iter().any(|placed| placed.step.needs_world())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the step after `step` ([`GroupKey::step`]), where a closed group goes on; `None` where no such step
    /// is left.
    pub fn after(&self, step: &str) -> Option<usize> {
        self.0.iter().position(|placed| placed.place == step).map(|at| at + 1)
    }
}

impl Placed {
    async fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        world: &dyn World,
        known: &mut Known,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        if let Some(when) = &self.when
            && !when.holds(&context.scope(&document))?
        {
            return out.push(document);
        }
        let asks = self.step.asks(&document, context)?;
        let mut answers = Vec::with_capacity(asks.len());
        for ask in &asks {
            answers.push(known.answer(ask, world).await?);
        }
        self.step.apply(document, context, answers, out)
    }

    fn label_of(&self, index: usize, several: bool) -> String {
        if several { format!("{}, document {}", self.label, index + 1) } else { self.label.clone() }
    }
}

/// What this message has read and changed so far: it sees its own changes before they commit, and one row once.
#[derive(Default)]
struct Known {
    rows: HashMap<(Text, Text), Option<Map>>,
    groups: HashMap<GroupKey, Group>,
    /// The step at hand has several documents. One alone meets a group once: nothing to keep.
    several: bool,
}

impl Known {
    async fn answer(&mut self, ask: &Ask, world: &dyn World) -> Result<Answer, Fault> {
        if let Some(answer) = self.recall(ask) {
            return Ok(answer);
        }
        let answer = world.answer(ask).await?;
        match (ask, &answer) {
            (Ask::Row { table, key, .. }, Answer::Row(row)) => {
                self.rows.insert((table.clone(), key.clone()), row.clone());
            }
            (Ask::Group { group }, Answer::Group(held)) if self.several => {
                self.groups.insert(group.clone(), held.clone());
            }
            _ => {}
        }
        Ok(answer)
    }

    fn recall(&self, ask: &Ask) -> Option<Answer> {
        match ask {
            Ask::Row { table, key, .. } => self.rows.get(&(table.clone(), key.clone())).cloned().map(Answer::Row),
            Ask::Group { group } => self.groups.get(group).cloned().map(Answer::Group),
        }
    }

    fn learn(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Remember { table, key, row, .. } => {
                    self.rows.insert((table.clone(), key.clone()), Some(row.clone()));
                }
                Effect::Join { group, member, .. } => {
                    if let Some(held) = self.groups.get_mut(group) {
                        held.members.push(member.clone());
                    }
                }
                Effect::Close { group, window, .. } => {
                    if let Some(held) = self.groups.get_mut(group) {
                        *held = Group { window: window + 1, ..Group::default() };
                    }
                }
                Effect::Log { .. } => {}
            }
        }
    }
}
