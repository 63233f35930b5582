//! Reading YAML well: every value keeps its place, every problem is told, all in one pass.
//!
//! [`settings!`] makes one struct the parser, the JSON Schema and the reference page of a thing. [`Files`] holds the text
//! read, [`Reader`] collects the [`Problem`]s. Only `node.rs` knows the YAML library.

mod data;
mod diagnostics;
mod environment;
mod hub;
mod node;
mod reader;
mod servers;
mod settings;
mod shape;
pub mod tls;
mod units;

pub use data::Data;
pub use diagnostics::{FileId, Files, Problem, Severity, Span, render, to_json};
pub use environment::{Environment, Secret};
pub use hub::{
    HubSettings, PostgresSettings, QueueSettings, RabbitSettings, RetentionSettings, StoreSettings, TlsSettings,
};
pub use node::{Key, Kind, MAX_BYTES, Node, parse};
pub use reader::{MapReader, Reader, nearest};
pub use settings::{Setting, Settings};
pub use shape::{Field, OneOf, Shape, StructShape, Word, explain, schema};
pub use tls::Tls;
pub use units::{Rate, Size, duration};

pub(crate) use settings::{choice, one_of, settings};
