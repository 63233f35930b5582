//! The rooms of the hub that are fuzzed, taken by their files: they build in seconds, the hub in minutes.
#![allow(dead_code, reason = "the hub uses all of it")]

extern crate self as raccord;

#[path = "../../src/message/mod.rs"]
pub mod message;

#[path = "../../src/edi/mod.rs"]
pub mod edi;

pub mod targets;
