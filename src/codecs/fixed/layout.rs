//! The fields of one line.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::{FieldKind, FixedField, Pad, width};
use crate::message::{Fault, Map, Number, Text, Value};

/// What is wrong with a line, and at which character of it, from 1.
pub struct Wrong {
    pub what: String,
    pub column: Option<usize>,
}

/// What keeps a document from being written, and the field it stands in.
pub struct Unwritable {
    what: String,
    field: Option<Text>,
}

impl Unwritable {
    pub fn new(what: String, field: Option<Text>) -> Unwritable {
        Unwritable { what, field }
    }

    pub fn fault(self, place: &str) -> Fault {
        let place = self.field.map_or_else(|| place.to_owned(), |field| format!("{place}.{field}"));
        Fault::refuse("ENCODE-FIXED", self.what).at(place)
    }
}

/// Reads the fields of `line` into `map`.
pub fn read(fields: &[FixedField], line: &str, short: bool, map: &mut Map) -> Result<(), Wrong> {
    let (expected, found) = (width(fields), line.chars().count());
    let line: Cow<str> = match short && found < expected {
        true => format!("{line}{}", " ".repeat(expected - found)).into(),
        false if found == expected => line.into(),
        false => {
            return Err(Wrong { what: format!("expected {expected} characters, found {found}"), column: None });
        }
    };
    let mut rest = &*line;
    let mut column = 1;
    for field in fields {
        let end = rest.char_indices().nth(field.width as usize).map_or(rest.len(), |(at, _)| at);
        let (written, after) = rest.split_at(end);
        if let Some(name) = &field.name
            && let Some(value) = value(field, name, written).map_err(|what| Wrong { what, column: Some(column) })?
        {
            map.insert(name.clone(), value);
        }
        column += field.width as usize;
        rest = after;
    }
    Ok(())
}

/// Appends the fields of `map` to `line`; `beside` is a field of the document that stands in no field of the line.
pub fn write(fields: &[FixedField], map: &Map, beside: Option<&str>, line: &mut String) -> Result<(), Unwritable> {
    let mut found = usize::from(beside.is_some());
    for field in fields {
        let value = field.name.as_ref().and_then(|name| map.get(name));
        found += usize::from(value.is_some());
        write_field(field, value.unwrap_or(&Value::Null), line)
            .map_err(|what| Unwritable { what, field: field.name.clone() })?;
    }
    if found == map.len() {
        return Ok(());
    }
    let known = |name: &Text| Some(&**name) == beside || fields.iter().any(|field| field.name.as_ref() == Some(name));
    let field = map.iter().map(|(name, _)| name).find(|name| !known(name)).cloned();
    Err(Unwritable { what: "this field has no place in the line; leave it out of the document".into(), field })
}

fn value(field: &FixedField, name: &Text, written: &str) -> Result<Option<Value>, String> {
    let (pad, fill) = padding(field);
    if field.kind == FieldKind::Text {
        return Ok(Some(Value::text(stripped(written, pad, fill))));
    }
    let digits = if fill == '0' { written } else { stripped(written, pad, fill) }.trim();
    if digits.is_empty() {
        return Ok(None);
    }
    match number(digits, field.decimals) {
        Some(number) => Ok(Some(Value::Number(number))),
        None => Err(format!("`{digits}` in `{name}` is not a number")),
    }
}

fn padding(field: &FixedField) -> (Pad, char) {
    match field.kind {
        FieldKind::Text => (field.pad.unwrap_or(Pad::Right), field.fill.unwrap_or(' ')),
        FieldKind::Number => (field.pad.unwrap_or(Pad::Left), field.fill.unwrap_or('0')),
    }
}

fn stripped(written: &str, pad: Pad, fill: char) -> &str {
    match pad {
        Pad::Left => written.trim_start_matches(fill),
        Pad::Right => written.trim_end_matches(fill),
    }
}

/// `-0001250` with two decimals is -12.50.
fn number(written: &str, decimals: Option<u32>) -> Option<Number> {
    let (sign, digits) = match written.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", written.strip_prefix('+').unwrap_or(written)),
    };
    let Some(decimals) = decimals else {
        let stripped = digits.trim_start_matches('0');
        let zero =
            if stripped.starts_with(|next: char| next.is_ascii_digit()) || stripped == digits { "" } else { "0" };
        return Number::read(&format!("{sign}{zero}{stripped}"));
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals = decimals as usize;
    let digits = format!("{digits:0>least$}", least = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if decimals == 0 { "" } else { "." };
    Number::read(&format!("{sign}{whole}{point}{fraction}"))
}

fn write_field(field: &FixedField, value: &Value, line: &mut String) -> Result<(), String> {
    let (pad, fill) = padding(field);
    let (text, fill) = match (value, field.kind) {
        (Value::Null, FieldKind::Text) => (Text::default(), fill),
        // An absent number is blank: filled with zeros it would be read as 0.
        (Value::Null, FieldKind::Number) if field.name.is_some() => (Text::default(), ' '),
        (Value::Null, FieldKind::Number) => (Text::default(), fill),
        (Value::Number(number), FieldKind::Number) => (digits(number, field.decimals)?, fill),
        (other, FieldKind::Number) => return Err(format!("expected a number, found {}", other.kind())),
        (other, FieldKind::Text) => {
            (other.plain().ok_or_else(|| format!("expected a text, found {}", other.kind()))?, fill)
        }
    };
    if text.contains(['\n', '\r']) {
        return Err("a line end cannot stand inside a line".into());
    }
    let (width, length) = (field.width as usize, text.chars().count());
    if length > width {
        return Err(format!("{length} characters do not fit into {width}; it is not cut, shorten it before"));
    }
    let filling = std::iter::repeat_n(fill, width - length);
    match (pad, text.strip_prefix('-').filter(|_| fill == '0' && field.kind == FieldKind::Number)) {
        (Pad::Right, _) => {
            line.push_str(&text);
            line.extend(filling);
        }
        (Pad::Left, Some(digits)) => {
            line.push('-');
            line.extend(filling);
            line.push_str(digits);
        }
        (Pad::Left, None) => {
            line.extend(filling);
            line.push_str(&text);
        }
    }
    Ok(())
}

fn digits(number: &Number, decimals: Option<u32>) -> Result<Text, String> {
    let Some(decimals) = decimals else { return Ok(number.to_string().into()) };
    let exact = match number {
        Number::Decimal(decimal) => shifted(*decimal, decimals),
        Number::Wide(_) => None,
    };
    exact.map(Text::from).ok_or_else(|| format!("{number} cannot be written with {decimals} decimals; round it before"))
}

/// The digits of `decimal` with so many behind a point that is not written, unless some would be lost.
fn shifted(decimal: Decimal, decimals: u32) -> Option<String> {
    let mut decimal = decimal.normalize();
    if decimal.scale() > decimals {
        return None;
    }
    decimal.rescale(decimals);
    (decimal.scale() == decimals).then(|| decimal.mantissa().to_string())
}
