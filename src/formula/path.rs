//! Paths: `$.customer.phone?`, `$item.lines[*].price`, `$.lines[?@.type == 'gift'].gtin`.
//!
//! A path is a root, then RFC 9535 segments, then perhaps `?`. It is cut in three when it is compiled: leading singular steps
//! and trailing singular steps, walked here without allocation, and what lies between, which `query` selects.
//! docs/decisions/0001-paths.md has the numbers.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use jsonpath_rust::parser::model::{Segment, Selector};
use jsonpath_rust::parser::parse_json_path;

use super::query::{self, Query};
use super::{Frame, Issue, MAX_ITEMS, Scope, faults};
use crate::config::nearest;
use crate::message::{Fault, Map, Text, Value};

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
];

/// Longest path, in bytes.
const MAX_LENGTH: usize = 4096;
impl Path {
    /// Compiles `text`, or tells what is wrong with it.
    pub fn parse(text: &str) -> Result<Path, Vec<Issue>> {
        compile(text).map(|compiled| Path(Arc::new(compiled))).map_err(|issue| vec![issue])
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
        Root::Meta => Some(Start::Map(scope.meta)),
        Root::Partner => scope.partner.map(Start::Value),
        Root::Connection => scope.connection.map(Start::Value),
    }
}

fn absent_root(root: Root) -> &'static str {
    match root {
        Root::Item | Root::Index => "`$item` and `$index` exist only inside `each`",
        Root::Outer => "`$outer` exists only in an `each` inside another `each`",
        Root::Partner => "this message has no partner",
        Root::Connection => "`$connection` exists only in a connector's manifest",
        Root::Document | Root::Headers | Root::Meta => "it is not there",
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

/// Where below `base` the very value `wanted` stands; asked only for a fault's sentence.
fn locate(base: &Value, wanted: &Value, place_of: String) -> Option<String> {
    if std::ptr::eq(base, wanted) {
        return Some(place_of);
    }
    match base {
        Value::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| locate(item, wanted, format!("{place_of}[{index}]")))
        }
        Value::Map(map) => {
            map.iter().find_map(|(name, value)| locate(value, wanted, place(&place_of, &[Step::Name(name.clone())])))
        }
        _ => None,
    }
}

fn place(base: &str, steps: &[Step]) -> String {
    let mut out = base.to_owned();
    for step in steps {
        match step {
            Step::Name(name) if is_plain_name(name) => write!(out, ".{name}"),
            Step::Name(name) => write!(out, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")),
            Step::Index(index) => write!(out, "[{index}]"),
        }
        .expect("writing to a string does not fail");
    }
    out
}

fn is_plain_name(name: &str) -> bool {
    name.chars().next().is_some_and(is_name_start) && name.chars().all(is_name)
}

fn explain(path: &str, base: &str, owner: &Value, step: &Step) -> String {
    let why = match (step, owner) {
        (_, Value::Null) => format!("`{base}` is null"),
        (_, Value::Map(map)) => return explain_field(path, base, map, step),
        (Step::Name(name), other) => format!("`{base}` is {}, it has no field `{}`", other.kind(), faults::cut(name)),
        (Step::Index(index), Value::List(items)) => format!("`{base}` has {} items, none at [{index}]", items.len()),
        (Step::Index(_), other) => format!("`{base}` is {}, not a list", other.kind()),
    };
    format!("`{path}` finds nothing: {why}")
}

fn explain_field(path: &str, base: &str, map: &Map, step: &Step) -> String {
    let Step::Name(name) = step else {
        return format!("`{path}` finds nothing: `{base}` is a map, not a list");
    };
    // Names come from outside: only so many, only so long.
    let names = map.iter().map(|(name, _)| name.as_str()).filter(|name| name.len() <= 64).take(200);
    let near = match nearest(name, names) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    format!("`{path}` finds nothing: `{base}` has no field `{name}`{near}")
}

/// Bytes of the path at the start of `text`, which begins with `$`. Takes what looks like a path, right or wrong.
pub(super) fn scan(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1 + run_of_name(&text[1..]);
    loop {
        match bytes.get(at) {
            Some(b'.') => {
                let dots = if bytes.get(at + 1) == Some(&b'.') { 2 } else { 1 };
                at += dots;
                match bytes.get(at) {
                    Some(b'*') => at += 1,
                    _ => at += run_of_name(&text[at..]),
                }
            }
            Some(b'[') => at += bracket(&text[at..]),
            Some(b'?') => return at + 1,
            _ => return at,
        }
    }
}

fn run_of_name(text: &str) -> usize {
    text.find(|character| !is_name(character)).unwrap_or(text.len())
}

fn is_name_start(character: char) -> bool {
    character == '_' || character.is_ascii_alphabetic() || !character.is_ascii()
}

fn is_name(character: char) -> bool {
    is_name_start(character) || character.is_ascii_digit()
}

/// Bytes up to the `]` that closes the `[` at the start, quotes respected; all of it where none does.
fn bracket(text: &str) -> usize {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'[') => depth += 1,
            (None, b']') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            (None, _) => {}
        }
    }
    text.len()
}

fn compile(text: &str) -> Result<Compiled, Issue> {
    let scanned = if text.starts_with('$') { scan(text) } else { 0 };
    if scanned < text.len() {
        return Err(trailing(text, scanned));
    }
    let whole = |message: &str, label: &str| Issue::new(0, text.len(), message, label);
    if text.len() > MAX_LENGTH {
        return Err(whole("a path longer than 4,096 characters", "too long"));
    }
    let name_end = 1 + run_of_name(&text[1..]);
    let Some((_, root)) = ROOTS.iter().find(|(name, _)| *name == &text[..name_end]) else {
        return Err(unknown_root(&text[..name_end]));
    };
    let (segments, optional) = match text[name_end..].strip_suffix('?') {
        Some(segments) => (segments, true),
        None => (&text[name_end..], false),
    };
    let query = parse_json_path(&format!("${}", query::marked(segments))).map_err(|_| bad_segments(text, name_end))?;
    let (head, rest) = cut(query.segments).map_err(|said| whole(&said, "RFC 9535 knows no more"))?;
    match root {
        Root::Index if !head.is_empty() || rest.is_some() => {
            return Err(whole("`$index` is a number and has no fields", "the item is `$item`"));
        }
        Root::Headers | Root::Meta if rest.is_some() && head.is_empty() => {
            return Err(whole("this path selects several values at once", "name one, such as `$headers.content_type`"));
        }
        _ => {}
    }
    Ok(Compiled { text: text.into(), root: *root, optional, head, rest })
}

/// Leading singular steps, what lies between, trailing singular steps.
fn cut(segments: Vec<Segment>) -> Result<(Vec<Step>, Option<Rest>), String> {
    let singular = |segment: &Segment| matches!(segment, Segment::Selector(Selector::Name(_) | Selector::Index(_)));
    let Some(first) = segments.iter().position(|segment| !singular(segment)) else {
        return Ok((steps(&segments), None));
    };
    let last = segments.iter().rposition(|segment| !singular(segment)).unwrap_or(first);
    let middle = &segments[first..=last];
    let wildcard = matches!(middle, [Segment::Selector(Selector::Wildcard)]);
    let middle = if wildcard { None } else { Some(Query::compile(middle)?) };
    let rest = Rest { middle, tail: steps(&segments[last + 1..]) };
    Ok((steps(&segments[..first]), Some(rest)))
}

fn steps(segments: &[Segment]) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Selector(Selector::Name(name)) => Some(Step::Name(name.as_str().into())),
        Segment::Selector(Selector::Index(index)) => Some(Step::Index(*index)),
        _ => None,
    };
    segments.iter().filter_map(step).collect()
}

fn trailing(text: &str, scanned: usize) -> Issue {
    if scanned == 0 {
        return Issue::new(0, text.len(), "a path begins with `$`", "not a path");
    }
    let rest = &text[scanned..];
    let issue = Issue::new(scanned, text.len(), "this is not part of the path", "the path ends before it");
    let word = run_of_name(rest.get(1..).unwrap_or_default());
    match rest.as_bytes() {
        [b'-', ..] if word > 0 => {
            let dot = text[..scanned].rfind('.').unwrap_or(scanned);
            let end = scanned + 1 + word;
            issue.help(format!(
                "a name with `-` stands in brackets: `{}['{}']{}`; to compute, begin with `=`",
                &text[..dot],
                &text[(dot + 1).min(scanned)..end],
                &text[end..]
            ))
        }
        _ => issue.help(format!("a formula begins with `=`: `={text}`")),
    }
}

fn unknown_root(name: &str) -> Issue {
    let issue = Issue::new(0, name.len(), format!("unknown root `{name}`"), "");
    let known = ROOTS.iter().map(|(known, _)| *known);
    match nearest(name, known.clone().filter(|known| known.len() > 1)) {
        Some(near) => issue.label(format!("did you mean `{near}`?")),
        None => issue
            .label(format!("did you mean `$.{}`?", &name[1..]))
            .help(format!("roots: {}; a field of the document is `$.field`", known.collect::<Vec<_>>().join(", "))),
    }
}

fn bad_segments(text: &str, from: usize) -> Issue {
    let issue = Issue::new(from, text.len(), format!("`{}` is not a path", faults::cut(text)), "not RFC 9535 JSONPath");
    let digits = text.match_indices('.').find(|(at, _)| text[at + 1..].starts_with(|next: char| next.is_ascii_digit()));
    if let Some((at, _)) = digits {
        let count = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let (before, number, after) = (&text[..at], &text[at + 1..at + 1 + count], &text[at + 1 + count..]);
        return issue.help(format!("an item of a list stands in brackets: `{before}[{number}]{after}`"));
    }
    match text.ends_with('.') {
        true => issue.help("a name follows a `.`"),
        false => issue.help("examples: `$.lines[0].price`, `$['odd name']`, `$.lines[*].price`, `$.lines[?@.qty > 1]`"),
    }
}
