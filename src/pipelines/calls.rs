//! Asking systems what steps want to know: several questions at once, each within its time, and none whose answer is kept.
//!
//! An answer that comes goes into the store under its message before anything follows from it: see [`Recorded`].

mod kept;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::Works;
use super::stage::settle_for_good;
use crate::clock::{Clock, later};
use crate::message::{Fault, MessageId, Text, Value, json};
use crate::protocols::Connections;
use crate::steps::Call;
use crate::store::{AnswerWrite, Settlement};
use kept::{Kept, Question};

/// Questions of one message that are asked at the same time.
const AT_ONCE: usize = 8;
/// Most bytes of all answers to one step for one document.
const MAX_ANSWERS: usize = 16 << 20;

/// The systems, and the answers of them that are kept for a while.
pub struct Calls {
    connections: Arc<dyn Connections>,
    clock: Clock,
    kept: Kept,
}

/// What came of one question.
enum Asked {
    Answer(Option<Value>),
    /// Not a system's word: the call's own fallback.
    Fallback(Value),
    /// Nobody was asked: another question had failed.
    Left,
}

impl Calls {
    pub fn new(connections: Arc<dyn Connections>, clock: Clock) -> Calls {
        Calls { connections, clock, kept: Kept::default() }
    }

    /// Asks all, up to [`AT_ONCE`] at the same time; after the first fault no more is asked. Gives what was answered, by the
    /// questions' places in `calls`, and the fault.
    pub(super) async fn ask(
        &self,
        calls: &[&Arc<Call>],
        id: MessageId,
        time: Timestamp,
    ) -> (Vec<(usize, Option<Value>)>, Option<Fault>) {
        let failed = AtomicBool::new(false);
        let ask = |(index, call): (usize, Arc<Call>)| {
            let failed = &failed;
            async move {
                if failed.load(Ordering::Relaxed) {
                    return (index, Ok(Asked::Left));
                }
                let asked = self.ask_one(&call, id, time).await;
                failed.fetch_or(asked.is_err(), Ordering::Relaxed);
                (index, asked)
            }
        };
        let numbered: Vec<(usize, Arc<Call>)> = calls.iter().map(|call| (*call).clone()).enumerate().collect();
        let mut outcomes = futures_util::stream::iter(numbered.into_iter().map(ask)).buffered(AT_ONCE);
        let (mut answers, mut fault, mut bytes) = (Vec::new(), None, 0);
        while let Some((index, asked)) = outcomes.next().await {
            let answer = match asked {
                Ok(Asked::Left) => continue,
                Ok(Asked::Answer(answer)) => answer,
                Ok(Asked::Fallback(answer)) => Some(answer),
                Err(failure) => {
                    fault.get_or_insert(failure);
                    continue;
                }
            };
            bytes += answer.as_ref().map_or(0, |answer| json::to_text(answer).len());
            if bytes > MAX_ANSWERS {
                let said = format!("the answers of `{}` are more than 16 MB: ask for less", calls[index].operation);
                fault.get_or_insert(Fault::refuse("CALL-LIMIT", said));
                break;
            }
            answers.push((index, answer));
        }
        (answers, fault)
    }

    async fn ask_one(&self, call: &Call, id: MessageId, time: Timestamp) -> Result<Asked, Fault> {
        let question = call.keep.map(|keep| (Question::of(call), keep));
        if let Some((question, _)) = &question
            && let Some(answer) = self.kept.get(question, self.clock.now())
        {
            return Ok(Asked::Answer(Some(answer)));
        }
        let asking = self.connections.call(&call.connection, &call.operation, &call.input, id, time);
        let answered = tokio::select! {
            answered = asking => answered,
            () = self.clock.sleep(call.within) => Err(too_slow(call)),
        };
        match answered {
            Ok(answer) => {
                // What a system does not have may be there in a moment.
                if let (Some((question, keep)), Some(answer)) = (question, &answer) {
                    self.kept.put(question, answer, later(self.clock.now(), keep));
                }
                Ok(Asked::Answer(answer))
            }
            Err(fault) => call.fall_back(fault).map(Asked::Fallback),
        }
    }
}

fn too_slow(call: &Call) -> Fault {
    let Call { connection, operation, within, .. } = call;
    Fault::retry("CALL-TIMEOUT", format!("`{operation}` of `{connection}` did not answer within {within:?}"))
}

/// The answers to one message: those the store has, and those that come, which it keeps before anyone sees them. Whatever repeats
/// the message (a retry, a crash, a replay) finds them.
pub(super) struct Recorded<'a> {
    works: &'a Works,
    id: MessageId,
    time: Timestamp,
    /// Read where a first question is asked: most messages ask none.
    before: OnceCell<HashMap<Text, Option<Value>>>,
}

impl<'a> Recorded<'a> {
    pub fn new(works: &'a Works, id: MessageId, time: Timestamp) -> Recorded<'a> {
        Recorded { works, id, time, before: OnceCell::new() }
    }

    /// Answers all, in order.
    ///
    /// # Errors
    /// The first fault of a call. What was answered all the same is kept, and not asked again.
    pub async fn answer(&self, calls: &[&Arc<Call>]) -> Result<Vec<Option<Value>>, Fault> {
        let before = self.before.get_or_try_init(|| self.read()).await?;
        let mut answers: Vec<Option<Option<Value>>> =
            calls.iter().map(|call| before.get(&call.place).cloned()).collect();
        let missing: Vec<usize> = (0..calls.len()).filter(|index| answers[*index].is_none()).collect();
        if !missing.is_empty() {
            let asked: Vec<&Arc<Call>> = missing.iter().map(|index| calls[*index]).collect();
            let (found, fault) = self.works.calls.ask(&asked, self.id, self.time).await;
            self.record(&asked, &found).await?;
            if let Some(fault) = fault {
                return Err(fault);
            }
            for (index, answer) in found {
                answers[missing[index]] = Some(answer);
            }
        }
        Ok(answers.into_iter().map(Option::flatten).collect())
    }

    async fn read(&self) -> Result<HashMap<Text, Option<Value>>, Fault> {
        Ok(self.works.engine.store.answers(self.id).await?.into_iter().collect())
    }

    async fn record(&self, asked: &[&Arc<Call>], found: &[(usize, Option<Value>)]) -> Result<(), Fault> {
        let write = |(index, answer): &(usize, Option<Value>)| {
            let call = asked[*index];
            // The message ends here; its replay is to ask again.
            let ends = answer.is_none() && call.needed;
            (!ends).then(|| AnswerWrite { message: self.id, place: call.place.clone(), answer: answer.clone() })
        };
        let answers: Vec<AnswerWrite> = found.iter().filter_map(write).collect();
        if answers.is_empty() {
            return Ok(());
        }
        settle_for_good(self.works, Settlement { answers, ..Settlement::default() }).await
    }
}
