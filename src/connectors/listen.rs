//! `listen`: the system calls the hub.
//!
//! Built on HTTP: a path of the hub's listener takes the requests, with the manifest's proof of who sends. A request becomes one
//! arrival for each event in it that is wanted, all stored in one commit; only then is the system answered. What cannot be read is
//! a dead letter, and the system hears what it hears for any other event: sending it again would be of no use.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::connection::Connection;
use super::forms::Extra;
use super::line::Line;
use super::manifest::{ApiKey, HookAuth, HookSignature, Listen, SignAlgorithm, SignEncoding};
use super::original::{Mapping, Original};
use super::scope::{View, of_operation};
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::config::{Secret, Size};
use crate::formula::{Meta, Template};
use crate::message::{Fault, Map, MessageId, Next, Text, Value, json};
use crate::protocols::http::{self, AcceptedStatus, Answered, Door, Hook, HttpSource, RoutePath, SourceMethod};
use crate::protocols::{Arrival, Receipt, Receiver, Source, SourceSettings, Surroundings};

/// Most events of a request.
const MOST_EVENTS: usize = 10_000;
/// The largest body taken.
const MOST_BYTES: usize = 10 << 20;
/// How long a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a system waits that is told to come again.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// A web hook of a connection, as a pipeline names it.
#[derive(Clone, Debug)]
pub struct ListenSource {
    pub connection: Arc<Connection>,
    pub operation: Text,
    pub listen: Box<Listen>,
    /// Where it is called.
    pub path: RoutePath,
}

#[async_trait]
impl SourceSettings for ListenSource {
    fn open(&self, pipeline: &str, codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        let events = Arc::new(self.events(pipeline, around)?);
        let hook: Arc<dyn Hook> = events.clone();
        Ok(Box::new(Listening { web: http::hooked(self.http()?, pipeline, codec, around, hook), events }))
    }

    fn overlaps(&self) -> bool {
        true
    }

    fn document(&self, stored: &Value, of: (MessageId, Timestamp)) -> Option<Result<Value, Fault>> {
        mapping(&self.connection, &self.operation, &self.listen).document(stored, of)
    }

    async fn again(
        &self,
        pipeline: &str,
        stored: &Arrival,
        around: &Surroundings,
    ) -> Result<Option<Vec<Arrival>>, Fault> {
        let events = self.events(pipeline, around)?;
        let document = json::read(&stored.body).unwrap_or_default();
        // An event of several, or what came whole.
        let made = match Original::read(&document) {
            Some(Original { item, .. }) => {
                let body = if self.listen.items.is_none() { item } else { &Value::Null };
                events.event((item, 0), body, &stored.headers).await?.into_iter().collect()
            }
            None => events.of(stored.clone()).await?,
        };
        Ok(Some(made))
    }

    fn claims(&self) -> Vec<String> {
        let methods = if self.listen.challenge.is_some() { &["POST", "GET"][..] } else { &["POST"] };
        methods.iter().map(|method| format!("{method} {}", self.path.0)).collect()
    }
}

impl ListenSource {
    /// What a request whose sender has proved who it is becomes: the answer to a challenge, or its events.
    ///
    /// # Errors
    /// `retry`: the system hears that it is to come again.
    pub(super) async fn of_request(
        &self,
        pipeline: &str,
        request: Arrival,
        around: &Surroundings,
    ) -> Result<(Option<Answered>, Vec<Arrival>), Fault> {
        let events = self.events(pipeline, around)?;
        if let Some(answer) = events.challenge(&request.body, &request.headers, None)? {
            return Ok((Some(answer), Vec::new()));
        }
        Ok((None, events.of(request).await?))
    }

    fn events(&self, pipeline: &str, around: &Surroundings) -> Result<Events, Fault> {
        Ok(Events {
            pipeline: pipeline.into(),
            operation: self.operation.clone(),
            line: self.connection.line(around)?,
            clock: around.clock.clone(),
            stores_originals: self.listen.document.is_some()
                && mapping(&self.connection, &self.operation, &self.listen).is_of_original(),
            listen: self.listen.clone(),
        })
    }

    /// What stands on the path.
    ///
    /// # Errors
    /// `misconfigured` `CONNECTOR-HOOK`: a proof that cannot be asked for.
    pub fn http(&self) -> Result<HttpSource, Fault> {
        let mut methods = vec![SourceMethod::Post];
        if self.listen.challenge.is_some() {
            methods.push(SourceMethod::Get);
        }
        let auth = self.listen.auth.as_ref().map(|auth| self.auth(auth)).transpose()?;
        let id_header = match &self.listen.auth {
            Some(HookAuth::Hmac(HookSignature { id_header: Some(name), .. })) => header(name)?,
            _ => http::HeaderText(axum::http::HeaderName::from_static("idempotency-key")),
        };
        let source = HttpSource {
            path: self.path.clone(),
            auth: auth.map(Door::Guarded),
            methods,
            max_body: Size(MOST_BYTES as u64),
            read_timeout: READ_TIMEOUT,
            content_type: None,
            status: AcceptedStatus::Ok,
            id_header,
            headers: Vec::new(),
            reply: None,
        };
        self.status()?;
        match source.problem() {
            Some(said) => Err(wrong(said)),
            None => Ok(source),
        }
    }

    fn status(&self) -> Result<StatusCode, Fault> {
        let status = u16::try_from(self.listen.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        status.filter(|status| status.is_success()).ok_or_else(|| wrong("`status` is not one of 200 to 299"))
    }

    fn auth(&self, auth: &HookAuth) -> Result<http::Auth, Fault> {
        let secret = |template: &Template| self.setting(template).map(|text| Secret::new(text.as_str()));
        Ok(match auth {
            HookAuth::Hmac(signature) => http::Auth::Hmac(http::Signature {
                secret: secret(&signature.secret)?,
                previous: None,
                header: header(&signature.header)?,
                algorithm: match signature.algorithm {
                    SignAlgorithm::Sha256 => http::Algorithm::Sha256,
                    SignAlgorithm::Sha512 => http::Algorithm::Sha512,
                },
                encoding: match signature.encoding {
                    SignEncoding::Hex => http::Encoding::Hex,
                    SignEncoding::Base64 => http::Encoding::Base64,
                },
                prefix: signature.prefix.clone(),
                signed: http::Signed::parse(&signature.signed)
                    .ok_or_else(|| wrong("`signed` knows the placeholders `{body}`, `{timestamp}` and `{id}`"))?,
                timestamp: match &signature.timestamp_header {
                    Some(name) => Some(http::SignedTime {
                        header: header(name)?,
                        prefix: signature.timestamp_prefix.clone(),
                        tolerance: signature.tolerance,
                    }),
                    None => None,
                },
            }),
            HookAuth::Basic(basic) => {
                http::Auth::Basic(http::Basic { user: self.setting(&basic.user)?, password: secret(&basic.password)? })
            }
            HookAuth::Bearer(token) => http::Auth::Bearer(http::Bearer { token: secret(token)? }),
            HookAuth::ApiKey(ApiKey { header: Some(name), query: None, value }) => {
                http::Auth::ApiKey(http::ApiKey { header: header(name)?, key: secret(value)? })
            }
            HookAuth::ApiKey(_) => return Err(wrong("`api_key` of a web hook stands in a `header`")),
        })
    }

    /// A text from the connection's settings. An empty secret would let anybody in.
    fn setting(&self, template: &Template) -> Result<Text, Fault> {
        let (none, meta) = (Map::new(), Meta::default());
        let view = View {
            connection: &self.connection.settings,
            document: &Value::Null,
            headers: &none,
            item: None,
            locals: &none,
            meta: &meta,
            id: MessageId::derive(&[b"listen"]),
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        // The fault's own sentence may hold the value.
        let text = view
            .text(template, "auth")
            .map_err(|fault| wrong(&format!("a formula of `auth` fails ({})", fault.code())))?;
        text.filter(|text| !text.is_empty()).ok_or_else(|| wrong("a value of `auth` is empty"))
    }
}

fn header(name: &str) -> Result<http::HeaderText, Fault> {
    name.parse().map(http::HeaderText).map_err(|_| wrong(&format!("`{name}` cannot name a header")))
}

fn wrong(said: &str) -> Fault {
    Fault::misconfigured("CONNECTOR-HOOK", format!("the web hook cannot ask its sender for a proof: {said}"))
}

/// The path, and what is made of its requests.
struct Listening {
    web: Box<dyn Source>,
    events: Arc<Events>,
}

#[async_trait]
impl Source for Listening {
    fn begin(&mut self, receiver: &Arc<dyn Receiver>, stop: &CancellationToken) {
        self.web.begin(&self.events.before(receiver.clone()), stop);
    }

    async fn run(&mut self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        self.web.run(self.events.before(receiver), stop).await
    }
}

/// How requests are read.
struct Events {
    pipeline: Text,
    operation: Text,
    line: Arc<Line>,
    clock: Clock,
    listen: Box<Listen>,
    /// Whether what the system said is stored, and not what is made of it.
    stores_originals: bool,
}

fn mapping<'m>(connection: &'m Arc<Connection>, operation: &'m Text, listen: &'m Listen) -> Mapping<'m> {
    Mapping { connection, operation, template: listen.document.as_ref(), alone: listen.items.is_none() }
}

impl Hook for Events {
    fn challenge(&self, body: &[u8], headers: &Map, query: Option<&Value>) -> Result<Option<Answered>, Fault> {
        let Some(challenge) = &self.listen.challenge else { return Ok(None) };
        let document = match query {
            Some(query) => query.clone(),
            None => match decode(body, headers) {
                Ok(document) => document,
                // No question; why it cannot be read is told where it is taken.
                Err(_) => return Ok(None),
            },
        };
        let (meta, none) = (Meta::default(), Map::new());
        let view = self.view((&document, headers), &none, &meta, MessageId::draw());
        // Nobody outside hears what a formula says: it may hold a setting.
        let fault = |fault: Fault| {
            let connection = &self.line.connection;
            warn!(%connection, operation = %self.operation, code = fault.code(), "a challenge cannot be answered");
            Fault::refuse("CONNECTOR-CHALLENGE", "the question cannot be answered")
        };
        if !view.holds_if_there(&challenge.when, "challenge.when").map_err(fault)? {
            return Ok(None);
        }
        let answer = view.render(&challenge.answer, "challenge.answer").map_err(fault)?.unwrap_or_default();
        Ok(Some(match answer {
            Value::Text(text) => {
                Answered { content_type: "text/plain; charset=utf-8", body: Bytes::copy_from_slice(text.as_bytes()) }
            }
            other => Answered { content_type: "application/json", body: json::to_text(&other).into() },
        }))
    }

    fn status(&self) -> StatusCode {
        let status = u16::try_from(self.listen.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::OK)
    }
}

impl Events {
    /// Stands before a pipeline's receiver.
    fn before(self: &Arc<Events>, inner: Arc<dyn Receiver>) -> Arc<dyn Receiver> {
        Arc::new(Reading { events: self.clone(), inner })
    }

    fn view<'v>(
        &'v self,
        (document, headers): (&'v Value, &'v Map),
        locals: &'v Map,
        meta: &'v Meta,
        id: MessageId,
    ) -> View<'v> {
        let connection = &self.line.settings;
        View { connection, document, headers, item: None, locals, meta, id, time: self.clock.now() }
    }

    /// The arrivals of a request: one for each event that is wanted.
    ///
    /// # Errors
    /// `retry`: a further request of an event met a fault that may pass, or that a person must see to. Nothing is taken; the
    /// system comes again.
    async fn of(&self, request: Arrival) -> Result<Vec<Arrival>, Fault> {
        let read =
            decode(&request.body, &request.headers).and_then(|body| Ok((self.items(&body, &request.headers)?, body)));
        let (events, body) = match read {
            Ok(read) => read,
            Err(fault) => {
                let position = Some(hash(&[&request.body]));
                let fault = of_operation(fault, &self.operation);
                return Ok(vec![Arrival { position, fault: Some(fault), ..request }]);
            }
        };
        let mut arrivals = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            arrivals.extend(self.event((event, index), &body, &request.headers).await?);
        }
        Ok(arrivals)
    }

    fn items(&self, body: &Value, headers: &Map) -> Result<Vec<Value>, Fault> {
        let Some(items) = &self.listen.items else { return Ok(vec![body.clone()]) };
        let (meta, none) = (Meta::default(), Map::new());
        let view = self.view((body, headers), &none, &meta, MessageId::draw());
        match view.render(items, "items")? {
            Some(Value::List(events)) if events.len() > MOST_EVENTS => {
                let said = format!("{} events in one request are too many (at most {MOST_EVENTS})", events.len());
                Err(Fault::refuse("CONNECTOR-EVENTS", said).at("items"))
            }
            Some(Value::List(events)) => Ok(events),
            Some(other) => {
                let said = format!("`items` is {} and not a list of events", other.kind());
                Err(Fault::refuse("CONNECTOR-EVENTS", said).at("items"))
            }
            None => Ok(Vec::new()),
        }
    }

    /// The arrival of one event; `None` where it is not wanted.
    async fn event(&self, item: (&Value, usize), body: &Value, headers: &Map) -> Result<Option<Arrival>, Fault> {
        let text = json::to_text(item.0);
        let id = MessageId::derive(&[self.pipeline.as_bytes(), b"event", text.as_bytes()]);
        let (meta, none) = (Meta::of(&self.pipeline, id, self.clock.now()), Map::new());
        let view = self.view((body, headers), &none, &meta, id);
        let view = view.of_item(item.0, item.1);
        let read = self.document(&view).await;
        let Made { document, id: own, calls } = match read {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(None),
            Err(fault) if fault.next() == Next::Refuse => {
                let position = Some(hash(&[text.as_bytes()]));
                let fault = Some(of_operation(fault, &self.operation));
                let body = match self.listen.items {
                    None => text,
                    Some(_) => json::to_text(&Original { item: item.0, calls: None }.to_value()),
                };
                let arrival = Arrival { body: body.into(), document: None, headers: headers.clone(), position, fault };
                return Ok(Some(arrival));
            }
            Err(fault) => return Err(self.come_again(&fault)),
        };
        let stored = match self.stores_originals {
            true => json::to_text(&Original { item: item.0, calls: calls.as_ref() }.to_value()),
            false => json::to_text(&document),
        };
        // Without an id, what was fetched belongs to the event: the same notice of a later change is another one.
        let position = Some(own.map_or_else(|| hash(&[text.as_bytes(), stored.as_bytes()]), |own| own.to_string()));
        Ok(Some(Arrival {
            body: stored.into(),
            document: Some(document),
            headers: headers.clone(),
            position,
            fault: None,
        }))
    }

    /// What is made of an event; `None` where it is not wanted.
    async fn document(&self, view: &View<'_>) -> Result<Option<Made>, Fault> {
        if let Some(keep) = &self.listen.keep
            && !view.holds(keep, "keep")?
        {
            return Ok(None);
        }
        let id = match &self.listen.id {
            Some(id) => view.text(id, "id")?.filter(|id| !id.is_empty()),
            None => None,
        };
        let calls = match self.listen.calls.as_slice() {
            [] => None,
            calls => Some(self.line.calls(calls, view, &Extra::default()).await?.0),
        };
        let locals: Map = calls.iter().map(|calls| ("calls", calls.clone())).collect();
        let view = view.with_locals(&locals);
        let document = match (&self.listen.document, view.item) {
            (Some(document), _) => view.render(document, "document")?.unwrap_or_default(),
            (None, Some((event, _))) => event.clone(),
            (None, None) => view.document.clone(),
        };
        Ok(Some(Made { document, id, calls }))
    }

    /// Nothing is taken now, whatever the fault: only the system can bring the event again.
    fn come_again(&self, fault: &Fault) -> Fault {
        let connection = &self.line.connection;
        warn!(%connection, operation = %self.operation, code = fault.code(), "an event cannot be completed, and its sender is told to come again: {fault}");
        let after = match fault.next() {
            Next::Retry { after: Some(after) } => after,
            Next::Retry { after: None } | Next::Reconnect | Next::Misconfigured | Next::Refuse => COME_AGAIN,
        };
        Fault::retry("CONNECTOR-EVENT", "what belongs to the event cannot be fetched now").after(after)
    }
}

/// What is made of an event.
struct Made {
    document: Value,
    /// What identifies it.
    id: Option<Text>,
    /// What its further requests brought.
    calls: Option<Map>,
}

/// A pipeline's receiver, for requests of a web hook.
struct Reading {
    events: Arc<Events>,
    inner: Arc<dyn Receiver>,
}

#[async_trait]
impl Receiver for Reading {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        let mut events = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            events.extend(self.events.of(arrival).await?);
        }
        if events.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.receive(events, cursor).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        self.inner.cursor(name).await
    }

    async fn finished(&self, name: &str) -> Result<(), Fault> {
        self.inner.finished(name).await
    }

    async fn reply(&self, arrival: Arrival) -> Result<Value, Fault> {
        self.inner.reply(arrival).await
    }
}

/// A body: a form where its content type says so, else JSON.
fn decode(body: &[u8], headers: &Map) -> Result<Value, Fault> {
    let content = headers.get("content_type").and_then(Value::as_text).unwrap_or_default();
    let content = content.split(';').next().unwrap_or_default().trim();
    if content.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(http::form_document(&String::from_utf8_lossy(body)));
    }
    crate::codecs::json_documents().decode(body)
}

/// What identifies something by its content.
fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
