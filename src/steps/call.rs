//! `call`: the Content Enricher, from a system.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::connections::Named;
use super::enrich::{Enrich, Missing};
use super::place::Place;
use super::{Answer, Ask, Call, Context, MAX_CALLS, Outcome, Step, StepPlace, kind, too_many_calls, unanswered};
use crate::config::{Node, Reader, Setting, settings};
use crate::formula::{Scope, Template};
use crate::message::{Fault, MessageId, Text, Value, json};

/// Most bytes that one step sends to a system for one document.
const MAX_INPUT: usize = 16 << 20;
/// A call that takes longer is a message's way to stand still.
const LONGEST: Duration = Duration::from_secs(300);
/// Characters of the input that a fault repeats.
const SHOWN: usize = 200;

kind! {
    /// Asks a system for something and puts the answer into the document, or into each item of a list.
    ///
    /// The system is a connection, the question one of its operations that read. `with` is what the operation is given; without
    /// it, it is given the document, or with `each` the item. The answer stands under `into`.
    ///
    /// An answer is stored before the message goes on. A message that is tried again, handed out again after a crash, or
    /// replayed from the dead letters goes on with the answers it had and asks only what was not answered yet; they are
    /// kept as long as journal and dead letters. Within one message the same question is asked once. The questions of one `each`
    /// are asked at the same time, up to eight.
    ///
    /// Where the system has nothing, the message goes to dead letters, unless `missing: leave_out` lets it go on without `into`. So
    /// it is where `with` is an optional path that finds nothing. Where the system is away or too slow, the message waits and is
    /// tried again by `on_error` of the pipeline; `otherwise` lets it go on with a value of its own instead. What the system
    /// refuses goes to dead letters.
    ///
    /// ```yaml
    /// - call:
    ///     connection: erp
    ///     operation: product.find
    ///     each: $.line_items
    ///     with: { gtin: $item.barcode }
    ///     into: article
    ///     keep: 10m
    ///     otherwise: { name: unknown }
    /// ```
    "call", Settings::shape, read
}

settings! {
    /// Whom to ask for what, and where the answer goes.
    pub struct Settings {
        /// The connection's name.
        connection: Named,
        /// The operation to ask, one that reads.
        operation: Named,
        /// What the operation is given. Without it: the document, or with `each` the item. An optional path that finds nothing leaves its field out.
        with: Option<Template>,
        /// A list whose items each get their answer: a path of names and numbers to it, or `[*]` for each item, as in `$.orders[*].lines[*]`. Without it there is one answer, for the document.
        each: Option<Place>,
        /// The field the answer is put into.
        into: Text,
        /// What to do where the system has nothing.
        missing: Missing = "fail",
        /// An answer may be so old: it is kept in memory and given to all messages with the same question. Without it each message asks anew.
        keep: Option<Duration>,
        /// The answer where the system is away or too slow. Not where it refuses.
        otherwise: Option<Template>,
        /// Most time the system may take. At most 5m.
        within: Duration = "5s",
    }
}

#[derive(Debug)]
struct Caller {
    enrich: Enrich,
    connection: Text,
    operation: Text,
    with: Option<Template>,
    missing: Missing,
    keep: Option<Duration>,
    otherwise: Option<Template>,
    within: Duration,
}

fn read(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let Settings { connection, operation, with, each, into, missing, keep, otherwise, within } =
        Settings::read(node, reader)?;
    if within.is_zero() || within > LONGEST {
        let span = node.field("within").map_or(node.span, |within| within.span);
        reader.error(span, "`within` is more than nothing and at most 5m").label("the message waits so long");
        return None;
    }
    if !place.connections.check(&connection, &operation, reader) {
        return None;
    }
    let (connection, operation) = (connection.name, operation.name);
    let enrich = Enrich { each, into };
    Some(Box::new(Caller { enrich, connection, operation, with, missing, keep, otherwise, within }))
}

impl Step for Caller {
    fn needs_world(&self) -> bool {
        true
    }

    fn asks(&self, document: &Value, context: &Context<'_>) -> Result<Vec<Ask>, Fault> {
        let mut asked: HashMap<Text, Arc<Call>> = HashMap::new();
        let mut bytes = 0;
        let asks = self.enrich.for_each(document, context, |scope| {
            let Some(input) = self.input(scope)? else { return Ok(None) };
            let text = json::to_text(&input);
            let otherwise = self.otherwise.as_ref().map_or(Ok(None), |otherwise| otherwise.render(scope))?;
            let place = self.place(&text, otherwise.as_ref());
            if let Some(call) = asked.get(&place) {
                return Ok(Some(Ask::Call(call.clone())));
            }
            bytes += text.len();
            if asked.len() == MAX_CALLS || bytes > MAX_INPUT {
                return Err(too_many_calls());
            }
            let call = Arc::new(Call {
                connection: self.connection.clone(),
                operation: self.operation.clone(),
                input,
                place: place.clone(),
                within: self.within,
                keep: self.keep,
                otherwise,
                needed: self.missing == Missing::Fail,
            });
            asked.insert(place, call.clone());
            Ok(Some(Ask::Call(call)))
        })?;
        Ok(asks.into_iter().flatten().collect())
    }

    fn apply(
        &self,
        mut document: Value,
        context: &Context<'_>,
        answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let mut answers = answers.into_iter();
        let found = self.enrich.for_each(&document, context, |scope| {
            let input = self.input(scope)?;
            let answer = match (&input, input.as_ref().and_then(|_| answers.next())) {
                (None, _) => None,
                (Some(_), Some(Answer::Called(answer))) => answer,
                (Some(_), _) => return Err(unanswered("call")),
            };
            match self.missing {
                Missing::Fail if answer.is_none() => Err(self.not_found(input.as_ref())),
                _ => Ok(answer),
            }
        })?;
        self.enrich.put(&mut document, found, |said| {
            Fault::refuse("CALL-PLACE", format!("the answer cannot be put {said}"))
        })?;
        out.push(document)
    }
}

impl Caller {
    /// What the operation is given; `None` where `with` is an optional path that finds nothing.
    fn input(&self, scope: &Scope<'_>) -> Result<Option<Value>, Fault> {
        match (&self.with, scope.item) {
            (Some(with), _) => with.render(scope),
            (None, Some((item, _))) => Ok(Some(item.clone())),
            (None, None) => Ok(Some(scope.document.clone())),
        }
    }

    /// By what is asked, and not by where: an edit that moves the step, or mends the question, gets the answer to its question.
    fn place(&self, input: &str, otherwise: Option<&Value>) -> Text {
        let otherwise = otherwise.map(json::to_text).unwrap_or_default();
        let needed = if self.missing == Missing::Fail { b"1" } else { b"0" };
        let question = MessageId::derive(&[
            self.connection.as_bytes(),
            self.operation.as_bytes(),
            input.as_bytes(),
            otherwise.as_bytes(),
            needed,
        ]);
        format!("{}#{question}", self.operation).into()
    }

    fn not_found(&self, input: Option<&Value>) -> Fault {
        let Caller { connection, operation, .. } = self;
        let said = match input {
            None => {
                format!("nothing to ask `{operation}` of `{connection}` for: the optional path of `with` finds nothing")
            }
            Some(input) => {
                let text = json::to_text(input);
                let shown: String = text.chars().take(SHOWN).collect();
                let more = if shown.len() < text.len() { "..." } else { "" };
                format!("`{operation}` of `{connection}` has nothing for {shown}{more}")
            }
        };
        Fault::refuse("CALL-MISSING", said)
    }
}

#[cfg(test)]
mod tests {
    use crate::message::json;
    use crate::steps::check::{ask, check, read, refused};

    const STEP: &str = "- call: { connection: erp, operation: product.find, with: { gtin: $.g }, into: article";

    #[test]
    fn an_answer_is_put_into_the_document_or_its_items() {
        let one = format!("{STEP} }}");
        check(&one, r#"{"g":"111"}"#, r#"{"g":"111","article":{"name":"Lamp"}}"#);
        let each =
            "- call: { connection: erp, operation: product.find, each: $.l, with: { gtin: $item.g }, into: article }";
        let expect = r#"{"l":[{"g":"111","article":{"name":"Lamp"}},{"g":"111","article":{"name":"Lamp"}}]}"#;
        check(each, r#"{"l":[{"g":"111"},{"g":"111"}]}"#, expect);
        let whole = "- call: { connection: erp, operation: product.find, each: $.l, into: article }";
        check(whole, r#"{"l":[{"gtin":"111"}]}"#, r#"{"l":[{"gtin":"111","article":{"name":"Lamp"}}]}"#);
        check(
            "- call: { connection: erp, operation: product.find, into: a }",
            r#"{"gtin":"111"}"#,
            r#"{"gtin":"111","a":{"name":"Lamp"}}"#,
        );
        let texts = "- call: { connection: erp, operation: product.find, each: $.l, with: { gtin: $item }, into: a }";
        check(texts, r#"{"l":["111"]}"#, "CALL-PLACE (steps[0] call, $.l[0])");
    }

    #[test]
    fn what_is_missing_fails_or_is_left_out() {
        check(
            &format!("{STEP} }}"),
            r#"{"g":"999"}"#,
            "CALL-MISSING: `product.find` of `erp` has nothing for {\"gtin\":\"999\"} (steps[0] call)",
        );
        check(&format!("{STEP}, missing: leave_out }}"), r#"{"g":"999"}"#, r#"{"g":"999"}"#);
        let optional = "- call: { connection: erp, operation: product.find, with: $.g?, into: a";
        check(&format!("{optional}, missing: leave_out }}"), "{}", "{}");
        check(&format!("{optional} }}"), "{}", "CALL-MISSING (steps[0] call)");
    }

    #[test]
    fn a_fallback_stands_in_for_a_system_that_is_away() {
        check(&format!("{STEP} }}"), r#"{"g":"away"}"#, "HTTP-CONNECT (steps[0] call)");
        let otherwise = format!("{STEP}, otherwise: {{ name: unknown, gtin: $.g }} }}");
        check(&otherwise, r#"{"g":"away"}"#, r#"{"g":"away","article":{"name":"unknown","gtin":"away"}}"#);
        check(&otherwise, r#"{"g":"111"}"#, r#"{"g":"111","article":{"name":"Lamp"}}"#);
    }

    #[test]
    fn a_question_is_named_by_what_is_asked() {
        let places = |yaml: &str, document: &str| -> Vec<String> {
            let (steps, problems) = read(yaml);
            let steps = steps.unwrap_or_else(|| panic!("{problems:?}"));
            let asks = ask(&steps, &json::read(document.as_bytes()).expect("this is JSON"));
            asks.iter().map(|call| call.place.to_string()).collect()
        };
        let each = "- call: { connection: erp, operation: product.find, each: $.l, with: { gtin: $item }, into: a }";
        let asked = places(each, r#"{"l":["1","2","1"]}"#);
        assert_eq!((asked[0] == asked[1], asked[0] == asked[2]), (false, true));
        let with = |more: &str| places(&format!("{STEP}{more} }}"), r#"{"g":"1"}"#).remove(0);
        assert!(with("").starts_with("product.find#"), "{}", with(""));
        assert_eq!(with(""), with(", keep: 5m, within: 1s"));
        assert_ne!(with(""), with(", otherwise: none"));
        assert_ne!(with(""), with(", missing: leave_out"));
    }

    #[test]
    fn too_many_questions_are_refused() {
        let each = "- call: { connection: erp, operation: product.find, each: $.l, with: { gtin: $item }, into: a, missing: leave_out }";
        let list = |items: Vec<String>| format!(r#"{{"l":[{}]}}"#, items.join(","));
        check(each, &list((0..10_001).map(|n| n.to_string()).collect()), "CALL-LIMIT (steps[0] call, $.l[10000])");
        let same = list(vec!["1".to_owned(); 20_000]);
        check(each, &same, &same);
        let large = format!("\"{}\"", "x".repeat(9 << 20));
        check(each, &list(vec![large.clone(), large.replace('x', "y")]), "CALL-LIMIT (steps[0] call, $.l[1])");
    }

    #[test]
    fn connections_and_operations_are_checked() {
        refused(
            "- call: { connection: epr, operation: product.find, into: x }",
            "1:23 unknown connection `epr`; did you mean `erp`?",
        );
        refused(
            "- call: { connection: erp, operation: product.fnd, into: x }",
            "1:39 unknown operation `product.fnd`; did you mean `product.find`?",
        );
        refused(
            "- call: { connection: erp, operation: sale.post, into: x }",
            "1:39 `sale.post` does more than read: it cannot be called; a call may be repeated, so it changes nothing; those of `erp` that read: product.find, stock.list; what writes is a destination in `to`",
        );
        refused(
            "- call: { connection: erp, operation: product.find, into: x, within: 1h }",
            "1:70 `within` is more than",
        );
    }
}
