//! What `jsonpath-rust` read → a query.

use std::borrow::Cow;

use jsonpath_rust::parser::model;
use regex::{Regex, RegexBuilder};

use super::{Inner, Operand, Origin, Query, Segment, Selector, Sign, Test};
use crate::formula::faults;
use crate::formula::path::compile::run_of_name;
use crate::formula::path::{ROOTS, Root};
use crate::message::{Number, Value};

/// Stands before the name of a root in what the parser reads: `$item.x` in a filter is read as a field of `$` so marked.
const MARK: &str = "\u{e000}";

impl Query {
    /// Compiles parsed segments; a sentence where something in them is not known here.
    pub fn compile(segments: &[model::Segment]) -> Result<Query, String> {
        segments.iter().map(segment).collect::<Result<_, _>>().map(Query)
    }
}

/// Roots in brackets (`$item`, `$calls`), as the parser can read them; `Err` has the place and name of one that a filter does not see.
pub fn marked(segments: &str) -> Result<Cow<'_, str>, (usize, &str)> {
    if !segments.contains('$') {
        return Ok(Cow::Borrowed(segments));
    }
    // Even pieces stand outside quotes; a quote inside a quoted name only delays the mark, and the parser then refuses.
    let mut out = String::with_capacity(segments.len() + 16);
    let mut quote = None;
    let mut at = 0;
    while let Some((rest, character)) = segments.get(at..).and_then(|rest| Some((rest, rest.chars().next()?))) {
        if character == '$' && quote.is_none() {
            let name = &rest[..1 + run_of_name(&rest[1..])];
            match name {
                "$" => out.push('$'),
                _ if root_of(name).is_some() => {
                    out.push_str("$.");
                    out.push_str(MARK);
                    out.push_str(&name[1..]);
                }
                _ => return Err((at, name)),
            }
            at += name.len();
            continue;
        }
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            _ => {}
        }
        out.push(character);
        at += character.len_utf8();
    }
    Ok(Cow::Owned(out))
}

/// The root of that name, where it is a value: a filter selects below values only.
fn root_of(name: &str) -> Option<Root> {
    let (_, root) = ROOTS.iter().find(|(known, _)| *known == name)?;
    (!matches!(root, Root::Index | Root::Headers | Root::Meta)).then_some(*root)
}

fn segment(segment: &model::Segment) -> Result<Segment, String> {
    Ok(match segment {
        model::Segment::Descendant(inner) => Segment { descends: true, ..self::segment(inner)? },
        model::Segment::Selector(one) => Segment { descends: false, selectors: vec![selector(one)?] },
        model::Segment::Selectors(several) => {
            Segment { descends: false, selectors: several.iter().map(selector).collect::<Result<_, _>>()? }
        }
    })
}

fn selector(selector: &model::Selector) -> Result<Selector, String> {
    Ok(match selector {
        model::Selector::Name(name) => Selector::Name(name.as_str().into()),
        model::Selector::Wildcard => Selector::Wildcard,
        model::Selector::Index(index) => Selector::Index(*index),
        model::Selector::Slice(start, end, step) => {
            Selector::Slice { start: *start, end: *end, step: step.unwrap_or(1) }
        }
        model::Selector::Filter(filter) => Selector::Filter(test(filter)?),
    })
}

fn test(filter: &model::Filter) -> Result<Test, String> {
    Ok(match filter {
        model::Filter::Or(filters) => Test::Any(filters.iter().map(test).collect::<Result<_, _>>()?),
        model::Filter::And(filters) => Test::All(filters.iter().map(test).collect::<Result<_, _>>()?),
        model::Filter::Atom(model::FilterAtom::Filter { expr, not }) => negated(test(expr)?, *not),
        model::Filter::Atom(model::FilterAtom::Test { expr, not }) => negated(exists(expr)?, *not),
        model::Filter::Atom(model::FilterAtom::Comparison(comparison)) => {
            let sign = match &**comparison {
                model::Comparison::Eq(..) => Sign::Equal,
                model::Comparison::Ne(..) => Sign::Different,
                model::Comparison::Gt(..) => Sign::Greater,
                model::Comparison::Gte(..) => Sign::GreaterOrEqual,
                model::Comparison::Lt(..) => Sign::Less,
                model::Comparison::Lte(..) => Sign::LessOrEqual,
            };
            let (left, right) = comparison.vals();
            Test::Compare(sign, comparable(left)?, comparable(right)?)
        }
    })
}

fn negated(test: Test, not: bool) -> Test {
    if not { Test::Not(Box::new(test)) } else { test }
}

fn exists(test: &model::Test) -> Result<Test, String> {
    match test {
        model::Test::RelQuery(segments) => Ok(Test::Exists(inner(segments, Origin::Current)?)),
        model::Test::AbsQuery(query) => Ok(Test::Exists(inner(&query.segments, Origin::Root(Root::Document))?)),
        model::Test::Function(function) => match &**function {
            model::TestFunction::Match(text, pattern) => Ok(Test::Matches(argument(text)?, regex(pattern, true)?)),
            model::TestFunction::Search(text, pattern) => Ok(Test::Matches(argument(text)?, regex(pattern, false)?)),
            model::TestFunction::Length(_) | model::TestFunction::Count(_) | model::TestFunction::Value(_) => {
                Err("a filter compares `length`, `count` and `value` with something".to_owned())
            }
            model::TestFunction::Custom(name, _) => Err(unknown_function(name)),
        },
    }
}

fn inner(segments: &[model::Segment], origin: Origin) -> Result<Inner, String> {
    let query = Query::compile(segments)?;
    Ok(match origin {
        Origin::Root(Root::Document) => from_root(query.0),
        origin => Inner { origin, query },
    })
}

/// A query from `$`, or from what the mark on its first name says.
fn from_root(mut segments: Vec<Segment>) -> Inner {
    let marked = match segments.first().map(|segment| segment.selectors.as_slice()) {
        Some([Selector::Name(name)]) => name.strip_prefix(MARK).and_then(|name| root_of(&format!("${name}"))),
        _ => None,
    };
    let Some(root) = marked else { return Inner { origin: Origin::Root(Root::Document), query: Query(segments) } };
    segments.remove(0);
    Inner { origin: Origin::Root(root), query: Query(segments) }
}

fn comparable(comparable: &model::Comparable) -> Result<Operand, String> {
    match comparable {
        model::Comparable::Literal(literal) => self::literal(literal).map(Operand::Constant),
        model::Comparable::SingularQuery(query) => {
            let (steps, from_root) = match query {
                model::SingularQuery::Current(steps) => (steps, false),
                model::SingularQuery::Root(steps) => (steps, true),
            };
            let step = |step: &model::SingularQuerySegment| Segment {
                descends: false,
                selectors: vec![match step {
                    model::SingularQuerySegment::Index(index) => Selector::Index(*index),
                    model::SingularQuerySegment::Name(name) => Selector::Name(name.as_str().into()),
                }],
            };
            let segments = steps.iter().map(step).collect();
            Ok(Operand::Found(match from_root {
                true => self::from_root(segments),
                false => Inner { origin: Origin::Current, query: Query(segments) },
            }))
        }
        model::Comparable::Function(function) => match function {
            model::TestFunction::Length(of) => Ok(Operand::Length(Box::new(argument(of)?))),
            model::TestFunction::Count(of) => match argument(of)? {
                Operand::Found(inner) => Ok(Operand::Count(inner)),
                _ => Err("`count` in a filter counts what a path finds".to_owned()),
            },
            model::TestFunction::Value(of) => argument(of),
            model::TestFunction::Match(..) | model::TestFunction::Search(..) => {
                Err("`match` and `search` in a filter stand alone, they are compared with nothing".to_owned())
            }
            model::TestFunction::Custom(name, _) => Err(unknown_function(name)),
        },
    }
}

fn argument(argument: &model::FnArg) -> Result<Operand, String> {
    match argument {
        model::FnArg::Literal(literal) => self::literal(literal).map(Operand::Constant),
        model::FnArg::Test(test) => match &**test {
            model::Test::RelQuery(segments) => Ok(Operand::Found(inner(segments, Origin::Current)?)),
            model::Test::AbsQuery(query) => Ok(Operand::Found(inner(&query.segments, Origin::Root(Root::Document))?)),
            model::Test::Function(function) => comparable(&model::Comparable::Function((**function).clone())),
        },
        model::FnArg::Filter(_) => Err("a function in a filter takes a path or a literal".to_owned()),
    }
}

fn literal(literal: &model::Literal) -> Result<Value, String> {
    Ok(match literal {
        model::Literal::Int(number) => (*number).into(),
        // The shortest decimal that reads as this float is what was written, up to 15 digits.
        model::Literal::Float(number) => match Number::read(&number.to_string()) {
            Some(number) => Value::Number(number),
            None => return Err("a number in a filter that cannot be read".to_owned()),
        },
        model::Literal::String(text) => Value::from(text.as_str()),
        model::Literal::Bool(flag) => Value::Bool(*flag),
        model::Literal::Null => Value::Null,
    })
}

fn regex(argument: &model::FnArg, whole: bool) -> Result<Regex, String> {
    let model::FnArg::Literal(model::Literal::String(text)) = argument else {
        return Err("the pattern of `match` and `search` is written out, between quotes".to_owned());
    };
    let pattern = if whole { format!(r"\A(?:{text})\z") } else { text.clone() };
    let built = RegexBuilder::new(&pattern).size_limit(1024 * 1024).nest_limit(64).build();
    built.map_err(|_| format!("`{}` is not a regular expression", faults::cut(text)))
}

fn unknown_function(name: &str) -> String {
    format!("unknown function `{name}` in a filter: there are `length`, `count`, `value`, `match`, `search`")
}
