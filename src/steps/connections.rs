//! The connections a `call` may name, with their operations.

use std::collections::BTreeMap;

use crate::config::{Node, Reader, Setting, Shape, Span};
use crate::message::Text;

/// The connections that exist: names to operations, and of each whether it only reads.
#[derive(Clone, Debug, Default)]
pub struct ConnectionNames(pub BTreeMap<Text, BTreeMap<Text, bool>>);

impl ConnectionNames {
    /// Reports a connection or an operation that does not exist, and an operation that does more than read.
    pub(super) fn check(&self, connection: &Named, operation: &Named, reader: &mut Reader<'_>) -> bool {
        let Some(operations) = self.0.get(&connection.name) else {
            reader.unknown(connection.span, "connection", &connection.name, self.0.keys().map(Text::as_str));
            return false;
        };
        let reading = operations.iter().filter(|(_, reads)| **reads).map(|(name, _)| name.as_str());
        match operations.get(&operation.name) {
            Some(true) => true,
            Some(false) => {
                let known: Vec<&str> = reading.collect();
                let help = match known.as_slice() {
                    [] => format!("connection `{}` has no operation that reads", connection.name),
                    known => format!("those of `{}` that read: {}", connection.name, known.join(", ")),
                };
                reader
                    .error(operation.span, format!("`{}` does more than read: it cannot be called", operation.name))
                    .label("a call may be repeated, so it changes nothing")
                    .help(format!("{help}; what writes is a destination in `to`"));
                false
            }
            None => {
                reader.unknown(operation.span, "operation", &operation.name, reading);
                false
            }
        }
    }
}

/// A connection or an operation named in a step.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: Text,
    pub span: Span,
}

impl Setting for Named {
    fn shape() -> Shape {
        Shape::Text { what: "name", pattern: None, example: "erp" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Named> {
        reader.text(node).map(|name| Named { name, span: node.span })
    }
}
