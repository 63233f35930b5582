//! The tree of a formula and a frame → a value, borrowed where it can be.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::functions::{Body, Special};
use super::parser::{Arithmetic, Call, Comparison, Expression, ExpressionKind};
use super::{Frame, MAX_ITEMS, MAX_TEXT, Path, faults, functions};
use crate::message::{Fault, Value};

type Borrowed<'v> = Cow<'v, Value>;

/// The value; something optional that is not there is a fault.
pub fn evaluate<'v>(expression: &'v Expression, frame: &Frame<'v>) -> Result<Borrowed<'v>, Fault> {
    outcome(expression, frame)?.ok_or_else(|| absent(expression))
}

/// The value, or `None` where the whole is an optional path that finds nothing, or an `if` without its otherwise.
pub fn outcome<'v>(expression: &'v Expression, frame: &Frame<'v>) -> Result<Option<Borrowed<'v>>, Fault> {
    match &expression.kind {
        ExpressionKind::Constant(value) => Ok(Some(Cow::Borrowed(value))),
        ExpressionKind::Path(path) => path.find_in(frame),
        ExpressionKind::List(items) => {
            let items: Result<Vec<Value>, Fault> =
                items.iter().map(|item| evaluate(item, frame).map(Cow::into_owned)).collect();
            owned(Value::List(items?))
        }
        ExpressionKind::Not(inner) => owned(Value::Bool(!boolean(inner, frame)?)),
        ExpressionKind::And(pair) => owned(Value::Bool(boolean(&pair[0], frame)? && boolean(&pair[1], frame)?)),
        ExpressionKind::Or(pair) => owned(Value::Bool(boolean(&pair[0], frame)? || boolean(&pair[1], frame)?)),
        ExpressionKind::Negate(inner) => owned((-number(inner, frame)?).into()),
        ExpressionKind::Arithmetic(operator, pair) => {
            let (left, right) = (number(&pair[0], frame)?, number(&pair[1], frame)?);
            compute(*operator, left, right).and_then(|number| owned(number.into()))
        }
        ExpressionKind::Compare(comparison, pair) => compare(*comparison, pair, frame).map(Value::Bool).and_then(owned),
        ExpressionKind::Call(call) => match call.function.body {
            Body::Plain(body) => plain(call, body, frame).and_then(owned),
            Body::Special(special) => self::special(special, call, frame),
        },
        ExpressionKind::Faulty(_) => Err(faults::value("this formula did not compile")),
    }
}

/// The value of a condition.
pub fn boolean(expression: &Expression, frame: &Frame<'_>) -> Result<bool, Fault> {
    let value = evaluate(expression, frame)?;
    value.as_bool().ok_or_else(|| {
        let operand = faults::operand(expression, &value);
        faults::at(faults::kind(format!("{operand}; a condition wants true or false")), expression)
    })
}

fn owned<'v>(value: Value) -> Result<Option<Borrowed<'v>>, Fault> {
    Ok(Some(Cow::Owned(value)))
}

fn absent(expression: &Expression) -> Fault {
    match &expression.kind {
        ExpressionKind::Path(path) => faults::missing(format!(
            "`{0}` finds nothing, and a value is wanted here; `coalesce({0}, …)` gives another",
            path.text()
        ))
        .at(path.text()),
        _ => faults::missing("there is no value: an `if` without its otherwise, or nothing there to choose from"),
    }
}

fn number(expression: &Expression, frame: &Frame<'_>) -> Result<rust_decimal::Decimal, Fault> {
    let value = evaluate(expression, frame)?;
    value.as_decimal().ok_or_else(|| {
        let operand = faults::operand(expression, &value);
        let advice = match (&expression.kind, &*value) {
            (_, Value::Number(_)) => "; it has more digits than can be computed with".to_owned(),
            (ExpressionKind::Path(path), Value::Text(_)) => {
                format!("; arithmetic wants numbers: `number({})` reads one from text", path.text())
            }
            (_, Value::Text(_)) => "; arithmetic wants numbers: `number(…)` reads one from text".to_owned(),
            _ => "; arithmetic wants numbers".to_owned(),
        };
        faults::at(faults::kind(operand + &advice), expression)
    })
}

fn compute(
    operator: Arithmetic,
    left: rust_decimal::Decimal,
    right: rust_decimal::Decimal,
) -> Result<rust_decimal::Decimal, Fault> {
    let (sign, result) = match operator {
        Arithmetic::Add => ('+', left.checked_add(right)),
        Arithmetic::Subtract => ('-', left.checked_sub(right)),
        Arithmetic::Multiply => ('*', left.checked_mul(right)),
        Arithmetic::Divide if right.is_zero() => {
            return Err(faults::arithmetic(format!("{left} / 0: no division by zero")));
        }
        Arithmetic::Divide => ('/', left.checked_div(right)),
    };
    result.ok_or_else(|| faults::arithmetic(format!("{left} {sign} {right} is too large to be exact (28 digits)")))
}

fn compare(comparison: Comparison, pair: &[Expression; 2], frame: &Frame<'_>) -> Result<bool, Fault> {
    let left = evaluate(&pair[0], frame)?;
    let right = evaluate(&pair[1], frame)?;
    let fault = |left: &Value, right: &Value, advice: &str| {
        let (one, two) = (faults::operand(&pair[0], left), faults::operand(&pair[1], right));
        let fault = faults::kind(format!("cannot compare: {one}, {two}{advice}"));
        faults::at(faults::at(fault, &pair[0]), &pair[1])
    };
    match comparison {
        Comparison::Equal | Comparison::Different => {
            let equal = equal(&left, &right).ok_or_else(|| fault(&left, &right, advice(&left, &right)))?;
            Ok(equal == (comparison == Comparison::Equal))
        }
        Comparison::In => {
            let Value::List(items) = &*right else {
                return Err(fault(&left, &right, "; after `in` stands a list"));
            };
            for item in items {
                match equal(&left, item) {
                    Some(true) => return Ok(true),
                    Some(false) => {}
                    None => return Err(fault(&left, item, advice(&left, item))),
                }
            }
            Ok(false)
        }
        _ => {
            let order = order(&left, &right).ok_or_else(|| fault(&left, &right, advice(&left, &right)))?;
            Ok(match comparison {
                Comparison::Less => order == Ordering::Less,
                Comparison::LessOrEqual => order != Ordering::Greater,
                Comparison::Greater => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
    }
}

/// `None` for different kinds: `'5' == 5` is somebody's mistake, and neither answer would be safe. Null equals null alone.
pub fn equal(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Some(left == right),
        _ if left.kind() == right.kind() => Some(left == right),
        _ => None,
    }
}

/// `None` where there is no order: different kinds, null, booleans, lists, maps, numbers too wide to compute with.
pub fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.as_str().cmp(right)),
        _ => Some(left.as_decimal()?.cmp(&right.as_decimal()?)),
    }
}

fn advice(left: &Value, right: &Value) -> &'static str {
    match (left, right) {
        (Value::Text(_), Value::Number(_)) | (Value::Number(_), Value::Text(_)) => {
            "; `number(…)` reads a number from text, `concat(…)` makes text of a number"
        }
        (Value::Null, _) | (_, Value::Null) => "; only `==` and `!=` take null",
        _ => "",
    }
}

fn plain(call: &Call, body: functions::PlainBody, frame: &Frame<'_>) -> Result<Value, Fault> {
    let mut arguments: Vec<Borrowed<'_>> = Vec::with_capacity(call.arguments.len());
    for (index, expression) in call.arguments.iter().enumerate() {
        let value = evaluate(expression, frame)?;
        functions::check_argument(call.function, index, expression, &value)?;
        arguments.push(value);
    }
    let given = functions::Given {
        frame,
        function: call.function,
        arguments: &arguments,
        expressions: &call.arguments,
        pattern: call.pattern.as_ref(),
    };
    let value = body(&given)?;
    let (size, most, unit) = match &value {
        Value::Text(text) => (text.len(), MAX_TEXT, "bytes of text"),
        Value::List(items) => (items.len(), MAX_ITEMS, "items"),
        _ => return Ok(value),
    };
    if size > most {
        return Err(faults::limit(format!("`{}` gives {size} {unit}, more than {most}", call.function.name)));
    }
    Ok(value)
}

/// The functions that do not evaluate all their arguments.
fn special<'v>(special: Special, call: &'v Call, frame: &Frame<'v>) -> Result<Option<Borrowed<'v>>, Fault> {
    let arguments = &call.arguments;
    match (special, arguments.as_slice()) {
        (Special::If, [condition, then, otherwise @ ..]) => match (boolean(condition, frame)?, otherwise) {
            (true, _) => outcome(then, frame),
            (false, [otherwise, ..]) => outcome(otherwise, frame),
            (false, []) => Ok(None),
        },
        (Special::Switch, [value, cases @ ..]) => switch(value, cases, frame),
        (Special::Coalesce, choices) => coalesce(choices, frame),
        (Special::Has, [Expression { kind: ExpressionKind::Path(path), .. }]) => owned(Value::Bool(has(path, frame)?)),
        _ => Err(faults::value(format!("`{}` did not compile", call.function.name))),
    }
}

fn switch<'v>(
    value: &'v Expression,
    cases: &'v [Expression],
    frame: &Frame<'v>,
) -> Result<Option<Borrowed<'v>>, Fault> {
    let subject = evaluate(value, frame)?;
    let pairs = cases.chunks_exact(2);
    let otherwise = pairs.remainder();
    for pair in pairs {
        let case = evaluate(&pair[0], frame)?;
        match equal(&subject, &case) {
            Some(true) => return outcome(&pair[1], frame),
            Some(false) => {}
            None => {
                let (one, two) = (faults::operand(value, &subject), faults::operand(&pair[0], &case));
                let fault = faults::kind(format!("cannot compare: {one}, {two}{}", advice(&subject, &case)));
                return Err(faults::at(fault, value));
            }
        }
    }
    match otherwise {
        [otherwise] => outcome(otherwise, frame),
        _ => {
            let operand = faults::operand(value, &subject);
            let fault =
                faults::missing(format!("{operand}, which no case of this `switch` names, and it has no default"));
            Err(faults::at(fault, value))
        }
    }
}

fn coalesce<'v>(choices: &'v [Expression], frame: &Frame<'v>) -> Result<Option<Borrowed<'v>>, Fault> {
    let (mut null, mut first) = (false, None);
    for choice in choices {
        match outcome(choice, frame) {
            Ok(Some(value)) if *value == Value::Null => null = true,
            Ok(Some(value)) => return Ok(Some(value)),
            Ok(None) => {}
            Err(fault) if fault.code() == "FORMULA-MISSING" => first = first.or(Some(fault)),
            Err(fault) => return Err(fault),
        }
    }
    match first {
        _ if null => owned(Value::Null),
        Some(fault) => Err(fault),
        None => Err(faults::missing("nothing of what this `coalesce` names is there")),
    }
}

/// Whether the path finds something; `null` is something, an empty list is not.
fn has(path: &Path, frame: &Frame<'_>) -> Result<bool, Fault> {
    match path.find_in(frame) {
        Ok(Some(Cow::Owned(Value::List(items)))) if !path.is_singular() => Ok(!items.is_empty()),
        Ok(found) => Ok(found.is_some()),
        Err(fault) if fault.code() == "FORMULA-MISSING" => Ok(false),
        Err(fault) => Err(fault),
    }
}
