//! Systems that are declared, not programmed: a manifest (`connectors/<system>.yaml`) says how to talk to one kind of system on
//! top of a protocol, a connection (`config/connections/<name>.yaml`) is one of that kind with its address and credentials.
//!
//! `manifest` is what may be written; [`Connection`] joins a manifest to its settings; [`Line`] is its one way out: credentials,
//! limits and what an answer means. `poll` and `listen` are sources, `write` is a target, `read` answers `call`.

mod answer;
mod auth;
mod cases;
mod check;
mod connection;
mod ends;
mod forms;
mod jobs;
mod limits;
mod line;
mod listen;
mod load;
mod manifest;
mod original;
mod paging;
mod poll;
mod progress;
mod read;
mod scope;
mod script;
mod secrets;
#[cfg(test)]
pub(crate) mod testing;
mod waits;
mod well;
mod write;

pub use cases::{ManifestOutcome, run_cases};
pub use connection::{Connection, connection_shape};
pub use ends::{source_shape, target_shape};
pub use line::Line;
pub use load::{Connectors, load};
pub use manifest::{Manifest, Operation, OperationKind, SettingKind, SettingType, shape};
pub use read::Systems;
pub use well::{Wellness, ask_whether_well};
