//! What must be contained in a document: how cases compare.

use super::Value;

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
