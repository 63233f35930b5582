//! Proofs of who a sender is, right and wrong.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::protocols::conformance::read_yaml;
use crate::protocols::http::Auth;

const NOW: i64 = 1_700_000_000;

fn read(yaml: &str) -> Auth {
    let yaml = format!("auth: {yaml}");
    read_yaml(&yaml, |map, reader| map.field::<Auth>(reader, "auth")).unwrap_or_else(|said| panic!("{said}"))
}

/// Whether a body `{}` with these headers is let in, at [`NOW`].
fn check(auth: &str, headers: &[(&'static str, &str)], expect: bool) {
    let auth = read(auth);
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header")))
        .collect();
    let now = Timestamp::from_second(NOW).expect("a time");
    let admitted = auth.admits_head(&headers) && auth.admits_body(&headers, "m1", b"{}", now).is_ok();
    assert_eq!(admitted, expect, "{auth:?} {headers:?}");
}

#[test]
fn passwords_tokens_and_keys_are_compared() {
    let basic = "{ basic: { user: shop, password: '${TEST_SECRET}' } }";
    check(basic, &[("authorization", "Basic c2hvcDpzM2NyZXQ=")], true);
    check(basic, &[("authorization", "basic c2hvcDpzM2NyZXQ=")], true);
    check(basic, &[("authorization", "Basic c2hvcDp3cm9uZw==")], false);
    check(basic, &[], false);
    let bearer = "{ bearer: { token: '${TEST_SECRET}' } }";
    check(bearer, &[("authorization", "Bearer s3cret")], true);
    check(bearer, &[("authorization", "Bearer s3cre")], false);
    check(bearer, &[("authorization", "s3cret")], false);
    let key = "{ api_key: { key: '${TEST_SECRET}' } }";
    check(key, &[("x-api-key", "s3cret")], true);
    check(key, &[("x-api-key", "")], false);
}

// The expected values were computed with `printf '{}' | openssl dgst -sha256 -hmac s3cret` and its like.
#[test]
fn signatures_are_verified() {
    let hex = "{ hmac: { secret: '${TEST_SECRET}', header: X-Sig, prefix: sha256= } }";
    let right = HEX_BODY;
    check(hex, &[("x-sig", &format!("sha256={right}"))], true);
    check(hex, &[("x-sig", &format!("sha256={}", right.to_uppercase()))], true);
    check(hex, &[("x-sig", right)], false);
    check(hex, &[("x-sig", "sha256=00")], false);
    check(hex, &[("x-sig", "sha256=zz")], false);
    check(hex, &[], false);
    let base64 = "{ hmac: { secret: '${TEST_SECRET}', header: X-Sig, algorithm: sha512, encoding: base64 } }";
    check(base64, &[("x-sig", BASE64_512_BODY)], true);
    check(base64, &[("x-sig", "AAAA")], false);
}

#[test]
fn an_old_signature_is_refused() {
    let auth = "{ hmac: { secret: '${TEST_SECRET}', header: Sig, prefix: v1=, signed: '{timestamp}.{body}', timestamp: { header: Sig, prefix: t= } } }";
    let signed = |seconds: i64| {
        let Auth::Hmac(signature) = read(auth) else { panic!("it is a signature") };
        signature.sign("m1", b"{}", Timestamp::from_second(seconds).expect("a time")).remove(0).1
    };
    assert_eq!(signed(NOW), format!("t={NOW},v1={HEX_TIMED}"));
    check(auth, &[("sig", &signed(NOW))], true);
    check(auth, &[("sig", &signed(NOW - 300))], true);
    check(auth, &[("sig", &signed(NOW - 301))], false);
    check(auth, &[("sig", &signed(NOW + 301))], false);
    check(auth, &[("sig", &signed(NOW - 1000).replace(&(NOW - 1000).to_string(), &NOW.to_string()))], false);
    check(auth, &[("sig", &format!("v1={HEX_TIMED}"))], false);
    check(auth, &[("sig", &format!("t={NOW},v1=00,v1={HEX_TIMED}"))], true);
}

#[test]
fn settings_that_prove_nothing_are_told() {
    let problem =
        |rest: &str| read(&format!("{{ hmac: {{ secret: '${{TEST_SECRET}}', header: S{rest} }} }}")).problem();
    assert_eq!(problem(""), None);
    assert!(problem(", timestamp: { header: T }").is_some_and(|said| said.contains("old message")));
    assert!(problem(", signed: 'x'").is_some_and(|said| said.contains("{body}")));
    assert!(problem(", signed: '{timestamp}{body}'").is_some());
}

const HEX_BODY: &str = "adbde1ce40c89c14215687d5d762a47df6dfaefcfad61e2e86718ffc8498571b";
const BASE64_512_BODY: &str =
    "gh4+dZArJViBYoPjR8cerPVwdDbTw1AmT2J2cMZY8Hd/wvcXCTy3N+085h1l89WLkrUS74iUUzk8hlAncHpkKA==";
const HEX_TIMED: &str = "97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf";
