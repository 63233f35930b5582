//! Paths: `$.customer.phone?`, `$item.lines[*].price`, `$.lines[?@.type == 'gift'].gtin`.
//!
//! A path is a root, then RFC 9535 segments, then perhaps `?`. It is cut in three when it is compiled: leading singular steps
//! and trailing singular steps, walked here without allocation, and what lies between, which `query` selects.
//! docs/decisions/0001-paths.md has the numbers.

mod compile;
mod explain;
mod query;

use std::borrow::Cow;
use std::sync::Arc;

use super::{Frame, Issue, MAX_ITEMS, Scope, faults};
use crate::message::{Fault, Map, Text, Value};
pub(super) use compile::scan;
use explain::{absent_root, explain, explain_field, locate, place};
use query::Query;

/// A path: `$.customer.phone?`. A singular path gives a value, any other a list.
#[derive(Clone, Debug)]
pub struct Path(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: Text,
    root: Root,
    optional: bool,
    head: Vec<Step>,
    rest: Option<Rest>,
}

/// What follows the first segment that may select several: it, up to the last such, then singular steps.
#[derive(Debug)]
struct Rest {
    /// `None` is `[*]` alone, by far the most common.
    middle: Option<Query>,
    tail: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Name(Text),
    Index(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Document,
    Item,
    Outer,
    Index,
    Headers,
    Meta,
    Partner,
    Connection,
    /// One of the names in [`Scope::locals`].
    Local(&'static str),
}

const ROOTS: &[(&str, Root)] = &[
    ("$", Root::Document),
    ("$item", Root::Item),
    ("$outer", Root::Outer),
    ("$index", Root::Index),
    ("$headers", Root::Headers),
    ("$meta", Root::Meta),
    ("$partner", Root::Partner),
    ("$connection", Root::Connection),
    ("$cursor", Root::Local("cursor")),
    ("$page", Root::Local("page")),
    ("$calls", Root::Local("calls")),
    ("$input", Root::Local("input")),
    ("$job", Root::Local("job")),
    ("$result", Root::Local("result")),
    ("$session", Root::Local(SESSION)),
];

/// What a login gave: a credential.
const SESSION: &str = "session";

impl Path {
    /// Compiles `text`, or tells what is wrong with it.
    pub fn parse(text: &str) -> Result<Path, Vec<Issue>> {
        compile::compile(text).map(|compiled| Path(Arc::new(compiled))).map_err(|issue| vec![issue])
    }

    /// What it finds: `None` where it is optional (`?`) and finds nothing.
    ///
    /// # Errors
    /// `refuse` `FORMULA-MISSING` where a path that is not optional finds nothing, with the path in `at`.
    pub fn find<'v>(&self, scope: &Scope<'v>) -> Result<Option<Cow<'v, Value>>, Fault> {
        self.find_in(&Frame::of(scope))
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it gives one value; any other path gives a list.
    pub fn is_singular(&self) -> bool {
        self.0.rest.is_none()
    }

    /// Whether it may find a secret: a connection's settings hold credentials. What it is called is none.
    pub(super) fn is_secret(&self) -> bool {
        let own_name = matches!(self.0.head.as_slice(), [Step::Name(name)] if name == "name");
        match self.0.root {
            Root::Connection => !own_name,
            root => root == Root::Local(SESSION),
        }
    }

    /// Whether it is `$index`, always a number.
    pub(super) fn is_index(&self) -> bool {
        self.0.root == Root::Index
    }

    pub(super) fn find_in<'v>(&self, frame: &Frame<'v>) -> Result<Option<Cow<'v, Value>>, Fault> {
        let path = &*self.0;
        let Some(start) = start(path.root, frame) else {
            return path.nothing(|| format!("`{}` finds nothing: {}", path.text, absent_root(path.root)), None);
        };
        let found = match start {
            Start::Number(index) => return Ok(Some(Cow::Owned(Value::from(index)))),
            Start::Map(map) => match path.head.split_first() {
                None => return Ok(Some(Cow::Owned(Value::Map(map.clone())))),
                Some((Step::Name(name), steps)) => match map.get(name) {
                    Some(value) => walk(value, steps).map_err(|(owner, at)| (Some(owner), at + 1)),
                    None => Err((None, 0)),
                },
                Some((Step::Index(_), _)) => Err((None, 0)),
            },
            Start::Value(value) => walk(value, &path.head).map_err(|(owner, at)| (Some(owner), at)),
        };
        let value = match found {
            Ok(value) => value,
            Err((owner, at)) => {
                let base = place(root_name(path.root), &path.head[..at]);
                return path.nothing(
                    || match (owner, start) {
                        (Some(owner), _) => explain(&path.text, &base, owner, &path.head[at]),
                        (None, Start::Map(map)) => explain_field(&path.text, &base, map, &path.head[at]),
                        (None, _) => format!("`{}` finds nothing", path.text),
                    },
                    None,
                );
            }
        };
        match &path.rest {
            None => Ok(Some(Cow::Borrowed(value))),
            Some(rest) => path.select(rest, value, frame),
        }
    }
}

impl Compiled {
    /// Nothing was found: fine where the path says `?`, a fault elsewhere. The sentence is made only then.
    fn nothing<'v>(
        &self,
        sentence: impl FnOnce() -> String,
        at: Option<String>,
    ) -> Result<Option<Cow<'v, Value>>, Fault> {
        if self.optional {
            return Ok(None);
        }
        Err(faults::missing(sentence()).at(at.unwrap_or_else(|| self.text.to_string())))
    }

    fn select<'v>(&self, rest: &Rest, base: &'v Value, frame: &Frame<'v>) -> Result<Option<Cow<'v, Value>>, Fault> {
        let here = || place(root_name(self.root), &self.head);
        match base {
            Value::List(_) | Value::Map(_) => {}
            Value::Null => {
                return self.nothing(|| format!("`{}` finds nothing: `{}` is null", self.text, here()), None);
            }
            other => {
                let sentence = format!("`{}` wants a list or a map, and `{}` is {}", self.text, here(), other.kind());
                return Err(faults::kind(sentence).at(self.text.as_str()));
            }
        }
        let mut found = Vec::new();
        match (&rest.middle, base) {
            (None, Value::List(items)) => {
                if items.len() > MAX_ITEMS {
                    return Err(too_many(&self.text));
                }
                found.reserve(items.len());
                for (index, item) in items.iter().enumerate() {
                    self.take(item, &rest.tail, &mut found, || format!("{}[{index}]", here()))?;
                }
            }
            (None, Value::Map(map)) => {
                for (name, item) in map.iter() {
                    self.take(item, &rest.tail, &mut found, || place(&here(), &[Step::Name(name.clone())]))?;
                }
            }
            (Some(query), base) => {
                let selected = query.select(base, frame).map_err(|_| too_many(&self.text))?;
                for element in selected {
                    let place_of = || locate(base, element, here()).unwrap_or_else(here);
                    self.take(element, &rest.tail, &mut found, place_of)?;
                }
            }
            (None, _) => {}
        }
        Ok(Some(Cow::Owned(Value::List(found))))
    }

    /// Adds what the tail finds in one selected element; an element without it is left out by `?`, else a fault that names it.
    fn take(
        &self,
        element: &Value,
        tail: &[Step],
        found: &mut Vec<Value>,
        place_of: impl Fn() -> String,
    ) -> Result<(), Fault> {
        match walk(element, tail) {
            Ok(value) => found.push(value.clone()),
            Err(_) if self.optional => {}
            Err((owner, at)) => {
                let base = place(&place_of(), &tail[..at]);
                let sentence = explain(&self.text, &base, owner, &tail[at]);
                return Err(faults::missing(sentence).at(place(&base, &tail[at..=at])));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Start<'v> {
    Value(&'v Value),
    Map(&'v Map),
    Number(usize),
}

fn start<'v>(root: Root, frame: &Frame<'v>) -> Option<Start<'v>> {
    let scope = &frame.scope;
    match root {
        Root::Document => Some(Start::Value(scope.document)),
        Root::Item => scope.item.map(|(item, _)| Start::Value(item)),
        Root::Outer => frame.outer.map(Start::Value),
        Root::Index => scope.item.map(|(_, index)| Start::Number(index)),
        Root::Headers => Some(Start::Map(scope.headers)),
        Root::Meta => Some(Start::Map(scope.meta.map())),
        Root::Partner => scope.partner.map(Start::Value),
        Root::Connection => scope.connection.map(Start::Value),
        Root::Local(name) => scope.locals?.get(name).map(Start::Value),
    }
}

fn root_name(root: Root) -> &'static str {
    ROOTS.iter().find(|(_, known)| *known == root).map_or("$", |(name, _)| name)
}

/// Follows singular steps; `Err` has the value that lacks one, and which.
fn walk<'v>(mut value: &'v Value, steps: &[Step]) -> Result<&'v Value, (&'v Value, usize)> {
    for (at, step) in steps.iter().enumerate() {
        let next = match (step, value) {
            (Step::Name(name), Value::Map(map)) => map.get(name),
            (Step::Index(index), Value::List(items)) => position(*index, items.len()).map(|index| &items[index]),
            _ => None,
        };
        value = next.ok_or((value, at))?;
    }
    Ok(value)
}

/// Where `index`, counted from the end if negative, stands in `length` items.
pub(super) fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { length.checked_add(index)? } else { index };
    (0..length).contains(&index).then(|| usize::try_from(index).ok()).flatten()
}

fn too_many(text: &str) -> Fault {
    faults::limit(format!("`{text}` finds more than {MAX_ITEMS} values, or must look at too many")).at(text)
}
