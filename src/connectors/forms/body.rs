//! What a request holds, and the content type that says so.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::address::{encoded, several};
use super::{multipart, soap};
use crate::codecs::{Namespaces, xml_documents};
use crate::connectors::manifest::{GraphQl, JsonRpc, Request};
use crate::connectors::scope::View;
use crate::formula::Template;
use crate::message::{Fault, Map, Text, Value, json};

pub struct Body {
    pub content_type: Text,
    pub bytes: Bytes,
    /// A header that goes with it.
    pub header: Option<(&'static str, Text)>,
}

impl Body {
    pub fn new(content_type: impl Into<Text>, bytes: impl Into<Bytes>) -> Body {
        Body { content_type: content_type.into(), bytes: bytes.into(), header: None }
    }
}

/// The body; `None` where the request has none.
pub fn of(request: &Request, view: &View<'_>) -> Result<Option<Body>, Fault> {
    if let Some(template) = &request.json {
        return Ok(view.render(template, "request.json")?.map(|value| json_body(&value)));
    }
    if let Some(fields) = &request.form {
        return form(fields, view).map(Some);
    }
    if let Some(fields) = &request.multipart {
        return multipart::of(fields, view).map(Some);
    }
    if let Some(template) = &request.xml {
        let Some(document) = view.render(template, "request.xml")? else { return Ok(None) };
        return xml(&document, "request.xml").map(|bytes| Some(Body::new("application/xml", bytes)));
    }
    if let Some(call) = &request.soap {
        return soap::of(call, view).map(Some);
    }
    if let Some(template) = &request.text {
        let content_type = request.content_type.clone().unwrap_or_else(|| "text/plain; charset=utf-8".into());
        let text = view.text(template, "request.text")?;
        return Ok(text.map(|text| Body::new(content_type, text.to_string())));
    }
    if let Some(question) = &request.graphql {
        return graphql(question, view).map(Some);
    }
    if let Some(call) = &request.json_rpc {
        return json_rpc(call, view).map(Some);
    }
    Ok(None)
}

fn json_body(value: &Value) -> Body {
    Body::new("application/json", json::to_text(value))
}

/// A map with one field, the root element, as the `xml` format writes it.
pub fn xml(document: &Value, place: &str) -> Result<Bytes, Fault> {
    xml_documents(Namespaces::Keep).encode(document).map_err(|fault| fault.within(place))
}

fn form(fields: &BTreeMap<Text, Template>, view: &View<'_>) -> Result<Body, Fault> {
    let mut pairs = Vec::new();
    for (name, template) in fields {
        let place = format!("request.form.{name}");
        several(name, view.render(template, &place)?, &mut pairs).map_err(|fault| fault.at(place))?;
    }
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    Ok(Body::new("application/x-www-form-urlencoded", pairs.join("&")))
}

fn graphql(question: &GraphQl, view: &View<'_>) -> Result<Body, Fault> {
    let mut body = Map::new();
    body.insert("query", question.query.as_str());
    if let Some(template) = &question.variables
        && let Some(variables) = view.render(template, "request.graphql.variables")?
    {
        body.insert("variables", variables);
    }
    Ok(json_body(&body.into()))
}

/// The id is the message's, so that a repeat carries the same.
fn json_rpc(call: &JsonRpc, view: &View<'_>) -> Result<Body, Fault> {
    let mut body = Map::new();
    body.insert("jsonrpc", "2.0");
    body.insert("id", view.id.to_string());
    body.insert("method", call.method.clone());
    if let Some(template) = &call.params
        && let Some(params) = view.render(template, "request.json_rpc.params")?
    {
        body.insert("params", params);
    }
    Ok(json_body(&body.into()))
}
