//! Who a sender is, and how the hub shows who it is.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::head::{HeaderText, text};
use super::signature::{Doubt, Signature};
use crate::config::{Secret, one_of, settings};
use crate::message::{Fault, Text};

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

    /// Whether the signature over the raw body is right; so is all that is not a signature.
    ///
    /// # Errors
    /// As [`Signature::verify`].
    pub(super) fn admits_body(&self, headers: &HeaderMap, id: &str, body: &[u8], now: Timestamp) -> Result<(), Doubt> {
        match self {
            Auth::Hmac(signature) => signature.verify(headers, id, body, now),
            Auth::Basic(_) | Auth::Bearer(_) | Auth::ApiKey(_) => Ok(()),
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

/// In a time that depends neither on where the two differ nor on how long the secret is.
fn same(given: &str, right: &str) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(right)).into()
}
