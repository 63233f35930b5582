//! A body in parts (RFC 7578). Its boundary comes from the message's id, so that a repeat is the same to the byte.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::body::Body;
use crate::connectors::scope::View;
use crate::formula::Template;
use crate::message::{Fault, Map, MessageId, Text, Value};

/// Text parts and files, in the order of their names; a list makes several of a name.
pub fn of(fields: &BTreeMap<Text, Template>, view: &View<'_>) -> Result<Body, Fault> {
    let mut parts = Vec::new();
    for (name, template) in fields {
        let place = format!("request.multipart.{name}");
        let items = match view.render(template, &place)? {
            None | Some(Value::Null) => continue,
            Some(Value::List(items)) => items,
            Some(one) => vec![one],
        };
        for item in items {
            parts.push(part(name, item).map_err(|fault| fault.at(place.clone()))?);
        }
    }
    let boundary = boundary(view.id, &parts);
    let mut body = Vec::new();
    for Part { head, content } in &parts {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(Body::new(format!("multipart/form-data; boundary={boundary}"), body))
}

struct Part {
    /// Its header lines, each ended.
    head: String,
    content: Vec<u8>,
}

fn part(name: &str, value: Value) -> Result<Part, Fault> {
    let disposition = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
    let Value::Map(file) = value else {
        let wrong = || refused(format!("a part is a text or a map, this is {}", value.kind()));
        let content = value.plain().ok_or_else(wrong)?;
        return Ok(Part { head: format!("{disposition}\r\n"), content: content.as_bytes().to_vec() });
    };
    let mut head = disposition;
    if let Some(file_name) = text(&file, "file_name")? {
        head.push_str(&format!("; filename=\"{}\"", quoted(&file_name)));
    }
    head.push_str("\r\n");
    if let Some(content_type) = text(&file, "content_type")? {
        if content_type.chars().any(char::is_control) {
            return Err(refused("`content_type` holds no line break or control character".to_owned()));
        }
        head.push_str(&format!("Content-Type: {content_type}\r\n"));
    }
    let content = match (text(&file, "text")?, text(&file, "base64")?) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(base64)) => {
            let compact: String = base64.split_ascii_whitespace().collect();
            STANDARD.decode(compact).map_err(|_| refused("`base64` is not base64 (RFC 4648)".to_owned()))?
        }
        _ => return Err(refused("a part that is a map holds either `text` or `base64`".to_owned())),
    };
    Ok(Part { head, content })
}

fn text(file: &Map, name: &str) -> Result<Option<Text>, Fault> {
    match file.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.plain().map(Some).ok_or_else(|| refused(format!("`{name}` is a text, not {}", value.kind())))
        }
    }
}

/// As browsers write names: what would end the quotes or the line becomes `%` and two digits.
fn quoted(name: &str) -> String {
    let plain = |character: char| match character {
        '"' => "%22".to_owned(),
        other if other.is_ascii_control() => format!("%{:02X}", u32::from(other)),
        other => other.to_string(),
    };
    name.chars().map(plain).collect()
}

/// One that stands in no part.
fn boundary(id: MessageId, parts: &[Part]) -> String {
    let mut boundary = format!("raccord-{id}");
    while parts.iter().any(|part| memchr::memmem::find(&part.content, boundary.as_bytes()).is_some()) {
        boundary.push('x');
    }
    boundary
}

fn refused(what: String) -> Fault {
    Fault::refuse("CONNECTOR-VALUE", what)
}
