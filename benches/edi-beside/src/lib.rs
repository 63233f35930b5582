//! The rooms of the hub that are measured, taken by their files: they build in seconds, the hub in minutes.

#[path = "../../../src/message/mod.rs"]
pub mod message;

#[path = "../../../src/edi/mod.rs"]
pub mod edi;
