//! EDIFACT and X12 themselves, usable without the hub.
//!
//! ```text
//! bytes ──> syntax ──> reader ──> tree ──> document ──> writer ──> bytes
//!          segments   messages   groups    mappings       ^
//!                        └─ findings ─┘    directory ─────┘
//! ```
//! - [`syntax`]: delimiters and segments; [`reader`]: interchanges, groups and messages, one message in memory at a time;
//! - [`directory`]: what the definitions allow; [`tree`]: a message nested and checked by its definition;
//! - [`document`]: the tree for mappings; [`writer`]: messages and interchanges from documents;
//! - [`facts`]: the envelope of messages as documents, and back;
//! - [`findings`]: what deviates, and what follows from it; [`acknowledgments`]: what is answered.
//!
//! Nothing that comes in is an error or a panic: it is read as far as it can be, every byte is kept, and what deviates is a
//! finding with its place.

pub mod acknowledgments;
pub mod charset;
pub mod directory;
pub mod document;
pub mod facts;
pub mod findings;
pub mod reader;
pub mod syntax;
pub mod tree;
pub mod writer;

#[cfg(test)]
mod trials;
