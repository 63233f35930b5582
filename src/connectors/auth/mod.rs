//! Credentials of a connection: put on each request, renewed in time, kept where they must survive.
//!
//! What changes by itself (tokens, sessions) is a [`Current`](current::Current): asked for once for all who wait, used until it
//! ends or the system refuses it. None of it is ever in a log, a fault or `Debug`.

mod assertion;
mod current;
mod oauth2;
mod rotation;
mod session;
mod sign;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::forms::Outgoing;
use super::manifest::{ApiKey, Auth, Basic, ManifestHead};
use super::scope::View;
use crate::clock::Clock;
use crate::formula::Template;
use crate::message::{Fault, Map, Next, Text, Value};
use crate::protocols::Surroundings;
use crate::protocols::http::Client;
use oauth2::Tokens;
use session::Sessions;
use sign::Signer;

/// The credentials of one connection.
pub struct Credentials {
    kind: Kind,
    clock: Clock,
}

enum Kind {
    None,
    Bearer(Template),
    Basic(Basic),
    ApiKey(Place, Template),
    OAuth2(Box<Tokens>),
    Session(Box<Sessions>),
    Sign(Box<Signer>),
}

/// Where a key stands.
enum Place {
    Header(HeaderName),
    Query(Text),
}

/// Which credential a request went out with; told back where the system refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof(pub u64);

impl Credentials {
    /// Those that a manifest's head asks for. `connection` names what is kept for it.
    ///
    /// # Errors
    /// `CONNECTOR-CREDENTIAL` (misconfigured): settings of `auth` that do not fit together.
    pub fn new(head: &ManifestHead, connection: &Text, surroundings: &Surroundings) -> Result<Credentials, Fault> {
        let clock = surroundings.clock.clone();
        let kind = match &head.auth {
            None => Kind::None,
            Some(Auth::Bearer(token)) => Kind::Bearer(token.clone()),
            Some(Auth::Basic(basic)) => Kind::Basic(basic.clone()),
            Some(Auth::ApiKey(key)) => Kind::ApiKey(place(key)?, key.value.clone()),
            Some(Auth::OAuth2(settings)) => {
                Kind::OAuth2(Box::new(Tokens::new(settings, head, connection, surroundings)?))
            }
            Some(Auth::Session(session)) => Kind::Session(Box::new(Sessions::new(session, head, &clock)?)),
            Some(Auth::Sign(sign)) => Kind::Sign(Box::new(Signer::new(sign)?)),
        };
        Ok(Credentials { kind, clock })
    }

    /// Puts the credential on a request; one that is missing or near its end is asked for first, once for all that wait for it.
    ///
    /// # Errors
    /// `misconfigured` where the system does not give one; `retry`, `reconnect` where it could not be asked.
    pub async fn prove(&self, client: &Client, request: &mut Outgoing, view: &View<'_>) -> Result<Proof, Fault> {
        // A credential is the connection's: it depends on no message.
        let (document, nothing) = (Value::Null, Map::new());
        let view = View {
            operation: "login",
            connection: view.connection,
            document: &document,
            headers: &nothing,
            item: None,
            locals: &nothing,
            meta: view.meta,
            id: view.id,
            time: self.clock.now(),
        };
        let headers = &mut request.headers;
        match &self.kind {
            Kind::None => {}
            Kind::Bearer(token) => put_bearer(headers, &needed(&view, token, "auth.bearer")?)?,
            Kind::Basic(basic) => {
                let user = needed(&view, &basic.user, "auth.basic.user")?;
                if user.contains(':') {
                    return Err(unfit("a user name holds no colon").at("auth.basic.user"));
                }
                let password = needed(&view, &basic.password, "auth.basic.password")?;
                put_basic(headers, &user, &password)?;
            }
            Kind::ApiKey(place, key) => {
                let key = needed(&view, key, "auth.api_key.value")?;
                match place {
                    Place::Header(name) => put(headers, name, &key)?,
                    Place::Query(name) => drop(request.url.query_pairs_mut().append_pair(name, &key)),
                }
            }
            Kind::OAuth2(tokens) => {
                let (token, proof) = tokens.get(client, &view).await?;
                put_bearer(headers, token.reveal())?;
                return Ok(proof);
            }
            Kind::Session(sessions) => {
                let (session, proof) = sessions.get(client, &view).await?;
                sessions.put(headers, &session, &view)?;
                return Ok(proof);
            }
            Kind::Sign(signer) => signer.sign(request, &view)?,
        }
        Ok(Proof::default())
    }

    /// Whether `status` says that the credential has ended, and a new one may help.
    pub fn has_ended(&self, status: u16) -> bool {
        match &self.kind {
            Kind::OAuth2(_) => status == 401,
            Kind::Session(sessions) => sessions.has_ended(status),
            Kind::None | Kind::Bearer(_) | Kind::Basic(_) | Kind::ApiKey(..) | Kind::Sign(_) => false,
        }
    }

    /// The credential of `proof` is of no more use: the next request asks for another, unless somebody has already.
    pub fn forget(&self, proof: Proof) {
        match &self.kind {
            Kind::OAuth2(tokens) => tokens.forget(proof),
            Kind::Session(sessions) => sessions.forget(proof),
            Kind::None | Kind::Bearer(_) | Kind::Basic(_) | Kind::ApiKey(..) | Kind::Sign(_) => {}
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::None => "no credentials",
            Kind::Bearer(_) => "bearer credentials",
            Kind::Basic(_) => "basic credentials",
            Kind::ApiKey(..) => "api_key credentials",
            Kind::OAuth2(_) => "oauth2 credentials",
            Kind::Session(_) => "session credentials",
            Kind::Sign(_) => "sign credentials",
        })
    }
}

fn place(key: &ApiKey) -> Result<Place, Fault> {
    match (&key.header, &key.query) {
        (Some(header), None) => Ok(Place::Header(header_name(header, "auth.api_key.header")?)),
        (None, Some(query)) => Ok(Place::Query(query.clone())),
        (Some(_), Some(_)) | (None, None) => {
            Err(unfit("a key stands in one place: give `header` or `query`").at("auth.api_key"))
        }
    }
}

fn header_name(name: &str, place: &str) -> Result<HeaderName, Fault> {
    HeaderName::try_from(name).map_err(|_| unfit("this is not the name of a header").at(place))
}

/// Settings that do not fit together, or a value that is not there.
fn unfit(sentence: impl Into<String>) -> Fault {
    Fault::misconfigured("CONNECTOR-CREDENTIAL", sentence)
}

/// The value of a credential: what is wrong with it is the connection's fault, never the message's.
fn optional(view: &View<'_>, template: &Template, place: &str) -> Result<Option<Text>, Fault> {
    view.text(template, place).map_err(|fault| connections(&fault, place))
}

fn needed(view: &View<'_>, template: &Template, place: &str) -> Result<Text, Fault> {
    match optional(view, template, place)? {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) | None => Err(unfit("nothing is given for it; complete the connection's settings").at(place)),
    }
}

/// Only where nothing was found is the sentence repeated: others may hold a value.
fn connections(fault: &Fault, place: &str) -> Fault {
    match (fault.next(), fault.code()) {
        (_, "FORMULA-MISSING") => unfit(fault.sentence()).at(place),
        (Next::Refuse, code) => {
            unfit(format!("its formula fails ({code}); correct the manifest or the setting")).at(place)
        }
        (Next::Retry { .. } | Next::Reconnect | Next::Misconfigured, _) => fault.clone(),
    }
}

fn put_bearer(headers: &mut HeaderMap, token: &str) -> Result<(), Fault> {
    put(headers, &AUTHORIZATION, &format!("Bearer {token}"))
}

fn put_basic(headers: &mut HeaderMap, user: &str, password: &str) -> Result<(), Fault> {
    put(headers, &AUTHORIZATION, &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// Puts a header whose value no log shows.
fn put(headers: &mut HeaderMap, name: &HeaderName, value: &str) -> Result<(), Fault> {
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        Fault::misconfigured("HTTP-AUTH", "the credential holds characters that cannot stand in a header")
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
