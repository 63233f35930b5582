//! People's data is masked where it is shown, and where the journal, the log or a fault would keep it.

use sha2::{Digest, Sha256};

use super::Pipeline;
use crate::message::{Fault, Text, Value, json};

/// `document` with what stands at the pipeline's `private` places replaced by `***`.
pub fn mask(pipeline: &Pipeline, mut document: Value) -> Value {
    for place in &pipeline.private {
        place.replace(&mut document, &Value::text("***"));
    }
    document
}

/// The values at the pipeline's `private` places of a message, so that no fault says them.
pub(super) struct People(Vec<Text>);

/// Shorter values are too common to be taken for people's data.
const SHORTEST: usize = 3;

impl People {
    /// Those of `document`; nobody where the pipeline names no private place.
    pub fn of(pipeline: &Pipeline, document: &Value) -> People {
        let mut found = Vec::new();
        for place in &pipeline.private {
            place.each(document, &mut |value| gather(value, &mut found));
        }
        // The longest first: a value inside another would leave the rest of it.
        found.sort_by_key(|text| std::cmp::Reverse(text.len()));
        People(found)
    }

    /// Whatever stands in what a source could make nothing of: where in it the private places are is not known.
    pub fn anywhere(pipeline: &Pipeline, body: &[u8]) -> People {
        let mut found = Vec::new();
        if !pipeline.private.is_empty() {
            gather(&json::read(body).unwrap_or_default(), &mut found);
        }
        found.sort_by_key(|text| std::cmp::Reverse(text.len()));
        People(found)
    }

    /// [`People::anywhere`], of a body that is not JSON: where nothing can be found, what the fault repeats is left out.
    pub fn hide_unread(pipeline: &Pipeline, body: &[u8], fault: Fault) -> Fault {
        // Of a lane it is known where they are, whatever is wrong with what is in it.
        let document = pipeline.is_lane().then(|| pipeline.codec.decode(body).ok()).flatten();
        let people = document.map_or_else(|| People::anywhere(pipeline, body), |found| People::of(pipeline, &found));
        let fault = people.hide(fault);
        let unreadable = !pipeline.private.is_empty() && json::read(body).is_err();
        if unreadable { fault.without_detail() } else { fault }
    }

    /// The fault without their data: for logs, dead letters and the journal.
    pub fn hide(&self, fault: Fault) -> Fault {
        if self.0.is_empty() {
            return fault;
        }
        let sentence = fault.sentence();
        let mut hidden = sentence.clone();
        for text in &self.0 {
            // Faults cut long values: what is left of one is its beginning.
            let shown: String = text.chars().take(SHOWN).collect();
            hidden = hidden.replace(text.as_str(), "***").replace(&shown, "***");
        }
        if hidden == sentence { fault } else { fault.in_other_words(hidden) }
    }
}

/// As much of a value as a fault shows.
const SHOWN: usize = 40;

fn gather(value: &Value, found: &mut Vec<Text>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Map(map) => map.iter().for_each(|(_, item)| gather(item, found)),
        other => found.extend(other.plain().filter(|text| text.trim().chars().count() >= SHORTEST)),
    }
}

/// What the journal keeps of a private value: enough to find it by the value, not to read it.
pub fn pseudonym(value: &str) -> Text {
    let mut hash = Sha256::new();
    hash.update(b"raccord track ");
    hash.update(value);
    let digest = hash.finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("private:{hex}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::json;

    fn check(sentence: &str, expect: &str) {
        let document =
            r#"{"customer":{"email":"ada@example.com","names":["Ada","Ada Lovelace"],"child":true,"age":7}}"#;
        let document = json::read(document.as_bytes()).expect("the document is JSON");
        let mut people = Vec::new();
        gather(&document, &mut people);
        people.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let fault = People(people).hide(Fault::refuse("FORMULA-TYPE", sentence).at("$.customer"));
        assert_eq!(fault.sentence(), expect);
        assert_eq!((fault.code(), fault.position()), ("FORMULA-TYPE", Some("$.customer")));
    }

    #[test]
    fn a_fault_does_not_say_peoples_data() {
        check("`$.customer.email` is text ('ada@example.com')", "`$.customer.email` is text ('***')");
        check("'Ada Lovelace' is no number", "'***' is no number");
        check("7 items are too many", "7 items are too many");
    }
}
