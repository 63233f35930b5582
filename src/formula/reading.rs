//! Paths, formulas, conditions and templates in YAML: how they are told apart, and where in the file a mistake stands.
//!
//! What a scalar is, is decided by how it is written: one that begins with `=` is a formula, with `$` a path, and `${…}` is a
//! reference. What a reference brings in is never itself read as a path or formula.

use std::sync::Arc;

use super::template::{Each, Part};
use super::{Condition, Formula, Issue, Path, Template, traps};
use crate::config::{Key, Kind, Node, Reader, Setting, Shape, Span};
use crate::message::{Map, Text, Value};

impl Setting for Path {
    fn shape() -> Shape {
        Shape::Template("a path into the message, such as `$.customer.email`; `?` at its end makes it optional")
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Path> {
        let text = reader.text(node)?;
        let read = Path::parse(&text);
        settle(node, reader, &text, 0, "path", read)
    }
}

impl Setting for Formula {
    fn shape() -> Shape {
        Shape::Template("a formula, which begins with `=`, such as `=round($.quantity * $.price, 2)`")
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Formula> {
        let text = reader.text(node)?;
        let Some(formula) = text.strip_prefix('=') else {
            reader.error(node.span, "a formula begins with `=`").label("a formula is expected here");
            return None;
        };
        let read = Formula::parse(formula).and_then(|formula| known_tables(formula, reader));
        settle(node, reader, &text, 1, "formula", read)
    }
}

impl Setting for Condition {
    fn shape() -> Shape {
        Shape::Template(
            "a condition: a formula that gives true or false, written without `=`, such as `$.status == 'paid'`",
        )
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Condition> {
        if let Kind::Map { fields, .. } = &node.kind
            && traps::split_key(fields, reader)
        {
            return None;
        }
        let text = reader.text(node)?;
        if let Some(formula) = text.strip_prefix('=') {
            reader
                .error(node.span, "a condition is written without `=`")
                .label("always a formula")
                .help(format!("write {}", traps::quoted(formula)));
            return None;
        }
        let read = Condition::parse(&text).and_then(|condition| known_tables(condition.0, reader).map(Condition));
        settle(node, reader, &text, 0, "condition", read)
    }
}

/// The formula, unless it reads a table or a column that does not exist.
fn known_tables(formula: Formula, reader: &Reader<'_>) -> Result<Formula, Vec<Issue>> {
    let issues = match &reader.tables {
        Some(tables) => formula.check(&|table, column| Some(tables.get(table)?.iter().any(|known| known == column))),
        None => Vec::new(),
    };
    if issues.is_empty() { Ok(formula) } else { Err(issues) }
}

impl Setting for Template {
    fn shape() -> Shape {
        Shape::Template(
            "a constant, a path (`$.order.number`), a formula (`=upper($.name)`), or a map or list of these",
        )
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Template> {
        part(node, reader).map(|part| Template(Arc::new(part)))
    }
}

fn part(node: &Node, reader: &mut Reader<'_>) -> Option<Part> {
    match &node.kind {
        Kind::Null => Some(Part::Constant(Value::Null)),
        Kind::Scalar { text, plain } => scalar(node, text, *plain, reader),
        Kind::List(items) => list(items, reader),
        Kind::Map { fields, .. } => match node.field("each") {
            Some(each) => each_map(node, each, fields, reader),
            None => map(fields, reader),
        },
    }
}

fn scalar(node: &Node, written: &Text, plain: bool, reader: &mut Reader<'_>) -> Option<Part> {
    let reference = written.starts_with("${") || written.starts_with("$${");
    if reference || !written.starts_with(['=', '$']) {
        return reader.text(node).map(|text| Part::Constant(constant(text, plain)));
    }
    if written.starts_with('=') {
        Formula::read(node, reader).map(|formula| {
            let span = span_of_text(node, formula.text(), 1, reader);
            Part::Formula(formula, span)
        })
    } else {
        Path::read(node, reader).map(Part::Path)
    }
}

/// A quoted scalar is text. A plain one is a boolean or a number where JSON would write it so; `01000` and `NO` are text.
fn constant(text: Text, plain: bool) -> Value {
    match text.as_str() {
        "true" if plain => Value::Bool(true),
        "false" if plain => Value::Bool(false),
        other if plain => Value::number(other).unwrap_or(Value::Text(text)),
        _ => Value::Text(text),
    }
}

fn list(items: &[Node], reader: &mut Reader<'_>) -> Option<Part> {
    if traps::split_items(items, reader) {
        return None;
    }
    let parts: Vec<Option<Part>> = items.iter().map(|item| part(item, reader)).collect();
    let parts: Vec<Part> = parts.into_iter().collect::<Option<_>>()?;
    Some(match parts.iter().map(fixed).collect::<Option<Vec<Value>>>() {
        Some(values) => Part::Constant(values.into()),
        None => Part::List(parts),
    })
}

fn map(fields: &[(Key, Node)], reader: &mut Reader<'_>) -> Option<Part> {
    if traps::split_key(fields, reader) || traps::split_fields(fields, reader) {
        return None;
    }
    let parts: Vec<Option<(Text, Part)>> =
        fields.iter().map(|(key, node)| Some((key.name.clone(), part(node, reader)?))).collect();
    let parts: Vec<(Text, Part)> = parts.into_iter().collect::<Option<_>>()?;
    Some(match parts.iter().map(|(name, part)| Some((name.clone(), fixed(part)?))).collect::<Option<Map>>() {
        Some(values) => Part::Constant(values.into()),
        None => Part::Map(parts),
    })
}

fn fixed(part: &Part) -> Option<Value> {
    match part {
        Part::Constant(value) => Some(value.clone()),
        _ => None,
    }
}

/// `{ each: …, keep: …, map: … }`
fn each_map(node: &Node, each: &Node, fields: &[(Key, Node)], reader: &mut Reader<'_>) -> Option<Part> {
    const KNOWN: [&str; 3] = ["each", "keep", "map"];
    if traps::split_fields(fields, reader) {
        return None;
    }
    let mut right = true;
    for (key, _) in fields.iter().filter(|(key, _)| !KNOWN.contains(&key.name.as_str())) {
        reader.unknown(key.span, "key", &key.name, KNOWN);
        right = false;
    }
    let list = part(each, reader).filter(|list| {
        let finds = matches!(list, Part::Path(..) | Part::Formula(..));
        if !finds {
            reader
                .error(each.span, "`each` wants a path or a formula that gives a list")
                .label("for instance `$.lines`");
        }
        finds
    });
    let keep = match node.field("keep") {
        Some(keep) => Condition::read(keep, reader).map(|condition| {
            let span = span_of_text(keep, condition.formula().text(), 0, reader);
            Some((condition, span))
        }),
        None => Some(None),
    };
    let Some(map) = node.field("map") else {
        let key = fields.iter().find(|(key, _)| key.name == "each").map_or(node.span, |(key, _)| key.span);
        reader
            .error(key, "`each` without `map`")
            .label("what to write for each item?")
            .help("each: $.lines\nmap: { code: $item.code }");
        return None;
    };
    let map = part(map, reader);
    right.then_some(())?;
    Some(Part::Each(Box::new(Each { list: list?, keep: keep?, map: map? })))
}

/// The value, or its issues reported at their places in the file. `skipped` bytes of the scalar stand before the text parsed.
fn settle<T>(
    node: &Node,
    reader: &mut Reader<'_>,
    text: &str,
    skipped: usize,
    what: &str,
    read: Result<T, Vec<Issue>>,
) -> Option<T> {
    let issues = match read {
        Ok(value) => return Some(value),
        Err(issues) => issues,
    };
    if node.text() != Some(text) {
        // What came through a reference may be a secret: nothing of it is repeated.
        reader
            .error(node.span, format!("with its references replaced, this is no {what}"))
            .label("a value from outside stands inside it")
            .help("look at what the references bring: a quote, a blank, a missing digit");
        return None;
    }
    if traps::cut_by_comment(node, text, reader) {
        return None;
    }
    let span = span_of_text(node, &text[skipped..], skipped, reader);
    report(reader, span, &text[skipped..], issues);
    None
}

/// Reports the issues of a text that stands at `span`: each at its own place if the file holds the text as it is.
pub(super) fn report(reader: &mut Reader<'_>, span: Span, text: &str, issues: Vec<Issue>) {
    let verbatim = (span.end - span.start) as usize == text.len();
    for issue in issues {
        let problem = reader.error(if verbatim { span.part(issue.from, issue.to) } else { span }, issue.message);
        problem.label(issue.label);
        problem.help = issue.help;
    }
}

/// Where the text of a scalar stands in its file, after its quote and `skipped` bytes; the whole scalar where the file does not
/// hold the text as it is (escapes, folded lines).
fn span_of_text(node: &Node, text: &str, skipped: usize, reader: &Reader<'_>) -> Span {
    let source = source(node.span, reader);
    let rest = source.as_deref().and_then(|source| source.get(node.span.start as usize..)).unwrap_or_default();
    let quote = usize::from(rest.starts_with(['\'', '"']));
    match rest.get(quote + skipped..) {
        Some(rest) if rest.starts_with(text) => {
            let start = node.span.start + (quote + skipped) as u32;
            Span { start, end: start + text.len() as u32, ..node.span }
        }
        _ => node.span,
    }
}

/// The text of the file a span is in; `None` for nodes that come from no file.
pub(super) fn source(span: Span, reader: &Reader<'_>) -> Option<Arc<str>> {
    (!reader.files.is_empty()).then(|| reader.files.text(span.file))
}

#[cfg(test)]
mod tests;
