//! Signed requests (HMAC, RFC 2104).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderName;
use sha2::{Digest, Sha256, Sha512};

use super::{header_name, needed, put, unfit};
use crate::connectors::forms::Outgoing;
use crate::connectors::manifest::{Sign, SignAlgorithm, SignEncoding};
use crate::connectors::scope::View;
use crate::message::{Fault, MessageId, Text};

const PLACE: &str = "auth.sign.signed";

/// Signs the requests of a connection.
pub(super) struct Signer {
    sign: Sign,
    signed: Vec<Piece>,
    header: HeaderName,
    timestamp: Option<HeaderName>,
    nonce: Option<HeaderName>,
    headers: Vec<(HeaderName, Text)>,
}

/// A piece of what is signed.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Method,
    Path,
    Body,
    BodyHash,
    Timestamp,
    Nonce,
}

/// What is drawn for one request.
struct Drawn {
    /// Seconds since 1970.
    timestamp: String,
    nonce: String,
}

impl Signer {
    /// # Errors
    /// `CONNECTOR-CREDENTIAL` (misconfigured): a header that is none, a placeholder that is none, a nonce or time that is signed
    /// and not sent.
    pub fn new(sign: &Sign) -> Result<Signer, Fault> {
        let named = |name: &Option<Text>, place: &str| name.as_ref().map(|name| header_name(name, place)).transpose();
        let further = sign.headers.iter().flat_map(|headers| headers.keys());
        let further = further.map(|name| Ok((header_name(name, "auth.sign.headers")?, name.clone())));
        let signer = Signer {
            signed: pieces(&sign.signed)?,
            header: header_name(&sign.header, "auth.sign.header")?,
            timestamp: named(&sign.timestamp_header, "auth.sign.timestamp_header")?,
            nonce: named(&sign.nonce_header, "auth.sign.nonce_header")?,
            headers: further.collect::<Result<_, Fault>>()?,
            sign: sign.clone(),
        };
        signer.check_sent("{timestamp}", &Piece::Timestamp, signer.timestamp.is_some())?;
        signer.check_sent("{nonce}", &Piece::Nonce, signer.nonce.is_some())?;
        Ok(signer)
    }

    /// What is signed and never sent, nobody can verify.
    fn check_sent(&self, placeholder: &str, piece: &Piece, has_header: bool) -> Result<(), Fault> {
        let holds = |template: &crate::formula::Template| match template.as_constant() {
            Some(constant) => constant.plain().is_some_and(|text| text.contains(placeholder)),
            // A formula may write it.
            None => true,
        };
        let sent = has_header || self.sign.headers.iter().flat_map(|headers| headers.values()).any(holds);
        if self.signed.contains(piece) && !sent {
            return Err(unfit(format!("`{placeholder}` is signed, and no header holds it")).at(PLACE));
        }
        Ok(())
    }

    /// Signs the request as it will be sent.
    pub fn sign(&self, request: &mut Outgoing, view: &View<'_>) -> Result<(), Fault> {
        let secret = needed(view, &self.sign.secret, "auth.sign.secret")?;
        let nonce = MessageId::draw().to_string().replace('-', "");
        let drawn = Drawn { timestamp: view.time.as_second().to_string(), nonce };
        let mac = match self.sign.algorithm {
            SignAlgorithm::Sha256 => self.mac::<Hmac<Sha256>>(&secret, request, &drawn),
            SignAlgorithm::Sha512 => self.mac::<Hmac<Sha512>>(&secret, request, &drawn),
        };
        let mac = mac.ok_or_else(|| unfit("the secret cannot be used").at("auth.sign.secret"))?;
        let encoded = match self.sign.encoding {
            SignEncoding::Hex => hex(&mac),
            SignEncoding::Base64 => STANDARD.encode(&mac),
        };
        let headers = &mut request.headers;
        put(headers, &self.header, &format!("{}{encoded}", self.sign.prefix))?;
        for (name, value) in [(&self.timestamp, &drawn.timestamp), (&self.nonce, &drawn.nonce)] {
            if let Some(name) = name {
                put(headers, name, value)?;
            }
        }
        for (name, key) in &self.headers {
            let Some(template) = self.sign.headers.as_ref().and_then(|headers| headers.get(key)) else { continue };
            let value = needed(view, template, &format!("auth.sign.headers.{key}"))?;
            let value = value.replace("{timestamp}", &drawn.timestamp).replace("{nonce}", &drawn.nonce);
            put(headers, name, &value)?;
        }
        Ok(())
    }

    fn mac<M: Mac + KeyInit>(&self, secret: &str, request: &Outgoing, drawn: &Drawn) -> Option<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).ok()?;
        for piece in &self.signed {
            match piece {
                Piece::Text(text) => mac.update(text.as_bytes()),
                Piece::Method => mac.update(request.method.as_str().as_bytes()),
                Piece::Path => {
                    mac.update(request.url.path().as_bytes());
                    if let Some(query) = request.url.query() {
                        mac.update(b"?");
                        mac.update(query.as_bytes());
                    }
                }
                Piece::Body => mac.update(&request.body),
                Piece::BodyHash => mac.update(hex(&Sha256::digest(&request.body)).as_bytes()),
                Piece::Timestamp => mac.update(drawn.timestamp.as_bytes()),
                Piece::Nonce => mac.update(drawn.nonce.as_bytes()),
            }
        }
        Some(mac.finalize().into_bytes().to_vec())
    }
}

/// What is signed, cut at its placeholders.
fn pieces(signed: &str) -> Result<Vec<Piece>, Fault> {
    let signed = signed.replace("\\n", "\n");
    let (mut pieces, mut rest) = (Vec::new(), signed.as_str());
    while let Some((before, after)) = rest.split_once('{') {
        let known = after.split_once('}').and_then(|(name, after)| Some((placeholder(name)?, after)));
        let Some((piece, after)) = known else {
            let known = "`{method}`, `{path}`, `{body}`, `{body_hash}`, `{timestamp}` and `{nonce}`";
            return Err(unfit(format!("a placeholder is one of {known}")).at(PLACE));
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn placeholder(name: &str) -> Option<Piece> {
    Some(match name {
        "method" => Piece::Method,
        "path" => Piece::Path,
        "body" => Piece::Body,
        "body_hash" => Piece::BodyHash,
        "timestamp" => Piece::Timestamp,
        "nonce" => Piece::Nonce,
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
