//! The tests that look at the whole: one binary, one file a subject.

mod commands;
mod documents;
mod faults;
mod layers;
mod sources;
