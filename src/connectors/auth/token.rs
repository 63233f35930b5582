//! One token request (RFC 6749): how it is made, and what the answer says.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqwest::{Method, Request, Url};

use super::assertion::Claims;
use super::put_basic;
use crate::clock::Clock;
use crate::config::Secret;
use crate::connectors::manifest::{ClientAuth, Grant};
use crate::message::{Fault, Next, Text, Value, json};
use crate::protocols::http::{Answer, Client};

/// A server's clock and ours may differ by so much before a refusal is blamed on it.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);
/// Most characters of what a server says that are repeated.
const MOST_SAID: usize = 200;
/// Shorter secrets are not looked for in what a server says.
const SHORTEST: usize = 4;

/// A token request, made ready: all but what is drawn or taken when it is sent.
#[derive(Clone)]
pub(super) struct Wanted {
    pub grant: Grant,
    pub url: Url,
    pub client: Option<(Text, Option<Text>)>,
    pub client_auth: ClientAuth,
    /// Further fields of the form, `password` among them.
    pub fields: Vec<(Text, Text)>,
    pub claims: Option<Claims>,
}

/// What the server gave.
pub(super) struct Given {
    pub access: Secret,
    /// Another refresh token than the one it was asked with.
    pub refresh: Option<Text>,
    /// From when it was asked.
    pub lives: Option<Duration>,
    pub asked: Timestamp,
}

impl Wanted {
    /// Asks the server, once. `refresh` is the refresh token, for that grant.
    ///
    /// # Errors
    /// `CONNECTOR-LOGIN` (misconfigured): it gives no token, with its reason. `CONNECTOR-TOKEN`: `retry` where it cannot now,
    /// `reconnect` where it was not reached or hung up.
    pub async fn ask(&self, client: &Client, clock: &Clock, refresh: Option<&str>) -> Result<Given, Fault> {
        let asked = clock.now();
        let mut fields: Vec<(&str, Text)> = vec![("grant_type", self.grant_type().into())];
        if let Some(refresh) = refresh {
            fields.push(("refresh_token", refresh.into()));
        }
        if let Some(claims) = &self.claims {
            fields.push(("assertion", claims.sign(asked)?.into()));
        }
        fields.extend(self.fields.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let request = self.request(&mut fields)?;
        let answer = client.send(request).await.map_err(|fault| self.away(fault))?;
        let answered = Answered { wanted: self, answer: &answer, fields: &fields, now: clock.now() };
        answered.read(client, asked)
    }

    fn grant_type(&self) -> &'static str {
        match self.grant {
            Grant::ClientCredentials => "client_credentials",
            Grant::Password => "password",
            Grant::RefreshToken => "refresh_token",
            Grant::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    fn request(&self, fields: &mut Vec<(&str, Text)>) -> Result<Request, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        match &self.client {
            None => {}
            // Section 2.3.1: both as a form writes them.
            Some((id, Some(secret))) if self.client_auth == ClientAuth::Basic => {
                put_basic(&mut headers, &escaped(id), &escaped(secret))?;
            }
            Some((id, secret)) => {
                fields.push(("client_id", id.clone()));
                fields.extend(secret.iter().map(|secret| ("client_secret", secret.clone())));
            }
        }
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(form(fields).into());
        Ok(request)
    }

    /// The token server, for people.
    fn server(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// It is not the message's fault that the token server is away.
    fn away(&self, fault: Fault) -> Fault {
        match fault.next() {
            Next::Misconfigured => fault.at("auth.oauth2.token_url"),
            Next::Retry { .. } | Next::Reconnect | Next::Refuse => {
                let said = fault.without_detail().sentence();
                Fault::reconnect("CONNECTOR-TOKEN", format!("no token from {}: {said}", self.server()))
            }
        }
    }
}

/// `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, Text)]) -> String {
    let Ok(mut url) = Url::parse("form:") else { return String::new() };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

fn escaped(text: &str) -> String {
    form(&[("", text.into())]).trim_start_matches('=').to_owned()
}

/// An answer, with what is needed to say what it means.
struct Answered<'a> {
    wanted: &'a Wanted,
    answer: &'a Answer,
    fields: &'a [(&'a str, Text)],
    now: Timestamp,
}

impl Answered<'_> {
    fn read(&self, client: &Client, asked: Timestamp) -> Result<Given, Fault> {
        let (status, server) = (self.answer.status, self.wanted.server());
        let document = (!self.answer.cut).then(|| json::read(&self.answer.body).ok()).flatten();
        let field = |name: &str| document.as_ref().and_then(|document| document.get(name)).and_then(Value::plain);
        if let Some(error) = field("error").filter(|_| !status.is_server_error()) {
            return Err(self.refused(&error, field("error_description").as_deref()));
        }
        if let Err(fault) = client.judge(self.answer.clone()) {
            // Not in its words: they may repeat what it was sent.
            return Err(match fault.next() {
                Next::Retry { after } => {
                    let fault =
                        Fault::retry("CONNECTOR-TOKEN", format!("{server} answered {status} instead of a token"));
                    after.into_iter().fold(fault, Fault::after)
                }
                Next::Reconnect | Next::Refuse | Next::Misconfigured => login(format!(
                    "{server} answered {status} instead of a token, and gave no reason; correct `token_url`{}",
                    self.clock_note()
                )),
            });
        }
        let Some(document) = &document else {
            let what = if self.answer.cut { "more than a token can be" } else { "something that is not JSON" };
            let said = format!("{server} answered {what} instead of a token; if it stays so, correct `token_url`");
            return Err(Fault::retry("CONNECTOR-TOKEN", said));
        };
        let text = |name: &str| document.get(name).and_then(Value::as_text).filter(|text| !text.is_empty());
        let Some(access) = text("access_token") else {
            return Err(login(format!("the answer of {server} holds no `access_token`; correct `token_url`")));
        };
        let seconds = field("expires_in").and_then(|seconds| seconds.split('.').next()?.parse::<i64>().ok());
        Ok(Given {
            access: Secret::new(access),
            refresh: text("refresh_token").map(Text::from),
            lives: seconds.map(|seconds| Duration::from_secs(seconds.try_into().unwrap_or(0))),
            asked,
        })
    }

    /// Section 5.2, and what people are to do about it.
    fn refused(&self, error: &str, description: Option<&str>) -> Fault {
        let server = self.wanted.server();
        if matches!(error, "temporarily_unavailable" | "server_error" | "slow_down") {
            return Fault::retry("CONNECTOR-TOKEN", format!("{server} gives no token now: {error}"));
        }
        let to_do = match (error, self.wanted.grant) {
            ("invalid_grant", Grant::RefreshToken) => {
                "the refresh token was used up or revoked: authorise anew with `raccord connect`"
            }
            ("invalid_grant", Grant::Password) => "user name or password is wrong, or this user may not log in",
            ("invalid_grant", Grant::JwtBearer) => {
                "the assertion is not accepted: compare key, `issuer`, `subject` and `audience` with what the system's administration shows"
            }
            ("invalid_client", _) => {
                "the client or its secret is not known there: correct `client_id` and `client_secret`"
            }
            ("unauthorized_client" | "unsupported_grant_type", _) => {
                "this client may not ask this way: allow the grant in the system's administration, or choose another `grant`"
            }
            ("invalid_scope", _) => "`scope` is not granted: correct it, or allow it in the system's administration",
            _ => "correct the credentials of the connection",
        };
        let word = match error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && error.len() <= 40 {
            true => error,
            false => "an error of its own",
        };
        let fault = login(format!("{server} refused a token ({word}): {to_do}{}", self.clock_note()));
        fault.detail(description.map(|said| self.without_secrets(said)).unwrap_or_default())
    }

    /// What a server says, without what it was sent.
    fn without_secrets(&self, said: &str) -> String {
        let secrets = self.fields.iter().filter(|(name, _)| !matches!(*name, "grant_type" | "scope" | "client_id"));
        let client = self.wanted.client.iter().flat_map(|(_, secret)| secret);
        let mut said = said.to_owned();
        for secret in secrets.map(|(_, value)| value).chain(client).filter(|secret| secret.len() >= SHORTEST) {
            said = said.replace(secret.as_str(), "***");
        }
        said.chars().take(MOST_SAID).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// An assertion has times by our clock; where the server's is another, that is why.
    fn clock_note(&self) -> String {
        let date = self.answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        let theirs = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        let Some(theirs) = theirs.filter(|_| self.wanted.grant == Grant::JwtBearer) else { return String::new() };
        let off = self.now.duration_since(theirs).unsigned_abs();
        if off <= CLOCKS_DIFFER {
            return String::new();
        }
        format!("; this machine's clock is off by {} minutes: set it right", (off.as_secs() + 30) / 60)
    }
}

/// The server gives no token, and a person must act.
fn login(sentence: String) -> Fault {
    Fault::misconfigured("CONNECTOR-LOGIN", sentence).at("auth.oauth2")
}
