//! The part of a path that may select several values: wildcards, slices, filters, `..`.
//!
//! `jsonpath-rust` reads the text, as RFC 9535 says; the selection is made here. Its own compares numbers in filters as
//! binary floating point, knows no bound, and its `$` in a filter cannot be the document when the path begins at `$item`.
//! Here numbers are exact, the work is bounded, and patterns are compiled once. docs/decisions/0001-paths.md has the numbers.

mod parsed;

use std::cell::Cell;
use std::cmp::Ordering;

use regex::Regex;

use super::{Root, Start, position, start};
use crate::formula::{Frame, MAX_ITEMS, evaluator};
use crate::message::{Text, Value};
pub use parsed::marked;

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

/// Where a query inside a filter begins. RFC 9535 knows `@` and `$`; we know the other roots that are values too.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Current,
    Root(Root),
}

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
    /// What the segments select below `base`.
    pub fn select<'v>(&self, base: &'v Value, frame: &Frame<'v>) -> Result<Vec<&'v Value>, TooMuch> {
        let run = Run { frame: *frame, visits: Cell::new(0) };
        run.query(self, base)
    }
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
                    found.extend(position(*index, items.len()).map(|at| &items[at]));
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

    fn base(&self, origin: Origin, current: &'v Value) -> Option<&'v Value> {
        let Origin::Root(root) = origin else { return Some(current) };
        match start(root, &self.frame)? {
            Start::Value(value) => Some(value),
            Start::Map(_) | Start::Number(_) => None,
        }
    }

    fn inner(&self, inner: &Inner, current: &'v Value) -> Result<Vec<&'v Value>, TooMuch> {
        self.base(inner.origin, current).map_or(Ok(Vec::new()), |base| self.query(&inner.query, base))
    }

    /// What a query finds, if it is exactly one value; names and indexes are followed without a list.
    fn one(&self, inner: &Inner, current: &'v Value) -> Result<Option<&'v Value>, TooMuch> {
        let Some(mut value) = self.base(inner.origin, current) else { return Ok(None) };
        for segment in &inner.query.0 {
            let next = match (segment.descends, segment.selectors.as_slice(), value) {
                (false, [Selector::Name(name)], _) => value.get(name),
                (false, [Selector::Index(index)], Value::List(items)) => {
                    position(*index, items.len()).map(|at| &items[at])
                }
                (false, [Selector::Index(_)], _) => None,
                _ => {
                    return Ok(match self.inner(inner, current)?.as_slice() {
                        [one] => Some(*one),
                        _ => None,
                    });
                }
            };
            match next {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    fn operand<'o>(&self, operand: &'o Operand, current: &'v Value) -> Result<Option<Operated<'o>>, TooMuch>
    where
        'v: 'o,
    {
        Ok(match operand {
            Operand::Constant(value) => Some(Operated::Borrowed(value)),
            Operand::Found(inner) => self.one(inner, current)?.map(Operated::Borrowed),
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
        (Some(left), Some(right)) => evaluator::order(left, right),
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
