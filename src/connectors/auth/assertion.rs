//! Signed assertions (RFC 7523): JSON Web Tokens (RFC 7519) in compact form.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use sha2::Sha256;

use super::{connections, needed, optional, unfit};
use crate::config::Secret;
use crate::connectors::manifest::{Assertion, JwtAlgorithm};
use crate::connectors::scope::View;
use crate::message::{Fault, Map, MessageId, Text, Value, json};

const PLACE: &str = "auth.oauth2.assertion.key";

/// What is claimed and by whom: all but the times.
#[derive(Clone)]
pub(super) struct Claims {
    key: Secret,
    algorithm: JwtAlgorithm,
    key_id: Option<Text>,
    claims: Map,
    lifetime: Duration,
}

impl Claims {
    /// # Errors
    /// `CONNECTOR-CREDENTIAL` (misconfigured).
    pub fn render(assertion: &Assertion, view: &View<'_>) -> Result<Claims, Fault> {
        let place = |name: &str| format!("auth.oauth2.assertion.{name}");
        let mut claims = Map::new();
        claims.insert("iss", needed(view, &assertion.issuer, &place("issuer"))?);
        if let Some(subject) = &assertion.subject {
            claims.insert("sub", needed(view, subject, &place("subject"))?);
        }
        claims.insert("aud", needed(view, &assertion.audience, &place("audience"))?);
        for (name, template) in assertion.claims.iter().flatten() {
            let place = place(&format!("claims.{name}"));
            let value = view.render(template, &place).map_err(|fault| connections(&fault, &place))?;
            if let Some(value) = value {
                claims.insert(name.clone(), value);
            }
        }
        let key_id = assertion.key_id.as_ref().map(|id| optional(view, id, &place("key_id"))).transpose()?.flatten();
        let key = Secret::new(needed(view, &assertion.key, PLACE)?.as_str());
        Ok(Claims { key, algorithm: assertion.algorithm, key_id, claims, lifetime: assertion.lifetime })
    }

    /// `header.claims.signature`, good from `now`.
    ///
    /// # Errors
    /// `CONNECTOR-CREDENTIAL` (misconfigured): a key that is none, or not one of the algorithm's.
    pub fn sign(&self, now: Timestamp) -> Result<String, Fault> {
        let mut claims = self.claims.clone();
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        claims.insert("iat", now.as_second());
        claims.insert("exp", now.as_second().saturating_add(lifetime));
        // Servers remember it, and take an assertion once.
        claims.insert("jti", MessageId::draw().to_string());
        self.compact(claims)
    }

    fn compact(&self, claims: Map) -> Result<String, Fault> {
        let mut header = Map::new();
        header.insert("alg", self.name());
        header.insert("typ", "JWT");
        if let Some(id) = &self.key_id {
            header.insert("kid", id.clone());
        }
        let part = |map: Map| URL_SAFE_NO_PAD.encode(json::to_text(&Value::Map(map)));
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes())?);
        Ok(format!("{signed}.{signature}"))
    }

    /// RFC 7518, section 3.1.
    fn name(&self) -> &'static str {
        match self.algorithm {
            JwtAlgorithm::Rs256 => "RS256",
            JwtAlgorithm::Es256 => "ES256",
            JwtAlgorithm::Hs256 => "HS256",
        }
    }

    fn signature(&self, signed: &[u8]) -> Result<Vec<u8>, Fault> {
        match self.algorithm {
            JwtAlgorithm::Rs256 => rs256(&self.private_key()?, signed),
            JwtAlgorithm::Es256 => es256(&self.private_key()?, signed),
            JwtAlgorithm::Hs256 => {
                let mac = Hmac::<Sha256>::new_from_slice(self.key.reveal().as_bytes());
                let mut mac = mac.map_err(|_| unfit("the secret cannot be used").at(PLACE))?;
                mac.update(signed);
                Ok(mac.finalize().into_bytes().to_vec())
            }
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, Fault> {
        // Line breaks are often written as `\n` where a key is kept in one line.
        let pem = self.key.reveal().replace("\\n", "\n");
        PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| unfit("this is not a private key in PEM (`-----BEGIN PRIVATE KEY-----`)").at(PLACE))
    }
}

fn rs256(key: &PrivateKeyDer<'_>, signed: &[u8]) -> Result<Vec<u8>, Fault> {
    let pair = match key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(unfit("RS256 wants an RSA key").at(PLACE)),
    };
    // Its words tell what is wrong with a key, and nothing of the key.
    let pair = pair.map_err(|why| unfit(format!("RS256 wants an RSA key of 2048 bits or more ({why})")).at(PLACE))?;
    let mut signature = vec![0; pair.public().modulus_len()];
    let done = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature);
    done.map_err(|_| unfit("the key cannot sign").at(PLACE))?;
    Ok(signature)
}

fn es256(key: &PrivateKeyDer<'_>, signed: &[u8]) -> Result<Vec<u8>, Fault> {
    let PrivateKeyDer::Pkcs8(der) = key else {
        let said = "ES256 wants its key in PKCS #8: `openssl pkcs8 -topk8 -nocrypt -in key.pem` makes one of it";
        return Err(unfit(said).at(PLACE));
    };
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &random);
    let pair = pair.map_err(|why| unfit(format!("ES256 wants a key on the curve P-256 ({why})")).at(PLACE))?;
    let signature = pair.sign(&random, signed).map_err(|_| unfit("the key cannot sign").at(PLACE))?;
    Ok(signature.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    /// Of `keys/ec.pem`, as `openssl ec -pubout` tells it.
    const PUBLIC: &str = "043322d68293e51c56bdc97f8ed7d4f7b6f1ea090025c8b831f2245cd7bf2d444e98cc1634be75ea7c414649e8fdc22cfb976f5bd75f4c384ea3fd456b2da1cbf7";

    const RSA: &str = include_str!("tests/keys/rsa.pem");
    const EC: &str = include_str!("tests/keys/ec.pem");

    fn compact(key: &str, algorithm: JwtAlgorithm, key_id: Option<&str>) -> Result<String, Fault> {
        let mut claims = Map::new();
        claims.insert("iss", "raccord");
        claims.insert("aud", "https://login.example");
        let (key, key_id, lifetime) = (Secret::new(key), key_id.map(Text::new), Duration::from_secs(300));
        Claims { key, algorithm, key_id, claims: claims.clone(), lifetime }.compact(claims)
    }

    /// What `openssl dgst -sha256 -sign` and Python's `hmac` make of the same.
    #[test]
    fn assertions_are_signed_as_others_sign_them() {
        let rsa = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.eyJpc3MiOiJyYWNjb3JkIiwiYXVkIjoiaHR0cHM6Ly9sb2dpbi5leGFtcGxlIn0.CFAYbsH54HJZjgJRbGbvkApzbmVsFJsdj4bxhvPslar0YwANzgxyqn7MtbpJRTmUMxYcc-iSLIGfF4wGESw1SK_JovayFpDaScmBsLZmxgegAgKXxXEz3pdo7iNqDYXdfZlrsBlT2J38lJNyhZQNB-8iuZP-jo2ran3UNQqOr5jfGU8MdRuqmpi-0Hb63gaFtc3-DxwYE_fWxBwAzeP1QLz6REFXeqBzaHK5bO_NySjYT9fNbBfnRmQEriEBXp8pIOlsQGMJRg45akovpp2-80FZDM1E-ft2rSwUKtOjG-IE6iM-XQjXV3AfGaVvdB0OcXZ8JMiHgIbAUfMZbS8W4w";
        let in_one_line = RSA.replace('\n', "\\n");
        for key in [RSA, include_str!("tests/keys/rsa1.pem"), &in_one_line] {
            assert_eq!(compact(key, JwtAlgorithm::Rs256, Some("k1")).expect("it signs"), rsa);
        }
        let hmac = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJyYWNjb3JkIiwiYXVkIjoiaHR0cHM6Ly9sb2dpbi5leGFtcGxlIn0.2hfAPjdxu7Q7yrLvMc5Whazj31SMD9OUWp39YUNH28k";
        assert_eq!(compact("shared secret", JwtAlgorithm::Hs256, None).expect("it signs"), hmac);
    }

    #[test]
    fn a_curves_signature_is_two_numbers() {
        let signed = compact(EC, JwtAlgorithm::Es256, None).expect("it signs");
        let (head, signature) = signed.rsplit_once('.').expect("a signature");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        assert_eq!(signature.len(), 64);
        let digit = |at: usize| u8::from_str_radix(&PUBLIC[at..at + 2], 16).expect("digits");
        let public: Vec<u8> = (0..PUBLIC.len()).step_by(2).map(digit).collect();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
        key.verify(head.as_bytes(), &signature).expect("it is good");
    }

    #[test]
    fn a_key_that_is_none_is_told_and_not_shown() {
        let check = |key: &str, algorithm: JwtAlgorithm, expect: &str| {
            let fault = compact(key, algorithm, None).expect_err("it does not sign");
            assert_eq!(fault.code(), "CONNECTOR-CREDENTIAL");
            assert!(fault.to_string().contains(expect), "{fault}");
            assert!(!format!("{fault:?}").contains("MIG"), "{fault:?}");
        };
        check("no key", JwtAlgorithm::Rs256, "not a private key in PEM");
        check("-----BEGIN PRIVATE KEY-----\nMIGx\n-----END PRIVATE KEY-----", JwtAlgorithm::Rs256, "2048 bits");
        check(EC, JwtAlgorithm::Rs256, "RSA key of 2048 bits or more");
        check(RSA, JwtAlgorithm::Es256, "on the curve P-256");
        check(include_str!("tests/keys/ec1.pem"), JwtAlgorithm::Es256, "openssl pkcs8 -topk8");
        check(include_str!("tests/keys/ec1.pem"), JwtAlgorithm::Rs256, "wants an RSA key");
    }
}
