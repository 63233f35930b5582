//! `write`: gives a system a document.

use std::sync::Arc;

use super::connection::Connection;
use super::manifest::Write;
use crate::codecs::Codec;
use crate::message::{Fault, Text};
use crate::protocols::{Surroundings, Target, TargetSettings};

/// A write of a connection, as a pipeline names it.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    pub connection: Arc<Connection>,
    pub operation: Text,
    pub write: Box<Write>,
}

impl TargetSettings for WriteTarget {
    fn open(&self, _name: &str, _codec: Arc<dyn Codec>, _around: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        Err(Fault::misconfigured("CONNECTOR-WRITE", "a write cannot be opened yet"))
    }
}
