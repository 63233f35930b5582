//! The faults of formulas, each with its code and its sentence.

use crate::message::{Fault, Value};

use super::parser::{Expression, ExpressionKind};

/// The codes, each with its page.
pub const CODES: &[(&str, &str)] = &[
    (
        "FORMULA-MISSING",
        "A path that is not optional found nothing, or a function had nothing to choose from. The message stopped rather than go \
         on with an empty field. If the value may be missing, end the path with `?` (the field is then left out), or write \
         `coalesce(path, otherwise)`, or ask `has(path)` first. If it should be there, the sender's data is to be corrected.",
    ),
    (
        "FORMULA-TYPE",
        "A value was of another kind than the formula wants: text where a number is computed with, a number compared with a \
         text. Nothing is converted by guess. `number(…)` reads a number from text, `concat(…)` makes text of a number.",
    ),
    (
        "FORMULA-VALUE",
        "A value was of the right kind and still cannot be what it should: a wrong check digit, a date that is none, an address \
         without `@`, a list of two where one was wanted. Correct the data, or catch the case with `if` or a `filter`.",
    ),
    (
        "FORMULA-FAIL",
        "A formula refused the message by `fail`, with words of its author: they say what is wrong with it.",
    ),
    ("FORMULA-ARITHMETIC", "A division by zero, or an amount too large to be exact in 28 digits."),
    (
        "FORMULA-LIMIT",
        "A formula would have made a text of more than 1 MB, a list of more than 100,000 items, or looked at too many values. \
         Split the message before, or select less.",
    ),
    (
        "FORMULA-TABLE",
        "A formula reads a table or a column that does not exist. `raccord check` tells it too. The message waits until the \
         configuration is corrected.",
    ),
];

/// Most characters of what `fail` says.
const MOST_WORDS: usize = 1000;
/// Longest piece of a value that is shown.
const MOST_SHOWN: usize = 40;

/// Something that must be there is not.
pub fn missing(sentence: impl Into<String>) -> Fault {
    Fault::refuse("FORMULA-MISSING", sentence)
}

/// A value of the wrong kind.
pub fn kind(sentence: impl Into<String>) -> Fault {
    Fault::refuse("FORMULA-TYPE", sentence)
}

/// A value of the right kind that cannot be what it should be: a wrong check digit, a date that is none.
pub fn value(sentence: impl Into<String>) -> Fault {
    Fault::refuse("FORMULA-VALUE", sentence)
}

/// What a formula itself refuses, in its author's words. What comes from a connection's settings is not shown.
pub fn fail(words: &str, expression: &Expression) -> Fault {
    let words = match holds_secret(expression) {
        true => "a formula refuses the message in words that come from `$connection`, which are not shown".to_owned(),
        false => words.chars().take(MOST_WORDS).collect(),
    };
    Fault::refuse("FORMULA-FAIL", words)
}

pub fn arithmetic(sentence: impl Into<String>) -> Fault {
    Fault::refuse("FORMULA-ARITHMETIC", sentence)
}

pub fn limit(sentence: impl Into<String>) -> Fault {
    Fault::refuse("FORMULA-LIMIT", sentence)
}

/// A fault that has no place of its own stands in its formula.
pub fn in_formula(fault: Fault, text: &str) -> Fault {
    if fault.position().is_some() { fault } else { fault.at(format!("formula `{}`", cut(text))) }
}

/// An operand for a sentence: `` `$.qty` is text ('12') ``, or `'12' is text`.
///
/// What comes from a connection's settings may be a credential: it is not shown.
pub fn operand(expression: &Expression, value: &Value) -> String {
    let secret = holds_secret(expression);
    match (&expression.kind, value) {
        (ExpressionKind::Path(path), Value::Null) => format!("`{}` is null", path.text()),
        (ExpressionKind::Path(path), value) if secret => format!("`{}` is {}", path.text(), value.kind()),
        (_, value) if secret => format!("what comes from `$connection` is {}", value.kind()),
        (ExpressionKind::Path(path), value) => format!("`{}` is {} ({})", path.text(), value.kind(), shown(value)),
        (ExpressionKind::Constant(_), Value::Null) => "null".to_owned(),
        (_, value) => format!("{} is {}", shown(value), value.kind()),
    }
}

fn holds_secret(expression: &Expression) -> bool {
    let mut secret = false;
    expression.paths(&mut |path| secret |= path.is_secret());
    secret
}

/// Puts a fault at the path an operand was read from.
pub fn at(fault: Fault, expression: &Expression) -> Fault {
    match &expression.kind {
        ExpressionKind::Path(path) => fault.at(path.text()),
        _ => fault,
    }
}

/// A value as a formula writes it, cut to 40 characters.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("'{}'", cut(text)),
        Value::List(items) => format!("{} items", items.len()),
        Value::Map(map) => format!("{} fields", map.len()),
        other => cut(&other.to_string()),
    }
}

pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
