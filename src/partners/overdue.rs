//! What was not acknowledged in time.

use super::envelope::state;
use super::tables::{KEEP, SENT, ask, row, write};
use crate::message::{Fault, Map, Text, Value};
use crate::steps::{Answer, Ask, Context, Effect, Outcome, Step};

/// The step after [`Envelope`](super::Envelope): an interchange passes, and what a closed group tells is judged by what is known by then.
#[derive(Debug)]
pub struct Overdue {
    pub partner: Text,
}

fn numbers(document: &Value) -> impl Iterator<Item = &str> {
    let items = document.get("items").and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(|item| item.get("interchange")?.as_text())
}

impl Step for Overdue {
    fn needs_world(&self) -> bool {
        true
    }

    fn asks(&self, document: &Value, _context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        Ok(numbers(document).map(|number| ask(SENT, &[&self.partner, number])).collect())
    }

    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        if document.get("items").is_none() {
            return out.push(document);
        }
        if numbers(&document).next().is_none() {
            return Err(Fault::refuse("PARTNER-DOCUMENT", "what was gathered here is nothing that was sent"));
        }
        out.filtered += 1;
        for (number, answer) in numbers(&document).zip(answers) {
            let Some(before) = row(Some(answer)) else { continue };
            let mut late: Vec<Text> = Vec::new();
            let documents = before.get("documents").and_then(Value::as_list).unwrap_or_default();
            let judge = |document: &Value| {
                let mut map = document.as_map().cloned().unwrap_or_default();
                if map.get("state").and_then(Value::as_text) == Some(state::SENT) {
                    map.insert("state", state::OVERDUE);
                    late.push(map.get("document").and_then(Value::as_text).unwrap_or_default().into());
                }
                Value::from(map)
            };
            let documents: Vec<Value> = documents.iter().map(judge).collect();
            if late.is_empty() {
                continue;
            }
            for document in late {
                let (partner, state) = (self.partner.clone(), Text::new_static(state::OVERDUE));
                let note = format!("interchange {number} is not acknowledged in time").into();
                out.effects.push(Effect::Exchange { partner, document, state, note });
            }
            let mut row: Map = before.clone();
            row.insert("documents", documents);
            out.effects.push(write(SENT, &[&self.partner, number], Some(&before), row, context.now, Some(KEEP)));
        }
        Ok(())
    }
}
