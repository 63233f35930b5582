//! Problems in configuration files, shown the way compilers show them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

use crate::message::{Map, Value};

/// The files read, so that a [`Span`] can be shown. Paths are relative to the hub's folder.
///
/// Grows while it is read from: a pipeline names files (`map_file`) that nobody knew before.
#[derive(Debug, Default)]
pub struct Files(Mutex<Vec<File>>);

#[derive(Clone, Debug)]
struct File {
    path: Arc<Path>,
    text: Arc<str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u32);

/// A range of bytes in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The bytes `from..to` of this span's text.
    pub fn part(self, from: usize, to: usize) -> Span {
        let start = (self.start + from as u32).min(self.end);
        Span { start, end: (self.start + to as u32).clamp(start, self.end), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing of the configuration is used.
    Error,
    /// Works, and is likely not what was meant; an error with `check --strict`.
    Warning,
}

/// One thing wrong: what, where, and what would be right.
#[derive(Clone, Debug)]
pub struct Problem {
    pub severity: Severity,
    pub span: Span,
    /// What is wrong, one line: ``unknown step `filtre` ``.
    pub message: String,
    /// Beside the marked text: ``did you mean `filter`?``.
    pub label: String,
    /// A line below: what to do, or the corrected snippet.
    pub help: Option<String>,
    /// What is marked is a secret: stars are shown in its place.
    pub secret: bool,
}

impl Problem {
    pub fn label(&mut self, label: impl Into<String>) -> &mut Problem {
        self.label = label.into();
        self
    }

    pub fn secret(&mut self) -> &mut Problem {
        self.secret = true;
        self
    }

    pub fn help(&mut self, help: impl Into<String>) -> &mut Problem {
        self.help = Some(help.into());
        self
    }
}

impl Files {
    pub fn add(&self, path: impl Into<PathBuf>, text: impl Into<String>) -> FileId {
        let mut files = self.files();
        files.push(File { path: path.into().into(), text: text.into().into() });
        FileId(files.len() as u32 - 1)
    }

    pub fn path(&self, file: FileId) -> Arc<Path> {
        self.files()[file.0 as usize].path.clone()
    }

    pub fn text(&self, file: FileId) -> Arc<str> {
        self.files()[file.0 as usize].text.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.files().is_empty()
    }

    fn files(&self) -> MutexGuard<'_, Vec<File>> {
        self.0.lock().expect("no code panics while holding the files")
    }

    /// Line and column of a span's start, both from 1; columns count characters.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let text = self.text(span.file);
        let before = text.get(..span.start as usize).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The problems in the order of the files, as a person reads them.
pub fn render(files: &Files, problems: &[Problem], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Unicode);
    let mut out = String::new();
    for problem in in_order(problems) {
        let path = files.path(problem.span.file).display().to_string();
        let level = if problem.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
        let text = files.text(problem.span.file);
        // A mark that ends inside a character (the first byte of `é`) takes all of it.
        let start = text.floor_char_boundary(problem.span.start as usize);
        let end = text.ceil_char_boundary(problem.span.end as usize);
        // Where a secret is written out, the problem shows its place and not its text.
        let hidden = if problem.secret { without(&text, start, end) } else { String::new() };
        let shown = if problem.secret { hidden.as_str() } else { &text };
        let mark = AnnotationKind::Primary.span(start..end);
        let snippet = Snippet::source(shown).path(path.as_str()).annotation(mark.label(problem.label.as_str()));
        let mut group = level.primary_title(problem.message.as_str()).element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// `text` with stars over a part, byte for byte.
fn without(text: &str, start: usize, end: usize) -> String {
    let stars: String = text[start..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
    [&text[..start], &stars, &text[end..]].concat()
}

/// The problems for machines: a list of `{severity, file, line, column, message, label, help}`.
pub fn to_json(files: &Files, problems: &[Problem]) -> Value {
    let one = |problem: &Problem| {
        let (line, column) = files.line_column(problem.span);
        let mut map = Map::new();
        map.insert("severity", if problem.severity == Severity::Error { "error" } else { "warning" });
        map.insert("file", files.path(problem.span.file).display().to_string());
        map.insert("line", line);
        map.insert("column", column);
        map.insert("message", problem.message.as_str());
        map.insert("label", problem.label.as_str());
        if let Some(help) = &problem.help {
            map.insert("help", help.as_str());
        }
        Value::Map(map)
    };
    Value::List(in_order(problems).into_iter().map(one).collect())
}

fn in_order(problems: &[Problem]) -> Vec<&Problem> {
    let mut ordered: Vec<_> = problems.iter().collect();
    ordered.sort_by_key(|problem| (problem.span.file, problem.span.start));
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_takes_whole_characters() {
        let files = Files::default();
        let file = files.add("a.yaml", "été: 1\n");
        let span = Span { file, start: 0, end: 1 };
        let problem = Problem {
            severity: Severity::Error,
            span,
            message: "no".into(),
            label: "here".into(),
            help: None,
            secret: false,
        };
        assert!(render(&files, &[problem], false).contains("été"));
    }

    #[test]
    fn files_keep_their_numbers() {
        let files = Files::default();
        assert!(files.is_empty());
        let ids: Vec<_> = ["a", "b", "c"].iter().map(|name| files.add(*name, format!("text of {name}"))).collect();
        assert_eq!((&*files.path(ids[1]), &*files.text(ids[2])), (Path::new("b"), "text of c"));
    }
}
