//! Answers of systems that are kept in memory for a while (`keep`), bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::message::{MessageId, Value, json};
use crate::steps::Call;

/// Most answers kept.
const ENTRIES: usize = 10_000;
/// Most bytes of them, as JSON.
const BYTES: usize = 8 << 20;

/// A question of any message: what is asked of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question(MessageId);

impl Question {
    pub fn of(call: &Call) -> Question {
        let input = json::to_text(&call.input);
        Question(MessageId::derive(&[call.connection.as_bytes(), call.operation.as_bytes(), input.as_bytes()]))
    }
}

#[derive(Default)]
pub(super) struct Kept(Mutex<State>);

#[derive(Default)]
struct State {
    answers: HashMap<Question, Answer>,
    /// In the order they came.
    order: BTreeMap<u64, Question>,
    last: u64,
    bytes: usize,
}

struct Answer {
    value: Value,
    until: Timestamp,
    number: u64,
    bytes: usize,
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, unless its time has passed.
    pub fn get(&self, question: &Question, now: Timestamp) -> Option<Value> {
        let state = self.state();
        state.answers.get(question).filter(|answer| answer.until > now).map(|answer| answer.value.clone())
    }

    /// Keeps an answer; the oldest go where there are too many.
    pub fn put(&self, question: Question, value: &Value, until: Timestamp) {
        let bytes = json::to_text(value).len();
        // One answer does not drive out all the others.
        if bytes > BYTES / 16 {
            return;
        }
        let mut state = self.state();
        state.forget(&question);
        state.last += 1;
        let number = state.last;
        state.bytes += bytes;
        state.order.insert(number, question);
        state.answers.insert(question, Answer { value: value.clone(), until, number, bytes });
        while state.answers.len() > ENTRIES || state.bytes > BYTES {
            let Some(oldest) = state.order.values().next().copied() else { break };
            state.forget(&oldest);
        }
    }

    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        let state = self.state();
        assert_eq!(state.answers.len(), state.order.len());
        assert_eq!(state.answers.values().map(|answer| answer.bytes).sum::<usize>(), state.bytes);
        (state.answers.len(), state.bytes)
    }
}

impl State {
    fn forget(&mut self, question: &Question) {
        if let Some(gone) = self.answers.remove(question) {
            self.order.remove(&gone.number);
            self.bytes -= gone.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::later;

    fn question(number: usize) -> Question {
        Question(MessageId::derive(&[&number.to_be_bytes()]))
    }

    #[test]
    fn an_answer_is_kept_for_its_time() {
        let (kept, now) = (Kept::default(), Timestamp::UNIX_EPOCH);
        kept.put(question(1), &"a".into(), later(now, Duration::from_secs(60)));
        assert_eq!(kept.get(&question(1), later(now, Duration::from_secs(59))), Some("a".into()));
        assert_eq!(kept.get(&question(1), later(now, Duration::from_secs(60))), None);
        assert_eq!(kept.get(&question(2), now), None);
        kept.put(question(1), &"b".into(), later(now, Duration::from_secs(90)));
        assert_eq!(kept.get(&question(1), later(now, Duration::from_secs(60))), Some("b".into()));
        assert_eq!(kept.size(), (1, 3));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_go_first() {
        let (kept, now) = (Kept::default(), Timestamp::UNIX_EPOCH);
        let until = later(now, Duration::from_secs(60));
        for number in 0..ENTRIES + 10 {
            kept.put(question(number), &"a".into(), until);
        }
        assert_eq!(kept.size().0, ENTRIES);
        assert_eq!((kept.get(&question(9), now), kept.get(&question(10), now)), (None, Some("a".into())));
        let large = Value::from("x".repeat(BYTES / 20));
        for number in 0..30 {
            kept.put(question(number), &large, until);
        }
        assert!(kept.size().1 <= BYTES, "{:?}", kept.size());
        assert!(kept.get(&question(29), now).is_some() && kept.get(&question(5), now).is_none());
        kept.put(question(77), &Value::from("x".repeat(BYTES)), until);
        assert_eq!(kept.get(&question(77), now), None);
    }
}
