//! A message as its definition nests it: segments in groups, groups in groups.

mod build;
mod check;
mod guide;
#[cfg(test)]
mod tests;

use super::directory::{Definition, Found, Library, Node};
use super::findings::{Code, Findings, Policy};
use super::reader::Message;
use super::syntax::Segment;
pub use guide::{Codes, Guide, Hint};

/// A message in the shape of its definition.
#[derive(Debug)]
pub struct Tree<'a> {
    pub message: &'a Message,
    /// None: no definition is at hand, every segment stands under the root.
    pub found: Option<Found<'a>>,
    branches: Vec<Branch>,
    /// What the definition shows; the message itself holds what its envelope showed.
    pub findings: Findings,
}

/// A segment or group that was read.
#[derive(Clone, Copy, Debug)]
struct Branch {
    /// The node of the definition; [`NONE`] where it has none.
    node: u32,
    /// Which segment of the message; of a group its first one.
    segment: u32,
    group: bool,
    first: u32,
    last: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

/// One branch of a tree: a segment, or a group of them.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    tree: &'a Tree<'a>,
    number: u32,
}

impl<'a> Tree<'a> {
    /// Nests `message` by its definition in `library` and checks it.
    pub fn read(message: &'a Message, library: &'a Library, policy: &Policy, findings: usize) -> Tree<'a> {
        Tree::read_with(message, library, policy, findings, &Guide::default())
    }

    /// As [`Tree::read`], with what a guideline says beyond the definition.
    pub fn read_with(
        message: &'a Message,
        library: &'a Library,
        policy: &Policy,
        findings: usize,
        guide: &Guide,
    ) -> Tree<'a> {
        let found = library.find(message.notation.dialect, &message.kind, message.notation.syntax);
        let mut told = Findings::new(findings);
        match &found {
            None => told.add(policy, Code::UnknownMessage, message.place(0), || {
                format!("there is no definition of {}; only its envelope was checked", message.kind)
            }),
            Some(found) if !found.exact => {
                told.add(policy, Code::Release, message.place(0), || {
                    format!(
                        "there is no definition of {}; it was checked as one of {}",
                        message.kind, found.directory.release
                    )
                });
                // Another release proves nothing against the message.
                told.cap(Some(super::findings::Severity::Warn));
            }
            Some(_) => {}
        }
        build::Builder::new(message, found, policy, guide, told).build()
    }

    pub fn root(&self) -> View<'_> {
        View { tree: self, number: 0 }
    }

    pub fn definition(&self) -> Option<&'a Definition> {
        self.found.map(|found| found.definition)
    }

    /// Whether the message may go on, by what its envelope and its definition showed.
    pub fn accepted(&self) -> bool {
        self.findings.accepted() && self.message.findings.accepted()
    }
}

impl<'a> View<'a> {
    fn branch(&self) -> Branch {
        self.tree.branches[self.number as usize]
    }

    /// What the definition says of it; none for a segment it does not have there.
    pub fn node(&self) -> Option<&'a Node> {
        let number = self.branch().node;
        (number != NONE).then_some(())?;
        Some(self.tree.found?.definition.node(number))
    }

    pub fn is_group(&self) -> bool {
        self.branch().group
    }

    /// The segment, or the first one of a group.
    pub fn segment(&self) -> Option<Segment<'a>> {
        self.tree.message.record.get(self.index())
    }

    /// Which segment of the message it is or begins with, from 0.
    pub fn index(&self) -> usize {
        self.branch().segment as usize
    }

    /// What stands in a group, in the order of the message; hierarchical levels under the one they name.
    pub fn children(&self) -> impl Iterator<Item = View<'a>> + use<'a> {
        let tree = self.tree;
        let first = self.branch().first;
        std::iter::successors((first != NONE).then_some(first), move |number| {
            let next = tree.branches[*number as usize].next;
            (next != NONE).then_some(next)
        })
        .map(move |number| View { tree, number })
    }
}
