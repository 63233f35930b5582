//! The part of a path that may select several values: wildcards, slices, filters, `..`.
//!
//! `jsonpath-rust` reads the text, as RFC 9535 says; the selection is made here. Its own compares numbers in filters as
//! binary floating point, knows no bound, and its `$` in a filter cannot be the document when the path begins at `$item`.
//! Here numbers are exact, the work is bounded, and patterns are compiled once. docs/decisions/0001-paths.md has the numbers.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use jsonpath_rust::parser::model;
use regex::{Regex, RegexBuilder};

use super::{Frame, MAX_ITEMS, path};
use crate::message::{Number, Text, Value};

/// Most values looked at for one path in one message: `..` inside a filter inside `..` ends here.
const MAX_VISITS: usize = 20 * MAX_ITEMS;

/// Segments compiled for selection.
#[derive(Debug)]
pub struct Query(Vec<Segment>);

#[derive(Debug)]
struct Segment {
    /// Whether it looks at all values below too (`..`).
    descends: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug)]
enum Selector {
    Name(Text),
    Index(i64),
    Wildcard,
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    Filter(Test),
}

#[derive(Debug)]
enum Test {
    Any(Vec<Test>),
    All(Vec<Test>),
    Not(Box<Test>),
    Exists(Inner),
    Compare(Sign, Operand, Operand),
    Matches(Operand, Regex),
}

/// A query inside a filter.
#[derive(Debug)]
struct Inner {
    origin: Origin,
    query: Query,
}

/// Where a query inside a filter begins. RFC 9535 knows `@` and `$`; we know `$item` and `$outer` too.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Current,
    Document,
    Item,
    Outer,
}

/// Stands before `item` and `outer` in what the parser reads: `$item.x` in a filter is read as a field of `$` so marked.
const MARK: &str = "\u{e000}";

#[derive(Debug)]
enum Operand {
    Constant(Value),
    /// What a query finds, if it is exactly one value.
    Found(Inner),
    Length(Box<Operand>),
    Count(Inner),
}

#[derive(Clone, Copy, Debug)]
enum Sign {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The bound on work was reached.
#[derive(Debug)]
pub struct TooMuch;

impl Query {
    /// Compiles parsed segments; a sentence where something in them is not known here.
    pub fn compile(segments: &[model::Segment]) -> Result<Query, String> {
        segments.iter().map(segment).collect::<Result<_, _>>().map(Query)
    }

    /// What the segments select below `base`.
    pub fn select<'v>(&self, base: &'v Value, frame: &Frame<'v>) -> Result<Vec<&'v Value>, TooMuch> {
        let run = Run { frame: *frame, visits: Cell::new(0) };
        run.query(self, base)
    }
}

/// `$item` and `$outer` in brackets, as the parser can read them.
pub fn marked(segments: &str) -> Cow<'_, str> {
    if !segments.contains("$item") && !segments.contains("$outer") {
        return Cow::Borrowed(segments);
    }
    // Even pieces stand outside quotes; a quote inside a quoted name only delays the mark, and the parser then refuses.
    let mut out = String::with_capacity(segments.len() + 16);
    let mut quote = None;
    let mut rest = segments;
    while let Some(character) = rest.chars().next() {
        let root = ["$item", "$outer"].into_iter().find(|root| quote.is_none() && rest.starts_with(root));
        if let Some(root) = root {
            out.push_str("$.");
            out.push_str(MARK);
            out.push_str(&root[1..]);
            rest = &rest[root.len()..];
            continue;
        }
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            _ => {}
        }
        out.push(character);
        rest = &rest[character.len_utf8()..];
    }
    Cow::Owned(out)
}

/// One selection: where its filters may begin, and how many values were looked at.
struct Run<'v> {
    frame: Frame<'v>,
    visits: Cell<usize>,
}

impl<'v> Run<'v> {
    fn query(&self, query: &Query, base: &'v Value) -> Result<Vec<&'v Value>, TooMuch> {
        let mut found = vec![base];
        for segment in &query.0 {
            let mut next = Vec::new();
            for value in found {
                self.segment(segment, value, &mut next)?;
            }
            if next.len() > MAX_ITEMS {
                return Err(TooMuch);
            }
            found = next;
        }
        Ok(found)
    }

    /// Recursion is as deep as the document, which its codec bounds.
    fn segment(&self, segment: &Segment, value: &'v Value, found: &mut Vec<&'v Value>) -> Result<(), TooMuch> {
        for selector in &segment.selectors {
            self.selector(selector, value, found)?;
        }
        if segment.descends {
            for child in children(value) {
                self.segment(segment, child, found)?;
            }
        }
        Ok(())
    }

    fn selector(&self, selector: &Selector, value: &'v Value, found: &mut Vec<&'v Value>) -> Result<(), TooMuch> {
        self.visit(1)?;
        match selector {
            Selector::Name(name) => found.extend(value.get(name)),
            Selector::Index(index) => {
                if let Value::List(items) = value {
                    found.extend(path::position(*index, items.len()).map(|at| &items[at]));
                }
            }
            Selector::Wildcard => {
                let before = found.len();
                found.extend(children(value));
                self.visit(found.len() - before)?;
            }
            Selector::Slice { start, end, step } => {
                if let Value::List(items) = value {
                    found.extend(slice(items, *start, *end, *step));
                    self.visit(items.len())?;
                }
            }
            Selector::Filter(test) => {
                for child in children(value) {
                    self.visit(1)?;
                    if self.test(test, child)? {
                        found.push(child);
                    }
                }
            }
        }
        Ok(())
    }

    fn visit(&self, values: usize) -> Result<(), TooMuch> {
        self.visits.set(self.visits.get() + values);
        if self.visits.get() > MAX_VISITS { Err(TooMuch) } else { Ok(()) }
    }

    fn test(&self, test: &Test, current: &'v Value) -> Result<bool, TooMuch> {
        Ok(match test {
            Test::Any(tests) => {
                for test in tests {
                    if self.test(test, current)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::All(tests) => {
                for test in tests {
                    if !self.test(test, current)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Not(test) => !self.test(test, current)?,
            Test::Exists(inner) => !self.inner(inner, current)?.is_empty(),
            Test::Compare(sign, left, right) => {
                let (left, right) = (self.operand(left, current)?, self.operand(right, current)?);
                compare(*sign, left.as_ref().map(Operated::value), right.as_ref().map(Operated::value))
            }
            Test::Matches(operand, pattern) => {
                let operand = self.operand(operand, current)?;
                operand.as_ref().and_then(|value| value.value().as_text()).is_some_and(|text| pattern.is_match(text))
            }
        })
    }

    fn inner(&self, inner: &Inner, current: &'v Value) -> Result<Vec<&'v Value>, TooMuch> {
        let base = match inner.origin {
            Origin::Current => Some(current),
            Origin::Document => Some(self.frame.scope.document),
            Origin::Item => self.frame.scope.item.map(|(item, _)| item),
            Origin::Outer => self.frame.outer,
        };
        base.map_or(Ok(Vec::new()), |base| self.query(&inner.query, base))
    }

    fn operand<'o>(&self, operand: &'o Operand, current: &'v Value) -> Result<Option<Operated<'o>>, TooMuch>
    where
        'v: 'o,
    {
        Ok(match operand {
            Operand::Constant(value) => Some(Operated::Borrowed(value)),
            Operand::Found(inner) => match self.inner(inner, current)?.as_slice() {
                [one] => Some(Operated::Borrowed(one)),
                _ => None,
            },
            Operand::Length(inner) => self.operand(inner, current)?.and_then(|value| {
                Some(Operated::Computed(match value.value() {
                    Value::Text(text) => text.chars().count().into(),
                    Value::List(items) => items.len().into(),
                    Value::Map(map) => map.len().into(),
                    _ => return None,
                }))
            }),
            Operand::Count(inner) => Some(Operated::Computed(self.inner(inner, current)?.len().into())),
        })
    }
}

enum Operated<'o> {
    Borrowed(&'o Value),
    Computed(Value),
}

impl Operated<'_> {
    fn value(&self) -> &Value {
        match self {
            Operated::Borrowed(value) => value,
            Operated::Computed(value) => value,
        }
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::List(items) => Box::new(items.iter()),
        Value::Map(map) => Box::new(map.iter().map(|(_, value)| value)),
        _ => Box::new(std::iter::empty()),
    }
}

/// RFC 9535, section 2.3.4.2.2.
fn slice(items: &[Value], start: Option<i64>, end: Option<i64>, step: i64) -> Vec<&Value> {
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_start = |index: i64| if index < 0 { length.saturating_add(index) } else { index };
    let pick = |at: i64| usize::try_from(at).ok().and_then(|at| items.get(at));
    let mut found = Vec::new();
    match step.cmp(&0) {
        Ordering::Equal => {}
        Ordering::Greater => {
            let mut at = from_start(start.unwrap_or(0)).clamp(0, length);
            let stop = from_start(end.unwrap_or(length)).clamp(0, length);
            while at < stop {
                found.extend(pick(at));
                at = at.saturating_add(step);
            }
        }
        Ordering::Less => {
            let mut at = from_start(start.unwrap_or(length - 1)).clamp(-1, length - 1);
            let stop = end.map_or(-1, from_start).clamp(-1, length - 1);
            while at > stop {
                found.extend(pick(at));
                at = at.saturating_add(step);
            }
        }
    }
    found
}

/// RFC 9535, section 2.3.5.2.2: two that are both not there are equal; order is between numbers, or between texts.
fn compare(sign: Sign, left: Option<&Value>, right: Option<&Value>) -> bool {
    let equal = left == right;
    let order = match (left, right) {
        (Some(left), Some(right)) => super::evaluator::order(left, right),
        _ => None,
    };
    match sign {
        Sign::Equal => equal,
        Sign::Different => !equal,
        Sign::Less => order == Some(Ordering::Less),
        Sign::Greater => order == Some(Ordering::Greater),
        Sign::LessOrEqual => equal || order == Some(Ordering::Less),
        Sign::GreaterOrEqual => equal || order == Some(Ordering::Greater),
    }
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
        model::Test::AbsQuery(query) => Ok(Test::Exists(inner(&query.segments, Origin::Document)?)),
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
        Origin::Document => from_root(query.0),
        origin => Inner { origin, query },
    })
}

/// A query from `$`, or from what the mark on its first name says.
fn from_root(mut segments: Vec<Segment>) -> Inner {
    let marked = match segments.first().map(|segment| segment.selectors.as_slice()) {
        Some([Selector::Name(name)]) => name.strip_prefix(MARK),
        _ => None,
    };
    let origin = match marked {
        Some("item") => Origin::Item,
        Some("outer") => Origin::Outer,
        _ => return Inner { origin: Origin::Document, query: Query(segments) },
    };
    segments.remove(0);
    Inner { origin, query: Query(segments) }
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
            model::Test::AbsQuery(query) => Ok(Operand::Found(inner(&query.segments, Origin::Document)?)),
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
    built.map_err(|_| format!("`{}` is not a regular expression", super::faults::cut(text)))
}

fn unknown_function(name: &str) -> String {
    format!("unknown function `{name}` in a filter: there are `length`, `count`, `value`, `match`, `search`")
}
