//! A connection's one way out: base address, credentials, limits, and what an answer means.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{self, Reply};
use super::auth::Credentials;
use super::connection::Connection;
use super::forms::{self, Extra};
use super::manifest::{Call, Limits, Manifest, Request};
use super::scope::View;
use crate::clock::Clock;
use crate::message::{Fault, Map, Text, Value};
use crate::protocols::Surroundings;
use crate::protocols::http::{Client, ClientSettings};

/// A connection's one way out, shared by all operations.
pub struct Line {
    pub connection: Text,
    pub manifest: Arc<Manifest>,
    /// `$connection`
    pub settings: Value,
    client: Client,
    clock: Clock,
    credentials: Credentials,
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
            client: Client::new(&client, &surroundings.folder, clock.clone())?,
            credentials: Credentials::new(head.auth.as_ref(), &connection.name, surroundings)?,
            clock,
        })
    }

    /// One request and its answer: within the limits, with credentials; where these have ended, once more with new ones.
    ///
    /// # Errors
    /// What [`forms::render`], [`Credentials::prove`], the connection and [`answer::judge`] say.
    pub async fn ask(&self, request: &Request, view: &View<'_>, extra: &Extra) -> Result<Reply, Fault> {
        let head = &self.manifest.head;
        let mut outgoing = forms::render(request, head, view, extra)?;
        self.credentials.prove(&self.client, &mut outgoing, view).await?;
        let mut sent = reqwest::Request::new(outgoing.method, outgoing.url);
        *sent.headers_mut() = outgoing.headers;
        *sent.body_mut() = Some(outgoing.body.into());
        let answer = self.client.send(sent).await?;
        answer::judge(request, &head.errors, answer, view, self.clock.now())
    }

    /// Several requests in order; each sees the results of those before as `$calls.NAME`. Gives the results, and the last answer.
    ///
    /// # Errors
    /// The first fault, with the call's name in its place.
    pub async fn calls(&self, _calls: &[Call], _view: &View<'_>, _extra: &Extra) -> Result<(Map, Reply), Fault> {
        Ok((Map::new(), Reply::default()))
    }
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
