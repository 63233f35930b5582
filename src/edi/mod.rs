//! EDIFACT and X12 themselves, usable without the hub.
pub mod charset;
pub mod findings;
pub mod reader;
pub mod syntax;
pub mod directory;
pub mod tree;
pub mod document;
pub mod writer;

#[cfg(test)]
mod trials;
