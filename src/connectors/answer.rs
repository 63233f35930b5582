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
use crate::message::{Fault, Map, Text, Value, json};
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

/// Reads an answer as the request says, and judges it by the manifest's rules, then by its status.
///
/// # Errors
/// What the rules and the status make of it; `CONNECTOR-ANSWER` (retry) for what is not the format it should be;
/// `CONNECTOR-CUT` (misconfigured) for one that is too large.
pub fn judge(
    request: &Request,
    rules: &[ErrorRule],
    answer: Answer,
    view: &View<'_>,
    now: Timestamp,
) -> Result<Reply, Fault> {
    let headers = headers(&answer);
    let read = read(request, &answer);
    let as_text = || Value::from(String::from_utf8_lossy(&answer.body).into_owned());
    let document = read.as_ref().map_or_else(|_| as_text(), Value::clone);
    let status = answer.status.as_u16();
    let seen = view.of_answer(&document, &headers);
    for rule in rules {
        if fits(rule, status, &seen)? {
            let reply = |missing| Reply { status, headers: headers.clone(), body: document.clone(), missing };
            return match rule.then {
                ErrorThen::Missing => Ok(reply(true)),
                ErrorThen::Done => Ok(reply(false)),
                _ => Err(fault_of(rule, &answer, &seen, now)),
            };
        }
    }
    if let Some(fault) = answer.fault(now) {
        return Err(fault);
    }
    if answer.cut {
        let said = format!("the answer is larger than {} bytes", answer.body.len());
        return Err(Fault::misconfigured("CONNECTOR-CUT", said));
    }
    Ok(Reply { status, headers, body: read?, missing: false })
}

fn fits(rule: &ErrorRule, status: u16, seen: &View<'_>) -> Result<bool, Fault> {
    if rule.status.is_some_and(|wanted| wanted != u32::from(status)) {
        return Ok(false);
    }
    rule.when.as_ref().map_or(Ok(true), |when| seen.holds_if_there(when, "errors.when"))
}

/// What a rule makes of an answer. Its words may repeat what was sent: they stand where a peer's words stand.
fn fault_of(rule: &ErrorRule, answer: &Answer, seen: &View<'_>, now: Timestamp) -> Fault {
    let by_status = answer.fault(now);
    let usual = by_status.as_ref().map_or("CONNECTOR-FAULT", Fault::code);
    let code = rule.code.as_ref().map_or(usual, |code| interned(code).unwrap_or(usual));
    let sentence = format!("answered {}", answer.status);
    let fault = match rule.then {
        ErrorThen::Retry => Fault::retry(code, sentence),
        ErrorThen::Reconnect => Fault::reconnect(code, sentence),
        ErrorThen::Misconfigured => Fault::misconfigured(code, sentence),
        ErrorThen::Refuse | ErrorThen::Missing | ErrorThen::Done => Fault::refuse(code, sentence),
    };
    let said = rule.say.as_ref().and_then(|say| seen.text(say, "errors.say").ok()).flatten();
    let fault = fault.detail(said.map_or_else(|| answer.excerpt(), |said| readable(&said)));
    let after = rule.after.as_ref().and_then(|after| seen.text(after, "errors.after").ok()).flatten();
    match after.and_then(|text| Answer::wait_of(&text, now)).or_else(|| answer.retry_after(now)) {
        Some(wait) => fault.after(wait.min(MOST_WAIT)),
        None => fault,
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
    match request.answer {
        AnswerFormat::None => Ok(Value::Null),
        AnswerFormat::Text => Ok(String::from_utf8_lossy(&answer.body).into_owned().into()),
        AnswerFormat::Json | AnswerFormat::Xml => read_json(answer),
    }
}

fn read_json(answer: &Answer) -> Result<Value, Fault> {
    let bytes = answer.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&answer.body);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    json::read(bytes).map_err(|_| unreadable(answer, "JSON"))
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
