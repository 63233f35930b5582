//! HTTP: webhooks in, requests out.

/// The hub's shared listener: protocols mount their paths here.
#[derive(Debug, Default)]
pub struct Routes {}
