//! Reads tables of a release.
//!
//! One fact a line; `#` begins a comment. `!` is mandatory, `:n` at most n times (`>` as often as wanted, once if left
//! out), `*n` repeated with repetition separators.
//! ```text
//! m ORDERS UNH! BGM! DTM!:35 (1:10 RFF! DTM:5) UNT!    a message; a group begins with its number or name
//! s NAD 3035! C082 C058                                 a segment: elements and composites
//! c C082 3039! 1131 3055                                a composite
//! e 3039 an..35                                         an element; of X12 `AN 1..80`
//! ```

use std::collections::{HashMap, VecDeque};

use super::{Composite, Definition, Directory, ElementDef, Field, Item, Node, Position, SegmentDef, ValueKind};
use crate::edi::syntax::{Dialect, Tag};
use crate::message::Text;

/// How often `>` is.
const UNBOUNDED: u32 = u32::MAX;

/// A message before it is laid out.
struct Branch<'a> {
    tag: &'a str,
    mandatory: bool,
    max: u32,
    children: Vec<Branch<'a>>,
}

impl Directory {
    /// Makes the directory of a release from its tables.
    ///
    /// # Errors
    /// A sentence that names the line, where a table is not written as above.
    pub fn parse(dialect: Dialect, release: &str, tables: &[&str]) -> Result<Directory, String> {
        let mut directory = Directory {
            dialect,
            release: release.to_owned(),
            elements: HashMap::new(),
            composites: HashMap::new(),
            segments: Vec::new(),
            by_tag: HashMap::new(),
            messages: HashMap::new(),
        };
        let lines =
            || tables.iter().flat_map(|table| table.lines()).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let wrong =
            |line: &str, why: &str| format!("{release}: `{}`: {why}", line.chars().take(60).collect::<String>());
        // What others are made of comes first; of a thing that stands twice the later counts.
        for kind in ["e ", "c ", "s ", "m "] {
            for line in lines().filter(|line| line.starts_with(kind)) {
                let (name, rest) =
                    line[2..].split_once(' ').ok_or_else(|| wrong(line, "there is nothing after the name"))?;
                let added = match kind {
                    "e " => directory.add_element(name, rest),
                    "c " => composite(rest).map(|parts| drop(directory.composites.insert(Tag::new(name), parts))),
                    "s " => directory.add_segment(name, rest),
                    _ => directory.add_message(name, rest),
                };
                added.map_err(|why| wrong(line, &why))?;
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
            positions.push(Position { item, mandatory: *mandatory, repeat: *repeat, field });
        }
        (positions, fields)
    }

    /// An element; one that no table describes may hold anything.
    fn element(&self, id: Tag) -> ElementDef {
        let anything = ElementDef { id, kind: ValueKind::Text, shortest: 0, longest: u16::MAX };
        self.elements.get(&id).copied().unwrap_or(anything)
    }

    fn add_message(&mut self, name: &str, rest: &str) -> Result<(), String> {
        let spaced = rest.replace('(', " ( ").replace(')', " ) ");
        let mut words = spaced.split_whitespace();
        let children = branches(&mut words, 0)?;
        let root = Branch { tag: "", mandatory: true, max: 1, children };
        let definition = Definition { name: name.to_owned(), nodes: self.lay_out(&root) };
        self.messages.insert(name.to_owned(), definition);
        Ok(())
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

/// The segments and groups up to the end or the closing bracket.
fn branches<'a>(words: &mut impl Iterator<Item = &'a str>, depth: usize) -> Result<Vec<Branch<'a>>, String> {
    if depth > DEEPEST {
        return Err("groups are nested too deep".to_owned());
    }
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word {
            ")" => return Ok(found),
            "(" => {
                let (_, mandatory, max) = usage(words.next().unwrap_or_default())?;
                let children = branches(words, depth + 1)?;
                let tag = children.first().ok_or("a group holds nothing")?.tag;
                found.push(Branch { tag, mandatory, max, children });
            }
            _ => {
                let (tag, mandatory, max) = usage(word)?;
                found.push(Branch { tag, mandatory, max, children: Vec::new() });
            }
        }
    }
    Ok(found)
}

/// `DTM!:35`
fn usage(word: &str) -> Result<(&str, bool, u32), String> {
    let (name, max) = word.split_once(':').unwrap_or((word, "1"));
    let max =
        if max == ">" { UNBOUNDED } else { max.parse().map_err(|_| format!("`{word}`: `{max}` is no number"))? };
    Ok((name.trim_end_matches('!'), name.ends_with('!'), max))
}

/// `3035! C082 C778*99`
fn composite(rest: &str) -> Result<Composite, String> {
    rest.split_whitespace()
        .map(|word| {
            let (name, repeat) = word.split_once('*').unwrap_or((word, "1"));
            let repeat = repeat.parse().map_err(|_| format!("`{word}`: `{repeat}` is no number"))?;
            Ok((Tag::new(name.trim_end_matches('!')), name.ends_with('!'), repeat))
        })
        .collect()
}
