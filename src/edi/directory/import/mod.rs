//! Tables from the texts of a UN/EDIFACT directory, as UN/ECE publishes them: its messages (`ORDERS_D.96A`), segments (EDSD),
//! composites (EDCD) and elements (EDED).
//!
//! The texts are told apart by what stands in them. What cannot be read is left out and told, with its line; the rest is
//! taken.

mod blocks;
mod segment_table;
mod spreadsheet;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub use super::folder::Heading;
use super::label;
use crate::edi::syntax::{Dialect, Tag};
pub use spreadsheet::{is_spreadsheet, spreadsheet};

/// What was read of a directory so far.
#[derive(Debug, Default)]
pub struct Import {
    /// The version and release the messages state, `D.96A`.
    releases: BTreeSet<String>,
    /// The messages, as the tables write them.
    messages: BTreeMap<String, String>,
    segments: BTreeMap<Tag, Described>,
    composites: BTreeMap<Tag, Described>,
    elements: BTreeMap<Tag, Described>,
}

/// A segment, composite or element.
#[derive(Debug, PartialEq, Eq)]
struct Described {
    name: String,
    /// As the tables write it, after the name: `3035! C082 C058`, `an..35`.
    said: String,
}

/// What a text held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Message(String),
    /// So many segments, composites and elements.
    Parts(usize),
    Nothing,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// From 1; 0 where it is no line.
    pub line: usize,
    pub why: String,
}

/// Tables made, what is in them, and what is not.
#[derive(Debug)]
pub struct Made {
    pub heading: Heading,
    pub tables: String,
    pub messages: usize,
    pub segments: usize,
    /// Messages left out because a segment of theirs is described nowhere.
    pub left: Vec<String>,
}

impl Import {
    /// Takes what one text holds.
    pub fn read(&mut self, bytes: &[u8], left: &mut Vec<Left>) -> Held {
        let text = plain(bytes);
        match segment_table::read(&text) {
            Some(Ok(message)) => {
                let segment_table::Message { name, release, structure } = message;
                self.releases.extend(release);
                self.messages.insert(name.clone(), structure);
                Held::Message(name)
            }
            Some(Err(why)) => {
                left.push(why);
                Held::Nothing
            }
            None => match blocks::read(&text, self, left) {
                0 => Held::Nothing,
                parts => Held::Parts(parts),
            },
        }
    }

    /// The tables of `only` these messages (all, where none is named); `release` where it is said by hand.
    ///
    /// # Errors
    /// A sentence where there is nothing to make tables of.
    pub fn make(&self, release: Option<&str>, guideline: &str, only: &[String]) -> Result<Made, String> {
        let release = match (release, self.releases.len()) {
            (Some(release), _) => release.to_owned(),
            (None, 1) => self.releases.iter().next().cloned().unwrap_or_default(),
            (None, 0) => return Err("no text says of which release it is: say it by --release".to_owned()),
            (None, _) => {
                let all: Vec<&str> = self.releases.iter().map(String::as_str).collect();
                return Err(format!("the messages are of several releases ({}): import one at a time", all.join(", ")));
            }
        };
        let missing: Vec<&str> =
            only.iter().map(String::as_str).filter(|name| !self.messages.contains_key(*name)).collect();
        if !missing.is_empty() {
            return Err(format!("there is no message {}", missing.join(", ")));
        }
        if self.messages.is_empty() {
            let why = "there is no message in it; the messages of a directory are the files as ORDERS_D.96A, in its EDMD part";
            return Err(why.to_owned());
        }
        let heading = format!("d edifact {release} {guideline}");
        let heading = Heading::read(&heading).map_err(|(_, why)| why)?.ok_or("no release")?;
        Ok(self.write(heading, only))
    }

    fn write(&self, heading: Heading, only: &[String]) -> Made {
        let envelope = |tag: Tag| matches!(tag.as_str(), "UNH" | "UNT" | "UNS" | "UGH" | "UGT" | "UGS");
        let (mut messages, mut segments, mut left) = (Vec::new(), BTreeSet::new(), Vec::new());
        for (name, structure) in self.messages.iter().filter(|(name, _)| only.is_empty() || only.contains(name)) {
            let tags: BTreeSet<Tag> = tags(structure).filter(|tag| !envelope(*tag)).collect();
            match tags.iter().find(|tag| !self.segments.contains_key(tag)) {
                Some(tag) => left.push(format!("{name}: no text describes its segment {tag}")),
                None => {
                    messages.push(format!("m {name} {structure}"));
                    segments.extend(tags);
                }
            }
        }
        let mut composites = BTreeSet::new();
        let mut elements = BTreeSet::new();
        for said in segments.iter().filter_map(|tag| Some(&self.segments.get(tag)?.said)) {
            for part in parts(said) {
                if self.composites.contains_key(&part) {
                    composites.insert(part)
                } else {
                    elements.insert(part)
                };
            }
        }
        for said in composites.iter().filter_map(|tag| Some(&self.composites.get(tag)?.said)) {
            elements.extend(parts(said));
        }
        let said = match heading.guideline.as_str() {
            "" => format!("d edifact {}", heading.release),
            guideline => format!("d edifact {} {guideline}", heading.release),
        };
        let mut out = format!(
            "# Made by `raccord edi import` from the texts of a UN/EDIFACT directory; docs/edi.md says how to read it.\n{said}\n"
        );
        for message in &messages {
            let _ = writeln!(out, "{message}");
        }
        let mut labels = String::new();
        let all =
            [('s', &segments, &self.segments), ('c', &composites, &self.composites), ('e', &elements, &self.elements)];
        for (letter, used, known) in all {
            for (tag, described) in used.iter().filter_map(|tag| Some((tag, known.get(tag)?))) {
                let _ = writeln!(out, "{letter} {tag} {}", described.said);
                if label(Dialect::Edifact, *tag).is_none() && !described.name.is_empty() {
                    let _ = writeln!(labels, "l {tag} {}", described.name);
                }
            }
        }
        out.push_str(&labels);
        Made { heading, tables: out, messages: messages.len(), segments: segments.len(), left }
    }
}

/// The segments of a structure.
fn tags(structure: &str) -> impl Iterator<Item = Tag> {
    let words = structure.split([' ', ')']).filter(|word| !word.is_empty() && !word.starts_with('('));
    words.map(|word| Tag::new(word.split([':', '!']).next().unwrap_or_default()))
}

/// The items of a segment or composite.
fn parts(said: &str) -> impl Iterator<Item = Tag> {
    said.split_whitespace().map(|word| Tag::new(word.split(['!', '*']).next().unwrap_or_default()))
}

/// The text, whatever its character set: the lines drawn in those of the time of DOS become `-`, `|` and `+`.
fn plain(bytes: &[u8]) -> String {
    let line = |c: char| match c {
        'Ä' | '─' => '-',
        '³' | '│' | '¦' => '|',
        '¿' | 'Ù' | '´' | 'Á' | 'Å' | 'Ã' | 'Â' | 'Ú' | 'À' | '┐' | '┘' | '┤' | '┴' | '┼' | '├' | '┬' | '┌' | '└' => {
            '+'
        }
        '\t' | '\u{A0}' => ' ',
        c => c,
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().map(line).collect(),
        Err(_) => bytes.iter().map(|byte| line(char::from(*byte))).collect(),
    }
}

/// Marks of what changed since the release before: added, amended, renamed, reworded, to be deleted.
fn is_marker(word: &str) -> bool {
    word.len() <= 3 && word.chars().all(|c| "*+#|-X".contains(c))
}

/// A name for a label: small letters, not too long.
fn named(words: &[&str]) -> String {
    words.join(" ").to_lowercase().chars().take(60).collect()
}
