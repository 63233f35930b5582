//! A tree as a document for mappings, and back.
//!
//! Texts only; a list exactly where the definition allows more than one, so that a path never changes its shape:
//! `$.NAD_group[?@.NAD.E3035=='BY'].NAD.C082.E3039`, `$.PO1_loop[0].PO1.PO102`.
//!
//! - A segment is a map under its tag, a group under the tag of its first segment and `_group` (X12 `_loop`); a second one
//!   of the same name beside it ends in `_2`.
//! - Elements of EDIFACT are `E` and their number, composites their own name; what stands several times in a row is one
//!   list. Elements of X12 are the tag and the place, components the composite and the place: `MEA04.C00101`.
//! - What is empty is left out. Hierarchical levels of X12 stand in the level they belong to.
//! - Segments the definition does not have are in `_other` of the group they stood in: `at` says after how many others.

mod draft;
mod lay;
mod read;
#[cfg(test)]
mod tests;

pub use draft::{Draft, Line};
pub use lay::lay_out;
pub use read::document;

/// Where segments without a place in the definition are kept.
pub const OTHER: &str = "_other";
