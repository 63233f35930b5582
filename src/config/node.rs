//! YAML text → a tree whose every key and value keeps its place.
//!
//! No guessing of types: a scalar stays its text, with a mark whether it was written plain, and the setting that reads it
//! decides. Aliases are followed within a budget; tags, merges and several documents in a file are refused.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span as YamlSpan, StructureStyle};

use super::{FileId, Problem, Severity, Span};
use crate::message::Text;

/// Larger files are refused unread.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Values in a file, counted after aliases are followed: a bomb is refused, not built.
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub struct Node {
    pub span: Span,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing, `~` or `null`, written plain.
    Null,
    Scalar {
        text: Text,
        /// Written without quotes or block marks.
        plain: bool,
    },
    List(Vec<Node>),
    Map {
        fields: Vec<(Key, Node)>,
        /// Written `{ }`.
        flow: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Key {
    pub name: Text,
    pub span: Span,
}

impl Node {
    pub fn field(&self, name: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map { fields, .. } => fields.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What it is, for error messages.
    pub fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map { .. } => "a map",
        }
    }
}

/// The tree of `text`, or the first thing that keeps it from being YAML. Repeated keys are reported and the first one kept.
pub fn parse(file: FileId, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut builder = Builder { file, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, problems };
    match builder.document() {
        Ok(node) => Some(node),
        Err(mut stop) => {
            if stop.help.is_none() {
                stop.help = formula_in_quotes(text, stop.span.start as usize);
            }
            builder.problems.push(stop);
            None
        }
    }
}

type Yaml<'t> = Parser<'t, granit_parser::StrInput<'t>>;

struct Builder<'t, 'p> {
    file: FileId,
    parser: Yaml<'t>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: &'p mut Vec<Problem>,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Result<Node, Problem> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd | Event::DocumentEnd, at) => {
                    return Ok(Node { span: self.span(at), kind: Kind::Null });
                }
                (event, at) => {
                    let node = self.node(event, at, 0)?;
                    return self.nothing_more().map(|()| node);
                }
            }
        }
    }

    fn nothing_more(&mut self) -> Result<(), Problem> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(..), at) => {
                    return Err(self.stop(at, "a second document in one file", "one file, one document"));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, YamlSpan), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = YamlSpan::empty(*error.marker());
                Err(self.stop(at, &format!("not YAML: {}", error.info()), "here"))
            }
            None => Err(self.stop(YamlSpan::default(), "not YAML: the text ends too early", "here")),
        }
    }

    fn node(&mut self, event: Event<'t>, at: YamlSpan, depth: usize) -> Result<Node, Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.stop(
                at,
                "too many values in one file (over 200,000, aliases followed)",
                "the limit is reached here",
            ));
        }
        if depth > MAX_DEPTH {
            return Err(self.stop(at, "nested deeper than 64 levels", "the limit is reached here"));
        }
        let start = self.span(at);
        let before = self.nodes;
        let (node, anchor) = match event {
            Event::Alias(id) => return self.alias(id, at),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), at)?;
                (Node { span: start, kind: scalar(&text, style) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), at)?;
                (self.list(start, depth)?, anchor)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), at)?;
                (self.map(start, style == StructureStyle::Flow, depth)?, anchor)
            }
            _ => return Err(self.stop(at, "not YAML: a value was expected", "here")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn list(&mut self, mut span: Span, depth: usize) -> Result<Node, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, at) => {
                    span.end = span.end.max(self.span(at).end);
                    return Ok(Node { span, kind: Kind::List(items) });
                }
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, mut span: Span, flow: bool, depth: usize) -> Result<Node, Problem> {
        let mut fields: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let (event, at) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    span.end = span.end.max(self.span(at).end);
                    return Ok(Node { span, kind: Kind::Map { fields, flow } });
                }
                Event::Scalar(text, _, _, tag) => {
                    self.refuse_tag(tag.is_some(), at)?;
                    Key { name: text.as_ref().into(), span: self.span(at) }
                }
                _ => return Err(self.stop(at, "a key must be a plain word", "this is a list or a map")),
            };
            if key.name == "<<" {
                return Err(self.stop(at, "merge keys (`<<`) are not read", "write the fields out"));
            }
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            if seen.insert(key.name.clone()) {
                fields.push((key, value));
            } else {
                self.problems.push(problem(
                    key.span,
                    format!("`{}` stands twice in this map", key.name),
                    "the second one",
                ));
            }
        }
    }

    fn alias(&mut self, id: usize, at: YamlSpan) -> Result<Node, Problem> {
        let Some((node, size)) = self.anchors.get(&id) else {
            return Err(self.stop(at, "this alias stands inside what it repeats", "here"));
        };
        self.nodes += size;
        if self.nodes > MAX_NODES {
            return Err(self.stop(
                at,
                "too many values in one file (over 200,000, aliases followed)",
                "this alias passes the limit",
            ));
        }
        Ok(node.clone())
    }

    fn refuse_tag(&self, tagged: bool, at: YamlSpan) -> Result<(), Problem> {
        if !tagged {
            return Ok(());
        }
        let mut stop = self.stop(at, "YAML reads a word that begins with `!` as a tag and drops it", "after a tag");
        stop.help("put the whole value between quotes, for instance \"!important\"; a condition says `not`");
        Err(stop)
    }

    fn span(&self, at: YamlSpan) -> Span {
        let offset = |marker: &granit_parser::Marker| marker.byte_offset().unwrap_or_default() as u32;
        let start = offset(&at.start);
        Span { file: self.file, start, end: offset(&at.end).max(start) }
    }

    fn stop(&self, at: YamlSpan, message: &str, label: &str) -> Problem {
        problem(self.span(at), message.to_owned(), label)
    }
}

/// Where the line YAML stumbled over holds a path or formula, that line with it between quotes: most likely what was meant.
fn formula_in_quotes(text: &str, at: usize) -> Option<String> {
    // An unclosed quote is noticed only on the line after.
    let before = text.get(..at)?.trim_end_matches('\n');
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next()?.trim().trim_start_matches("- ");
    if !line.contains('$') && !line.contains(": =") && !line.starts_with('=') {
        return None;
    }
    let is_key = |key: &str| key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let (key, value) = match line.split_once(": ") {
        Some((key, value)) if is_key(key) => (format!("{key}: "), value),
        _ => (String::new(), line),
    };
    if value.starts_with(['{', '[']) {
        return Some(
            "in `{ }` and `[ ]`, a path or formula that holds `,` `: ` `[` or `{` stands between quotes".to_owned(),
        );
    }
    // Between double quotes YAML reads `\` as its own sign.
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let quoted =
        if value.contains(['"', '\\']) { format!("'{}'", value.replace('\'', "''")) } else { format!("\"{value}\"") };
    Some(format!("put it between quotes: {key}{quoted}"))
}

fn scalar(text: &str, style: ScalarStyle) -> Kind {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text, "" | "~" | "null") { Kind::Null } else { Kind::Scalar { text: text.into(), plain } }
}

fn problem(span: Span, message: String, label: &str) -> Problem {
    Problem { severity: Severity::Error, span, message, label: label.to_owned(), help: None, secret: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, expect: &str) {
        let mut problems = Vec::new();
        parse(FileId::default(), text, &mut problems);
        let said: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(said.iter().any(|said| said.contains(expect)), "{expect} not in {said:?}");
    }

    #[test]
    fn values_keep_their_text_and_place() {
        let text = "zip: 01000\ncountry: NO\nlist: [a, 'b']\n";
        let node = parse(FileId::default(), text, &mut Vec::new()).expect("this is YAML");
        assert_eq!(node.field("zip").and_then(Node::text), Some("01000"));
        let country = node.field("country").expect("it is there");
        assert_eq!(&text[country.span.start as usize..country.span.end as usize], "NO");
    }

    #[test]
    fn places_count_bytes_not_characters() {
        let text = "é: à\nclé: valeur\n";
        let node = parse(FileId::default(), text, &mut Vec::new()).expect("this is YAML");
        let span = node.field("clé").expect("it is there").span;
        assert_eq!(&text[span.start as usize..span.end as usize], "valeur");
    }

    #[test]
    fn a_formula_yaml_stumbles_over_is_shown_quoted() {
        let helped = |text: &str, expect: &str| {
            let mut problems = Vec::new();
            parse(FileId::default(), text, &mut problems);
            assert_eq!(problems[0].help.as_deref(), Some(expect), "{text}");
        };
        helped("steps:\n  - filter: $.a == 'x: y'\n  - b: 1\n", "put it between quotes: filter: \"$.a == 'x: y'\"");
        helped("- =concat('a: ', $.b)\n- c\n", "put it between quotes: \"=concat('a: ', $.b)\"");
        helped("a: \"=matches($.b, '\\d+')\"\n", "put it between quotes: a: '=matches($.b, ''\\d+'')'");
        helped("- 'a' in $.b\n", "put it between quotes: \"'a' in $.b\"");
        helped(
            "a: { b: $.lines[0].c }\n",
            "in `{ }` and `[ ]`, a path or formula that holds `,` `: ` `[` or `{` stands between quotes",
        );
        let mut problems = Vec::new();
        parse(FileId::default(), "a: b: c", &mut problems);
        assert_eq!(problems[0].help, None);
    }

    #[test]
    fn bombs_and_oddities_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..10 {
            let before = level - 1;
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(","));
        }
        refused(&bomb, "too many values");
        refused(&"[".repeat(100_000), "");
        refused(&format!("a: {}1{}", "[".repeat(70), "]".repeat(70)), "nested deeper");
        refused("a: 1\na: 2", "stands twice");
        refused("a: !b c", "tag");
        refused("a: 1\n---\nb: 2", "second document");
        refused("a: &x [*x]", "");
        refused("a:\n\t- b", "");
        refused("<<: {a: b}", "merge");
    }
}
