//! Running a list of steps over a message.
//!
//! Step by step over all documents, in order. A document moves from step to step; nothing is copied, allocated or awaited
//! for a step that asks nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{
    Answer, Ask, Call, Context, Effect, Group, GroupKey, MAX_CALLS, Outcome, Step, World, too_many_calls, unanswered,
};
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
    /// Steps of the hub's own, which no pipeline names: verb and step, in order. They stand behind those of `self`.
    #[must_use]
    pub fn with(mut self, steps: Vec<(&'static str, Box<dyn Step>)>) -> Steps {
        for (verb, step) in steps {
            let place = format!("steps[{}]", self.0.len());
            self.0.push(Placed { verb, when: None, step, label: format!("{place} {verb}"), place: place.into() });
        }
        self
    }

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

    /// The number of the step after `step` ([`GroupKey::step`]), where a closed group goes on; `None` where no `aggregate`
    /// is left. An edit may have moved the step while the group was open: then it is the first `aggregate`.
    pub fn after(&self, step: &str) -> Option<usize> {
        let gathers = |placed: &Placed| placed.verb == "aggregate";
        let same = self.0.iter().position(|placed| gathers(placed) && placed.place == step);
        same.or_else(|| self.0.iter().position(gathers)).map(|at| at + 1)
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
        if let Some(Ask::Call(_)) = asks.first() {
            known.call(&asks, world).await?;
        }
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
    /// What systems answered, by [`Call::place`].
    calls: HashMap<Text, Option<Value>>,
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

    /// Asks systems for all that one step wants of them, each question once.
    async fn call(&mut self, asks: &[Ask], world: &dyn World) -> Result<(), Fault> {
        let mut calls: Vec<&Arc<Call>> = Vec::new();
        let mut asked = HashSet::new();
        for ask in asks {
            if let Ask::Call(call) = ask
                && !self.calls.contains_key(&call.place)
                && asked.insert(&call.place)
            {
                calls.push(call);
            }
        }
        if calls.is_empty() {
            return Ok(());
        }
        if self.calls.len() + calls.len() > MAX_CALLS {
            return Err(too_many_calls());
        }
        let answers = world.answer_calls(&calls).await?;
        if answers.len() != calls.len() {
            return Err(unanswered("call"));
        }
        self.calls.extend(calls.into_iter().map(|call| call.place.clone()).zip(answers));
        Ok(())
    }

    fn recall(&self, ask: &Ask) -> Option<Answer> {
        match ask {
            Ask::Row { table, key, .. } => self.rows.get(&(table.clone(), key.clone())).cloned().map(Answer::Row),
            Ask::Group { group } => self.groups.get(group).cloned().map(Answer::Group),
            Ask::Number(_) => None,
            Ask::Call(call) => self.calls.get(&call.place).cloned().map(Answer::Called),
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
                Effect::Log { .. } | Effect::Track { .. } | Effect::Exchange { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::message::{Map, Value};
    use crate::steps::ALL;
    use crate::steps::check::{examples, read, run, run_from};

    #[test]
    fn a_run_may_begin_in_the_middle() {
        let (steps, _) = read("- map: { a: 1 }\n- set: { b: 2 }\n- set: { c: 3 }\n");
        let steps = steps.expect("these are steps");
        let texts = |from| run_from(&steps, from, "{}").map(|out| out.documents[0].to_string()).expect("it runs");
        assert_eq!((texts(0), texts(1)), (r#"{"a":1,"b":2,"c":3}"#.to_owned(), r#"{"b":2,"c":3}"#.to_owned()));
        assert_eq!((texts(3), texts(9)), ("{}".to_owned(), "{}".to_owned()));
    }

    /// Whatever comes in, no step panics, and a repeat does the same.
    #[test]
    fn any_document_is_run_or_refused() {
        let mut steps: Vec<String> = ALL.iter().flat_map(|kind| examples(kind.about)).collect();
        steps.push("- split: { each: '$.lines[*].lines[*]', map: { i: $item, all: $.name } }\n".to_owned());
        steps.push("- unset: [$.lines?, '$.line_items[0].name?']\n".to_owned());
        steps.push("- set: { customer.name.key: $.lines?, total: \"=count($.items[*])\" }\n".to_owned());
        let steps: Vec<_> = steps.iter().map(|yaml| read(yaml).0.expect("these are steps")).collect();
        let seed = crate::message::MessageId::draw();
        let mut random = Random(u64::from_le_bytes(seed.as_bytes()[..8].try_into().expect("it has 16 bytes")) | 1);
        println!("seed {}", random.0);
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..1000 {
            let document = random.value(4).to_string();
            for steps in &steps {
                let first = run(steps, &document).map_err(|fault| fault.to_string());
                assert_eq!(first, run(steps, &document).map_err(|fault| fault.to_string()), "{document}");
                *(if first.is_ok() { &mut passed } else { &mut refused }) += 1;
            }
        }
        // Documents that all pass, or all fail, would prove little.
        assert!(passed > 200 && refused > 200, "{passed} passed, {refused} were refused");
    }

    /// xorshift64*
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
        }

        fn value(&mut self, depth: usize) -> Value {
            const NAMES: [&str; 14] = [
                "name",
                "lines",
                "line_items",
                "items",
                "customer",
                "total",
                "net",
                "order",
                "supplier",
                "barcode",
                "price",
                "quantity",
                "number",
                "id",
            ];
            match self.below(if depth == 0 { 6 } else { 10 }) {
                0 => Value::Null,
                1 => Value::Bool(self.below(2) == 0),
                2 => Value::number("1e400").expect("this is a number"),
                3 => Value::from(self.below(300)),
                4 => Value::from("111"),
                5 => Value::from(["", "é", "acme", "12.50"][self.below(4)]),
                6 => Value::List((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
                _ => Value::Map(
                    (0..self.below(9)).map(|_| (NAMES[self.below(14)], self.value(depth - 1))).collect::<Map>(),
                ),
            }
        }
    }
}
