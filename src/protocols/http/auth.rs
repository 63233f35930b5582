//! Who a sender is, and how the hub shows who it is: signatures, passwords, tokens and keys.

use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::head::{HeaderText, text};
use crate::config::{Node, Reader, Secret, Setting, Shape, choice, one_of, settings};
use crate::message::{Fault, Text};

/// Signatures tried in one header: some senders give several while they change keys.
const MOST_SIGNATURES: usize = 8;

one_of! {
    /// How the sending side proves who it is.
    pub enum Auth {
        /// A signature (HMAC) over the body, made with a secret both sides know. What most web shops and payment services use.
        Hmac(Signature) = "hmac",
        /// User name and password.
        Basic(Basic) = "basic",
        /// A token in the `Authorization` header.
        Bearer(Bearer) = "bearer",
        /// A key in a header of its own.
        ApiKey(ApiKey) = "api_key",
    }
}

settings! {
    /// User name and password (RFC 7617).
    pub struct Basic {
        /// The user name; it holds no colon.
        user: Text,
        /// The password, by reference.
        password: Secret,
    }
}

settings! {
    /// A token in the `Authorization` header (RFC 6750).
    pub struct Bearer {
        /// The token, by reference, without the word `Bearer`.
        token: Secret,
    }
}

settings! {
    /// A key in a header of its own.
    pub struct ApiKey {
        /// The header that holds the key.
        header: HeaderText = "X-Api-Key",
        /// The key, by reference.
        key: Secret,
    }
}

settings! {
    /// A signature (HMAC, RFC 2104) in a header. The sender's manual names the header, the algorithm and what is signed.
    pub struct Signature {
        /// The secret both sides know, by reference.
        secret: Secret,
        /// A second secret that is accepted too, while the sender changes from one to the other. Incoming only.
        previous: Option<Secret>,
        /// The header that holds the signature.
        header: HeaderText,
        /// The hash function.
        algorithm: Algorithm = "sha256",
        /// How the signature's bytes are written.
        encoding: Encoding = "hex",
        /// What stands before the signature in the header, such as `sha256=` or `v1=`.
        prefix: Text = "",
        /// What is signed. `{body}` stands for the body's bytes, `{timestamp}` for the text of the timestamp header, `{id}`
        /// for the text of the `id_header`: for instance `{timestamp}.{body}` or `v0:{timestamp}:{body}`.
        signed: Signed = "{body}",
        /// The header with the time of signing. An old message that somebody recorded is then refused. `signed` must hold
        /// `{timestamp}`, or the time would prove nothing.
        timestamp: Option<SignedTime>,
    }
}

settings! {
    /// The time of signing: seconds or milliseconds since 1970, or a date such as `2026-11-02T10:00:00Z`.
    pub struct SignedTime {
        /// The header that holds it.
        header: HeaderText,
        /// What stands before the time in the header, such as `t=`.
        prefix: Text = "",
        /// How far from the hub's own clock the time may be, before or after.
        tolerance: Duration = "5m",
    }
}

choice! {
    /// The hash function of a signature.
    pub enum Algorithm {
        /// HMAC-SHA-256.
        Sha256 = "sha256",
        /// HMAC-SHA-512.
        Sha512 = "sha512",
    }
}

choice! {
    /// How a signature's bytes are written.
    pub enum Encoding {
        /// Two digits a byte, 0 to f.
        Hex = "hex",
        /// Base64 (RFC 4648).
        Base64 = "base64",
    }
}

/// What is signed, cut at its placeholders.
#[derive(Clone, Debug)]
pub struct Signed(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Text),
    Body,
    Timestamp,
    Id,
}

/// What a signature is made over.
struct Subject<'a> {
    body: &'a [u8],
    timestamp: &'a str,
    id: &'a str,
}

impl Auth {
    /// Whether the headers alone say who this is; a signature is left to [`Auth::admits_body`].
    pub(super) fn admits_head(&self, headers: &HeaderMap) -> bool {
        let scheme = |scheme: &str| {
            let (given, rest) = text(headers, &AUTHORIZATION)?.split_once(' ')?;
            given.eq_ignore_ascii_case(scheme).then_some(rest.trim())
        };
        match self {
            Auth::Hmac(_) => true,
            Auth::Basic(basic) => scheme("Basic").is_some_and(|given| same(given, &basic.encoded())),
            Auth::Bearer(bearer) => scheme("Bearer").is_some_and(|given| same(given, bearer.token.reveal())),
            Auth::ApiKey(key) => text(headers, &key.header.0).is_some_and(|given| same(given, key.key.reveal())),
        }
    }

    /// Whether the signature over the raw body is right; `true` for all that is not a signature.
    pub(super) fn admits_body(&self, headers: &HeaderMap, id: &str, body: &[u8], now: Timestamp) -> bool {
        match self {
            Auth::Hmac(signature) => signature.verify(headers, id, body, now),
            Auth::Basic(_) | Auth::Bearer(_) | Auth::ApiKey(_) => true,
        }
    }

    /// The header that holds the credential, besides `Authorization`.
    pub(super) fn secret_header(&self) -> Option<&HeaderName> {
        match self {
            Auth::ApiKey(key) => Some(&key.header.0),
            Auth::Hmac(_) | Auth::Basic(_) | Auth::Bearer(_) => None,
        }
    }

    /// `WWW-Authenticate` of a refusal.
    pub(super) fn challenge(&self) -> Option<&'static str> {
        match self {
            Auth::Basic(_) => Some("Basic realm=\"raccord\", charset=\"UTF-8\""),
            Auth::Bearer(_) => Some("Bearer"),
            Auth::Hmac(_) | Auth::ApiKey(_) => None,
        }
    }

    /// Adds what proves to a peer who we are.
    ///
    /// # Errors
    /// `misconfigured` `HTTP-AUTH` where a secret cannot stand in a header.
    pub(super) fn prove(&self, headers: &mut HeaderMap, id: &str, body: &[u8], now: Timestamp) -> Result<(), Fault> {
        let mut put = |name: &HeaderName, value: String| -> Result<(), Fault> {
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                Fault::misconfigured("HTTP-AUTH", "the credential holds characters that cannot stand in a header")
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok(())
        };
        match self {
            Auth::Basic(basic) => put(&AUTHORIZATION, format!("Basic {}", basic.encoded())),
            Auth::Bearer(bearer) => put(&AUTHORIZATION, format!("Bearer {}", bearer.token.reveal())),
            Auth::ApiKey(key) => put(&key.header.0, key.key.reveal().to_owned()),
            Auth::Hmac(signature) => {
                signature.sign(id, body, now).into_iter().try_for_each(|(name, value)| put(&name, value))
            }
        }
    }

    /// What is wrong with these settings taken together.
    pub(super) fn problem(&self) -> Option<&'static str> {
        match self {
            Auth::Hmac(signature) => signature.problem(),
            Auth::Basic(basic) if basic.user.contains(':') => Some("a user name holds no colon"),
            Auth::Basic(_) | Auth::Bearer(_) | Auth::ApiKey(_) => None,
        }
    }
}

impl Basic {
    fn encoded(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.password.reveal()))
    }
}

impl Signature {
    fn verify(&self, headers: &HeaderMap, id: &str, body: &[u8], now: Timestamp) -> bool {
        let timestamp = match self.timestamp.as_ref().map(|signed| signed.read(headers, now)) {
            None => "",
            Some(Some(text)) => text,
            Some(None) => return false,
        };
        let subject = Subject { body, timestamp, id };
        [Some(&self.secret), self.previous.as_ref()].into_iter().flatten().any(|secret| {
            let right = self.mac(secret, &subject);
            values(headers, &self.header.0, &self.prefix)
                .filter_map(|given| self.encoding.decode(given))
                .any(|given| bool::from(given.ct_eq(&right)))
        })
    }

    fn sign(&self, id: &str, body: &[u8], now: Timestamp) -> Vec<(HeaderName, String)> {
        let time = now.as_second().to_string();
        let mac = self.mac(&self.secret, &Subject { body, timestamp: &time, id });
        let signature = format!("{}{}", self.prefix, self.encoding.encode(&mac));
        match &self.timestamp {
            None => vec![(self.header.0.clone(), signature)],
            Some(at) if at.header == self.header => {
                vec![(self.header.0.clone(), format!("{}{time},{signature}", at.prefix))]
            }
            Some(at) => vec![(self.header.0.clone(), signature), (at.header.0.clone(), format!("{}{time}", at.prefix))],
        }
    }

    fn mac(&self, secret: &Secret, subject: &Subject<'_>) -> Vec<u8> {
        let key = secret.reveal().as_bytes();
        match self.algorithm {
            Algorithm::Sha256 => self.signed.mac::<Hmac<Sha256>>(key, subject),
            Algorithm::Sha512 => self.signed.mac::<Hmac<Sha512>>(key, subject),
        }
    }

    fn problem(&self) -> Option<&'static str> {
        let signs = |piece: &Piece| self.signed.0.contains(piece);
        if !signs(&Piece::Body) {
            return Some("`signed` holds no `{body}`: anybody could change the message");
        }
        match &self.timestamp {
            Some(_) if !signs(&Piece::Timestamp) => {
                Some("`signed` holds no `{timestamp}`: anybody could give an old message a new time")
            }
            None if signs(&Piece::Timestamp) => {
                Some("`signed` holds `{timestamp}`, and no `timestamp` says where it is")
            }
            _ => None,
        }
    }
}

impl SignedTime {
    /// The time's text, where it is near enough to `now`.
    fn read<'h>(&self, headers: &'h HeaderMap, now: Timestamp) -> Option<&'h str> {
        let text = values(headers, &self.header.0, &self.prefix).next()?;
        let at = match text.parse::<i64>() {
            // Seconds reach this number in the year 5138.
            Ok(number) if number > 100_000_000_000 => Timestamp::from_millisecond(number).ok()?,
            Ok(number) => Timestamp::from_second(number).ok()?,
            Err(_) => text.parse().ok()?,
        };
        let apart = now.duration_since(at).unsigned_abs();
        (apart <= self.tolerance).then_some(text)
    }
}

impl Signed {
    fn mac<M: Mac + KeyInit>(&self, key: &[u8], subject: &Subject<'_>) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
        for piece in &self.0 {
            mac.update(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Body => subject.body,
                Piece::Timestamp => subject.timestamp.as_bytes(),
                Piece::Id => subject.id.as_bytes(),
            });
        }
        mac.finalize().into_bytes().to_vec()
    }

    fn parse(text: &str) -> Option<Signed> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let open = rest.find('{').unwrap_or(rest.len());
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].into()));
                rest = &rest[open..];
                continue;
            }
            let close = rest.find('}')?;
            pieces.push(match &rest[1..close] {
                "body" => Piece::Body,
                "timestamp" => Piece::Timestamp,
                "id" => Piece::Id,
                _ => return None,
            });
            rest = &rest[close + 1..];
        }
        Some(Signed(pieces))
    }
}

impl Setting for Signed {
    fn shape() -> Shape {
        Shape::Text { what: "text with `{body}`, `{timestamp}`, `{id}`", pattern: None, example: "{timestamp}.{body}" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Signed> {
        reader.parsed(node, "a text whose placeholders are `{body}`, `{timestamp}` or `{id}`", Signed::parse)
    }
}

impl Encoding {
    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Encoding::Base64 => STANDARD.encode(bytes),
        }
    }

    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Base64 => STANDARD.decode(text).ok(),
            Encoding::Hex if text.len() % 2 == 0 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
            }
            Encoding::Hex => None,
        }
    }
}

/// The values that follow `prefix` in a header, which may hold several: `t=1700000000,v1=5257a8...`.
fn values<'h>(headers: &'h HeaderMap, name: &HeaderName, prefix: &str) -> impl Iterator<Item = &'h str> {
    let cut = move |c: char| c == ' ' || (c == ',' && !prefix.contains(','));
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(move |value| value.split(cut))
        .filter_map(move |part| part.strip_prefix(prefix))
        .filter(|part| !part.is_empty())
        .take(MOST_SIGNATURES)
}

/// In a time that depends neither on where the two differ nor on how long the secret is.
fn same(given: &str, right: &str) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(right)).into()
}

#[cfg(test)]
mod tests {
    use super::super::super::conformance::read_yaml;
    use super::*;

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
        let admitted = auth.admits_head(&headers) && auth.admits_body(&headers, "m1", b"{}", now);
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
}
