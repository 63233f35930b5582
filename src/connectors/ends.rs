//! The ends of a pipeline that name a connection and one of its operations.

use std::sync::Arc;
use std::time::Duration;

use super::listen::ListenSource;
use super::load::Connectors;
use super::manifest::{Operation, OperationKind};
use super::poll::PollSource;
use super::write::WriteTarget;
use crate::config::{MapReader, Reader, StructShape, settings};
use crate::message::Text;
use crate::protocols::http::RoutePath;
use crate::protocols::{SourceSettings, TargetSettings};

settings! {
    /// An operation of a connected system: it is polled, or it calls the hub.
    pub struct ConnectionSource {
        /// The connection: `webshop` for `config/connections/webshop.yaml`.
        connection: Text,
        /// What of it: an operation of kind `poll` or `listen` of its manifest.
        operation: Text,
        /// How long from the end of one round to the next, instead of the manifest's own (`poll`).
        every: Option<Duration>,
        /// The path on the hub's listener that the system calls (`listen`). Left out: `/hooks/CONNECTION/OPERATION`.
        path: Option<RoutePath>,
    }
}

settings! {
    /// An operation of a connected system that takes documents.
    pub struct ConnectionTarget {
        /// The connection: `erp` for `config/connections/erp.yaml`.
        connection: Text,
        /// What of it: an operation of kind `write` of its manifest.
        operation: Text,
    }
}

/// What may stand under `from` besides a protocol.
pub fn source_shape() -> StructShape {
    StructShape::of::<ConnectionSource>()
}

/// What may stand under a destination besides a protocol.
pub fn target_shape() -> StructShape {
    StructShape::of::<ConnectionTarget>()
}

impl Connectors {
    /// The source a map with `connection:` describes.
    pub fn read_source(&self, map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn SourceSettings>> {
        let settings: Option<ConnectionSource> = map.flat(reader);
        let [connection_at, operation_at, every_at, path_at] =
            ["connection", "operation", "every", "path"].map(|name| map.node(name).map_or(map.span, |node| node.span));
        let ConnectionSource { connection, operation, every, path } = settings?;
        let kinds = [OperationKind::Poll, OperationKind::Listen];
        let (found, kind) = self.find((&connection, connection_at), (&operation, operation_at), &kinds, reader)?;
        match kind {
            Operation::Poll(poll) => {
                if path.is_some() {
                    reader.error(path_at, format!("`{operation}` is polled: no path is called")).label("remove this");
                }
                Some(Arc::new(PollSource { connection: found, operation, poll, every }))
            }
            Operation::Listen(listen) => {
                if every.is_some() {
                    reader.error(every_at, format!("`{operation}` is called by the system")).label("remove this");
                }
                let path = path.unwrap_or_else(|| RoutePath(format!("/hooks/{connection}/{operation}").into()));
                if listen.auth.is_none() {
                    reader
                        .warning(operation_at, format!("anybody who reaches the hub may send to {}", path.0))
                        .label("has no `auth` in its manifest")
                        .help("state `auth` where the system signs what it sends; else let a proxy in front check senders");
                }
                let source = ListenSource { connection: found, operation, listen, path };
                if let Err(fault) = source.http() {
                    reader.error(operation_at, fault.sentence()).label("see `auth` and `status` in its manifest");
                    return None;
                }
                Some(Arc::new(source))
            }
            Operation::Read(_) | Operation::Write(_) => None,
        }
    }

    /// The target a map with `connection:` describes.
    pub fn read_target(&self, map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn TargetSettings>> {
        let settings: Option<ConnectionTarget> = map.flat(reader);
        let [connection_at, operation_at] =
            ["connection", "operation"].map(|name| map.node(name).map_or(map.span, |node| node.span));
        let ConnectionTarget { connection, operation } = settings?;
        let kinds = [OperationKind::Write];
        let (found, kind) = self.find((&connection, connection_at), (&operation, operation_at), &kinds, reader)?;
        match kind {
            Operation::Write(write) => Some(Arc::new(WriteTarget { connection: found, operation, write })),
            Operation::Poll(_) | Operation::Listen(_) | Operation::Read(_) => None,
        }
    }
}
