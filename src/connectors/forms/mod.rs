//! A request of a manifest → what goes over the wire.
//!
//! `address` decides where it goes, `body` what it holds (with `multipart` and `soap`); this file puts both and the headers
//! together.

mod address;
mod body;
mod multipart;
mod soap;

use std::fmt;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::manifest::{AnswerFormat, ManifestHead, Request};
use super::scope::View;
use crate::formula::Template;
use crate::message::{Fault, Text};

/// A request as it goes over the wire, credentials still to come.
#[derive(Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a request holds besides what its manifest says.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// The address or path of a next page, instead of the request's own path and query. A relative one is read against the
    /// request's own address (RFC 3986); one of another system is a fault, so that no credential goes there.
    pub address: Option<Text>,
    /// A header that tells the system a repeat, with its key.
    pub idempotency: Option<(Text, Text)>,
}

/// Without its query, headers and body: they may hold credentials.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, path) = (self.url.origin().ascii_serialization(), self.url.path());
        write!(f, "{} {origin}{path} ({} bytes)", self.method, self.body.len())
    }
}

/// The request as `view` makes it.
///
/// # Errors
/// `refuse`: a formula that finds nothing, a value that cannot stand in a header or path. `misconfigured`: no method, a base
/// address that is none; `CONNECTOR-ORIGIN`: a next page at another system.
pub fn render(request: &Request, head: &ManifestHead, view: &View<'_>, extra: &Extra) -> Result<Outgoing, Fault> {
    let (method, path) = method(request)?;
    let url = address::of(request, path, head, view, extra)?;
    let mut headers = HeaderMap::new();
    if let Some(accept) = accept(request) {
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
    }
    let body = match body::of(request, view)? {
        Some(body) => {
            headers.insert(CONTENT_TYPE, header_value("content-type", &body.content_type)?);
            if let Some((name, text)) = body.header {
                put_header(&mut headers, name, Some(text))?;
            }
            body.bytes
        }
        None => Bytes::new(),
    };
    // Headers of the manifest may hold a key: they go to the system alone.
    if is_own(request, &url, head, view) {
        for (name, template) in head.headers.iter().flatten() {
            put_header(&mut headers, name, view.text(template, &format!("headers.{name}"))?)?;
        }
    }
    for (name, template) in request.headers.iter().flatten() {
        put_header(&mut headers, name, view.text(template, &format!("request.headers.{name}"))?)?;
    }
    if let Some((name, key)) = &extra.idempotency {
        put_header(&mut headers, name, Some(key.clone()))?;
    }
    Ok(Outgoing { method, url, headers, body })
}

/// Whether an address is the system's own, so that credentials may go there: that of `base`, one that a setting of the
/// connection gives, or one that the manifest says word for word.
pub fn is_own(request: &Request, url: &Url, head: &ManifestHead, view: &View<'_>) -> bool {
    let constant = method(request).is_ok_and(|(_, path)| path.is_some_and(|path| path.as_constant().is_some()));
    constant || address::origins(head, view).contains(&url.origin().ascii_serialization())
}

/// The method, and the template of its path; a form that is always POSTed goes to `base` where it names no path.
fn method(request: &Request) -> Result<(Method, Option<&Template>), Fault> {
    let methods = [
        (Method::GET, &request.get),
        (Method::POST, &request.post),
        (Method::PUT, &request.put),
        (Method::PATCH, &request.patch),
        (Method::DELETE, &request.delete),
    ];
    let mut given = methods.into_iter().filter_map(|(method, path)| Some((method, path.as_ref()?)));
    match (given.next(), given.next()) {
        (Some((method, path)), None) => Ok((method, Some(path))),
        (None, _) if request.soap.is_some() || request.graphql.is_some() || request.json_rpc.is_some() => {
            Ok((Method::POST, None))
        }
        _ => Err(Fault::misconfigured(
            "CONNECTOR-REQUEST",
            "a request names one method: `get`, `post`, `put`, `patch` or `delete`",
        )),
    }
}

fn accept(request: &Request) -> Option<&'static str> {
    match request.answer {
        _ if request.soap.is_some() => None,
        AnswerFormat::Json => Some("application/json"),
        AnswerFormat::Xml => Some("application/xml, text/xml"),
        AnswerFormat::Text | AnswerFormat::None => None,
    }
}

fn put_header(headers: &mut HeaderMap, name: &str, text: Option<Text>) -> Result<(), Fault> {
    let Some(text) = text else { return Ok(()) };
    let named = HeaderName::try_from(name);
    let named = named.map_err(|_| {
        Fault::misconfigured("CONNECTOR-REQUEST", format!("`{name}` cannot be the name of a header")).at(name)
    })?;
    headers.insert(named, header_value(name, &text)?);
    Ok(())
}

/// A line break in a value would let a message add headers of its own.
fn header_value(name: &str, text: &str) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        let said = format!("header {name} cannot hold a line break or a control character");
        Fault::refuse("CONNECTOR-VALUE", said).at(format!("headers.{name}"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
