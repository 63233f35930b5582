//! Names of headers, and which of a request's headers a message keeps.

use axum::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use crate::config::{Node, Reader, Setting, Shape};
use crate::message::{Map, Text, Value};

/// Most bytes of names and values a message keeps.
const MOST_BYTES: usize = 16 * 1024;

/// The name of a header, as a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderText(pub HeaderName);

impl Setting for HeaderText {
    fn shape() -> Shape {
        Shape::Text { what: "header name", pattern: Some("^[A-Za-z0-9_-]+$"), example: "X-Signature" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<HeaderText> {
        reader.parsed(node, "the name of a header such as `X-Signature`", |text| text.parse().ok().map(HeaderText))
    }
}

/// A header's value as text; the first one where it was sent several times, nothing where it is not text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// `$headers` of a message: the request's headers, names lower case and `-` as `_`, several of a name joined by `, `; then
/// `method`, `path`, and each query parameter as `query_<name>`. `None` where they are larger than a message may keep.
///
/// Never kept: credentials (`authorization`, `cookie`, `proxy-*`, `secret`), and what concerns the connection only.
pub(super) fn keep(parts: &Parts, only: &[HeaderText], secret: Option<&HeaderName>) -> Option<Map> {
    let mut map = Map::with_capacity(parts.headers.keys_len() + 2);
    let mut bytes = 0;
    let wanted = |name: &HeaderName| {
        keepable(name) && Some(name) != secret && (only.is_empty() || only.iter().any(|kept| kept.0 == *name))
    };
    for name in parts.headers.keys().filter(|name| wanted(name)) {
        let values = parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let joined = values.collect::<Vec<_>>().join(", ");
        bytes += name.as_str().len() + joined.len();
        map.insert(name.as_str().replace('-', "_"), joined);
    }
    for (name, value) in query(parts.uri.query().unwrap_or_default()) {
        bytes += name.len() + value.len();
        map.insert(format!("query_{}", name.to_lowercase().replace('-', "_")), value);
    }
    map.insert("method", parts.method.as_str());
    map.insert("path", parts.uri.path());
    (bytes <= MOST_BYTES).then_some(map)
}

/// The query parameters as a document: a name given several times holds a list.
pub(super) fn query_document(parts: &Parts) -> Value {
    form_document(parts.uri.query().unwrap_or_default())
}

/// The fields of a form (`application/x-www-form-urlencoded`) as a document: a name given several times holds a list.
pub fn form_document(text: &str) -> Value {
    let mut map = Map::new();
    for (name, value) in query(text) {
        match map.get_mut(&name) {
            None => drop(map.insert(name, value)),
            Some(Value::List(items)) => items.push(value.into()),
            Some(one) => *one = Value::List(vec![std::mem::take(one), value.into()]),
        }
    }
    map.into()
}

fn query(text: &str) -> impl Iterator<Item = (Text, Text)> + '_ {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescaped(name), unescaped(value))
    })
}

/// `application/x-www-form-urlencoded`: `+` is a blank, `%41` a byte; what is not UTF-8 shows as `�`.
fn unescaped(text: &str) -> Text {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|digits| {
            u8::from_str_radix(std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?, 16).ok()
        });
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into()
}

fn keepable(name: &HeaderName) -> bool {
    const CONNECTION_ONLY: [HeaderName; 10] = [
        ACCEPT_ENCODING,
        AUTHORIZATION,
        CONNECTION,
        CONTENT_LENGTH,
        COOKIE,
        EXPECT,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    !CONNECTION_ONLY.contains(name) && !name.as_str().starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn check(uri: &str, headers: &[(&str, &str)], only: &[&'static str], expect: &str) {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("the request is well formed").into_parts();
        let only: Vec<_> = only.iter().map(|name| HeaderText(HeaderName::from_static(name))).collect();
        let kept = keep(&parts, &only, Some(&HeaderName::from_static("x-key")));
        assert_eq!(kept.map_or("too large".to_owned(), |map| Value::Map(map).to_string()), expect);
    }

    #[test]
    fn a_message_keeps_what_is_not_a_credential() {
        let sent = [("X-Shop", "a"), ("x-shop", "b"), ("Authorization", "x"), ("X-Key", "x"), ("Proxy-Thing", "x")];
        check("/in", &sent, &[], r#"{"x_shop":"a, b","method":"POST","path":"/in"}"#);
        check("/in", &[("a", "1"), ("b", "2")], &["b"], r#"{"b":"2","method":"POST","path":"/in"}"#);
        check("/in", &[("method", "GET")], &[], r#"{"method":"POST","path":"/in"}"#);
        check("/in", &[("a", &"x".repeat(MOST_BYTES))], &[], "too large");
    }

    #[test]
    fn query_parameters_are_unescaped() {
        check(
            "/in?Store-Id=1%202+3&odd=%zz%4&%C3%A9=%FF&=",
            &[],
            &["none"],
            r#"{"query_store_id":"1 2 3","query_odd":"%zz%4","query_é":"�","query_":"","method":"POST","path":"/in"}"#,
        );
        let (parts, ()) = Request::get("/in?a=1&b=x&a=2&a=3").body(()).expect("well formed").into_parts();
        assert_eq!(query_document(&parts).to_string(), r#"{"a":["1","2","3"],"b":"x"}"#);
    }
}
