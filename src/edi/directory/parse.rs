//! Reads tables of a release.
//!
//! One fact a line; `#` begins a comment. `!` is mandatory, `:n` at most n times (`>` as often as wanted, once if left
//! out), `*n` repeated with repetition separators.
//! ```text
//! m ORDERS UNH! BGM! DTM!:35 (1:10 RFF! DTM:5) UNT!    a message; a group begins with its number or name
//! s NAD 3035! C082 C058                                 a segment: elements and composites
//! c C082 3039! 1131 3055                                a composite
//! e 3039 an..35                                         an element; of X12 `AN 1..80`
//! l NAD party                                           what one of these is about, in a few words
//! d edifact D.96A EAN008                                what the tables are of, see `folder.rs`
//! ```

use std::collections::{HashMap, VecDeque};

use super::{Composite, Definition, Directory, ElementDef, Field, Item, Node, Position, SegmentDef, ValueKind};
use crate::edi::syntax::{Dialect, Tag};
use crate::message::Text;

/// How often `>` is.
const UNBOUNDED: u32 = u32::MAX;

/// Why tables could not be read, and which line of which table it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Which of the tables, from 0.
    pub table: usize,
    /// Which line of it, from 1.
    pub line: usize,
    pub why: String,
}

/// No segment, composite or group has more parts, nor a directory more nodes: guards against files that are no tables.
const MOST_PARTS: usize = 1000;
const MOST_NODES: usize = 2_000_000;

/// A message before it is laid out.
struct Branch<'a> {
    tag: &'a str,
    mandatory: bool,
    max: u32,
    children: Vec<Branch<'a>>,
}

impl Directory {
    /// Makes the directory of a release from its tables; of a thing that stands twice the later counts.
    ///
    /// # Errors
    /// The first line that is not written as above.
    pub fn parse(dialect: Dialect, release: &str, tables: &[&str]) -> Result<Directory, TableError> {
        let mut directory = Directory {
            dialect,
            release: release.to_owned(),
            guideline: String::new(),
            elements: HashMap::new(),
            composites: HashMap::new(),
            segments: Vec::new(),
            by_tag: HashMap::new(),
            messages: HashMap::new(),
            labels: HashMap::new(),
        };
        let mut nodes = 0;
        // What others are made of comes first.
        for kind in ["e", "c", "s", "m", "l"] {
            for (table, number, line) in lines(tables) {
                let wrong = |why: &str| TableError { table, line: number, why: told(line, why) };
                let (name, rest) = named(line).map_err(wrong)?;
                if !line.starts_with(kind) {
                    continue;
                }
                let added = match kind {
                    "e" => directory.add_element(name, rest),
                    "c" => composite(rest).map(|parts| drop(directory.composites.insert(Tag::new(name), parts))),
                    "s" => directory.add_segment(name, rest),
                    "m" => directory.add_message(name, rest).map(|added| nodes += added),
                    _ => {
                        directory.labels.insert(Tag::new(name), rest.trim().to_owned());
                        Ok(())
                    }
                };
                added.map_err(|why| wrong(&why))?;
                if nodes > MOST_NODES {
                    return Err(wrong("the messages have too many segments altogether"));
                }
            }
        }
        Ok(directory)
    }

    fn add_element(&mut self, name: &str, rest: &str) -> Result<(), String> {
        let (kind, lengths) = match rest.split_once(' ') {
            Some((kind, lengths)) => (kind, lengths),
            None => rest.split_at(rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())),
        };
        let kind = match kind {
            "a" => ValueKind::Alpha,
            "n" => ValueKind::Numeric,
            "an" | "AN" | "ID" => ValueKind::Text,
            "N" => ValueKind::Integer,
            "R" => ValueKind::Decimal,
            "DT" | "TM" => ValueKind::Digits,
            other => return Err(format!("`{other}` is no type")),
        };
        let (shortest, longest) = match lengths.split_once("..") {
            Some(("", longest)) => ("0", longest),
            Some(both) => both,
            None => (lengths, lengths),
        };
        let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no length"));
        let id = Tag::new(name);
        let element = ElementDef { id, kind, shortest: number(shortest)?, longest: number(longest)? };
        if element.shortest > element.longest {
            return Err(format!("{shortest} is longer than {longest}"));
        }
        self.elements.insert(id, element);
        Ok(())
    }

    fn add_segment(&mut self, name: &str, rest: &str) -> Result<(), String> {
        let tag = Tag::new(name);
        let x12 = (self.dialect == Dialect::X12).then_some(name);
        let (positions, fields) = self.places(&composite(rest)?, x12, true);
        let number = u16::try_from(self.segments.len()).map_err(|_| "too many segments".to_owned())?;
        let number = *self.by_tag.entry(tag).or_insert(number);
        let segment = SegmentDef { tag, positions, fields };
        match self.segments.get_mut(usize::from(number)) {
            Some(held) => *held = segment,
            None => self.segments.push(segment),
        }
        Ok(())
    }

    /// The places of a segment or composite, and the fields they are in a document. `x12` is what its keys begin with
    /// where they tell the place; else they tell the item.
    fn places(&self, parts: &Composite, x12: Option<&str>, whole: bool) -> (Vec<Position>, Vec<Field>) {
        let (mut positions, mut fields): (Vec<Position>, Vec<Field>) = (Vec::new(), Vec::new());
        for (at, (id, mandatory, repeat)) in parts.iter().enumerate() {
            let again = x12.is_none() && at > 0 && parts[at - 1].0 == *id;
            if again && let Some(field) = fields.last_mut() {
                field.list = true;
            } else {
                let key = match x12 {
                    Some(name) => format!("{name}{:02}", at + 1),
                    None if id.as_str().starts_with(|c: char| c.is_ascii_digit()) => format!("E{id}"),
                    None => id.to_string(),
                };
                let same = |field: &&Field| {
                    field.key == key || field.key.strip_prefix(&key).is_some_and(|rest| rest.starts_with('_'))
                };
                let before = fields.iter().filter(same).count();
                let key = if before > 0 { format!("{key}_{}", before + 1) } else { key };
                fields.push(Field { key: Text::new(key), list: *repeat > 1 });
            }
            let item = match self.composites.get(id).filter(|_| whole) {
                Some(parts) => {
                    let (positions, fields) = self.places(parts, x12.map(|_| id.as_str()), false);
                    Item::Composite(*id, positions, fields)
                }
                None => Item::Element(self.element(*id)),
            };
            let field = (fields.len() - 1) as u16;
            let needed = parts[at..].iter().any(|(_, mandatory, _)| *mandatory);
            positions.push(Position { item, mandatory: *mandatory, needed, repeat: *repeat, field });
        }
        (positions, fields)
    }

    /// An element; one that no table describes may hold anything.
    fn element(&self, id: Tag) -> ElementDef {
        let anything = ElementDef { id, kind: ValueKind::Text, shortest: 0, longest: u16::MAX };
        self.elements.get(&id).copied().unwrap_or(anything)
    }

    /// How many nodes it has.
    fn add_message(&mut self, name: &str, rest: &str) -> Result<usize, String> {
        let spaced = rest.replace('(', " ( ").replace(')', " ) ");
        let mut words = spaced.split_whitespace();
        let children = branches(&mut words, 0)?;
        let root = Branch { tag: "", mandatory: true, max: 1, children };
        let definition = Definition::new(name, self.lay_out(&root));
        let nodes = definition.nodes.len();
        self.messages.insert(name.to_owned(), definition);
        Ok(nodes)
    }

    /// Nodes level by level, so that the children of each lie together.
    fn lay_out(&self, root: &Branch<'_>) -> Vec<Node> {
        let suffix = if self.dialect == Dialect::X12 { "loop" } else { "group" };
        let node = |branch: &Branch<'_>, parent: u32, index: u32, key: Text| Node {
            tag: Tag::new(branch.tag),
            group: !branch.children.is_empty(),
            mandatory: branch.mandatory,
            max: branch.max,
            key,
            parent,
            first: 0,
            children: branch.children.len() as u32,
            needed: branch.children.iter().filter(|child| child.mandatory).count() as u32,
            index,
            segment: self.by_tag.get(&Tag::new(branch.tag)).copied(),
        };
        let mut nodes = vec![node(root, 0, 0, Text::default())];
        let mut queue = VecDeque::from([(root, 0)]);
        while let Some((branch, number)) = queue.pop_front() {
            nodes[number].first = nodes.len() as u32;
            let mut counts: HashMap<(&str, bool), u32> = HashMap::new();
            for (index, child) in branch.children.iter().enumerate() {
                let group = !child.children.is_empty();
                let count = counts.entry((child.tag, group)).or_default();
                *count += 1;
                let mut key = if group { format!("{}_{suffix}", child.tag) } else { child.tag.to_owned() };
                if *count > 1 {
                    key += &format!("_{count}");
                }
                queue.push_back((child, nodes.len()));
                nodes.push(node(child, number as u32, index as u32, Text::new(key)));
            }
        }
        nodes
    }
}

/// Deeper than any message.
const DEEPEST: usize = 32;

/// The lines that say something, with their table and number.
fn lines<'t>(tables: &[&'t str]) -> impl Iterator<Item = (usize, usize, &'t str)> {
    tables.iter().enumerate().flat_map(|(table, text)| {
        let numbered = text.lines().enumerate().map(move |(index, line)| (table, index + 1, line.trim()));
        numbered.filter(|(_, _, line)| !line.is_empty() && !line.starts_with('#'))
    })
}

fn told(line: &str, why: &str) -> String {
    format!("`{}`: {why}", line.chars().take(60).collect::<String>())
}

/// The name after the letter, and what is said of it.
fn named(line: &str) -> Result<(&str, &str), &'static str> {
    let (letter, said) = line.split_once(' ').unwrap_or((line, ""));
    if !["m", "s", "c", "e", "l", "d"].contains(&letter) {
        return Err("a line begins with m, s, c, e, l or d, and a blank");
    }
    let (name, rest) = said.trim_start().split_once(' ').ok_or("there is nothing after the name")?;
    if matches!(letter, "s" | "c" | "e" | "l") && Tag::new(name).is_empty() {
        return Err("the name is not one of up to four letters and digits");
    }
    Ok((name, rest))
}

/// The segments and groups up to the end (at depth 0) or the closing bracket.
fn branches<'a>(words: &mut impl Iterator<Item = &'a str>, depth: usize) -> Result<Vec<Branch<'a>>, String> {
    if depth > DEEPEST {
        return Err("groups are nested too deep".to_owned());
    }
    let mut found: Vec<Branch<'_>> = Vec::new();
    while let Some(word) = words.next() {
        if found.len() > MOST_PARTS {
            return Err(format!("more than {MOST_PARTS} segments and groups follow each other"));
        }
        match word {
            ")" if depth > 0 => return Ok(found),
            ")" => return Err("there is one `)` too many".to_owned()),
            "(" => {
                let (_, mandatory, max) = usage(words.next().unwrap_or_default())?;
                let children = branches(words, depth + 1)?;
                let first = children.first().filter(|first| first.children.is_empty());
                let tag = first.ok_or("a group must begin with a segment")?.tag;
                found.push(Branch { tag, mandatory, max, children });
            }
            _ => {
                let (tag, mandatory, max) = usage(word)?;
                if Tag::new(tag).is_empty() {
                    return Err(format!("`{word}` is no segment"));
                }
                found.push(Branch { tag, mandatory, max, children: Vec::new() });
            }
        }
    }
    if depth > 0 { Err("a `)` is missing".to_owned()) } else { Ok(found) }
}

/// `DTM!:35`
fn usage(word: &str) -> Result<(&str, bool, u32), String> {
    let (name, max) = word.split_once(':').unwrap_or((word, "1"));
    let max = match max {
        ">" => UNBOUNDED,
        max => max.parse().ok().filter(|max| *max > 0).ok_or_else(|| format!("`{word}`: `{max}` is no number"))?,
    };
    Ok((name.trim_end_matches('!'), name.ends_with('!'), max))
}

/// `3035! C082 C778*99`
fn composite(rest: &str) -> Result<Composite, String> {
    let part = |word: &str| {
        let (name, repeat) = word.split_once('*').unwrap_or((word, "1"));
        let repeat = repeat.parse().ok().filter(|repeat| *repeat > 0);
        let repeat = repeat.ok_or_else(|| format!("`{word}`: what follows `*` is no number"))?;
        match Tag::new(name.trim_end_matches('!')) {
            tag if tag.is_empty() => Err(format!("`{word}` is no element or composite")),
            tag => Ok((tag, name.ends_with('!'), repeat)),
        }
    };
    let parts: Composite = rest.split_whitespace().map(part).collect::<Result<_, _>>()?;
    if parts.len() > MOST_PARTS { Err(format!("it has more than {MOST_PARTS} parts")) } else { Ok(parts) }
}
