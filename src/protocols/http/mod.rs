//! HTTP: webhooks in, requests out.
//!
//! In: [`Routes`] is the hub's one listener; a source mounts its path there and answers a sender only once its message is
//! stored. Out: [`Client`] speaks to one peer and turns whatever comes back into an answer or a fault that says what to do.

mod answers;
mod auth;
mod body;
mod client;
mod faults;
mod head;
mod routes;
mod server;
mod settings;
mod signature;
mod source;
mod target;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Once};

pub use auth::{ApiKey, Auth, Basic, Bearer};
pub use client::{Answer, Client, ClientSettings, Peer};
pub use head::{HeaderText, form_document};
pub use routes::{Handler, Limits, Mounted, Routes};
pub use settings::{AcceptedStatus, Door, HttpSource, HttpTarget, ProxyAddress, RoutePath, SourceMethod, Tls};
pub use signature::{Algorithm, Encoding, Signature, Signed, SignedTime};
pub use source::{Answered, Hook, hooked};

use super::{ProtocolKind, SourceKind, SourceSettings, TargetKind, TargetSettings};
use crate::config::{MapReader, Reader, Settings};

pub static KIND: ProtocolKind = ProtocolKind {
    name: "http",
    about: "HTTP: other systems send to a path of the hub (webhooks), or the hub sends to an address.",
    source: Some(SourceKind { fields: HttpSource::fields, read: read_source }),
    target: Some(TargetKind { fields: HttpTarget::fields, read: read_target }),
};

/// Chooses the cryptography of every TLS connection of this process; called before the first, and harmless after.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that somebody chose before us, and then that choice holds.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn read_source(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn SourceSettings>> {
    let settings: HttpSource = map.flat(reader)?;
    settings.check(map, reader);
    Some(Arc::new(settings))
}

fn read_target(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Arc<dyn TargetSettings>> {
    let settings: HttpTarget = map.flat(reader)?;
    settings.check(map, reader);
    Some(Arc::new(settings))
}
