//! The arguments of one call, in the kinds that functions want.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use regex::Regex;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{Function, compile_pattern, zone_of};
use crate::formula::parser::Expression;
use crate::formula::{Frame, MAX_TEXT, faults};
use crate::message::{Fault, Value};

/// What a function is called with. Kinds have been checked against the parameters.
pub struct Given<'a> {
    pub frame: &'a Frame<'a>,
    pub function: &'static Function,
    pub arguments: &'a [Cow<'a, Value>],
    pub expressions: &'a [Expression],
    pub pattern: Option<&'a Regex>,
}

impl<'a> Given<'a> {
    pub fn get(&self, index: usize) -> Option<&'a Value> {
        self.arguments.get(index).map(|value| &**value)
    }

    /// The text at `index`; empty where there is none, which the arity check excludes for required ones.
    pub fn text(&self, index: usize) -> &'a str {
        self.get(index).and_then(Value::as_text).unwrap_or_default()
    }

    pub fn text_or(&self, index: usize, default: &'a str) -> &'a str {
        self.get(index).and_then(Value::as_text).unwrap_or(default)
    }

    pub fn number(&self, index: usize) -> Decimal {
        self.get(index).and_then(Value::as_decimal).unwrap_or_default()
    }

    pub fn list(&self, index: usize) -> &'a [Value] {
        self.get(index).and_then(Value::as_list).unwrap_or_default()
    }

    /// Text, a number or a boolean as text.
    pub fn plain(&self, index: usize) -> Cow<'a, str> {
        match self.get(index) {
            Some(Value::Text(text)) => Cow::Borrowed(text.as_str()),
            Some(other) => other.plain().map_or(Cow::Borrowed(""), |text| Cow::Owned(text.to_string())),
            None => Cow::Borrowed(""),
        }
    }

    /// A whole number between `least` and `most`; `default` where it is left out.
    pub fn whole(&self, index: usize, default: i64, least: i64, most: i64) -> Result<i64, Fault> {
        let Some(value) = self.get(index) else {
            return Ok(default);
        };
        let number = value.as_decimal().filter(Decimal::is_integer).and_then(|number| number.to_i64());
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => {
                let operand = faults::operand(&self.expressions[index], value);
                let (name, parameter) = (self.function.name, self.function.parameter(index).name);
                let said = format!("`{name}` wants a whole number from {least} to {most} as `{parameter}`: {operand}");
                Err(faults::at(faults::value(said), &self.expressions[index]))
            }
        }
    }

    /// The argument at `index` is not what it should be: ``gtin: `$.ean` is text ('12'): too short``.
    pub fn refuse(&self, index: usize, why: impl AsRef<str>) -> Fault {
        let operand = match (self.expressions.get(index), self.get(index)) {
            (Some(expression), Some(value)) => faults::operand(expression, value),
            _ => "its argument".to_owned(),
        };
        let fault = faults::value(format!("`{}`: {operand}: {}", self.function.name, why.as_ref()));
        match self.expressions.get(index) {
            Some(expression) => faults::at(fault, expression),
            None => fault,
        }
    }

    /// The argument at `index` holds nothing to give.
    pub fn nothing(&self, index: usize, why: &str) -> Fault {
        let fault = faults::missing(format!("`{}`: {why}", self.function.name));
        match self.expressions.get(index) {
            Some(expression) => faults::at(fault, expression),
            None => fault,
        }
    }

    pub fn pattern(&self, index: usize) -> Result<Cow<'a, Regex>, Fault> {
        match self.pattern {
            Some(pattern) => Ok(Cow::Borrowed(pattern)),
            None => compile_pattern(self.function.parameter(index).kind, self.text(index))
                .map(Cow::Owned)
                .map_err(|said| self.refuse(index, said)),
        }
    }

    /// The time zone at `index`; `None` where it is left out.
    pub fn zone(&self, index: usize) -> Result<Option<TimeZone>, Fault> {
        let Some(name) = self.get(index).and_then(Value::as_text) else {
            return Ok(None);
        };
        zone_of(name).map(Some).map_err(|said| self.refuse(index, said))
    }

    /// Refuses before it is built a text that would be too long.
    pub fn bounded(&self, bytes: usize) -> Result<(), Fault> {
        if bytes <= MAX_TEXT {
            return Ok(());
        }
        let (name, most) = (self.function.name, MAX_TEXT);
        Err(faults::limit(format!("`{name}` would give {bytes} bytes of text, more than {most}")))
    }
}
