//! What must be contained in a document: how cases compare.

use super::{Map, Value};

/// The differences between what a case expects and what came, both by name: a list whole, anything else contained. What came under a
/// name that nothing is expected under is a difference where `told` says so.
pub fn differences(expect: &Value, actual: &Map, told: impl Fn(&str) -> bool) -> Vec<String> {
    let mut differences = Vec::new();
    let nothing = Map::new();
    let expected = match expect {
        Value::Map(map) => map,
        Value::Null => &nothing,
        other => return vec![format!("`expect` must be a map, found {}", other.kind())],
    };
    for (name, expected) in expected.iter() {
        match (expected, actual.get(name)) {
            (Value::List(expected), Some(Value::List(actual))) => lists(name, expected, actual, &mut differences),
            (Value::List(expected), None) if expected.is_empty() => {}
            (_, None) => differences.push(format!("{name}: expected something, nothing came")),
            (expected, Some(actual)) => contained(expected, actual, name, &mut differences),
        }
    }
    let unexpected = actual.iter().filter(|(name, _)| told(name) && !expected.contains(name));
    differences.extend(unexpected.map(|(name, actual)| format!("{name}: nothing was expected, got {actual}")));
    differences
}

fn lists(name: &str, expected: &[Value], actual: &[Value], differences: &mut Vec<String>) {
    for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        contained(expected, actual, &format!("{name}[{index}]"), differences);
    }
    if expected.len() != actual.len() {
        differences.push(format!("{name}: expected {}, got {}", expected.len(), actual.len()));
        differences.extend(actual.iter().skip(expected.len()).map(|extra| format!("  also came: {extra}")));
    }
}

/// Adds to `differences` what of `expected` is not in `actual`, each with its path: maps field by field, lists whole, scalars equal.
pub fn contained(expected: &Value, actual: &Value, path: &str, differences: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Map(expected), Value::Map(actual)) => {
            for (name, expected) in expected.iter() {
                match actual.get(name) {
                    Some(actual) => contained(expected, actual, &format!("{path}.{name}"), differences),
                    None => differences.push(format!("{path}.{name}: expected {expected}, it is not there")),
                }
            }
        }
        (Value::List(expected), Value::List(actual)) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                contained(expected, actual, &format!("{path}[{index}]"), differences);
            }
        }
        (expected, actual) if expected == actual => {}
        (expected, actual) => differences.push(format!("{path}: expected {expected}, got {actual}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::json;

    fn check(expect: &str, actual: &str, said: &[&str]) {
        let read = |text: &str| json::read(text.as_bytes()).expect("the test writes JSON");
        let actual = read(actual).as_map().cloned().expect("the test writes a map");
        assert_eq!(differences(&read(expect), &actual, |name| name != "quiet"), said);
    }

    #[test]
    fn what_is_expected_is_contained() {
        check(r#"{"erp":[{"document":{"a":1}}]}"#, r#"{"erp":[{"document":{"a":1.0,"b":2}}]}"#, &[]);
        check(
            r#"{"erp":[{"document":{"a":1}}]}"#,
            r#"{"erp":[{"document":{"a":2}}]}"#,
            &["erp[0].document.a: expected 1, got 2"],
        );
        check(r#"{}"#, r#"{"erp":[1],"quiet":2}"#, &["erp: nothing was expected, got [1]"]);
        check(r#"{"erp":[1]}"#, r#"{}"#, &["erp: expected something, nothing came"]);
        check(r#"{"erp":[]}"#, r#"{}"#, &[]);
        check(r#"{"erp":[1]}"#, r#"{"erp":[1,2]}"#, &["erp: expected 1, got 2", "  also came: 2"]);
        check(r#"[1]"#, r#"{}"#, &["`expect` must be a map, found a list"]);
    }
}
