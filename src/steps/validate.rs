//! `validate`: is the document what was agreed?

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value as Json;

use super::beside::open;
use super::{Answer, Context, Outcome, Step, StepPlace, kind};
use crate::config::{FileId, Node, Reader, Setting, Shape, Span, settings};
use crate::formula::{Condition, Template};
use crate::message::{Fault, Next, Number, Text, Value, json};

/// Violations told of one document; the rest are counted.
const MOST_TOLD: usize = 10;
/// Largest schema file.
const MAX_SCHEMA_BYTES: usize = 1 << 20;

kind! {
    /// Checks a document against a JSON Schema, against rules, or both; one that breaks them goes to dead letters.
    ///
    /// `schema` names a file beside the pipeline (drafts 4 to 2020-12; what its `$ref`s point to must be in the same file;
    /// nothing is fetched). `rules` are conditions, each with the sentence to say where it does not hold. All violations of a
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
        /// A JSON Schema file beside the pipeline.
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

/// The name of a schema's file, which is opened once the step's place is known.
#[derive(Clone, Debug)]
pub struct SchemaFile(Text);

impl Setting for SchemaFile {
    fn shape() -> Shape {
        Shape::Text { what: "file beside the pipeline", pattern: None, example: "order.schema.json" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<SchemaFile> {
        reader.text(node).map(SchemaFile)
    }
}

#[derive(Debug)]
struct Validate {
    schema: Option<(Text, Validator)>,
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
        Some(SchemaFile(name)) => Some((name, validator??)),
        None => None,
    };
    Some(Box::new(Validate { schema, rules }))
}

fn read_schema(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Validator> {
    let file = open(node, reader, place, MAX_SCHEMA_BYTES)?;
    let text = reader.files.text(file);
    let schema = match json::read(text.as_bytes()) {
        Ok(schema) => to_json(&schema),
        Err(error) => {
            let span = span_of(file, &text, error.line, error.column);
            reader.error(span, format!("not JSON: {}", error.what)).label("here");
            return None;
        }
    };
    // `regex` takes time in proportion to the text, whatever the pattern; the other engine can be made to hang.
    let options =
        jsonschema::options().offline().should_validate_formats(true).with_pattern_options(PatternOptions::regex());
    match options.build(&schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            let place = path_of(error.instance_path().as_str());
            let said = format!("`{}` is not a JSON Schema: {error}", node.text().unwrap_or_default());
            reader.error(node.span, said).label(format!("at `{place}` of the schema"));
            None
        }
    }
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
        if let Some((_, validator)) = &self.schema {
            broken.of_schema(validator, &document);
        }
        self.check_rules(&document, context, &mut broken)?;
        match broken.fault(self.schema.as_ref().map(|(name, _)| name)) {
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

/// What is wrong with a document: path and sentence of the first few, and how many there are.
#[derive(Default)]
struct Violations {
    told: Vec<(String, String)>,
    count: usize,
    /// How many of them are the schema's.
    schema: usize,
}

impl Violations {
    fn of_schema(&mut self, validator: &Validator, document: &Value) {
        let json = to_json(document);
        // The quick question first: most documents are valid.
        if validator.is_valid(&json) {
            return;
        }
        for error in validator.iter_errors(&json) {
            self.schema += 1;
            self.add(path_of(error.instance_path().as_str()), sentence(&error));
        }
    }

    fn add(&mut self, place: String, said: String) {
        self.count += 1;
        if self.told.len() < MOST_TOLD {
            self.told.push((place, said));
        }
    }

    fn fault(self, schema: Option<&Text>) -> Option<Fault> {
        let first = self.told.first()?.0.clone();
        let told: Vec<String> = self.told.iter().map(|(place, said)| format!("{place}: {said}")).collect();
        let mut text = told.join("; ");
        if self.count > MOST_TOLD {
            text.push_str(&format!("; and {} more", self.count - MOST_TOLD));
        }
        let fault = match schema.filter(|_| self.schema > 0) {
            Some(name) => Fault::refuse("VALIDATE-SCHEMA", format!("the document does not match {name}: {text}")),
            None => Fault::refuse("VALIDATE-RULE", format!("the document breaks a rule: {text}")),
        };
        Some(fault.at(first))
    }
}

/// What the schema says, without the values.
fn sentence(error: &ValidationError<'_>) -> String {
    error.masked_with("the value").to_string()
}

/// A JSON Pointer (RFC 6901) as a path: `/lines/3/price` → `$.lines[3].price`.
fn path_of(pointer: &str) -> String {
    let mut path = "$".to_owned();
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{name}]"));
        } else if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            path.push_str(&format!(".{name}"));
        } else {
            path.push_str(&format!("['{name}']"));
        }
    }
    path
}

/// The document as the schema library reads it: numbers that are not whole as binary floating point, which is why a
/// document is only looked at in this shape and never goes on in it.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => Json::Number(json_number(number)),
        Value::Text(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect()),
    }
}

fn json_number(number: &Number) -> serde_json::Number {
    if let Number::Decimal(decimal) = number
        && decimal.is_integer()
    {
        let whole = decimal.trunc();
        if let Ok(whole) = i64::try_from(whole) {
            return whole.into();
        }
        if let Ok(whole) = u64::try_from(whole) {
            return whole.into();
        }
    }
    // A number beyond the range of floating point is a very large one.
    let float: f64 = number.to_string().parse().unwrap_or(f64::MAX);
    serde_json::Number::from_f64(float.clamp(f64::MIN, f64::MAX)).unwrap_or_else(|| 0.into())
}

fn span_of(file: FileId, text: &str, line: usize, column: usize) -> Span {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = (start + column.saturating_sub(1)).min(text.len()) as u32;
    Span { file, start: at, end: at }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn numbers_reach_the_schema() {
        let number = |text: &str| json_number(&Number::read(text).expect(text)).to_string();
        assert_eq!(number("1.10"), "1.1");
        assert_eq!(number("2.00"), "2");
        assert_eq!(number("-9223372036854775808"), "-9223372036854775808");
        assert_eq!(number("18446744073709551615"), "18446744073709551615");
        assert_eq!(number("1e400"), "1.7976931348623157e+308");
        assert_eq!(number("-1e400"), "-1.7976931348623157e+308");
    }

    #[test]
    fn pointers_are_shown_as_paths() {
        assert_eq!(path_of(""), "$");
        assert_eq!(path_of("/lines/3/unit price/a~1b"), "$.lines[3]['unit price']['a/b']");
    }
}
