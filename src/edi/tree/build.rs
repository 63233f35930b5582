//! Where each segment goes: the nearest place from here on that the definition has for its tag.
//!
//! The open groups are frames. A segment is looked for in the innermost frame from its position on, then in the next outer
//! one, and so on: one segment is all that is ever looked at. Failing that, places that are full are tried, then those that
//! lie behind (the segment is out of order); what has no place at all stays where it stands, as it is.

use std::collections::HashMap;

use super::check::check;
use super::{Branch, Guide, NONE, Tree};
use crate::edi::directory::{Definition, Found, Node};
use crate::edi::findings::{Code, Findings, Policy};
use crate::edi::reader::Message;
use crate::edi::syntax::{Dialect, Tag};

/// An open group.
#[derive(Clone, Copy)]
struct Frame<'a> {
    branch: u32,
    node: u32,
    /// The children of the definition, and their tags.
    children: &'a [Node],
    tags: &'a [Tag],
    /// The child of the definition reached.
    at: u32,
    /// Where its counts begin: one for each child, how often it was met.
    counts: usize,
    /// How many mandatory children were not met yet.
    missing: u32,
}

pub(super) struct Builder<'a, 'p> {
    tree: Tree<'a>,
    policy: &'p Policy,
    guide: &'p Guide,
    frames: Vec<Frame<'a>>,
    counts: Vec<u32>,
    /// Hierarchical levels by their id: the branch, and how deep it is.
    levels: HashMap<&'a [u8], (u32, usize)>,
}

/// How deep hierarchical levels may stand: who walks down a tree must come to an end. Shipments have six.
const DEEPEST: usize = 32;

/// How a place was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Good,
    Full,
    Behind,
}

impl<'a, 'p> Builder<'a, 'p> {
    pub fn new(
        message: &'a Message,
        found: Option<Found<'a>>,
        policy: &'p Policy,
        guide: &'p Guide,
        findings: Findings,
    ) -> Builder<'a, 'p> {
        let root = Branch { node: 0, segment: 0, group: true, first: NONE, last: NONE, next: NONE };
        let mut branches = Vec::with_capacity(message.record.len() * 3 / 2 + 1);
        branches.push(root);
        let tree = Tree { message, found, branches, findings };
        // Room for the groups of most messages.
        let (frames, counts) = (Vec::with_capacity(8), Vec::with_capacity(256));
        Builder { tree, policy, guide, frames, counts, levels: HashMap::new() }
    }

    pub fn build(mut self) -> Tree<'a> {
        let Some(Found { definition, directory, .. }) = self.tree.found else {
            for index in 0..self.tree.message.record.len() {
                self.add(0, NONE, index, false);
            }
            return self.tree;
        };
        self.open(definition, 0, 0);
        for index in 0..self.tree.message.record.len() {
            let tag = self.tree.message.record.tag(index);
            let place = self.forward(definition, index, tag, true).map(|place| (place, Fit::Good));
            let Some(((frame, child), fit)) = place.or_else(|| self.elsewhere(definition, index, tag)) else {
                self.unknown(definition, index, tag);
                continue;
            };
            let node = self.put(definition, frame, child, index, fit);
            if let (Some(segment), Some(def)) = (self.tree.message.record.get(index), directory.segment(node)) {
                let (message, findings) = (self.tree.message, &mut self.tree.findings);
                check(message, index, &segment, def, self.policy, findings);
                if !self.guide.codes.is_empty() {
                    self.guide.codes.check(message, index, &segment, def, self.policy, findings);
                }
            }
        }
        while !self.frames.is_empty() {
            self.close(definition, self.tree.message.record.len());
        }
        self.tree
    }

    /// The frame and child for `tag` from here on; `room`: only where it may stand once more.
    #[inline]
    fn forward(&self, definition: &Definition, index: usize, tag: Tag, room: bool) -> Option<(usize, u32)> {
        for (number, frame) in self.frames.iter().enumerate().rev() {
            let Frame { children, tags, .. } = *frame;
            let mut from = frame.at as usize;
            while let Some(step) = tags.get(from..).and_then(|left| left.iter().position(|left| *left == tag)) {
                let child = from + step;
                let fits = !room || self.counts[frame.counts + child] < children[child].max;
                if fits && (self.guide.hints.is_empty() || self.hinted(definition, &children[child], index)) {
                    return Some((number, child as u32));
                }
                from = child + 1;
            }
        }
        None
    }

    /// A place that is full, or one that lies behind.
    #[cold]
    fn elsewhere(&self, definition: &Definition, index: usize, tag: Tag) -> Option<((usize, u32), Fit)> {
        let full = self.forward(definition, index, tag, false).map(|place| (place, Fit::Full));
        full.or_else(|| self.behind(tag).map(|place| (place, Fit::Behind)))
    }

    /// Whether no hint keeps segment `index` from a place.
    fn hinted(&self, definition: &Definition, node: &Node, index: usize) -> bool {
        let message = self.tree.message;
        let Some(segment) = message.record.get(index) else { return true };
        self.guide.hints.iter().filter(|hint| is_at(definition, node, &hint.place)).all(|hint| {
            let value = message.notation.value(&segment, hint.element, hint.component);
            hint.values.iter().any(|wanted| *wanted == *value)
        })
    }

    fn behind(&self, tag: Tag) -> Option<(usize, u32)> {
        self.frames.iter().enumerate().rev().find_map(|(number, frame)| {
            let passed = &frame.children[..frame.at as usize];
            // The first segment of a group would be a new one, which only the group around can begin.
            let first = usize::from(number > 0);
            let child = passed.iter().enumerate().skip(first).rev().find(|(_, node)| node.tag == tag)?.0;
            Some((number, child as u32))
        })
    }

    /// Puts segment `index` at a child of a frame; says which node holds it.
    fn put(&mut self, definition: &'a Definition, frame: usize, child: u32, index: usize, fit: Fit) -> &'a Node {
        while self.frames.len() > frame + 1 {
            self.close(definition, index);
        }
        let Frame { branch, node: parent, children, counts, .. } = self.frames[frame];
        let number = definition.child(parent, child);
        let node = &children[child as usize];
        let count = &mut self.counts[counts + child as usize];
        self.frames[frame].missing -= u32::from(node.mandatory && *count == 0);
        *count = count.saturating_add(1);
        let message = self.tree.message;
        match fit {
            Fit::Good => {}
            Fit::Full if *count == node.max.saturating_add(1) => {
                let sentence = || format!("there are more {} than the {} allowed here", node.key, node.max);
                self.tree.findings.add(self.policy, Code::Repeats, message.place(index), sentence);
            }
            Fit::Full => {}
            Fit::Behind => {
                let sentence = || format!("{} stands after what it should stand before", node.key);
                self.tree.findings.add(self.policy, Code::Order, message.place(index), sentence);
            }
        }
        if fit != Fit::Behind {
            self.frames[frame].at = child;
        }
        if !node.group {
            self.add(branch, number, index, false);
            return node;
        }
        let (under, depth) = self.level(branch, node, index);
        let group = self.add(under, number, index, true);
        if let Some(id) = self.level_id(node, index, 1) {
            self.levels.insert(id, (group, depth));
        }
        self.open(definition, group, number);
        let first = definition.child(number, 0);
        let node = definition.node(first);
        if let Some(begun) = self.frames.last_mut() {
            begun.at = u32::from(node.max == 1);
            begun.missing -= u32::from(node.mandatory);
            self.counts[begun.counts] = 1;
        }
        self.add(group, first, index, false);
        node
    }

    /// The branch a group stands under, hierarchical levels under the one they name, and how deep it is then.
    fn level(&mut self, branch: u32, node: &Node, index: usize) -> (u32, usize) {
        let Some(id) = self.level_id(node, index, 2) else { return (branch, 0) };
        let parent = self.levels.get(id).copied();
        if let Some((parent, depth)) = parent.filter(|(_, depth)| *depth < DEEPEST) {
            return (parent, depth + 1);
        }
        let mut place = self.tree.message.place(index);
        place.element = 2;
        let sentence = || match parent {
            Some(_) => format!("there are more than {DEEPEST} levels above this one"),
            None => format!("no level before it has the id `{}`", String::from_utf8_lossy(id)),
        };
        self.tree.findings.add(self.policy, Code::Hierarchy, place, sentence);
        (branch, 0)
    }

    fn level_id(&self, node: &Node, index: usize, element: usize) -> Option<&'a [u8]> {
        let message = self.tree.message;
        if node.tag != const { Tag::new("HL") } || message.notation.dialect != Dialect::X12 {
            return None;
        }
        let id = message.record.get(index)?.component(element, 1).trim_ascii();
        (!id.is_empty()).then_some(id)
    }

    fn unknown(&mut self, definition: &Definition, index: usize, tag: Tag) {
        let branch = self.frames.last().map_or(0, |frame| frame.branch);
        self.add(branch, NONE, index, false);
        let place = self.tree.message.place(index);
        if definition.has(tag) {
            let sentence = || format!("{tag} has no place here");
            self.tree.findings.add(self.policy, Code::Order, place, sentence);
        } else {
            let sentence = || format!("{} has no segment `{tag}`", definition.name);
            self.tree.findings.add(self.policy, Code::UnknownSegment, place, sentence);
        }
    }

    fn open(&mut self, definition: &'a Definition, branch: u32, node: u32) {
        let counts = self.counts.len();
        let (children, tags) = (definition.children(node), definition.tags(node));
        self.counts.resize(counts + children.len(), 0);
        self.frames.push(Frame { branch, node, children, tags, at: 0, counts, missing: definition.node(node).needed });
    }

    /// Closes the innermost group: what had to stand in it is now known to be missing. It ended before segment `index`.
    fn close(&mut self, definition: &Definition, index: usize) {
        let Some(frame) = self.frames.pop() else { return };
        if frame.missing > 0 {
            self.tell_missing(definition, frame, index);
        }
        self.counts.truncate(frame.counts);
    }

    #[cold]
    fn tell_missing(&mut self, definition: &Definition, frame: Frame<'_>, index: usize) {
        for (child, node) in frame.children.iter().enumerate() {
            if !node.mandatory || self.counts[frame.counts + child] > 0 {
                continue;
            }
            let around = definition.node(frame.node);
            let before = self.first_after(definition, frame, child).unwrap_or(index);
            let place = self.tree.message.missing_at(before, node.tag);
            let record = &self.tree.message.record;
            let sentence = || {
                let around = if around.key.is_empty() { &definition.name } else { around.key.as_str() };
                match before.checked_sub(1) {
                    Some(last) => {
                        format!("{} is missing in {around}, after segment {before} ({})", node.key, record.tag(last))
                    }
                    None => format!("{} is missing in {around}", node.key),
                }
            };
            self.tree.findings.add(self.policy, Code::MissingSegment, place, sentence);
        }
    }

    /// The first segment of a group that belongs behind its child number `child`.
    fn first_after(&self, definition: &Definition, frame: Frame<'_>, child: usize) -> Option<usize> {
        let mut next = self.tree.branches.get(frame.branch as usize)?.first;
        while let Some(branch) = self.tree.branches.get(next as usize) {
            let behind = (branch.node != NONE).then(|| definition.node(branch.node));
            if behind.is_some_and(|node| node.parent == frame.node && node.index as usize > child) {
                return Some(branch.segment as usize);
            }
            next = branch.next;
        }
        None
    }

    fn add(&mut self, under: u32, node: u32, segment: usize, group: bool) -> u32 {
        let branches = &mut self.tree.branches;
        let number = branches.len() as u32;
        branches.push(Branch { node, segment: segment as u32, group, first: NONE, last: NONE, next: NONE });
        let parent = &mut branches[under as usize];
        let before = std::mem::replace(&mut parent.last, number);
        if before == NONE {
            parent.first = number;
        } else {
            branches[before as usize].next = number;
        }
        number
    }
}

/// Whether `place` names `node`: the keys from the outermost group in, with dots.
fn is_at(definition: &Definition, node: &Node, place: &str) -> bool {
    let (around, key) = place.rsplit_once('.').unwrap_or(("", place));
    let parent = definition.node(node.parent);
    node.key == key && if around.is_empty() { parent.key.is_empty() } else { is_at(definition, parent, around) }
}
