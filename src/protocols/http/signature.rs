//! Signatures (HMAC) over a body, made and verified.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::head::HeaderText;
use crate::config::{Node, Reader, Secret, Setting, Shape, choice, settings};
use crate::message::Text;

/// Signatures tried in one header: some senders give several while they change keys.
const MOST_SIGNATURES: usize = 8;

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

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// No header holds one.
    Missing,
    /// No header holds the time of signing, or it is no time.
    NoTime,
    /// It was made over something else, or with another secret.
    Wrong,
    /// It is right, and was made so many seconds before the hub's own time (after it, where negative).
    Time { seconds: i64 },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Missing => f.write_str("no header holds a signature"),
            Doubt::NoTime => f.write_str("no header holds the time of signing"),
            Doubt::Wrong => f.write_str("the signature was made over something else, or with another secret"),
            Doubt::Time { seconds } => {
                let (apart, side) = (seconds.unsigned_abs(), if *seconds < 0 { "ahead of" } else { "behind" });
                write!(
                    f,
                    "the signature is right, and its time is {apart} s {side} the hub's clock: one of the two clocks is wrong, or \
                     somebody sends a recording"
                )
            }
        }
    }
}

impl Signature {
    /// Whether one of the signatures in `headers` was made over this body with the secret, now.
    ///
    /// # Errors
    /// What is wrong, for the log of the hub: the sender is not told.
    pub(super) fn verify(&self, headers: &HeaderMap, id: &str, body: &[u8], now: Timestamp) -> Result<(), Doubt> {
        let time = match self.timestamp.as_ref().map(|signed| signed.read(headers)) {
            None => None,
            Some(Some(time)) => Some(time),
            Some(None) => return Err(Doubt::NoTime),
        };
        if values(headers, &self.header.0, &self.prefix).next().is_none() {
            return Err(Doubt::Missing);
        }
        let subject = Subject { body, timestamp: time.map_or("", |(text, _)| text), id };
        let right = [Some(&self.secret), self.previous.as_ref()].into_iter().flatten().any(|secret| {
            let right = self.mac(secret, &subject);
            values(headers, &self.header.0, &self.prefix)
                .filter_map(|given| self.encoding.decode(given))
                .any(|given| bool::from(given.ct_eq(&right)))
        });
        match (right, time, &self.timestamp) {
            (false, ..) => Err(Doubt::Wrong),
            (true, Some((_, at)), Some(signed)) if now.duration_since(at).unsigned_abs() > signed.tolerance => {
                Err(Doubt::Time { seconds: now.as_second().saturating_sub(at.as_second()) })
            }
            (true, ..) => Ok(()),
        }
    }

    /// The headers that sign a request.
    pub(super) fn sign(&self, id: &str, body: &[u8], now: Timestamp) -> Vec<(HeaderName, String)> {
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

    /// What is wrong with these settings taken together.
    pub(super) fn problem(&self) -> Option<&'static str> {
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
    /// The time's text, and the time.
    fn read<'h>(&self, headers: &'h HeaderMap) -> Option<(&'h str, Timestamp)> {
        let text = values(headers, &self.header.0, &self.prefix).next()?;
        let at = match text.parse::<i64>() {
            // Seconds reach this number in the year 5138.
            Ok(number) if number > 100_000_000_000 => Timestamp::from_millisecond(number).ok()?,
            Ok(number) => Timestamp::from_second(number).ok()?,
            Err(_) => text.parse().ok()?,
        };
        Some((text, at))
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

    /// `{timestamp}.{body}`; `None` where a placeholder is not known.
    pub fn parse(text: &str) -> Option<Signed> {
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
            Encoding::Hex if text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
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
