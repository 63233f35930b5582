//! HTTP: webhooks in, requests out.

use super::ProtocolKind;

pub static KIND: ProtocolKind =
    ProtocolKind { name: "http", about: "HTTP: webhooks in, requests out.", source: None, target: None };

/// The hub's shared listener: protocols mount their paths here.
#[derive(Debug, Default)]
pub struct Routes {}
