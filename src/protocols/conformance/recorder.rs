//! A receiver in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::sleep;

use super::bounded;
use crate::message::{Fault, MessageId, Text, Value, json};
use crate::protocols::{Arrival, Receipt, ReceiptOutcome, Receiver};

/// A receiver in memory, which can be told to refuse or to take its time.
#[derive(Default)]
pub struct Recorder(Mutex<Recorded>);

#[derive(Default)]
pub struct Recorded {
    mood: Mood,
    /// Every arrival a source handed over, stored or not.
    pub handed: Vec<Arrival>,
    pub stored: Vec<Arrival>,
    pub cursors: BTreeMap<Text, Value>,
    /// Calls of `receive` that are not answered yet.
    pub waiting: usize,
    /// Calls of `receive` that were refused.
    pub refused: usize,
    seen: HashMap<String, (MessageId, Bytes)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Accept,
    /// Answers `retry` at once.
    Refuse,
    /// Answers nothing until the mood changes.
    Hold,
}

impl Recorder {
    pub fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    pub fn stored(&self) -> Vec<Arrival> {
        self.state().stored.clone()
    }

    pub fn handed(&self) -> Vec<Arrival> {
        self.state().handed.clone()
    }

    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// Waits until `holds`; fails, naming `what`, where it never does.
    pub async fn until(&self, what: &str, holds: impl Fn(&Recorded) -> bool) {
        bounded(what, async {
            while !holds(&self.state()) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().expect("no code panics while holding the record")
    }

    async fn decided(&self) -> Mood {
        self.state().waiting += 1;
        loop {
            let mood = self.state().mood;
            if mood != Mood::Hold {
                self.state().waiting -= 1;
                return mood;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Recorded {
    fn store(&mut self, arrival: Arrival) -> Receipt {
        let drawn = MessageId::draw();
        if arrival.fault.is_some() {
            self.stored.push(arrival);
            return Receipt { id: drawn, outcome: ReceiptOutcome::Dead };
        }
        if let Some((id, body)) = arrival.position.as_ref().and_then(|position| self.seen.get(position)) {
            let outcome = if *body == arrival.body { ReceiptOutcome::Repeat } else { ReceiptOutcome::Conflict };
            return Receipt { id: *id, outcome };
        }
        if let Some(position) = &arrival.position {
            self.seen.insert(position.clone(), (drawn, arrival.body.clone()));
        }
        // As an intake would: what has no document and is not JSON cannot be read.
        let readable = arrival.document.is_some() || json::read(&arrival.body).is_ok();
        self.stored.push(arrival);
        Receipt { id: drawn, outcome: if readable { ReceiptOutcome::Stored } else { ReceiptOutcome::Dead } }
    }
}

#[async_trait]
impl Receiver for Recorder {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        self.state().handed.extend(arrivals.iter().cloned());
        let mood = self.decided().await;
        let mut state = self.state();
        if mood == Mood::Refuse {
            state.refused += 1;
            return Err(Fault::retry("STORE-FULL", "the disk is nearly full").after(Duration::from_secs(7)));
        }
        if let Some((name, value)) = cursor {
            state.cursors.insert(name, value);
        }
        Ok(arrivals.into_iter().map(|arrival| state.store(arrival)).collect())
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        Ok(self.state().cursors.get(name).cloned())
    }

    /// Replies with the request's own document.
    async fn reply(&self, arrival: Arrival) -> Result<Value, Fault> {
        if self.decided().await == Mood::Refuse {
            return Err(Fault::retry("LOOKUP-DOWN", "what the reply needs is down"));
        }
        let body = || json::read(&arrival.body).map_err(|error| Fault::refuse("DECODE-JSON", "not JSON").cause(error));
        arrival.document.clone().map_or_else(body, Ok)
    }
}
