//! How the hub proves who it is, and how a system that calls it does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Request;
use crate::config::{choice, one_of, settings};
use crate::formula::Template;
use crate::message::Text;

one_of! {
    /// How the hub proves who it is.
    pub enum Auth {
        /// A token in the `Authorization` header, after the word `Bearer`.
        Bearer(Template) = "bearer",
        /// User name and password.
        Basic(Basic) = "basic",
        /// A key in a header or in the query.
        ApiKey(ApiKey) = "api_key",
        /// A token from an authorization server (RFC 6749), renewed before it expires.
        OAuth2(Box<OAuth2>) = "oauth2",
        /// A login that gives a token or a cookie for some time.
        Session(Box<Session>) = "session",
        /// Every request is signed (HMAC).
        Sign(Sign) = "sign",
    }
}

settings! {
    /// User name and password (RFC 7617).
    pub struct Basic {
        /// The user name.
        user: Template,
        /// The password.
        password: Template,
    }
}

settings! {
    /// A key in a header or in the query: give one of `header` and `query`.
    pub struct ApiKey {
        /// The header that holds it.
        header: Option<Text>,
        /// The query parameter that holds it.
        query: Option<Text>,
        /// The key.
        value: Template,
    }
}

settings! {
    /// A token from an authorization server (RFC 6749).
    pub struct OAuth2 {
        /// How the token is asked for.
        grant: Grant,
        /// Where it is asked for; a path is put behind `base`.
        token_url: Template,
        /// Who the hub is there.
        client_id: Option<Template>,
        /// What proves it.
        client_secret: Option<Template>,
        /// Where `client_id` and `client_secret` stand.
        client_auth: ClientAuth = "basic",
        /// What the token is to be good for.
        scope: Option<Template>,
        /// `grant: password`.
        user: Option<Template>,
        /// `grant: password`.
        password: Option<Template>,
        /// `grant: refresh_token`: the first one. Where the server gives another with each answer, the hub keeps the newest, for
        /// all its instances; another one here takes the place of what it kept.
        refresh_token: Option<Template>,
        /// `grant: jwt_bearer`: what is signed (RFC 7523).
        assertion: Option<Assertion>,
        /// Further parameters of the token request.
        parameters: Option<BTreeMap<Text, Template>>,
        /// How long before its end a token is renewed; at most half its life.
        early: Duration = "1m",
    }
}

choice! {
    /// How a token is asked for.
    pub enum Grant {
        /// With the hub's own id and secret.
        ClientCredentials = "client_credentials",
        /// With a user's name and password.
        Password = "password",
        /// With a refresh token, which may be another after each use.
        RefreshToken = "refresh_token",
        /// With a signed assertion (RFC 7523).
        JwtBearer = "jwt_bearer",
    }
}

choice! {
    /// Where client id and secret stand.
    pub enum ClientAuth {
        /// In the `Authorization` header.
        Basic = "basic",
        /// In the form's fields `client_id` and `client_secret`.
        Body = "body",
    }
}

settings! {
    /// A signed assertion (RFC 7523).
    pub struct Assertion {
        /// The private key in PEM (PKCS #8), or the secret of `HS256`.
        key: Template,
        /// The signature.
        algorithm: JwtAlgorithm = "RS256",
        /// `kid` of its header.
        key_id: Option<Template>,
        /// `iss`
        issuer: Template,
        /// `sub`
        subject: Option<Template>,
        /// `aud`
        audience: Template,
        /// How long it is good: `exp` − `iat`.
        lifetime: Duration = "5m",
        /// Further claims.
        claims: Option<BTreeMap<Text, Template>>,
    }
}

choice! {
    /// The signature of an assertion (RFC 7518).
    pub enum JwtAlgorithm {
        /// RSA with SHA-256.
        Rs256 = "RS256",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// HMAC with SHA-256.
        Hs256 = "HS256",
    }
}

settings! {
    /// A login that gives a token or a cookie for some time.
    pub struct Session {
        /// The login.
        login: Request,
        /// What is kept of its answer, for `$session`: names to values. `$headers.set_cookie` is all cookies that it sets, as the
        /// header `Cookie` sends them back.
        keep: BTreeMap<Text, Template>,
        /// Headers of every request after it, from `$session`.
        headers: BTreeMap<Text, Template>,
        /// How long it holds at most. Left out: until the system says no.
        lifetime: Option<Duration>,
        /// Answers that say it has ended: the hub logs in again, once, and repeats the request. Left out: 401.
        expired: Vec<u32>,
    }
}

settings! {
    /// Every request is signed (HMAC, RFC 2104).
    pub struct Sign {
        /// The secret both sides know.
        secret: Template,
        /// The header that holds the signature.
        header: Text,
        /// The hash function.
        algorithm: SignAlgorithm = "sha256",
        /// How the signature's bytes are written.
        encoding: SignEncoding = "hex",
        /// What stands before the signature in the header.
        prefix: Text = "",
        /// What is signed. Placeholders: `{method}`, `{path}` (with the query), `{body}`, `{body_hash}` (SHA-256, hex),
        /// `{timestamp}` (seconds since 1970), `{nonce}` (drawn for each request); `\n` is a line break.
        signed: Text,
        /// Further headers: `{timestamp}` and `{nonce}` as in `signed`, or a path such as `$connection.key_id`.
        headers: Option<BTreeMap<Text, Template>>,
        /// The header that holds `{timestamp}`.
        timestamp_header: Option<Text>,
        /// The header that holds `{nonce}`.
        nonce_header: Option<Text>,
    }
}

choice! {
    /// The hash function of a signature.
    pub enum SignAlgorithm {
        /// HMAC-SHA-256.
        Sha256 = "sha256",
        /// HMAC-SHA-512.
        Sha512 = "sha512",
    }
}

choice! {
    /// How a signature's bytes are written.
    pub enum SignEncoding {
        /// Two digits a byte.
        Hex = "hex",
        /// Base64 (RFC 4648).
        Base64 = "base64",
    }
}

one_of! {
    /// How the system proves who it is.
    pub enum HookAuth {
        /// A signature over the body.
        Hmac(HookSignature) = "hmac",
        /// User name and password.
        Basic(Basic) = "basic",
        /// A token in the `Authorization` header.
        Bearer(Template) = "bearer",
        /// A key in a header.
        ApiKey(ApiKey) = "api_key",
    }
}

settings! {
    /// A signature over the body (HMAC, RFC 2104).
    pub struct HookSignature {
        /// The secret both sides know.
        secret: Template,
        /// The header that holds the signature.
        header: Text,
        /// The hash function.
        algorithm: SignAlgorithm = "sha256",
        /// How the signature's bytes are written.
        encoding: SignEncoding = "hex",
        /// What stands before the signature, such as `sha256=`.
        prefix: Text = "",
        /// What is signed: `{body}`, `{timestamp}`, `{id}`.
        signed: Text = "{body}",
        /// The header that `{id}` stands for.
        id_header: Option<Text>,
        /// The header with the time of signing.
        timestamp_header: Option<Text>,
        /// What stands before the time in that header, such as `t=`.
        timestamp_prefix: Text = "",
        /// How far from the hub's clock that time may be: an older one is somebody's recording.
        tolerance: Duration = "5m",
    }
}
