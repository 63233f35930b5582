//! `set`: the Content Enricher, from the document itself.

use super::{Answer, Context, Outcome, Step, StepPlace, kind};
use crate::config::{Key, Kind, Node, Reader, Setting, Shape};
use crate::formula::Template;
use crate::message::{Fault, Map, Text, Value};

kind! {
    /// Adds fields to the document, or replaces their values; the rest stays.
    ///
    /// Each name is a field, `customer.email` a field within a field; what is missing on the way is created. The values
    /// are paths, formulas and constants over the document as it arrives at this step: one field of a `set` does not see
    /// another one; where it should, use two steps. An optional path that finds nothing sets nothing.
    ///
    /// ```yaml
    /// - set:
    ///     total: "=sum($.lines[*].net)"
    ///     customer.country: FR
    /// ```
    "set", shape, read
}

#[derive(Debug)]
struct Set(Vec<(Vec<Text>, Template)>);

fn shape() -> Shape {
    Shape::Named(|| Box::new(Template::shape()))
}

fn read(node: &Node, reader: &mut Reader<'_>, _place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let Kind::Map { fields, .. } = &node.kind else {
        return reader.map(node).and(None);
    };
    let read_field = |(key, node): &(Key, Node)| (names(key, reader), Template::read(node, reader));
    let read: Vec<_> = fields.iter().map(read_field).collect();
    let fields: Option<Vec<_>> = read.into_iter().map(|(names, value)| names.zip(value)).collect();
    Some(Box::new(Set(fields?)))
}

/// `customer.email` → `customer`, `email`.
fn names(key: &Key, reader: &mut Reader<'_>) -> Option<Vec<Text>> {
    if let Some(plain) = key.name.strip_prefix("$.") {
        let problem = reader.error(key.span, format!("`{}` is a path; `set` takes the name of a field", key.name));
        problem.label(format!("write `{plain}`"));
        return None;
    }
    let names: Vec<Text> = key.name.split('.').map(Text::from).collect();
    if names.iter().any(|name| name.is_empty() || name.contains(['[', ']', '*'])) {
        reader
            .error(key.span, format!("`{}` does not name a field", key.name))
            .label("expected names with dots between, as in `customer.email`");
        return None;
    }
    Some(names)
}

impl Step for Set {
    fn apply(
        &self,
        mut document: Value,
        context: &Context<'_>,
        _answers: Vec<Answer>,
        out: &mut Outcome,
    ) -> Result<(), Fault> {
        let scope = context.scope(&document);
        let values: Vec<_> = self.0.iter().map(|(_, value)| value.render(&scope)).collect::<Result<_, _>>()?;
        for ((names, _), value) in self.0.iter().zip(values) {
            if let Some(value) = value {
                put(&mut document, names, value)?;
            }
        }
        out.push(document)
    }
}

fn put(document: &mut Value, names: &[Text], value: Value) -> Result<(), Fault> {
    let mut at = document;
    for (depth, name) in names.iter().enumerate() {
        let kind = at.kind();
        let Value::Map(map) = at else {
            let place = names[..depth].iter().fold("$".to_owned(), |path, name| format!("{path}.{name}"));
            let said = format!("`{place}` is {kind}, not a map: it cannot hold the field `{name}`");
            return Err(Fault::refuse("SET-PLACE", said).at(place));
        };
        if depth + 1 == names.len() {
            map.insert(name.clone(), value);
            return Ok(());
        }
        if !map.contains(name) {
            map.insert(name.clone(), Map::new());
        }
        at = map.get_mut(name).expect("it was there, or was just inserted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn fields_are_added_and_replaced() {
        check("- set: { b: 2 }", r#"{"a":1}"#, r#"{"a":1,"b":2}"#);
        check("- set: { a: 2 }", r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#);
        check("- set: { c.d.e: x }", r#"{"c":{"z":1}}"#, r#"{"c":{"z":1,"d":{"e":"x"}}}"#);
        check("- set: { a: $.b, b: $.a }", r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#);
        check("- set: { a: $.none? }", r#"{"a":1}"#, r#"{"a":1}"#);
    }

    #[test]
    fn what_is_no_map_holds_no_field() {
        check("- set: { a.b: 1 }", r#"{"a":"text"}"#, "SET-PLACE (steps[0] set, $.a)");
        check("- set: { a: 1 }", "[]", "SET-PLACE (steps[0] set, $)");
        check("- set: { a: $.none }", "{}", "FORMULA-MISSING (steps[0] set, $.none)");
    }

    #[test]
    fn names_are_names() {
        refused("- set: { $.a: 1 }", "1:10 `$.a` is a path; `set` takes the name of a field; write `a`");
        refused("- set: { a..b: 1 }", "1:10 `a..b` does not name a field");
        refused("- set: [a]", "1:8 expected a map, found a list");
    }
}
