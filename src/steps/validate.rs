//! `validate`: is the document what was agreed?

use super::beside::open;
use super::canonical;
use super::schemas::{DocumentSchema, MAX_SCHEMA_BYTES, Violations};
use super::{Answer, Context, Outcome, Step, StepPlace, kind};
use crate::config::{Node, Reader, Setting, Shape, settings};
use crate::formula::{Condition, Template};
use crate::message::{Fault, Next, Value};

kind! {
    /// Checks a document against a JSON Schema, against rules, or both; one that breaks them goes to dead letters.
    ///
    /// `schema` names a file beside the pipeline (drafts 4 to 2020-12; what its `$ref`s point to must be in the same file;
    /// nothing is fetched), or a canonical document such as `canonical/order`, of `config/canonical/` or as shipped. `rules` are conditions, each with the sentence to say where it does not hold. All violations of a
    /// document are told at once, the first 10 with their paths and without the values, which may be people's data.
    ///
    /// A schema compares numbers to about 16 digits; for exact amounts write a rule.
    ///
    /// ```yaml
    /// - validate:
    ///     schema: order.schema.json
    ///     rules:
    ///       - that: $.total == sum($.lines[*].net)
    ///         otherwise: "=concat('the total of ', $.number, ' is not the sum of its lines')"
    /// ```
    "validate", Settings::shape, read
}

settings! {
    /// What documents must be. At least one of the two.
    pub struct Settings {
        /// A JSON Schema file beside the pipeline, or a canonical document: `canonical/order`.
        schema: Option<SchemaFile>,
        /// Conditions that must hold: a list of `that`, the condition, and `otherwise`, the sentence for whoever repairs the document.
        rules: Vec<Rule>,
    }
}

settings! {
    /// A condition, and what to say where it does not hold.
    pub struct Rule {
        /// The condition, a formula without `=`.
        that: Condition,
        /// The sentence for whoever repairs the document: a text, or a formula that makes one.
        otherwise: Template,
    }
}

/// That a schema is named: it is opened once the step's place is known.
#[derive(Clone, Debug)]
pub struct SchemaFile;

impl Setting for SchemaFile {
    fn shape() -> Shape {
        Shape::Text {
            what: "file beside the pipeline, or a canonical document",
            pattern: None,
            example: "canonical/order",
        }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<SchemaFile> {
        reader.text(node).map(|_| SchemaFile)
    }
}

#[derive(Debug)]
struct Validate {
    schema: Option<DocumentSchema>,
    rules: Vec<Rule>,
}

fn read(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let settings = Settings::read(node, reader);
    // A schema is compiled even where a rule is wrong, so that the mistakes of both are told.
    let named = node.field("schema").filter(|named| named.text().is_some());
    let validator = named.map(|named| read_schema(named, reader, place));
    let Settings { schema, rules } = settings?;
    if schema.is_none() && rules.is_empty() {
        reader.error(node.span.part(0, 1), "nothing to validate").label("state `schema`, `rules`, or both");
        return None;
    }
    let schema = match schema {
        Some(_) => Some(validator??),
        None => None,
    };
    Some(Box::new(Validate { schema, rules }))
}

fn read_schema(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<DocumentSchema> {
    let named = node.text()?;
    if let Some(name) = canonical::named(named) {
        // A pipeline's folder is `pipelines/NAME` of the hub's.
        return canonical::open(&place.folder.join("../.."), name, node.span, reader);
    }
    let file = open(node, reader, place, MAX_SCHEMA_BYTES)?;
    DocumentSchema::compile(named, file, Some(node.span), reader)
}

impl Step for Validate {
    fn apply(
        &self,
        document: Value,
        context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let mut broken = Violations::default();
        if let Some(schema) = &self.schema {
            broken.of_schema(schema, &document);
        }
        self.check_rules(&document, context, &mut broken)?;
        match fault(&broken, self.schema.as_ref()) {
            Some(fault) => Err(fault),
            None => out.push(document),
        }
    }
}

impl Validate {
    fn check_rules(&self, document: &Value, context: &Context<'_>, broken: &mut Violations) -> Result<(), Fault> {
        let scope = context.scope(document);
        for (index, rule) in self.rules.iter().enumerate() {
            let place = || format!("rules[{index}]");
            match rule.that.holds(&scope) {
                Ok(true) => {}
                Ok(false) => {
                    let said = rule.otherwise.render(&scope)?.unwrap_or_default();
                    broken.add(place(), said.as_text().map_or_else(|| said.to_string(), str::to_owned));
                }
                // What a rule needs and does not find, a schema has already told.
                Err(fault) if fault.next() == Next::Refuse && broken.schema > 0 => {}
                Err(fault) if fault.next() == Next::Refuse => {
                    broken.add(fault.position().map_or_else(place, str::to_owned), fault.sentence());
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

fn fault(broken: &Violations, schema: Option<&DocumentSchema>) -> Option<Fault> {
    let first = broken.told.first()?.0.clone();
    let text = broken.sentences();
    let fault = match schema.filter(|_| broken.schema > 0) {
        Some(schema) => {
            Fault::refuse("VALIDATE-SCHEMA", format!("the document does not match {}: {text}", schema.name))
        }
        None => Fault::refuse("VALIDATE-RULE", format!("the document breaks a rule: {text}")),
    };
    Some(fault.at(first))
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn documents_match_their_schema() {
        let step = "- validate: { schema: order.schema.json }";
        let good = r#"{"number":"1","lines":[{"qty":2,"price":1.10}]}"#;
        check(step, good, good);
        check(
            step,
            r#"{"number":"1","lines":[{"qty":2.0,"price":1.10}]}"#,
            r#"{"number":"1","lines":[{"qty":2.0,"price":1.10}]}"#,
        );
        check(
            step,
            r#"{"lines":[{"qty":2,"price":1},{"qty":"secret","price":1}]}"#,
            "VALIDATE-SCHEMA: the document does not match order.schema.json: $: \"number\" is a required property; \
             $.lines[1].qty: the value is not of type \"integer\" (steps[0] validate, $)",
        );
        check(
            step,
            r#"{"number":"1","lines":[{"qty":1,"price":0.105}]}"#,
            "VALIDATE-SCHEMA (steps[0] validate, $.lines[0].price)",
        );
    }

    #[test]
    fn a_canonical_document_is_named_without_its_file() {
        let step = "- validate: { schema: canonical/stock }";
        let good = r#"{"gtin":"3012345678900","gln":"3012345000015","available":-2,"at":"2026-11-02T09:00:00Z"}"#;
        check(step, good, good);
        check(
            step,
            r#"{"gtin":"3012345678900","location":"back","available":"2","at":"yesterday"}"#,
            "VALIDATE-SCHEMA: the document does not match canonical/stock: $.available: the value is not of type \"number\"; \
             $.at: the value is not a \"date-time\" (steps[0] validate, $.available)",
        );
        refused("- validate: { schema: canonical/ordre }", "unknown canonical document `ordre`; did you mean `order`?");
    }

    #[test]
    fn only_the_first_violations_are_told() {
        let line = r#"{"qty":0,"price":1}"#;
        let document = format!(r#"{{"number":"1","lines":[{}]}}"#, [line; 13].join(","));
        check(
            "- validate: { schema: order.schema.json }",
            &document,
            "…; and 3 more (steps[0] validate, $.lines[0].qty)",
        );
    }

    #[test]
    fn rules_say_their_own_sentence() {
        let step = "- validate: { rules: [{ that: $.total > 0, otherwise: no total }, { that: $.n != '', otherwise: \"=concat('order ', $.id)\" }] }";
        check(step, r#"{"total":1,"n":"1","id":7}"#, r#"{"total":1,"n":"1","id":7}"#);
        check(
            step,
            r#"{"total":0,"n":"","id":7}"#,
            "VALIDATE-RULE: the document breaks a rule: rules[0]: no total; rules[1]: order 7 (steps[0] validate, rules[0])",
        );
        check(step, r#"{"n":"1"}"#, "VALIDATE-RULE (steps[0] validate, $.total)");
        let both = "- validate: { schema: order.schema.json, rules: [{ that: $.number == '2', otherwise: not two }] }";
        check(both, r#"{"number":"1","lines":[]}"#, "VALIDATE-RULE (steps[0] validate, rules[0])");
        check(both, "{}", "VALIDATE-SCHEMA (steps[0] validate, $)");
    }

    #[test]
    fn settings_are_checked() {
        refused("- validate: {}", "1:13 nothing to validate; state `schema`, `rules`, or both");
        refused("- validate: { schema: order.jsn }", "1:23 `order.jsn`: the file cannot be read");
        refused("- validate: { schema: cut.schema.json }", "cut.schema.json:3:1 not JSON: the text ends in the middle");
        refused("- validate: { schema: wrong.schema.json }", "1:23 `wrong.schema.json` is not a JSON Schema");
        refused("- validate: { schema: remote.schema.json }", "1:23 `remote.schema.json` is not a JSON Schema");
        refused(
            "- validate: { schema: backtracking.schema.json }",
            "1:23 `backtracking.schema.json` is not a JSON Schema",
        );
        refused("- validate: { shema: order.schema.json }", "1:15 unknown key `shema`; did you mean `schema`?");
        refused("- validate: { rules: [{ that: true }] }", "`otherwise` is missing");
    }
}
