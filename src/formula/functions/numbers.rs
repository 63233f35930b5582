//! Numbers, exact decimals of up to 28 digits. Halves are rounded away from zero, as invoices do.

use rust_decimal::{Decimal, RoundingStrategy};

use super::{Body, Family, Function, Given, Kind, done, done_text, many, may, need};
use crate::formula::{evaluator, faults};
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "number",
        family: Family::Numbers,
        parameters: &[need("text", Kind::Plain), may("decimal_mark", Kind::Text), may("grouping_mark", Kind::Text)],
        result: Kind::Number,
        about: "The number a text says. The decimal mark is `.` unless given; grouping marks are refused unless given. \
                Blanks around, a sign and leading zeros are fine.",
        example: "[number($.qty), number('12,50', ','), number('1 234,50', ',', ' ')]",
        gives: "[2, 12.50, 1234.50]",
        body: Body::Plain(number),
    },
    Function {
        name: "round",
        family: Family::Numbers,
        parameters: &[need("number", Kind::Number), may("digits", Kind::Number)],
        result: Kind::Number,
        about: "The number rounded to so many decimals, 0 unless given; a half goes away from zero.",
        example: "[round(2.345, 2), round(-2.5)]",
        gives: "[2.35, -3]",
        body: Body::Plain(|given| done(rounded(given.number(0), given.whole(1, 0, 0, 28)?))),
    },
    Function {
        name: "floor",
        family: Family::Numbers,
        parameters: &[need("number", Kind::Number)],
        result: Kind::Number,
        about: "The next whole number below.",
        example: "floor(-2.5)",
        gives: "-3",
        body: Body::Plain(|given| done(given.number(0).floor())),
    },
    Function {
        name: "ceil",
        family: Family::Numbers,
        parameters: &[need("number", Kind::Number)],
        result: Kind::Number,
        about: "The next whole number above.",
        example: "ceil(2.1)",
        gives: "3",
        body: Body::Plain(|given| done(given.number(0).ceil())),
    },
    Function {
        name: "abs",
        family: Family::Numbers,
        parameters: &[need("number", Kind::Number)],
        result: Kind::Number,
        about: "The number without its sign.",
        example: "abs(-5)",
        gives: "5",
        body: Body::Plain(|given| done(given.number(0).abs())),
    },
    Function {
        name: "min",
        family: Family::Numbers,
        parameters: &[many("value", Kind::Any)],
        result: Kind::Any,
        about: "The smallest of the values, or of one list. Numbers or texts, not both; of dates the earliest, if written alike.",
        example: "min($.lines[*].net)",
        gives: "5.00",
        body: Body::Plain(|given| extreme(given, std::cmp::Ordering::Less)),
    },
    Function {
        name: "max",
        family: Family::Numbers,
        parameters: &[many("value", Kind::Any)],
        result: Kind::Any,
        about: "The largest of the values, or of one list.",
        example: "max(0, $.price - 20)",
        gives: "0",
        body: Body::Plain(|given| extreme(given, std::cmp::Ordering::Greater)),
    },
    Function {
        name: "sum",
        family: Family::Numbers,
        parameters: &[need("list", Kind::List)],
        result: Kind::Number,
        about: "The sum of a list of numbers; of an empty one, 0.",
        example: "sum($.lines[*].net)",
        gives: "24.98",
        body: Body::Plain(|given| done(sum(given)?)),
    },
    Function {
        name: "avg",
        family: Family::Numbers,
        parameters: &[need("list", Kind::List)],
        result: Kind::Number,
        about: "The average of a list of numbers; an empty one has none.",
        example: "avg($.lines[*].net)",
        gives: "12.49",
        body: Body::Plain(average),
    },
    Function {
        name: "count",
        family: Family::Numbers,
        parameters: &[need("list", Kind::List)],
        result: Kind::Number,
        about: "How many items a list has.",
        example: "count($.lines[?@.qty > 1])",
        gives: "1",
        body: Body::Plain(|given| done(given.list(0).len())),
    },
    Function {
        name: "format_number",
        family: Family::Numbers,
        parameters: &[
            need("number", Kind::Number),
            need("digits", Kind::Number),
            may("decimal_mark", Kind::Text),
            may("grouping_mark", Kind::Text),
        ],
        result: Kind::Text,
        about: "The number as text with so many decimals, rounded; the decimal mark is `.` unless given, thousands are \
                grouped only if a mark is given.",
        example: "format_number(1234.5, 2, ',', ' ')",
        gives: "'1 234,50'",
        body: Body::Plain(format),
    },
];

/// Rounded to `digits` decimals, a half away from zero.
pub fn rounded(number: Decimal, digits: i64) -> Decimal {
    let digits = u32::try_from(digits).unwrap_or_default();
    number.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero)
}

fn number(given: &Given<'_>) -> Result<Value, Fault> {
    if let Some(Value::Number(_)) = given.get(0) {
        return match given.get(0).and_then(Value::as_decimal) {
            Some(number) => done(number),
            None => Err(given.refuse(0, "more digits than can be computed with")),
        };
    }
    let (mark, grouping) = (given.text_or(1, "."), given.text_or(2, ""));
    if mark.is_empty() || mark == grouping {
        return Err(given.refuse(1, "the decimal mark is one character, and not the grouping mark"));
    }
    read(&given.plain(0), mark, grouping).map(Value::from).ok_or_else(|| {
        let said = format!("not a number with `{mark}` before its decimals");
        given.refuse(0, if grouping.is_empty() { said } else { format!("{said} and `{grouping}` between thousands") })
    })
}

/// The number that `text` says.
pub fn read(text: &str, mark: &str, grouping: &str) -> Option<Decimal> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once(mark).unwrap_or((digits, ""));
    let grouped: String;
    let whole = if grouping.is_empty() {
        whole
    } else {
        // A group after the first has three digits: `1.5` with `.` as grouping mark is not 15.
        if whole.split(grouping).skip(1).any(|group| group.len() != 3) {
            return None;
        }
        grouped = whole.replace(grouping, "");
        &grouped
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let lone_mark = fraction.is_empty() && digits.contains(mark);
    if whole.is_empty() || lone_mark || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let significant = whole.trim_start_matches('0').len() + fraction.len();
    if significant > 28 {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}").parse().ok()
}

fn extreme(given: &Given<'_>, wanted: std::cmp::Ordering) -> Result<Value, Fault> {
    let values: Vec<&Value> = match (given.arguments.len(), given.get(0)) {
        (1, Some(Value::List(items))) => items.iter().collect(),
        _ => given.arguments.iter().map(|value| &**value).collect(),
    };
    let mut values = values.into_iter();
    let Some(mut best) = values.next() else {
        return Err(given.nothing(0, "an empty list has neither a smallest nor a largest"));
    };
    // A lone value is compared with itself, so that its kind is checked too.
    for value in std::iter::once(best).chain(values) {
        let Some(order) = evaluator::order(value, best) else {
            let name = given.function.name;
            let said = format!("`{name}` wants numbers, or texts: it was given {} and {}", best.kind(), value.kind());
            return Err(faults::at(faults::kind(said), &given.expressions[0]));
        };
        if order == wanted {
            best = value;
        }
    }
    Ok(best.clone())
}

fn sum(given: &Given<'_>) -> Result<Decimal, Fault> {
    let mut total = Decimal::ZERO;
    for (index, item) in given.list(0).iter().enumerate() {
        let Some(number) = item.as_decimal() else {
            let name = given.function.name;
            let advice =
                if matches!(item, Value::Text(_)) { "; a `map` with `number(…)` before it makes it one" } else { "" };
            let said =
                format!("`{name}` wants numbers; item {index} is {} ({}){advice}", item.kind(), faults::shown(item));
            return Err(faults::at(faults::kind(said), &given.expressions[0]));
        };
        total = total
            .checked_add(number)
            .ok_or_else(|| faults::arithmetic("the sum is too large to be exact (28 digits)"))?;
    }
    Ok(total)
}

fn average(given: &Given<'_>) -> Result<Value, Fault> {
    let count = Decimal::from(given.list(0).len());
    if count.is_zero() {
        return Err(given.nothing(0, "an empty list has no average"));
    }
    let sum = sum(given)?;
    done(sum.checked_div(count).ok_or_else(|| faults::arithmetic("the average is too large to be exact"))?)
}

fn format(given: &Given<'_>) -> Result<Value, Fault> {
    let digits = given.whole(1, 0, 0, 28)?;
    let (mark, grouping) = (given.text_or(2, "."), given.text_or(3, ""));
    given.bounded((mark.len() + grouping.len()).saturating_mul(32))?;
    let number = rounded(given.number(0), digits);
    let written = number.abs().to_string();
    let (whole, fraction) = written.split_once('.').unwrap_or((&written, ""));
    let mut out = String::new();
    if number.is_sign_negative() && !number.is_zero() {
        out.push('-');
    }
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push_str(grouping);
        }
        out.push(digit);
    }
    if digits > 0 {
        out.push_str(mark);
        out.push_str(fraction);
        out.extend(std::iter::repeat_n('0', (digits as usize).saturating_sub(fraction.len())));
    }
    done_text(out)
}
