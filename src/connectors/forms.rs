//! A request of a manifest → what goes over the wire.

use bytes::Bytes;
use reqwest::Method;
use reqwest::Url;
use reqwest::header::HeaderMap;

use super::manifest::{ManifestHead, Request};
use super::scope::View;
use crate::message::{Fault, Text};

/// A request as it goes over the wire, credentials still to come.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a request holds besides what its manifest says.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// The address or path of a next page, instead of the request's own path and query.
    pub address: Option<Text>,
    /// A header that tells the system a repeat, with its key.
    pub idempotency: Option<(Text, Text)>,
}

/// The request as `view` makes it.
///
/// # Errors
/// `refuse`: a formula that finds nothing, a value that cannot stand in a header or path. `misconfigured`: no method.
pub fn render(_request: &Request, _head: &ManifestHead, _view: &View<'_>, _extra: &Extra) -> Result<Outgoing, Fault> {
    Err(Fault::misconfigured(
        "CONNECTOR-REQUEST",
        "a request names its method: `get`, `post`, `put`, `patch` or `delete`",
    ))
}
