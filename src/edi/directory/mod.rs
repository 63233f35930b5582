//! What messages may hold: the order, nesting, repeats, types and lengths of segments and elements, as tables.
//!
//! A [`Directory`] is one release (EDIFACT D.96A, X12 4010), a [`Definition`] one message of it, laid out as a tree of
//! [`Node`]s. [`Library`] finds the definition for a message; the shipped one is made on first use and kept.

mod folder;
pub mod import;
mod labels;
mod library;
mod parse;

use std::collections::HashMap;

use super::syntax::{Dialect, Tag};
use crate::message::Text;
pub use folder::FolderError;
pub use labels::label;
pub use library::{Found, Library};
pub use parse::TableError;

/// One release of a standard.
#[derive(Debug)]
pub struct Directory {
    pub dialect: Dialect,
    /// `D.96A`, `004010`.
    pub release: String,
    /// The guideline whose subset it is (`EAN008`); empty for the release itself.
    pub guideline: String,
    elements: HashMap<Tag, ElementDef>,
    composites: HashMap<Tag, Composite>,
    segments: Vec<SegmentDef>,
    by_tag: HashMap<Tag, u16>,
    messages: HashMap<String, Definition>,
    labels: HashMap<Tag, String>,
}

/// A data element: what its values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementDef {
    pub id: Tag,
    pub kind: ValueKind,
    pub shortest: u16,
    pub longest: u16,
}

/// The types of values of both dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// EDIFACT `a`: no digits.
    Alpha,
    /// EDIFACT `n`: digits, a sign and a decimal mark, which do not count.
    Numeric,
    /// EDIFACT `an`, X12 `AN` and `ID`: anything.
    Text,
    /// X12 `N`: digits and a sign.
    Integer,
    /// X12 `R`: a decimal number.
    Decimal,
    /// X12 `DT`, `TM`: digits.
    Digits,
}

/// What stands at a place of a segment or composite.
#[derive(Clone, Debug)]
pub struct Position {
    pub item: Item,
    pub mandatory: bool,
    /// It is mandatory, or one behind it.
    pub needed: bool,
    /// How often it may be repeated there with repetition separators.
    pub repeat: u16,
    /// Which field of a document it is; places that follow each other with the same item are one field.
    pub field: u16,
}

#[derive(Clone, Debug)]
pub enum Item {
    Element(ElementDef),
    Composite(Tag, Vec<Position>, Vec<Field>),
}

/// A field of a document.
#[derive(Clone, Debug)]
pub struct Field {
    /// `E3039`, `C082`, `PO102`.
    pub key: Text,
    /// The definition says more than one: then it is always a list.
    pub list: bool,
}

type Composite = Vec<(Tag, bool, u16)>;

/// A segment: its places and its fields.
#[derive(Debug)]
pub struct SegmentDef {
    pub tag: Tag,
    pub positions: Vec<Position>,
    pub fields: Vec<Field>,
}

/// One message, as nodes: 0 is the message itself, the children of a node lie together.
#[derive(Debug)]
pub struct Definition {
    pub name: String,
    nodes: Vec<Node>,
    /// The tags of the nodes side by side: a tag is looked for more often than anything else.
    tags: Vec<Tag>,
}

/// A segment or group at its place in a message.
#[derive(Clone, Debug)]
pub struct Node {
    /// Of a group the tag of its first segment.
    pub tag: Tag,
    pub group: bool,
    pub mandatory: bool,
    pub max: u32,
    /// The key in a document: `NAD`, `NAD_group`, `PO1_loop`; a second one of the same parent `DTM_2`.
    pub key: Text,
    pub parent: u32,
    /// The children: where they begin and how many there are.
    pub first: u32,
    pub children: u32,
    /// How many of the children are mandatory.
    pub needed: u32,
    /// Which child of its parent.
    pub index: u32,
    /// What the segment holds; of a group that of its first segment. None if the release does not say.
    pub segment: Option<u16>,
}

impl Node {
    /// Whether it is a list in a document.
    pub fn list(&self) -> bool {
        self.max > 1
    }
}

impl Definition {
    fn new(name: &str, nodes: Vec<Node>) -> Definition {
        let tags = nodes.iter().map(|node| node.tag).collect();
        Definition { name: name.to_owned(), nodes, tags }
    }

    #[inline]
    pub fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    /// Whether a segment `tag` stands anywhere in it.
    pub fn has(&self, tag: Tag) -> bool {
        self.nodes[1..].iter().any(|node| node.tag == tag)
    }

    /// The children of `node`, in order.
    #[inline]
    pub fn children(&self, node: u32) -> &[Node] {
        let Node { first, children, .. } = self.nodes[node as usize];
        &self.nodes[first as usize..(first + children) as usize]
    }

    /// The tags of the children of `node`, in order.
    #[inline]
    pub fn tags(&self, node: u32) -> &[Tag] {
        let Node { first, children, .. } = self.nodes[node as usize];
        &self.tags[first as usize..(first + children) as usize]
    }

    /// The number of the node that is child `index` of `node`.
    #[inline]
    pub fn child(&self, node: u32, index: u32) -> u32 {
        self.nodes[node as usize].first + index
    }
}

impl Directory {
    /// The segment of a node.
    #[inline]
    pub fn segment(&self, node: &Node) -> Option<&SegmentDef> {
        self.segments.get(usize::from(node.segment?))
    }

    pub fn segment_named(&self, tag: Tag) -> Option<&SegmentDef> {
        self.segments.get(usize::from(*self.by_tag.get(&tag)?))
    }

    /// Every place a value may stand at, by its keys in a document from the innermost out: `E6345`, `C504`, `CUX`. One that
    /// is no component has two of them, and an empty third.
    pub fn value_places(&self) -> impl Iterator<Item = [&str; 3]> {
        self.segments.iter().flat_map(|segment| {
            let positions = segment.positions.iter();
            positions
                .filter_map(|position| Some((position, segment.fields.get(usize::from(position.field))?)))
                .flat_map(move |(position, field)| {
                    let (tag, key) = (segment.tag.as_str(), field.key.as_str());
                    let (alone, parts) = match &position.item {
                        Item::Element(_) => (Some([key, tag, ""]), [].as_slice()),
                        Item::Composite(_, _, fields) => (None, fields.as_slice()),
                    };
                    alone.into_iter().chain(parts.iter().map(move |part| [part.key.as_str(), key, tag]))
                })
        })
    }

    pub fn message(&self, name: &str) -> Option<&Definition> {
        self.messages.get(name)
    }

    /// What a segment, element or composite is about: in our words, else in those of its tables.
    pub fn label(&self, name: Tag) -> Option<&str> {
        label(self.dialect, name).or_else(|| self.labels.get(&name).map(String::as_str))
    }

    /// The names of its messages, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.messages.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
