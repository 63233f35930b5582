//! The document: what a message says, in one shape whatever bytes it came from.
//!
//! Numbers are decimals, never binary floating point, and keep the digits they were written with (`1.10` stays `1.10`).
//! Maps keep the order of their fields. Text and names are cheap to clone.

use std::fmt;

use indexmap::IndexMap;
use rust_decimal::Decimal;
pub use smol_str::SmolStr as Text;

use super::json;

/// One value of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    List(Vec<Value>),
    Map(Map),
}

/// A number, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// Up to 28 significant digits: formulas compute with these.
    Decimal(Decimal),
    /// A number no decimal can hold (a 40-digit identifier, `1e400`): carried as written, never computed with.
    Wide(Text),
}

/// The fields of a map value, in the order they were written. A name stands once.
#[derive(Clone, Default)]
pub struct Map(Fields);

/// Most maps have few fields: looking at each name is then faster than hashing, and costs less memory.
#[derive(Clone)]
enum Fields {
    Few(Vec<(Text, Value)>),
    Many(Box<IndexMap<Text, Value, foldhash::fast::RandomState>>),
}

const FEW: usize = 24;

impl Default for Fields {
    fn default() -> Fields {
        Fields::Few(Vec::new())
    }
}

impl Value {
    /// Reads a number from its text, as JSON writes numbers.
    pub fn number(text: &str) -> Option<Value> {
        Number::read(text).map(Value::Number)
    }

    pub fn text(text: impl Into<Text>) -> Value {
        Value::Text(text.into())
    }

    /// The word a person would use for this kind of value, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Value::Number(Number::Decimal(decimal)) => Some(*decimal),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The field `name` of a map value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_map()?.get(name)
    }

    /// A scalar as plain text (`12.50`, `true`), as it would stand in a CSV cell or a file name; `None` for null, lists and maps.
    pub fn plain(&self) -> Option<Text> {
        match self {
            Value::Bool(flag) => Some(Text::new_static(if *flag { "true" } else { "false" })),
            Value::Number(number) => Some(number.to_string().into()),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

impl Number {
    /// `text` as JSON writes numbers; `None` if it is not one.
    pub fn read(text: &str) -> Option<Number> {
        let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
        if !well_formed(digits) {
            return None;
        }
        let significant = digits.iter().filter(|b| b.is_ascii_digit()).count();
        if significant <= 28 && !digits.iter().any(|b| matches!(b, b'e' | b'E')) {
            return text.parse().ok().map(Number::Decimal);
        }
        // An exponent is taken only where no digit is lost; the rest travels as written.
        match Decimal::from_scientific(text) {
            Ok(decimal) if significant <= 28 && !decimal.is_zero() => Some(Number::Decimal(decimal)),
            _ => Some(Number::Wide(text.into())),
        }
    }
}

/// `digits` is `(0 | [1-9][0-9]*) ("." [0-9]+)? ([eE] [+-]? [0-9]+)?`.
fn well_formed(digits: &[u8]) -> bool {
    let run = |from: usize| digits[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = run(0);
    if at == 0 || (at > 1 && digits[0] == b'0') {
        return false;
    }
    if digits.get(at) == Some(&b'.') {
        let fraction = run(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if matches!(digits.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(digits.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        let exponent = run(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == digits.len()
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Decimal(decimal) => decimal.fmt(f),
            Number::Wide(text) => f.write_str(text),
        }
    }
}

/// Compact JSON: what the hub stores and shows.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&json::to_text(self))
    }
}

impl Map {
    pub fn new() -> Map {
        Map::default()
    }

    pub fn with_capacity(fields: usize) -> Map {
        Map(if fields <= FEW { Fields::Few(Vec::with_capacity(fields)) } else { many(fields) })
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        match &self.0 {
            Fields::Few(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            Fields::Many(fields) => fields.get(name),
        }
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        match &mut self.0 {
            Fields::Few(fields) => fields.iter_mut().find(|(field, _)| field == name).map(|(_, value)| value),
            Fields::Many(fields) => fields.get_mut(name),
        }
    }

    /// Sets `name`, keeping its place if it was there; returns what it held.
    pub fn insert(&mut self, name: impl Into<Text>, value: impl Into<Value>) -> Option<Value> {
        let (name, value) = (name.into(), value.into());
        if let Fields::Few(fields) = &mut self.0 {
            if let Some((_, held)) = fields.iter_mut().find(|(field, _)| *field == name) {
                return Some(std::mem::replace(held, value));
            }
            if fields.len() < FEW {
                fields.push((name, value));
                return None;
            }
            let few = std::mem::take(fields);
            self.0 = many(2 * FEW);
            few.into_iter().for_each(|(name, value)| drop(self.insert(name, value)));
        }
        match &mut self.0 {
            Fields::Many(fields) => fields.insert(name, value),
            Fields::Few(_) => None,
        }
    }

    /// Adds a field whose name is known to be new, without looking for it: the columns of a table, for each row.
    pub(crate) fn append(&mut self, name: Text, value: Value) {
        debug_assert!(!self.contains(&name), "`{name}` is there");
        match &mut self.0 {
            Fields::Few(fields) if fields.len() < FEW => fields.push((name, value)),
            _ => drop(self.insert(name, value)),
        }
    }

    /// Removes `name`; the fields after it keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        match &mut self.0 {
            Fields::Few(fields) => {
                let at = fields.iter().position(|(field, _)| field == name)?;
                Some(fields.remove(at).1)
            }
            Fields::Many(fields) => fields.shift_remove(name),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Text, &Value)> + ExactSizeIterator {
        (0..self.len()).map(|index| match &self.0 {
            Fields::Few(fields) => (&fields[index].0, &fields[index].1),
            Fields::Many(fields) => fields.get_index(index).expect("the index is below the length"),
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Value)> {
        let (few, many) = match &mut self.0 {
            Fields::Few(fields) => (Some(fields), None),
            Fields::Many(fields) => (None, Some(fields)),
        };
        let few = few.into_iter().flatten().map(|(name, value)| (&*name, value));
        few.chain(many.into_iter().flat_map(|fields| fields.iter_mut()))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Fields::Few(fields) => fields.len(),
            Fields::Many(fields) => fields.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn many(fields: usize) -> Fields {
    Fields::Many(Box::new(IndexMap::with_capacity_and_hasher(fields, foldhash::fast::RandomState::default())))
}

/// Whatever the order.
impl PartialEq for Map {
    fn eq(&self, other: &Map) -> bool {
        // Each value is compared once, so that nested maps in another order stay cheap.
        let value_there =
            |name: &Text, (there, value): (&Text, _)| if name == there { Some(value) } else { other.get(name) };
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|((name, value), there)| value_there(name, there) == Some(value))
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;
    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Fields::Few(fields) => fields.into_iter(),
            Fields::Many(fields) => fields.into_iter().collect::<Vec<_>>().into_iter(),
        }
    }
}

impl<N: Into<Text>, V: Into<Value>> FromIterator<(N, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Map {
        let fields = fields.into_iter();
        let mut map = Map::with_capacity(fields.size_hint().0);
        fields.for_each(|(name, value)| drop(map.insert(name, value)));
        map
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Bool(flag)
    }
}

impl From<Decimal> for Value {
    fn from(decimal: Decimal) -> Value {
        Value::Number(Number::Decimal(decimal))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Decimal::from(number).into()
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Decimal::from(number).into()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text.into())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Value {
        Value::Text(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::List(items)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Map(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, expect: Option<&str>) {
        let read = Number::read(written).map(|number| format!("{number:?} {number}"));
        assert_eq!(read.as_deref(), expect, "{written}");
    }

    #[test]
    fn numbers_keep_their_digits() {
        check("1.10", Some("Decimal(1.10) 1.10"));
        check("-0.05", Some("Decimal(-0.05) -0.05"));
        check("1e2", Some("Decimal(100) 100"));
        check(
            "123456789012345678901234567890123",
            Some("Wide(\"123456789012345678901234567890123\") 123456789012345678901234567890123"),
        );
        check("1e400", Some("Wide(\"1e400\") 1e400"));
        check("1e-400", Some("Wide(\"1e-400\") 1e-400"));
        check("", None);
        check("-", None);
        check("1.", None);
        check(".5", None);
        check("1e", None);
        check("12,5", None);
        check("0x10", None);
        check("01000", None);
    }

    #[test]
    fn maps_keep_their_order_and_their_names_once_whatever_their_size() {
        for fields in [3_usize, FEW, FEW + 1, 100] {
            let names: Vec<String> = (0..fields).map(|field| format!("f{field}")).collect();
            let mut map: Map = names.iter().map(|name| (name.as_str(), 1_usize)).collect();
            let reversed: Map = names.iter().rev().map(|name| (name.as_str(), 1_usize)).collect();
            assert_eq!(map, reversed);
            assert_eq!(map.insert("f1", 2_usize), Some(1_usize.into()));
            assert_ne!(map, reversed);
            assert_eq!(map.remove("f0"), Some(1_usize.into()));
            assert_eq!((map.remove("f0"), map.contains("f1"), map.len()), (None, true, fields - 1));
            map.append("f0".into(), Value::Null);
            let order: Vec<&str> = map.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(order, names[1..].iter().chain(&names[..1]).map(String::as_str).collect::<Vec<_>>());
            map.iter_mut().for_each(|(_, value)| *value = Value::Bool(true));
            assert!(map.iter().rev().all(|(_, value)| *value == Value::Bool(true)));
            assert!(map.into_iter().map(|(name, _)| name).eq(order_of(&names)));
        }
    }

    fn order_of(names: &[String]) -> impl Iterator<Item = Text> {
        names[1..].iter().chain(&names[..1]).map(Text::from)
    }

    #[test]
    fn values_are_small() {
        assert_eq!(size_of::<Value>(), 32);
    }

    #[test]
    fn a_number_equals_itself_whatever_its_zeros() {
        assert_eq!(Value::number("1.10"), Value::number("1.1"));
    }
}
