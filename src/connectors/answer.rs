//! What a system answered, and what that means.
//!
//! An answer is read as its request says; then the rules of the manifest look at it, the first that fits wins; then the protocol
//! inside it (GraphQL, JSON-RPC, SOAP), then its status. Rules see the whole answer, whatever its status: a body that cannot
//! be read is text to them.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;

use super::manifest::{AnswerFormat, ErrorRule, ErrorThen, Request};
use super::scope::View;
use crate::codecs::{Namespaces, xml_documents};
use crate::formula::Template;
use crate::message::{Fault, Map, Next, Text, Value, json};
use crate::protocols::http::Answer;

/// An answer that is well, read.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, `-` as `_`; several of a name joined by `, `.
    pub headers: Map,
    pub body: Value,
    /// A rule of `errors` says that there is nothing.
    pub missing: bool,
}

/// Longer waits that a rule's `after` asks for are shortened to this.
const MOST_WAIT: Duration = Duration::from_secs(3600);
/// Characters of what a rule says.
const MOST_SAID: usize = 300;

/// Reads an answer as the request says, and judges it: see [`Heard::judge`].
///
/// # Errors
/// As [`Heard::judge`].
pub fn judge(
    request: &Request,
    rules: &[ErrorRule],
    answer: Answer,
    view: &View<'_>,
    now: Timestamp,
) -> Result<Reply, Fault> {
    Heard::read(request, answer).judge(rules, view, now)
}

/// An answer, read but not judged.
pub struct Heard<'r> {
    request: &'r Request,
    answer: Answer,
    headers: Map,
    /// What rules see as `$`: the whole answer, of SOAP its `Body`; text where it cannot be read.
    document: Value,
    unreadable: Option<Fault>,
}

impl<'r> Heard<'r> {
    pub fn read(request: &'r Request, answer: Answer) -> Heard<'r> {
        let headers = headers(&answer);
        let (document, unreadable) = match read(request, &answer) {
            Ok(document) => (document, None),
            Err(fault) => (String::from_utf8_lossy(&answer.body).into_owned().into(), Some(fault)),
        };
        Heard { request, answer, headers, document, unreadable }
    }

    pub fn status(&self) -> u16 {
        self.answer.status.as_u16()
    }

    /// `view`, looking at the answer.
    pub fn seen<'v>(&'v self, view: &'v View<'_>) -> View<'v> {
        view.of_answer(&self.document, &self.headers)
    }

    /// What it means.
    ///
    /// # Errors
    /// What the rules and the status make of it; `CONNECTOR-GRAPHQL`, `CONNECTOR-JSON-RPC`, `CONNECTOR-SOAP` (refuse) for an
    /// error of these; `CONNECTOR-ANSWER` (retry) for what is not the format it should be; `CONNECTOR-CUT` (misconfigured) for
    /// one that is too large.
    pub fn judge(self, rules: &[ErrorRule], view: &View<'_>, now: Timestamp) -> Result<Reply, Fault> {
        for rule in rules {
            if !self.fits(rule, view)? {
                continue;
            }
            return match rule.then {
                ErrorThen::Missing => Ok(Reply { missing: true, ..self.reply() }),
                ErrorThen::Done => Ok(self.reply()),
                _ => Err(self.fault_of(rule, view, now)),
            };
        }
        let by_status = self.answer.fault(now);
        if let Some(fault) = self.inner_error(by_status.as_ref()).or(by_status) {
            return Err(fault);
        }
        if self.answer.cut {
            let said = format!("the answer is larger than the {} bytes taken of it", self.answer.body.len());
            return Err(Fault::misconfigured("CONNECTOR-CUT", said));
        }
        match self.unreadable {
            Some(fault) => Err(fault),
            None => Ok(self.reply()),
        }
    }

    fn reply(self) -> Reply {
        let status = self.status();
        let body = content(self.request, self.document);
        Reply { status, headers: self.headers, body, missing: false }
    }

    fn fits(&self, rule: &ErrorRule, view: &View<'_>) -> Result<bool, Fault> {
        if rule.status.is_some_and(|wanted| wanted != u32::from(self.status())) {
            return Ok(false);
        }
        rule.when.as_ref().map_or(Ok(true), |when| self.seen(view).holds_if_there(when, "errors.when"))
    }

    /// What a rule makes of it. Its words may repeat what was sent: they stand where a peer's words stand.
    fn fault_of(&self, rule: &ErrorRule, view: &View<'_>, now: Timestamp) -> Fault {
        let usual = self.answer.fault(now).map_or("CONNECTOR-FAULT", |fault| fault.code());
        let code = rule.code.as_ref().and_then(interned).unwrap_or(usual);
        let sentence = format!("answered {}", self.answer.status);
        let fault = match rule.then {
            ErrorThen::Retry => Fault::retry(code, sentence),
            ErrorThen::Reconnect => Fault::reconnect(code, sentence),
            ErrorThen::Misconfigured => Fault::misconfigured(code, sentence),
            ErrorThen::Refuse | ErrorThen::Missing | ErrorThen::Done => Fault::refuse(code, sentence),
        };
        // A rule that finds no words leaves those of the answer.
        let text = |template: &Option<Template>, place| {
            let template = template.as_ref()?;
            self.seen(view).text(template, place).ok().flatten()
        };
        let said = text(&rule.say, "errors.say").map_or_else(|| self.answer.excerpt(), |said| readable(&said));
        let after = text(&rule.after, "errors.after").and_then(|after| wait_of(&after, now));
        match after.or_else(|| self.answer.retry_after(now)) {
            Some(wait) => fault.detail(said).after(wait),
            None => fault.detail(said),
        }
    }

    /// The error that GraphQL, JSON-RPC or SOAP say inside, unless the status says more: a gateway that is away, a credential
    /// that has ended. A SOAP fault comes with 500, and is no less one.
    fn inner_error(&self, by_status: Option<&Fault>) -> Option<Fault> {
        let refused = by_status.is_none_or(|fault| fault.next() == Next::Refuse);
        let request = self.request;
        let (code, what, said) = if request.soap.is_some() && (refused || self.status() == 500) {
            ("CONNECTOR-SOAP", "a SOAP fault", soap_fault(&self.document)?)
        } else if request.graphql.is_some() && refused {
            ("CONNECTOR-GRAPHQL", "GraphQL errors", graphql_errors(&self.document)?)
        } else if request.json_rpc.is_some() && refused {
            ("CONNECTOR-JSON-RPC", "a JSON-RPC error", json_rpc_error(&self.document)?)
        } else {
            return None;
        };
        Some(Fault::refuse(code, format!("answered {} with {what}", self.answer.status)).detail(readable(&said)))
    }
}

/// What a reply holds of an answer: of GraphQL `data`, of JSON-RPC `result`.
fn content(request: &Request, document: Value) -> Value {
    let name = match request {
        Request { graphql: Some(_), .. } => "data",
        Request { json_rpc: Some(_), .. } => "result",
        _ => return document,
    };
    match document {
        Value::Map(mut map) => map.remove(name).unwrap_or_default(),
        _ => Value::Null,
    }
}

/// `faultcode` and `faultstring` of 1.1, `Code` and `Reason` of 1.2.
fn soap_fault(body: &Value) -> Option<String> {
    let fault = field(body, "Fault")?;
    let code = field(fault, "faultcode").or_else(|| field(field(fault, "Code")?, "Value"));
    let reason = field(fault, "faultstring").or_else(|| field(field(fault, "Reason")?, "Text"));
    let words = [code, reason].into_iter().flatten().filter_map(words).collect::<Vec<_>>();
    Some(words.join(" "))
}

/// Section 7.1.2 of the GraphQL specification: a list of errors, each with its message.
fn graphql_errors(answer: &Value) -> Option<String> {
    let errors = field(answer, "errors")?.as_list().filter(|errors| !errors.is_empty())?;
    let said = errors.iter().filter_map(|error| words(field(error, "message")?));
    Some(said.collect::<Vec<_>>().join("; "))
}

/// Section 5.1 of JSON-RPC 2.0. Many systems put the better sentence into `data.message`.
fn json_rpc_error(answer: &Value) -> Option<String> {
    let error = field(answer, "error").filter(|error| **error != Value::Null)?;
    let more = field(error, "data").and_then(|data| field(data, "message").or(Some(data)));
    let said = [field(error, "code"), field(error, "message"), more];
    Some(said.into_iter().flatten().filter_map(words).collect::<Vec<_>>().join(" "))
}

fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_map()?.get(name)
}

/// A text, also that of an XML element with attributes.
fn words(value: &Value) -> Option<String> {
    let text = field(value, "#text").unwrap_or(value);
    text.plain().map(|text| text.to_string())
}

/// Seconds, with a fraction perhaps, or a date as `Retry-After` writes it.
fn wait_of(text: &str, now: Timestamp) -> Option<Duration> {
    match text.trim().parse::<f64>() {
        Ok(seconds) => {
            Some(Duration::try_from_secs_f64(seconds.max(0.0)).map_or(MOST_WAIT, |wait| wait.min(MOST_WAIT)))
        }
        Err(_) => Answer::wait_of(text, now),
    }
}

/// One line, not too long.
fn readable(text: &str) -> String {
    let plain: String = text.chars().take(MOST_SAID).map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().to_owned()
}

fn headers(answer: &Answer) -> Map {
    let mut map = Map::with_capacity(answer.headers.keys_len());
    for name in answer.headers.keys() {
        let values = answer.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        map.insert(name.as_str().replace('-', "_"), values.collect::<Vec<_>>().join(", "));
    }
    map
}

/// The body's document.
fn read(request: &Request, answer: &Answer) -> Result<Value, Fault> {
    if request.soap.is_some() {
        return read_soap(answer);
    }
    match request.answer {
        AnswerFormat::None => Ok(Value::Null),
        AnswerFormat::Text => Ok(String::from_utf8_lossy(&answer.body).into_owned().into()),
        _ if answer.body.iter().all(u8::is_ascii_whitespace) => Ok(Value::Null),
        AnswerFormat::Json => {
            let bytes = answer.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&answer.body);
            json::read(bytes).map_err(|_| unreadable(answer, "JSON"))
        }
        AnswerFormat::Xml => {
            xml_documents(Namespaces::Keep).decode(&answer.body).map_err(|_| unreadable(answer, "XML"))
        }
    }
}

/// The envelope's `Body`, names without prefixes: each server chooses its own.
fn read_soap(answer: &Answer) -> Result<Value, Fault> {
    let envelope = xml_documents(Namespaces::Strip).decode(&answer.body).ok();
    let body = envelope.as_ref().and_then(|document| field(field(document, "Envelope")?, "Body"));
    body.cloned().ok_or_else(|| unreadable(answer, "a SOAP envelope"))
}

/// A system that is being started or repaired often answers 200 with a page for people.
fn unreadable(answer: &Answer, what: &str) -> Fault {
    let content_type = answer.headers.get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let came = content_type.map_or_else(|| "something without a content type".to_owned(), readable);
    let said = format!("answered {} with {came}, which is not {what}", answer.status);
    Fault::retry("CONNECTOR-ANSWER", said).detail(answer.excerpt())
}

/// Most codes that manifests may add to those of the hub.
const MOST_CODES: usize = 1000;
/// Longest of them.
pub const LONGEST_CODE: usize = 60;

/// The code of a manifest, kept for good as those of the hub are; `None` where manifests have more than may be kept.
pub fn interned(code: &Text) -> Option<&'static str> {
    static CODES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut codes = CODES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = codes.get(code.as_str()) {
        return Some(*known);
    }
    if codes.len() >= MOST_CODES || code.len() > LONGEST_CODE {
        return None;
    }
    let kept: &'static str = Box::leak(code.to_string().into_boxed_str());
    codes.insert(kept);
    Some(kept)
}

#[cfg(test)]
mod tests;
