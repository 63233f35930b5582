//! The text of a path → a path cut in three, or what is wrong with the text.

use jsonpath_rust::parser::model::{Segment, Selector};
use jsonpath_rust::parser::parse_json_path;

use super::query::{self, Query};
use super::{Compiled, ROOTS, Rest, Root, Step};
use crate::config::nearest;
use crate::formula::{Issue, faults};

/// Longest path, in bytes.
const MAX_LENGTH: usize = 4096;
/// Bytes of the path at the start of `text`, which begins with `$`. Takes what looks like a path, right or wrong.
pub fn scan(text: &str) -> usize {
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

pub fn run_of_name(text: &str) -> usize {
    text.find(|character| !is_name(character)).unwrap_or(text.len())
}

pub fn is_name_start(character: char) -> bool {
    character == '_' || character.is_ascii_alphabetic() || !character.is_ascii()
}

pub fn is_name(character: char) -> bool {
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

pub fn compile(text: &str) -> Result<Compiled, Issue> {
    let scanned = if text.starts_with('$') { scan(text) } else { 0 };
    if scanned == 0 || scanned < text.len() {
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
    let marked = query::marked(segments).map_err(|(at, name)| unseen(name, name_end + at))?;
    let query = parse_json_path(&format!("${marked}")).map_err(|_| bad_segments(text, name_end))?;
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

/// A root inside a filter that it does not see.
fn unseen(name: &str, at: usize) -> Issue {
    if !ROOTS.iter().any(|(known, _)| *known == name) {
        return unknown_root(name).moved(at);
    }
    Issue::new(at, at + name.len(), format!("a filter does not see `{name}`"), "not in brackets").help(format!(
        "an `each` with `keep` does: `keep: $item.id == {name}`; a filter sees `@`, the element, and `$`, `$item`, `$outer`, \
         `$partner`, `$connection`, `$calls` and what else a manifest has"
    ))
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
