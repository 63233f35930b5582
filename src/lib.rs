//! raccord joins a retailer's systems: one binary that reads YAML, moves messages, loses none, and shows where each one is.
//!
//! A module uses only those declared before it; `tests/it/layers.rs` proves it. ARCHITECTURE.md tells a message's life.

pub mod message;
pub mod clock;
pub mod telemetry;
pub mod config;
pub mod edi;
pub mod formula;
pub mod codecs;
pub mod steps;
pub mod queue;
pub mod store;
pub mod protocols;
pub mod connectors;
pub mod partners;
pub mod pipelines;
pub mod hub;
pub mod cli;

/// The tests' own real servers, which `tests/it/` uses as well.
#[cfg(test)]
#[path = "../tests/parts/mod.rs"]
mod parts;
