//! YAML's own traps: a formula that YAML cut in pieces is recognised by its pieces and shown whole, quoted as it should be.

use super::Formula;
use super::reading::source;
use crate::config::{Key, Kind, Node, Reader, Span};

/// `{ net: =round($.a, 2) }`: YAML ends the value at the comma and takes the rest for keys. Reports it; whether it did.
pub fn split_fields(fields: &[(Key, Node)], reader: &mut Reader<'_>) -> bool {
    let mut found = false;
    for (at, (key, node)) in fields.iter().enumerate() {
        let Some(mut whole) = beginning(node) else { continue };
        for (piece, value) in &fields[at + 1..] {
            whole = format!("{whole}, {}", piece.name);
            let mut end = piece.span.end;
            if let Kind::Scalar { text, .. } = &value.kind {
                whole = format!("{whole}: {text}");
                end = value.span.end;
            }
            if is_whole(&whole) {
                let span = Span { end, ..node.span };
                let corrected = quoted(&as_written(span, &whole, reader));
                report(reader, span, "`,`", &format!("{}: {corrected}", key.name));
                found = true;
                break;
            }
        }
    }
    found
}

/// `[=round($.a, 2)]`: the same in a list.
pub fn split_items(items: &[Node], reader: &mut Reader<'_>) -> bool {
    let mut found = false;
    for (at, node) in items.iter().enumerate() {
        let Some(mut whole) = beginning(node) else { continue };
        for next in &items[at + 1..] {
            let Kind::Scalar { text, .. } = &next.kind else { break };
            whole = format!("{whole}, {text}");
            if is_whole(&whole) {
                let span = Span { end: next.span.end, ..node.span };
                report(reader, span, "`,`", &format!("[{}]", quoted(&as_written(span, &whole, reader))));
                found = true;
                break;
            }
        }
    }
    found
}

/// `- =concat('a: ', $.b)`: YAML takes what stands before `: ` for a key.
pub fn split_key(fields: &[(Key, Node)], reader: &mut Reader<'_>) -> bool {
    let Some((key, value)) = fields.iter().find(|(key, _)| key.name.starts_with(['=', '$']) && !is_whole(&key.name))
    else {
        return false;
    };
    let Kind::Scalar { text, .. } = &value.kind else {
        return false;
    };
    let span = Span { end: value.span.end, ..key.span };
    report(reader, span, "`: `", &quoted(&as_written(span, &format!("{}: {text}", key.name), reader)));
    true
}

/// `=concat('order #', $.id)` without quotes: YAML takes ` #` for the beginning of a comment.
pub fn cut_by_comment(node: &Node, text: &str, reader: &mut Reader<'_>) -> bool {
    let Kind::Scalar { plain: true, .. } = &node.kind else {
        return false;
    };
    let source = source(node.span, reader);
    let Some(rest) = source.as_deref().and_then(|source| source.get(node.span.end as usize..)) else {
        return false;
    };
    let line = rest.lines().next().unwrap_or_default().trim_end();
    // Some spans end after the blanks.
    let blank = line.starts_with([' ', '\t']) || text.len() < (node.span.end - node.span.start) as usize;
    if !(blank && line.trim_start().starts_with('#')) {
        return false;
    }
    let between = if line.starts_with([' ', '\t']) { "" } else { " " };
    let whole = format!("{text}{between}{line}");
    let formula = whole.strip_prefix('=').unwrap_or(&whole);
    if is_whole(text) && Formula::parse(formula).is_err() {
        return false;
    }
    report(reader, node.span, "` #`, which begins a comment", &quoted(&whole));
    true
}

fn report(reader: &mut Reader<'_>, span: Span, sign: &str, corrected: &str) {
    reader
        .error(span, format!("YAML cuts this formula at {sign}"))
        .label("one formula, in pieces")
        .help(format!("put it between quotes: {corrected}"));
}

/// The text of a plain scalar that begins a formula or path and does not end it.
fn beginning(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Scalar { text, plain: true } if text.starts_with(['=', '$']) && !is_whole(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The source between two places if it is one line, else what was put together.
fn as_written(span: Span, together: &str, reader: &Reader<'_>) -> String {
    let source = source(span, reader);
    let written = source.as_deref().and_then(|source| source.get(span.start as usize..span.end as usize));
    match written {
        Some(written) if !written.contains('\n') && is_whole(written) => written.trim_end().to_owned(),
        _ => together.to_owned(),
    }
}

/// Whether every bracket and quote that is opened is closed.
fn is_whole(text: &str) -> bool {
    let (mut depth, mut quoted) = (0_i32, false);
    for byte in text.bytes() {
        match byte {
            b'\'' => quoted = !quoted,
            b'(' | b'[' if !quoted => depth += 1,
            b')' | b']' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth == 0 && !quoted
}

/// The text as a YAML scalar between quotes.
pub fn quoted(text: &str) -> String {
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}
