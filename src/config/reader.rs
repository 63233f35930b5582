//! Reading a tree into settings while collecting every problem.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Environment, Files, Key, Kind, Node, Problem, Setting, Settings, Severity, Span};
use crate::message::Text;

/// Reads nodes into settings; problems gather here and nothing stops at the first.
pub struct Reader<'a> {
    pub files: &'a Files,
    pub environment: &'a Environment,
    pub problems: Vec<Problem>,
    /// A hash of all that references brought in so far: what depends on them has changed when it has.
    pub resolved: [u8; 32],
    /// The tables that formulas may read and their columns; `None` where they are not known yet, and formulas that name one
    /// are believed.
    pub tables: Option<BTreeMap<Text, Vec<Text>>>,
}

impl<'a> Reader<'a> {
    pub fn new(files: &'a Files, environment: &'a Environment) -> Reader<'a> {
        Reader { files, environment, problems: Vec::new(), resolved: [0; 32], tables: None }
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.problem(Severity::Error, span, message.into())
    }

    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.problem(Severity::Warning, span, message.into())
    }

    fn problem(&mut self, severity: Severity, span: Span, message: String) -> &mut Problem {
        self.problems.push(Problem { severity, span, message, label: String::new(), help: None, secret: false });
        self.problems.last_mut().expect("just pushed")
    }

    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The text of a scalar with its references replaced; a list, a map or nothing is reported.
    pub fn text(&mut self, node: &Node) -> Option<Text> {
        let Some(text) = node.text() else {
            self.error(node.span, format!("expected a text, found {}", node.what()));
            return None;
        };
        match self.environment.expand(text) {
            Ok(None) => Some(text.into()),
            Ok(Some(expanded)) => {
                self.resolved = Sha256::new().chain_update(self.resolved).chain_update(&expanded).finalize().into();
                Some(expanded.into())
            }
            Err(said) => {
                self.error(node.span, said).label("needed here");
                None
            }
        }
    }

    /// The text of a scalar through `parse`; `what` completes "expected …".
    pub fn parsed<T>(&mut self, node: &Node, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(node)?;
        let value = parse(&text);
        if value.is_none() {
            // A value that came through a reference may be a secret: it is not repeated.
            let said = if node.text() == Some(&text) { format!("`{text}`") } else { "the value".to_owned() };
            self.error(node.span, format!("{said} is not {what}")).label(format!("expected {what}"));
        }
        value
    }

    /// One of `words`, or a report with the nearest.
    pub fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        self.unknown(node.span, what, &text, words.iter().map(|(word, _)| *word));
        None
    }

    /// Reports ``unknown WHAT `word` `` with the nearest of `known`, or the list of them.
    pub fn unknown<'k>(&mut self, span: Span, what: &str, word: &str, known: impl IntoIterator<Item = &'k str>) {
        let known: Vec<&str> = known.into_iter().collect();
        let problem = self.error(span, format!("unknown {what} `{word}`"));
        match nearest(word, known.iter().copied()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None if known.is_empty() => problem.label("none is known here"),
            None => problem.label("not known here").help(format!("known: {}", known.join(", "))),
        };
    }

    /// Opens a map for field by field reading; end with [`MapReader::finish`].
    pub fn map<'n>(&mut self, node: &'n Node) -> Option<MapReader<'n>> {
        match &node.kind {
            Kind::Map { fields, .. } => Some(MapReader { span: node.span, fields, known: Vec::new(), unsure: false }),
            _ => {
                self.error(node.span, format!("expected a map, found {}", node.what()))
                    .label("expected `name: value` lines");
                None
            }
        }
    }

    /// The items of a list.
    pub fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.kind {
            Kind::List(items) => Some(items),
            _ => {
                self.error(node.span, format!("expected a list, found {}", node.what()))
                    .label("expected `- item` lines or `[a, b]`");
                None
            }
        }
    }
}

/// A map being read: remembers which names were asked for, so that the others are unknown.
pub struct MapReader<'n> {
    pub span: Span,
    fields: &'n [(Key, Node)],
    known: Vec<&'static str>,
    unsure: bool,
}

impl<'n> MapReader<'n> {
    /// The node of a field, which becomes known by asking.
    pub fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.fields.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// A field read as `T`; where it is absent, `T`'s own idea of absence, or a report.
    pub fn field<T: Setting>(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<T> {
        match self.node(name) {
            Some(node) => T::read(node, reader),
            None => T::absent().or_else(|| {
                reader
                    .error(self.span.part(0, 1), format!("`{name}` is missing"))
                    .label(format!("`{name}` is required here"));
                None
            }),
        }
    }

    /// A field with a default, written as YAML writes it.
    pub fn field_or<T: Setting>(&mut self, reader: &mut Reader<'_>, name: &'static str, default: &str) -> Option<T> {
        match self.node(name) {
            Some(node) => T::read(node, reader),
            None => {
                let kind = Kind::Scalar { text: default.into(), plain: true };
                T::read(&Node { span: self.span, kind }, reader)
            }
        }
    }

    /// Reads the fields of a settings struct that stand in this same map.
    pub fn flat<T: Settings>(&mut self, reader: &mut Reader<'_>) -> Option<T> {
        T::read_fields(self, reader)
    }

    /// The fields nobody asked for so far, for maps with free names.
    pub fn rest(&self) -> impl Iterator<Item = &'n (Key, Node)> + '_ {
        self.fields.iter().filter(|(key, _)| !self.known.contains(&key.name.as_str()))
    }

    /// What this map describes is wrong or not said, and was reported: fields nobody asks for are not.
    pub fn unsure(&mut self) {
        self.unsure = true;
    }

    /// Reports the fields nobody asked for.
    pub fn finish(self, reader: &mut Reader<'_>) {
        if self.unsure {
            return;
        }
        for (key, _) in self.rest() {
            reader.unknown(key.span, "key", &key.name, self.known.iter().copied());
        }
    }
}

/// The word of `known` that `word` was most likely meant to be.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = word.to_lowercase();
    let (near, distance) = known
        .into_iter()
        .map(|candidate| (candidate, strsim::damerau_levenshtein(&lower, &candidate.to_lowercase())))
        .min_by_key(|(_, distance)| *distance)?;
    (distance <= 1 + near.chars().count() / 3).then_some(near)
}

/// Names to values, in the order of the names.
impl<T: Setting> Setting for BTreeMap<Text, T> {
    fn shape() -> super::Shape {
        super::Shape::Named(|| Box::new(T::shape()))
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let map = reader.map(node)?;
        let mut whole = true;
        let mut out = BTreeMap::new();
        for (key, node) in map.rest() {
            match T::read(node, reader) {
                Some(value) => drop(out.insert(key.name.clone(), value)),
                None => whole = false,
            }
        }
        whole.then_some(out)
    }
}
