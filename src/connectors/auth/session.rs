//! Logins that give a token or a cookie for some time.

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, SET_COOKIE};

use super::current::{Current, Fresh};
use super::{Proof, connections, header_name, needed, put, unfit};
use crate::clock::{Clock, later};
use crate::connectors::answer;
use crate::connectors::forms::{self, Extra};
use crate::connectors::manifest::{ManifestHead, Session};
use crate::connectors::scope::View;
use crate::message::{Fault, Map, Next, Text, Value};
use crate::protocols::http::Client;

const PLACE: &str = "auth.session.login";

/// The sessions of a connection, one after the other.
pub(super) struct Sessions {
    session: Session,
    head: ManifestHead,
    headers: Vec<(HeaderName, Text)>,
    clock: Clock,
    current: Current<Arc<Map>>,
}

impl Sessions {
    /// # Errors
    /// `CONNECTOR-CREDENTIAL` (misconfigured): a header that is none.
    pub fn new(session: &Session, head: &ManifestHead, clock: &Clock) -> Result<Sessions, Fault> {
        let name = |name: &Text| Ok((header_name(name, "auth.session.headers")?, name.clone()));
        Ok(Sessions {
            headers: session.headers.keys().map(name).collect::<Result<_, Fault>>()?,
            session: session.clone(),
            head: head.clone(),
            clock: clock.clone(),
            current: Current::new(clock),
        })
    }

    /// The session to use now.
    ///
    /// # Errors
    /// As [`super::Credentials::prove`].
    pub async fn get(&self, client: &Client, view: &View<'_>) -> Result<(Arc<Map>, Proof), Fault> {
        self.current.get(async |_| self.log_in(client, view).await).await
    }

    pub fn forget(&self, proof: Proof) {
        self.current.forget(proof);
    }

    pub fn has_ended(&self, status: u16) -> bool {
        let expired = &self.session.expired;
        if expired.is_empty() { status == 401 } else { expired.contains(&u32::from(status)) }
    }

    /// The headers of a request in the session.
    pub fn put(&self, headers: &mut HeaderMap, session: &Arc<Map>, view: &View<'_>) -> Result<(), Fault> {
        let mut locals = Map::new();
        locals.insert("session", Map::clone(session));
        let view = view.with_locals(&locals);
        for (name, key) in &self.headers {
            let Some(template) = self.session.headers.get(key) else { continue };
            put(headers, name, &needed(&view, template, &format!("auth.session.headers.{key}"))?)?;
        }
        Ok(())
    }

    async fn log_in(&self, client: &Client, view: &View<'_>) -> Result<Fresh<Arc<Map>>, Fault> {
        let login = &self.session.login;
        let outgoing = forms::render(login, &self.head, view, &Extra::default());
        let outgoing = outgoing.map_err(|fault| connections(&fault, PLACE))?;
        let mut request = reqwest::Request::new(outgoing.method, outgoing.url);
        *request.headers_mut() = outgoing.headers;
        *request.body_mut() = Some(outgoing.body.into());
        let asked = self.clock.now();
        let answer = client.send(request).await?;
        let cookies = cookies(&answer.headers);
        let reply = answer::judge(login, &self.head.errors, answer, view, self.clock.now()).map_err(of_login)?;
        if reply.missing {
            return Err(refused("the system does not know the user", PLACE));
        }
        let mut headers = reply.headers;
        match cookies {
            Some(cookies) => drop(headers.insert("set_cookie", cookies)),
            None => drop(headers.remove("set_cookie")),
        }
        let kept = self.keep(&view.of_answer(&reply.body, &headers))?;
        let ends_at = self.session.lifetime.map(|lifetime| later(asked, lifetime));
        Ok(Fresh { value: Arc::new(kept), renew_at: ends_at, ends_at })
    }

    fn keep(&self, view: &View<'_>) -> Result<Map, Fault> {
        let mut kept = Map::new();
        for (name, template) in &self.session.keep {
            let place = format!("auth.session.keep.{name}");
            let value = view.render(template, &place).map_err(|fault| match fault.code() {
                "FORMULA-MISSING" => refused("its answer holds no such value", &place),
                _ => connections(&fault, &place),
            })?;
            if let Some(value) = value.filter(|value| *value != Value::Null) {
                kept.insert(name.clone(), value);
            }
        }
        if kept.is_empty() { Err(unfit("nothing is kept of the login").at("auth.session.keep")) } else { Ok(kept) }
    }
}

/// What the answer of a login means for the connection; what the system says is left out, it may repeat what it was sent.
fn of_login(fault: Fault) -> Fault {
    let fault = fault.without_detail();
    match fault.next() {
        Next::Retry { .. } | Next::Reconnect => fault.at(PLACE),
        Next::Refuse | Next::Misconfigured => refused(&fault.sentence(), PLACE),
    }
}

fn refused(why: &str, place: &str) -> Fault {
    let said = format!("the login was refused: {why}; correct the credentials of the connection");
    Fault::misconfigured("CONNECTOR-LOGIN", said).at(place)
}

/// The cookies that an answer sets, as `Cookie` sends them back (RFC 6265 section 4.2): `a=1; b=2`, without their attributes.
pub(super) fn cookies(headers: &HeaderMap) -> Option<String> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for set in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
        let pair = set.split(';').next().unwrap_or_default();
        let Some((name, value)) = pair.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
            continue;
        };
        // The last of a name is the one that holds; an empty one takes it back.
        pairs.retain(|(other, _)| *other != name);
        if !name.is_empty() && !value.is_empty() {
            pairs.push((name, value));
        }
    }
    let written: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!written.is_empty()).then(|| written.join("; "))
}
