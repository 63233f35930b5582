//! Answers of all kinds, and what becomes of each.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};

use super::{Reply, interned, judge};
use crate::connectors::manifest::{Manifest, Operation};
use crate::connectors::testing::{Seen, manifest};
use crate::message::{Fault, Next, Value};
use crate::protocols::http::Answer;

const HEAD: &str = "
system: Test
verified: { against: nothing }
base: https://erp.example
";

fn asking(request: &str, rules: &str) -> Arc<Manifest> {
    let rules = if rules.is_empty() { " []" } else { rules };
    manifest(&format!("{HEAD}\nerrors:{rules}\noperations: {{ ask: {{ kind: read, request: {request} }} }}"))
}

fn judged(manifest: &Manifest, answer: Answer) -> Result<Reply, Fault> {
    let Operation::Read(read) = &manifest.operations["ask"] else { panic!("a read") };
    let request = read.request.as_ref().expect("a request");
    judge(request, &manifest.head.errors, answer, &Seen::default().view(), Timestamp::UNIX_EPOCH)
}

fn answer(status: u16, content_type: &'static str, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let status = StatusCode::from_u16(status).expect("a status");
    Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()), cut: false }
}

/// The body as JSON, `missing`, or what to do and the fault.
fn shown(judged: Result<Reply, Fault>) -> String {
    match judged {
        Ok(Reply { missing: true, .. }) => "missing".to_owned(),
        Ok(reply) => reply.body.to_string(),
        Err(fault) => match fault.next() {
            Next::Retry { after: Some(after) } => format!("retry after {after:?}, {fault}"),
            Next::Retry { after: None } => format!("retry, {fault}"),
            Next::Reconnect => format!("reconnect, {fault}"),
            Next::Refuse => format!("refuse, {fault}"),
            Next::Misconfigured => format!("misconfigured, {fault}"),
        },
    }
}

fn check(request: &str, rules: &str, answer: Answer, expect: &str) {
    assert_eq!(shown(judged(&asking(request, rules), answer)), expect);
}

const JSON: &str = "application/json";
const XML: &str = "text/xml";
const GET: &str = "{ get: /x }";

#[test]
fn answers_are_read_as_the_request_says() {
    check(GET, "", answer(200, JSON, "\u{feff}{\"a\": 1.10}"), r#"{"a":1.10}"#);
    check(GET, "", answer(204, JSON, ""), "null");
    check(GET, "", answer(200, JSON, " \n"), "null");
    check("{ get: /x, answer: text }", "", answer(200, JSON, "<a>"), r#""<a>""#);
    check("{ get: /x, answer: none }", "", answer(200, JSON, "<a>"), "null");
    check("{ get: /x, answer: xml }", "", answer(200, XML, "<a><b>1</b></a>"), r#"{"a":{"b":"1"}}"#);
    let page = "retry, CONNECTOR-ANSWER: answered 200 OK with text/html, which is not JSON: <html>We are closed";
    check(GET, "", answer(200, "text/html", "<html>We are\nclosed"), page);
    let cut = Answer { cut: true, ..answer(200, JSON, "[1") };
    check(GET, "", cut, "misconfigured, CONNECTOR-CUT: the answer is larger than the 2 bytes taken of it");
}

#[test]
fn without_a_rule_the_status_says_all() {
    check(
        GET,
        "",
        answer(422, JSON, r#"{"no":1}"#),
        r#"refuse, HTTP-422: answered 422 Unprocessable Entity: {"no":1}"#,
    );
    check(GET, "", answer(503, "text/html", "<p>"), "retry, HTTP-503: answered 503 Service Unavailable: <p>");
    let mut busy = answer(429, JSON, "");
    busy.headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
    check(GET, "", busy, "retry after 7s, HTTP-429: answered 429 Too Many Requests");
    assert!(shown(judged(&asking(GET, ""), answer(401, JSON, ""))).starts_with("misconfigured, HTTP-401"));
}

#[test]
fn the_first_rule_that_fits_wins() {
    let rules = "
  - { status: 404, then: missing }
  - { status: 200, when: \"$.ok == false and $.why == 'locked'\", then: retry, after: $.seconds?, code: SHOP-LOCKED, say: $.why }
  - { status: 200, when: $.ok == false, then: refuse, say: \"=concat('no: ', $.why)\" }
  - { status: 409, when: \"contains($.why, 'exists')\", then: done }
  - { status: 500, when: \"$headers.content_type == 'text/html'\", then: reconnect }
  - { status: 500, then: misconfigured, code: SHOP-LICENCE, say: $.nothing }
";
    let check = |answer: Answer, expect: &str| check(GET, rules, answer, expect);
    check(answer(404, JSON, "{}"), "missing");
    check(answer(404, "text/html", "<p>"), "missing");
    check(answer(200, JSON, r#"{"ok": true}"#), r#"{"ok":true}"#);
    let locked = "SHOP-LOCKED: answered 200 OK: locked";
    check(answer(200, JSON, r#"{"ok": false, "why": "locked"}"#), &format!("retry, {locked}"));
    check(
        answer(200, JSON, r#"{"ok": false, "why": "locked", "seconds": 2.5}"#),
        &format!("retry after 2.5s, {locked}"),
    );
    let date = r#"{"ok": false, "why": "locked", "seconds": "Thu, 01 Jan 1970 00:01:00 GMT"}"#;
    check(answer(200, JSON, date), &format!("retry after 60s, {locked}"));
    let long = r#"{"ok": false, "why": "locked", "seconds": 1e30}"#;
    check(answer(200, JSON, long), &format!("retry after 3600s, {locked}"));
    check(answer(200, JSON, r#"{"ok": false, "why": "a\nb"}"#), "refuse, CONNECTOR-FAULT: answered 200 OK: no: a b");
    check(answer(409, JSON, r#"{"why": "it exists"}"#), r#"{"why":"it exists"}"#);
    check(answer(409, JSON, r#"{"why": "no"}"#), r#"refuse, HTTP-409: answered 409 Conflict: {"why": "no"}"#);
    check(answer(500, "text/html", "x"), "reconnect, HTTP-500: answered 500 Internal Server Error: x");
    check(answer(500, JSON, "{}"), "misconfigured, SHOP-LICENCE: answered 500 Internal Server Error: {}");
}

#[test]
fn errors_inside_the_answer_are_refusals() {
    let graphql = "{ graphql: { query: '{ a }' } }";
    check(graphql, "", answer(200, JSON, r#"{"data": {"a": 1}, "errors": []}"#), r#"{"a":1}"#);
    let failed = r#"{"data": null, "errors": [{"message": "no a"}, {"message": "no b"}]}"#;
    check(
        graphql,
        "",
        answer(200, JSON, failed),
        "refuse, CONNECTOR-GRAPHQL: answered 200 OK with GraphQL errors: no a; no b",
    );
    let rule = "\n  - { when: \"$.errors[0].message == 'no a'\", then: retry, code: SHOP-BUSY, say: busy }";
    check(graphql, rule, answer(200, JSON, failed), "retry, SHOP-BUSY: answered 200 OK: busy");
    assert!(shown(judged(&asking(graphql, ""), answer(502, JSON, failed))).starts_with("retry, HTTP-502"));

    let rpc = "{ json_rpc: { method: a } }";
    check(rpc, "", answer(200, JSON, r#"{"jsonrpc": "2.0", "id": 1, "result": [1]}"#), "[1]");
    let failed = r#"{"error": {"code": -32000, "message": "Server Error", "data": {"message": "no such order"}}}"#;
    check(
        rpc,
        "",
        answer(200, JSON, failed),
        "refuse, CONNECTOR-JSON-RPC: answered 200 OK with a JSON-RPC error: -32000 Server Error no such order",
    );

    let soap = "{ soap: { body: { a: b } } }";
    let envelope = |body: &str| format!("<s:Envelope xmlns:s='x'><s:Header/><s:Body>{body}</s:Body></s:Envelope>");
    check(soap, "", answer(200, XML, &envelope("<m:r xmlns:m='y'><m:id>1</m:id></m:r>")), r#"{"r":{"id":"1"}}"#);
    let fault = envelope(
        "<s:Fault><faultcode>s:Client</faultcode><faultstring xml:lang='en'>no such order</faultstring></s:Fault>",
    );
    check(
        soap,
        "",
        answer(500, XML, &fault),
        "refuse, CONNECTOR-SOAP: answered 500 Internal Server Error with a SOAP fault: s:Client no such order",
    );
    let fault = envelope(
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang='en'>no</s:Text></s:Reason></s:Fault>",
    );
    check(
        soap,
        "",
        answer(400, XML, &fault),
        "refuse, CONNECTOR-SOAP: answered 400 Bad Request with a SOAP fault: s:Sender no",
    );
    assert!(shown(judged(&asking(soap, ""), answer(503, XML, &fault))).starts_with("retry, HTTP-503"));
    let page = "retry, CONNECTOR-ANSWER: answered 200 OK with text/html, which is not a SOAP envelope: <html/>";
    check(soap, "", answer(200, "text/html", "<html/>"), page);
}

#[test]
fn codes_of_manifests_are_kept_once_and_within_bounds() {
    let (one, again) = (interned(&"TEST-KEPT".into()), interned(&"TEST-KEPT".into()));
    assert!(one.is_some() && one.map(str::as_ptr) == again.map(str::as_ptr));
    assert_eq!(interned(&"X".repeat(100).into()), None);
}

proptest! {
    #[test]
    fn no_body_from_outside_panics(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\":,0-9eE.<>/a-z =-]{0,60}".prop_map(String::into_bytes),
            "(<s:Envelope xmlns:s='x'>)?<s:Body>(<Fault>[a-z<>/]{0,10}</Fault>)?</s:Body>(</s:Envelope>)?".prop_map(String::into_bytes),
            "\\{\"(errors|error|data|result)\":[\\[\\]{}\":,a-z0-9]{0,20}\\}".prop_map(String::into_bytes),
        ],
        status in 100_u16..1000,
        cut in any::<bool>(),
        value in proptest::collection::vec(32_u8..=255, 0..20),
    ) {
        static MANIFESTS: LazyLock<Vec<Arc<Manifest>>> = LazyLock::new(|| {
            let rules = "
  - { status: 204, then: retry, after: $.after?, say: \"$.errors[0].message\" }
  - { when: $.error.code > 5, then: retry, after: $headers.retry_after?, say: $ }
";
            let soap = "{ soap: { body: { a: b } } }";
            let forms = [GET, "{ get: /x, answer: xml }", soap, "{ graphql: { query: a } }", "{ json_rpc: { method: a } }"];
            forms.iter().map(|form| asking(form, rules)).collect()
        });
        for manifest in MANIFESTS.iter() {
            let mut headers = HeaderMap::new();
            for name in [CONTENT_TYPE, RETRY_AFTER] {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.insert(name, value);
                }
            }
            let status = StatusCode::from_u16(status).expect("a status");
            let answer = Answer { status, headers, body: Bytes::from(body.clone()), cut };
            if let Ok(reply) = judged(manifest, answer) {
                prop_assert!(reply.headers.get("content_type").is_none_or(|value| matches!(value, Value::Text(_))));
            }
        }
    }
}
