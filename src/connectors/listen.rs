//! `listen`: the system calls the hub.

use std::sync::Arc;

use super::connection::Connection;
use super::manifest::Listen;
use crate::codecs::Codec;
use crate::message::{Fault, Text};
use crate::protocols::http::RoutePath;
use crate::protocols::{Source, SourceSettings, Surroundings};

/// A web hook of a connection, as a pipeline names it.
#[derive(Clone, Debug)]
pub struct ListenSource {
    pub connection: Arc<Connection>,
    pub operation: Text,
    pub listen: Box<Listen>,
    /// Where it is called.
    pub path: RoutePath,
}

impl SourceSettings for ListenSource {
    fn open(&self, _pipeline: &str, _codec: Arc<dyn Codec>, _around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        Err(Fault::misconfigured("CONNECTOR-LISTEN", "a web hook cannot be opened yet"))
    }

    fn overlaps(&self) -> bool {
        true
    }
}
