//! A connection's one way out: base address, credentials, limits, and what an answer means.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{Heard, Reply};
use super::auth::Credentials;
use super::connection::Connection;
use super::forms::{self, Extra, Outgoing};
use super::limits::{self, Gate};
use super::manifest::{Call, Limits, Manifest, Request};
use super::scope::View;
use super::secrets::Secrets;
use crate::clock::Clock;
use crate::message::{Fault, Map, Next, Text, Value};
use crate::protocols::Surroundings;
use crate::protocols::http::{Answer, Client, ClientSettings};

/// How long the line rests after "too many requests" without a word of when.
const UNTOLD: Duration = Duration::from_secs(1);

/// A connection's one way out, shared by all operations.
pub struct Line {
    pub connection: Text,
    pub manifest: Arc<Manifest>,
    /// `$connection`
    pub settings: Value,
    client: Client,
    clock: Clock,
    credentials: Credentials,
    limits: Limits,
    gate: Gate,
    /// What nothing that is written down may hold.
    pub(super) secrets: Secrets,
}

impl Line {
    pub(super) fn new(connection: &Connection, surroundings: &Surroundings) -> Result<Line, Fault> {
        let head = &connection.manifest.head;
        let limits = head.limits.clone().unwrap_or_default();
        let client = ClientSettings {
            timeout: limits.timeout,
            connect_timeout: limits.connect_timeout,
            proxy: connection.proxy.clone(),
            tls: connection.tls.clone(),
            max_response: limits.max_response.bytes(),
        };
        let clock = surroundings.clock.clone();
        Ok(Line {
            connection: connection.name.clone(),
            manifest: connection.manifest.clone(),
            settings: connection.settings.clone(),
            client: match &connection.peer {
                Some(peer) => Client::to(peer.clone(), clock.clone()),
                None => Client::new(&client, &surroundings.folder, clock.clone())?,
            },
            credentials: Credentials::new(head, &connection.name, surroundings)?,
            gate: Gate::new(&limits, clock.clone()),
            secrets: Secrets::of(&connection.manifest, &connection.settings),
            limits,
            clock,
        })
    }

    /// One request and its answer: within the limits, with credentials; where these have ended, once more with new ones.
    ///
    /// # Errors
    /// What [`forms::render`], [`Credentials::prove`], the connection and [`answer::judge`] say.
    pub async fn ask(&self, request: &Request, view: &View<'_>, extra: &Extra) -> Result<Reply, Fault> {
        let head = &self.manifest.head;
        let outgoing = forms::render(request, head, view, extra)?;
        let own = forms::is_own(request, &outgoing.url, head, view);
        let _place = self.gate.enter().await;
        let mut first = true;
        loop {
            let mut proved = outgoing.clone();
            // No credential goes to another system.
            let proof = match own {
                true => Some(self.credentials.prove(&self.client, &mut proved, view).await?),
                false => None,
            };
            let secrets = self.secrets.and_proof(&outgoing.headers, &proved.headers);
            let answer = self.client.send(wire(proved)).await?;
            match proof {
                Some(proof) if first && self.credentials.has_ended(answer.status.as_u16()) => {
                    self.credentials.forget(proof);
                    first = false;
                }
                _ => return self.judge(request, answer, view).map_err(|fault| secrets.hide(fault)),
            }
        }
    }

    /// What the answer means, for the request and for the line.
    fn judge(&self, request: &Request, answer: Answer, view: &View<'_>) -> Result<Reply, Fault> {
        let now = self.clock.now();
        let heard = Heard::read(request, answer);
        if let Some(wait) = limits::exhausted(&self.limits, &heard.seen(view), now) {
            self.gate.close(wait);
        }
        let status = heard.status();
        let judged = heard.judge(&self.manifest.head.errors, view, now);
        if let (429 | 503, Err(fault)) = (status, &judged)
            && let Next::Retry { after } = fault.next()
            && let Some(wait) = after.or_else(|| (status == 429).then_some(UNTOLD))
        {
            self.gate.close(wait);
        }
        judged
    }

    /// Several requests in order; each sees the results of those before as `$calls.NAME`. Gives the results, and the last answer.
    /// A call whose answer says that nothing is there has no result; inside `each` it is `null`.
    ///
    /// With an idempotency key, requests other than `get` carry it. Where there are several of them, each has its own:
    /// `KEY-NAME`, and `KEY-NAME-INDEX` under `each`.
    ///
    /// # Errors
    /// The first fault, with the call's name in its place.
    pub async fn calls(&self, calls: &[Call], view: &View<'_>, extra: &Extra) -> Result<(Map, Reply), Fault> {
        let mut results = Map::new();
        let mut last = Reply::default();
        let writing = calls.iter().filter(|call| call.request.get.is_none());
        let alone = writing.count() <= 1;
        for call in calls {
            let mut locals = view.locals.clone();
            locals.insert("calls", results.clone());
            let view = view.with_locals(&locals);
            let keyed = keyed(extra, call, alone);
            let result = self.call(call, &view, &keyed, &mut last).await;
            if let Some(result) = result.map_err(|fault| fault.within(&format!("calls.{}", call.name)))? {
                results.insert(call.name.clone(), result);
            }
        }
        Ok((results, last))
    }

    /// The call's result; `None` where it was not made, or there is nothing.
    async fn call(
        &self,
        call: &Call,
        view: &View<'_>,
        extra: &Extra,
        last: &mut Reply,
    ) -> Result<Option<Value>, Fault> {
        if let Some(when) = &call.when
            && !view.holds(when, "when")?
        {
            return Ok(None);
        }
        let Some(each) = &call.each else { return self.one(call, view, extra, last).await };
        let items = match view.render(each, "each")? {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::List(items)) => items,
            Some(other) => {
                let said = format!("`each` wants a list, this is {}", other.kind());
                return Err(Fault::refuse("CONNECTOR-VALUE", said));
            }
        };
        if items.len() > MOST_EACH {
            let said = format!("`each` makes {} requests, and {MOST_EACH} are the most", items.len());
            return Err(Fault::refuse("CONNECTOR-VALUE", said));
        }
        let mut results = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let extra = numbered(extra, index);
            results.push(self.one(call, &view.of_item(item, index), &extra, last).await?.unwrap_or_default());
        }
        Ok(Some(results.into()))
    }

    async fn one(&self, call: &Call, view: &View<'_>, extra: &Extra, last: &mut Reply) -> Result<Option<Value>, Fault> {
        *last = self.ask(&call.request, view, extra).await?;
        if last.missing {
            return Ok(None);
        }
        match &call.result {
            None => Ok(Some(last.body.clone())),
            Some(result) => view.of_answer(&last.body, &last.headers).render(result, "result"),
        }
    }
}

/// Most requests of one `each`.
const MOST_EACH: usize = 1000;

/// What goes with a call's request. A page's address is nothing to a call.
fn keyed(extra: &Extra, call: &Call, alone: bool) -> Extra {
    let key = extra.idempotency.as_ref().filter(|_| call.request.get.is_none());
    let idempotency = key.map(|(header, key)| match alone {
        true => (header.clone(), key.clone()),
        false => (header.clone(), format!("{key}-{}", call.name).into()),
    });
    Extra { address: None, idempotency }
}

fn numbered(extra: &Extra, index: usize) -> Extra {
    let idempotency = extra.idempotency.as_ref();
    Extra {
        address: None,
        idempotency: idempotency.map(|(header, key)| (header.clone(), format!("{key}-{index}").into())),
    }
}

fn wire(outgoing: Outgoing) -> reqwest::Request {
    let mut request = reqwest::Request::new(outgoing.method, outgoing.url);
    *request.headers_mut() = outgoing.headers;
    *request.body_mut() = Some(outgoing.body.into());
    request
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rate: None,
            concurrency: 4,
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            max_response: crate::config::Size(20 << 20),
            remaining: None,
            reset: None,
        }
    }
}

#[cfg(test)]
mod tests;
