//! The functions of the language: one entry each, from which calls, checks, reference page and tests follow.
//!
//! A new function is one entry in the list of its family's file.

mod dates;
mod edi;
mod encodings;
mod given;
mod identifiers;
mod lists;
mod logic;
mod numbers;
mod people;
mod retail;
mod tables;
mod text;

use jiff::tz::TimeZone;
use regex::{Regex, RegexBuilder};

use super::parser::{Expression, ExpressionKind};
use super::{Issue, faults};
use crate::message::{Fault, Text, Value};
pub(super) use given::Given;

/// A function as it can be called, explained and tried.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub family: Family,
    pub parameters: &'static [Parameter],
    pub result: Kind,
    /// One sentence or two, for the reference page.
    pub about: &'static str,
    /// A formula that calls it, against the sample document of the reference page, and what it gives, as a formula.
    pub example: &'static str,
    pub gives: &'static str,
    pub(super) body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Text,
    Numbers,
    Dates,
    Logic,
    Lists,
    Identifiers,
    Retail,
    People,
    Tables,
    Encodings,
    Edi,
}

#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    /// May be left out, and all after it.
    Optional,
    /// Any number of them, one at least.
    Repeated,
}

/// What a parameter takes, and what a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Any,
    Null,
    Boolean,
    Number,
    Text,
    List,
    Map,
    /// Text, a number or a boolean, taken as text: `12.50`, `true`.
    Plain,
    /// Text that is a regular expression, to be found anywhere, or to be the whole.
    Pattern,
    WholePattern,
    /// Text that names a time zone: `Europe/Paris`.
    Zone,
    /// Text that is a date format: `%d/%m/%Y`.
    Format,
    /// Text that is an EDI code for how a date is written: `102`, `D8`.
    DateCode,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Plain(PlainBody),
    Special(Special),
}

pub(super) type PlainBody = fn(&Given<'_>) -> Result<Value, Fault>;

/// The functions that do not evaluate all their arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    If,
    Switch,
    Coalesce,
    Has,
}

pub(super) const FAMILIES: &[(Family, &str, &[Function])] = &[
    (Family::Text, "Text", text::ALL),
    (Family::Numbers, "Numbers", numbers::ALL),
    (Family::Dates, "Dates", dates::ALL),
    (Family::Logic, "Logic", logic::ALL),
    (Family::Lists, "Lists", lists::ALL),
    (Family::Identifiers, "Identifiers", identifiers::ALL),
    (Family::Retail, "Retail", retail::ALL),
    (Family::People, "People", people::ALL),
    (Family::Tables, "Tables", tables::ALL),
    (Family::Encodings, "Encodings", encodings::ALL),
    (Family::Edi, "EDI", edi::ALL),
];

/// All functions, family by family.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().flat_map(|(_, _, functions)| functions.iter())
}

pub(super) fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

/// The reference page of the function `name`; `None` where there is none.
pub fn page(name: &str) -> Option<String> {
    let function = find(name)?;
    Some(format!(
        "{}\n\n{}\n\nExample: {}\nGives:   {}\n",
        function.signature(),
        function.about,
        function.example,
        function.gives
    ))
}

impl Function {
    /// `round(number, digits?)`
    pub fn signature(&self) -> String {
        let parameter = |parameter: &Parameter| match parameter.need {
            Need::Required => parameter.name.to_owned(),
            Need::Optional => format!("{}?", parameter.name),
            Need::Repeated => format!("{}…", parameter.name),
        };
        format!("{}({})", self.name, self.parameters.iter().map(parameter).collect::<Vec<_>>().join(", "))
    }

    /// Fewest and most arguments; `None` is any number.
    pub(super) fn arity(&self) -> (usize, Option<usize>) {
        let least = self.parameters.iter().filter(|parameter| parameter.need != Need::Optional).count();
        let endless = self.parameters.iter().any(|parameter| parameter.need == Need::Repeated);
        (least, (!endless).then_some(self.parameters.len()))
    }

    /// The parameter that the argument at `index` fills; arguments past the last repeat it.
    pub(super) fn parameter(&self, index: usize) -> &'static Parameter {
        self.parameters.get(index).or(self.parameters.last()).unwrap_or(&NO_PARAMETER)
    }
}

const NO_PARAMETER: Parameter = Parameter { name: "argument", kind: Kind::Any, need: Need::Optional };

impl Kind {
    pub(super) fn of(value: &Value) -> Kind {
        match value {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Boolean,
            Value::Number(_) => Kind::Number,
            Value::Text(_) => Kind::Text,
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
        }
    }

    /// Whether a value known to be of kind `found` can be right here.
    pub(super) fn takes(self, found: Kind) -> bool {
        match self {
            Kind::Any => true,
            _ if found == Kind::Any || found == self => true,
            Kind::Plain => matches!(found, Kind::Text | Kind::Number | Kind::Boolean),
            Kind::Pattern | Kind::WholePattern | Kind::Zone | Kind::Format | Kind::DateCode => found == Kind::Text,
            Kind::Text | Kind::Number | Kind::Boolean => found == Kind::Plain,
            _ => false,
        }
    }

    /// As [`Value::kind`] says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Any => "a value",
            Kind::Null => "null",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::Text => "text",
            Kind::List => "a list",
            Kind::Map => "a map",
            Kind::Plain => "text or a number",
            Kind::Pattern | Kind::WholePattern => "a regular expression",
            Kind::Zone => "a time zone such as 'Europe/Paris'",
            Kind::Format => "a date format such as '%d/%m/%Y'",
            Kind::DateCode => "a date code such as '102' or 'D8'",
        }
    }
}

/// Refuses an argument of the wrong kind.
pub(super) fn check_argument(
    function: &'static Function,
    index: usize,
    expression: &Expression,
    value: &Value,
) -> Result<(), Fault> {
    let parameter = function.parameter(index);
    let wide = parameter.kind == Kind::Number && matches!(value, Value::Number(_)) && value.as_decimal().is_none();
    if !wide && parameter.kind.takes(Kind::of(value)) {
        return Ok(());
    }
    let advice = match (parameter.kind, value) {
        _ if wide => "; it has more digits than can be computed with",
        (Kind::Number, Value::Text(_)) => "; `number(…)` reads a number from text",
        (Kind::Text, Value::Number(_)) => "; `concat(…)` makes text of a number",
        _ => "",
    };
    let operand = faults::operand(expression, value);
    let (name, wanted) = (function.name, parameter.kind.word());
    Err(faults::at(
        faults::kind(format!("`{name}` wants {wanted} as `{}`: {operand}{advice}", parameter.name)),
        expression,
    ))
}

/// Refuses at load a constant that can never do: an unknown zone, a format that is none.
pub(super) fn check_constant(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Zone => zone_of(text).map(drop),
        Kind::Format => dates::check_format(text),
        Kind::DateCode => edi::dates::check_code(text),
        _ => Ok(()),
    }
}

pub(super) fn zone_of(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("there is no time zone `{}`; zones are named as in `Europe/Paris`", faults::cut(name)))
}

/// The compiled pattern of a call whose pattern is written out; `None` where there is none.
pub(super) fn pattern_of(function: &'static Function, arguments: &[Expression]) -> Result<Option<Regex>, Issue> {
    for (index, argument) in arguments.iter().enumerate() {
        let kind = function.parameter(index).kind;
        if let (Kind::Pattern | Kind::WholePattern, ExpressionKind::Constant(Value::Text(text))) =
            (kind, &argument.kind)
        {
            let issue = |said| Issue::new(argument.from, argument.to, "not a regular expression", said);
            return compile_pattern(kind, text).map(Some).map_err(issue);
        }
    }
    Ok(None)
}

/// `regex` matches in linear time, whatever the pattern; the compiled size is bounded.
fn compile_pattern(kind: Kind, text: &str) -> Result<Regex, String> {
    let pattern = if kind == Kind::WholePattern { format!(r"\A(?:{text})\z") } else { text.to_owned() };
    RegexBuilder::new(&pattern)
        .size_limit(1024 * 1024)
        .nest_limit(64)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or("cannot be read").trim().to_owned())
}

fn done(value: impl Into<Value>) -> Result<Value, Fault> {
    Ok(value.into())
}

fn done_text(text: impl Into<Text>) -> Result<Value, Fault> {
    Ok(Value::Text(text.into()))
}

const fn need(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, need: Need::Required }
}

const fn may(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, need: Need::Optional }
}

const fn many(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, need: Need::Repeated }
}

#[cfg(test)]
mod tests;
