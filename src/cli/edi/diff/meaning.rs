//! What values mean: numbers by their value, other texts without the blanks around them.

use crate::edi::directory::{ElementDef, Field, Item, Position, ValueKind};
use crate::message::{Map, Value};

/// Documents that are nested deeper are none of messages.
pub const DEEPEST: usize = 48;

/// Values that are numbers, whatever type later releases gave them: quantity, measurement.
const NUMBERS: [&str; 2] = ["6060", "6314"];

/// A value with what it is.
pub struct Leaf<'d> {
    pub key: String,
    /// None where it is not what the definition has there.
    pub def: Option<&'d ElementDef>,
    pub text: String,
    /// The very first place of the segment.
    pub first: bool,
}

/// The values of a segment that are there, in order, as what they mean.
pub fn collect<'d>(positions: &'d [Position], fields: &[Field], map: &Map, first: bool, out: &mut Vec<Leaf<'d>>) {
    for (index, field) in fields.iter().enumerate() {
        let position = positions.iter().find(|position| usize::from(position.field) == index);
        let (Some(position), Some(value)) = (position, map.get(&field.key)) else { continue };
        let values = if let Value::List(items) = value { items.as_slice() } else { std::slice::from_ref(value) };
        for (at, value) in values.iter().enumerate() {
            let first = first && index == 0 && at == 0;
            match (&position.item, value) {
                (Item::Composite(_, parts, fields), Value::Map(map)) => {
                    let from = out.len();
                    collect(parts, fields, map, first, out);
                    for leaf in out.iter_mut().skip(from) {
                        leaf.key = format!("{}[{at}].{}", field.key, leaf.key);
                    }
                }
                (_, value) if is_empty(value) => {}
                (item, value) => {
                    let def = if let Item::Element(def) = item { Some(def) } else { None };
                    out.push(Leaf { key: format!("{}[{at}]", field.key), def, text: meant(def, value), first });
                }
            }
        }
    }
    let known = |key: &str| fields.iter().any(|field| field.key == key);
    for (key, value) in map.iter().filter(|(key, value)| !known(key) && !is_empty(value)) {
        out.push(Leaf { key: key.to_string(), def: None, text: said(value), first: false });
    }
}

pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.trim().is_empty(),
        Value::List(items) => items.iter().all(is_empty),
        Value::Map(map) => map.iter().all(|(_, value)| is_empty(value)),
        _ => false,
    }
}

/// Whether the value under the key of a segment or group is one: a map, or maps.
pub fn is_shaped(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().all(|item| item.as_map().is_some()),
        value => value.as_map().is_some() || is_empty(value),
    }
}

/// A value as what it means: a number without what does not count, another text without the blanks around it.
pub fn meant(def: Option<&ElementDef>, value: &Value) -> String {
    let text = match value.plain() {
        Some(text) => text.trim().to_owned(),
        None if is_empty(value) => String::new(),
        None => return said(value),
    };
    let number = def.is_some_and(|def| {
        let kind = matches!(def.kind, ValueKind::Numeric | ValueKind::Integer | ValueKind::Decimal);
        kind || NUMBERS.contains(&def.id.as_str())
    });
    if number { plain_number(&text).unwrap_or(text) } else { text }
}

/// `-005,10` is `-5.1`.
pub fn plain_number(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) || digits.len() < 1 + usize::from(digits.contains(['.', ','])) {
        return None;
    }
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    Some(match (whole, part) {
        ("", "") => "0".to_owned(),
        ("", part) => format!("{sign}0.{part}"),
        (whole, "") => format!("{sign}{whole}"),
        (whole, part) => format!("{sign}{whole}.{part}"),
    })
}

/// A value in one line: the texts in it.
pub fn said(value: &Value) -> String {
    fn add(value: &Value, out: &mut Vec<String>, depth: usize) {
        match value {
            Value::List(items) if depth < DEEPEST => items.iter().for_each(|item| add(item, out, depth + 1)),
            Value::Map(map) if depth < DEEPEST => map.iter().for_each(|(_, value)| add(value, out, depth + 1)),
            value => out.extend(value.plain().filter(|text| !text.is_empty()).map(|text| text.to_string())),
        }
    }
    let mut texts = Vec::new();
    add(value, &mut texts, 0);
    texts.join(" ")
}
