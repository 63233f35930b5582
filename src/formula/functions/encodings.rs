//! Encodings of text for places that take no other: addresses, headers, fields inside fields.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::identifiers::hexadecimal;
use super::{Body, Family, Function, Given, Kind, done_text, need};
use crate::message::{Fault, Value, json};

pub const ALL: &[Function] = &[
    Function {
        name: "base64",
        family: Family::Encodings,
        parameters: &[need("text", Kind::Plain)],
        result: Kind::Text,
        about: "The text's UTF-8 bytes in base64.",
        example: "base64('user:key')",
        gives: "'dXNlcjprZXk='",
        body: Body::Plain(|given| done_text(STANDARD.encode(given.plain(0).as_bytes()))),
    },
    Function {
        name: "hex",
        family: Family::Encodings,
        parameters: &[need("text", Kind::Plain)],
        result: Kind::Text,
        about: "The text's UTF-8 bytes in hexadecimal.",
        example: "hex('Zoé')",
        gives: "'5a6fc3a9'",
        body: Body::Plain(|given| done_text(hexadecimal(given.plain(0).as_bytes()))),
    },
    Function {
        name: "url",
        family: Family::Encodings,
        parameters: &[need("text", Kind::Plain)],
        result: Kind::Text,
        about: "The text as a piece of an address: all but letters, digits and `-._~` become `%` and two digits.",
        example: "url('A&B / Zoé')",
        gives: "'A%26B%20%2F%20Zo%C3%A9'",
        body: Body::Plain(url),
    },
    Function {
        name: "json",
        family: Family::Encodings,
        parameters: &[need("value", Kind::Any)],
        result: Kind::Text,
        about: "Any value as JSON text.",
        example: "json($.lines[0])",
        gives: "'{\"gtin\":\"4006381333931\",\"qty\":2,\"net\":19.98}'",
        body: Body::Plain(|given| match given.get(0) {
            Some(value) => done_text(json::to_text(value)),
            None => done_text(""),
        }),
    },
];

fn url(given: &Given<'_>) -> Result<Value, Fault> {
    let mut out = String::new();
    for byte in given.plain(0).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    done_text(out)
}
