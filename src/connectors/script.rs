//! Recorded answers in the place of a system.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Request, StatusCode};

use super::manifest::Exchange;
use crate::message::{Fault, Map, Text, Value, contained, json};
use crate::protocols::http::{Answer, Peer, form_document};

/// Gives the answers of an exchange in order, and notes where requests are not those it expects.
#[derive(Debug)]
pub struct Script(Mutex<State>);

#[derive(Debug)]
struct State {
    left: VecDeque<Exchange>,
    asked: usize,
    differences: Vec<String>,
}

impl Script {
    pub fn new(exchange: &[Exchange]) -> Script {
        let left = exchange.iter().cloned().collect();
        Script(Mutex::new(State { left, asked: 0, differences: Vec::new() }))
    }

    /// Where the requests differ from those expected; also those that were not made.
    pub fn differences(&self) -> Vec<String> {
        let state = self.state();
        let unmade = state.left.iter().enumerate().map(|(index, exchange)| {
            let wanted = exchange.request.as_ref().map(|data| format!(", expected {}", data.0)).unwrap_or_default();
            format!("exchange[{}]: this request was not made{wanted}", state.asked + index)
        });
        state.differences.iter().cloned().chain(unmade).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Peer for Script {
    async fn answer(&self, request: Request) -> Result<Answer, Fault> {
        let mut state = self.state();
        let (index, actual) = (state.asked, seen(&request));
        let Some(exchange) = state.left.pop_front() else {
            let line = format!("{} {}", request.method(), request.url().path());
            state.differences.push(format!("exchange: a request beyond the last one: {line}"));
            return Err(Fault::refuse("CONNECTOR-CASE", "the case holds no answer to this request"));
        };
        state.asked += 1;
        if let Some(expected) = &exchange.request {
            let expected = normal(&expected.0);
            contained(&expected, &actual.into(), &format!("exchange[{index}].request"), &mut state.differences);
        }
        match exchange.lost {
            true => Err(Fault::retry("HTTP-BROKEN", "the system hung up or did not answer in HTTP")),
            false => respond(&exchange).map_err(|said| {
                state.differences.push(format!("exchange[{index}]: {said}"));
                Fault::refuse("CONNECTOR-CASE", said)
            }),
        }
    }
}

/// A request as a case sees it.
fn seen(request: &Request) -> Map {
    let mut out = Map::new();
    out.insert("method", request.method().as_str());
    out.insert("path", request.url().path());
    out.insert("query", form_document(request.url().query().unwrap_or_default()));
    out.insert("headers", headers(request.headers()));
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    if body.is_empty() {
        return out;
    }
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(body).into_owned();
    if content_type.starts_with("application/x-www-form-urlencoded") {
        out.insert("form", form_document(&text));
    } else if let Ok(document) = json::read(body) {
        out.insert("json", document);
    }
    out.insert("text", text);
    out
}

fn headers(headers: &HeaderMap) -> Map {
    let plain = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().replace('-', "_"), plain(value))).collect()
}

/// What is expected, with names of headers as formulas have them and texts where a request has only texts.
fn normal(expected: &Value) -> Value {
    let Some(map) = expected.as_map() else { return expected.clone() };
    let part = |(name, value): (&Text, &Value)| {
        let value = match (name.as_str(), value) {
            ("headers", Value::Map(headers)) => {
                let named = headers.iter().map(|(name, value)| (name.to_lowercase().replace('-', "_"), text(value)));
                Value::Map(named.collect())
            }
            ("query" | "form", Value::Map(fields)) => {
                Value::Map(fields.iter().map(|(name, value)| (name.clone(), text(value))).collect())
            }
            _ => value.clone(),
        };
        (name.clone(), value)
    };
    Value::Map(map.iter().map(part).collect())
}

fn text(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.iter().map(text).collect()),
        Value::Null => Value::Null,
        scalar => scalar.plain().map_or_else(|| scalar.clone(), Value::Text),
    }
}

/// The answer an exchange states; the error is a sentence about the case.
fn respond(exchange: &Exchange) -> Result<Answer, String> {
    let status = u16::try_from(exchange.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or_else(|| format!("`status: {}` is none", exchange.status))?;
    let mut headers = HeaderMap::new();
    let body = match (&exchange.json, &exchange.text) {
        (Some(_), Some(_)) => return Err("`json` and `text` are both stated".to_owned()),
        (Some(document), None) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Bytes::from(json::to_text(&document.0))
        }
        (None, text) => Bytes::from(text.clone().unwrap_or_default()),
    };
    for (name, value) in exchange.headers.iter().filter_map(|data| data.0.as_map()).flat_map(Map::iter) {
        let text = value.plain().unwrap_or_default();
        match (name.parse::<HeaderName>(), HeaderValue::from_str(&text)) {
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            _ => return Err(format!("`headers.{name}` cannot stand in an answer")),
        }
    }
    Ok(Answer { status, headers, body, cut: false })
}
