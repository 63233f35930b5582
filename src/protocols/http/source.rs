//! Webhooks in: a request is answered once its message is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use tokio::select;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::answers::{closing, come_back, problem, refused, told, with};
use super::body::{BodyError, Budget, collect};
use super::head;
use super::routes::{Handler, Routes};
use super::settings::{HttpSource, Reply};
use super::signature::Doubt;
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::formula::{Meta, Scope, Tables};
use crate::message::{Fault, Map, MessageId, Value};
use crate::protocols::{Arrival, Receiver, Source, SourceSettings, Surroundings};

/// Longest identity a sender may give a message.
const MOST_ID: usize = 512;
/// How long a new version waits for another pipeline to leave its path, as when one is renamed.
const PATH_PATIENCE: Duration = Duration::from_secs(5);
/// How long the rest of a body is waited for that was on its way as its path stopped.
const BODY_GRACE: Duration = Duration::from_secs(2);
const FALLBACK: HeaderName = HeaderName::from_static("x-raccord-fallback");

impl SourceSettings for HttpSource {
    fn open(
        &self,
        pipeline: &str,
        codec: Arc<dyn Codec>,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(webhook(self.clone(), pipeline, codec, surroundings, None)))
    }

    fn replies(&self) -> bool {
        self.reply.is_some()
    }

    fn claims(&self) -> Vec<String> {
        self.methods().iter().map(|method| format!("{method} {}", self.path.0)).collect()
    }

    fn overlaps(&self) -> bool {
        true
    }
}

/// What a source built on this one says to its senders.
pub trait Hook: Send + Sync {
    /// The answer to a question that is answered at once, before anything is stored (a sender that asks whether this path is
    /// really the hub's); `None` for a message.
    ///
    /// The sender of a POST has proved who it is. A GET, whose question are its query parameters, comes without a signature:
    /// nothing is stored, and the answer should hold nothing that the question did not.
    ///
    /// # Errors
    /// The sender hears that its question cannot be answered.
    fn challenge(&self, body: &[u8], headers: &Map, query: Option<&Value>) -> Result<Option<Answered>, Fault>;

    /// What a sender hears once its messages have been taken, dead letters among them: sending them again is of no use.
    fn status(&self) -> StatusCode;
}

/// The answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub content_type: &'static str,
    pub body: Bytes,
}

/// A source of these settings, whose senders hear what `hook` says.
pub fn hooked(
    settings: HttpSource,
    pipeline: &str,
    codec: Arc<dyn Codec>,
    surroundings: &Surroundings,
    hook: Arc<dyn Hook>,
) -> Box<dyn Source> {
    Box::new(webhook(settings, pipeline, codec, surroundings, Some(hook)))
}

fn webhook(
    settings: HttpSource,
    pipeline: &str,
    codec: Arc<dyn Codec>,
    surroundings: &Surroundings,
    hook: Option<Arc<dyn Hook>>,
) -> Webhook {
    Webhook {
        settings,
        pipeline: pipeline.to_owned(),
        codec,
        clock: surroundings.clock.clone(),
        routes: surroundings.routes.clone(),
        hook,
        begun: None,
    }
}

/// A path of the listener whose requests become messages.
struct Webhook {
    settings: HttpSource,
    pipeline: String,
    codec: Arc<dyn Codec>,
    clock: Clock,
    routes: Arc<Routes>,
    hook: Option<Arc<dyn Hook>>,
    /// The path, where it was taken before the run.
    begun: Option<(super::Mounted, TaskTracker)>,
}

#[async_trait]
impl Source for Webhook {
    fn begin(&mut self, receiver: &Arc<dyn Receiver>, stop: &CancellationToken) {
        let door = self.entrance(receiver.clone(), stop.clone());
        let requests = door.requests.clone();
        let (path, methods) = (&self.settings.path.0, self.settings.methods());
        let mounted = self.routes.take_over(path, &methods, &self.pipeline, door);
        self.begun = Some((mounted, requests));
    }

    async fn run(&mut self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        let (mounted, requests) = match self.begun.take() {
            Some(begun) => begun,
            None => {
                let door = self.entrance(receiver, stop.clone());
                let requests = door.requests.clone();
                let mounted = select! {
                    mounted = self.mount(door) => mounted?,
                    () = stop.cancelled() => return Ok(()),
                };
                (mounted, requests)
            }
        };
        stop.cancelled().await;
        // First the path, so that no request comes any more; then those on their way.
        drop(mounted);
        requests.close();
        requests.wait().await;
        Ok(())
    }
}

impl Webhook {
    fn entrance(&self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Arc<Entrance> {
        Arc::new(Entrance {
            settings: self.settings.clone(),
            pipeline: self.pipeline.clone(),
            codec: self.codec.clone(),
            clock: self.clock.clone(),
            hook: self.hook.clone(),
            doubted: AtomicI64::new(i64::MIN),
            receiver,
            bodies: self.routes.bodies.clone(),
            requests: TaskTracker::new(),
            stop,
        })
    }

    async fn mount(&self, door: Arc<Entrance>) -> Result<super::Mounted, Fault> {
        let (path, methods) = (&self.settings.path.0, self.settings.methods());
        let mut waited = Duration::ZERO;
        loop {
            match self.routes.mount(path, &methods, &self.pipeline, door.clone()) {
                Ok(mounted) => return Ok(mounted),
                Err(fault) if waited >= PATH_PATIENCE => return Err(fault),
                Err(_) => {}
            }
            let pause = Duration::from_millis(100);
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }
}

/// What stands on the path: shared by all requests of it.
struct Entrance {
    settings: HttpSource,
    pipeline: String,
    codec: Arc<dyn Codec>,
    clock: Clock,
    hook: Option<Arc<dyn Hook>>,
    /// The second in which a proof was last told to be wrong.
    doubted: AtomicI64,
    receiver: Arc<dyn Receiver>,
    bodies: Arc<Budget>,
    requests: TaskTracker,
    stop: CancellationToken,
}

#[async_trait]
impl Handler for Entrance {
    async fn handle(&self, request: Request<Incoming>) -> Response {
        let _on_its_way = self.requests.token();
        let (parts, body) = request.into_parts();
        self.take(parts, body).await.unwrap_or_else(|refusal| *refusal)
    }
}

/// An answer that ends a request early.
type Refusal = Box<Response>;

impl Entrance {
    /// One request, from its head to its answer. What is refused early is refused before its body is read.
    async fn take(&self, parts: Parts, body: Incoming) -> Result<Response, Refusal> {
        if let Some(hook) = self.hook.as_ref().filter(|_| parts.method == Method::GET) {
            let headers = self.headers(&parts).unwrap_or_default();
            let answered = hook.challenge(&[], &headers, Some(&head::query_document(&parts)));
            let none =
                || problem(StatusCode::METHOD_NOT_ALLOWED, "HTTP-405", "this is no question that is answered here");
            return Ok(closing(
                answered.map_or_else(|fault| refused(&fault), |answered| answered.map_or_else(none, answer)),
            ));
        }
        self.check_head(&parts)?;
        let position = self.position(&parts)?;
        let mut held = self.bodies.hold();
        let body = select! {
            body = timeout(self.settings.read_timeout, collect(body, self.settings.max_body.bytes(), &mut held)) => body,
            () = self.stopped() => return Err(closing(come_back("HTTP-STOPPING", 5)).into()),
        };
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(self.no_body(error).into()),
            Err(_) => {
                let late = problem(StatusCode::REQUEST_TIMEOUT, "HTTP-408", "the body came too slowly");
                return Err(closing(late).into());
            }
        };
        let id = position.as_deref().unwrap_or_default();
        if let Some(auth) = self.settings.auth() {
            let admitted = auth.admits_body(&parts.headers, id, &body, self.clock.now());
            admitted.map_err(|doubt| {
                self.tell(&doubt);
                self.unauthorized()
            })?;
        }
        let Some(headers) = self.headers(&parts) else {
            let large = problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HTTP-431", "the headers are too large");
            return Err(large.into());
        };
        if let Some(hook) = &self.hook {
            match hook.challenge(&body, &headers, None) {
                Ok(None) => {}
                Ok(Some(answered)) => return Ok(answer(answered)),
                Err(fault) => return Err(refused(&fault).into()),
            }
        }
        let mut arrival = Arrival { body, document: None, headers, position, fault: None };
        if let Some(reply) = &self.settings.reply {
            if parts.method == Method::GET {
                arrival.document = Some(head::query_document(&parts));
            }
            return Ok(self.reply(reply, arrival).await);
        }
        let body = arrival.body.clone();
        // A task of its own: a sender that hangs up in the middle does not tear the intake of its message.
        let receiver = self.receiver.clone();
        let receiving = self.requests.spawn(async move {
            let received = receiver.receive(vec![arrival], None).await;
            drop(held);
            received
        });
        match receiving.await {
            Ok(Ok(_)) if let Some(hook) = &self.hook => Ok(with(hook.status(), &[], Body::empty())),
            // What could not be read is read once more: only the cause is missing here.
            Ok(Ok(receipts)) => Ok(told(receipts.first(), self.settings.status, || self.codec.decode(&body).err())),
            Ok(Err(fault)) => Err(refused(&fault).into()),
            Err(_) => Err(come_back("HTTP-INTAKE", 5).into()),
        }
    }

    /// Some time after the path has stopped: a reload refuses no request that came to the former version.
    async fn stopped(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(BODY_GRACE).await;
    }

    fn check_head(&self, parts: &Parts) -> Result<(), Refusal> {
        if self.settings.auth().is_some_and(|auth| !auth.admits_head(&parts.headers)) {
            return Err(self.unauthorized().into());
        }
        let unsupported = |what: &str| Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "HTTP-415", what).into());
        if let Some(encoding) = parts.headers.get(CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return unsupported("the body is compressed; send it plain");
        }
        if let Some(expected) = &self.settings.content_type {
            let given = head::text(&parts.headers, &CONTENT_TYPE).unwrap_or_default();
            let given = given.split(';').next().unwrap_or_default().trim();
            if !given.eq_ignore_ascii_case(expected) {
                return unsupported(&format!("expected content type {expected}"));
            }
        }
        Ok(())
    }

    /// The sender's own identity of the message, if it gives one.
    fn position(&self, parts: &Parts) -> Result<Option<String>, Refusal> {
        let name = &self.settings.id_header.0;
        match parts.headers.get(name).map(|value| value.to_str()) {
            None | Some(Ok("")) => Ok(None),
            Some(Ok(id)) if id.len() <= MOST_ID => Ok(Some(id.to_owned())),
            Some(_) => {
                let what = format!("header {name} is longer than {MOST_ID} bytes or not ASCII");
                Err(problem(StatusCode::BAD_REQUEST, "HTTP-400", &what).into())
            }
        }
    }

    fn headers(&self, parts: &Parts) -> Option<Map> {
        let secret = self.settings.auth().and_then(|auth| auth.secret_header());
        head::keep(parts, &self.settings.headers, secret)
    }

    /// Why a proof does not hold, for whoever joins the sender: at most once a second, as anybody may send.
    fn tell(&self, doubt: &Doubt) {
        let second = self.clock.now().as_second();
        if self.doubted.swap(second, Ordering::Relaxed) != second {
            warn!(
                pipeline = self.pipeline,
                path = self.settings.path.0.as_str(),
                "a request is refused (401): {doubt}"
            );
        }
    }

    fn unauthorized(&self) -> Response {
        let mut response =
            problem(StatusCode::UNAUTHORIZED, "HTTP-401", "this path wants another proof of who you are");
        if let Some(challenge) = self.settings.auth().and_then(|auth| auth.challenge()) {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }

    fn no_body(&self, error: BodyError) -> Response {
        closing(match error {
            BodyError::TooLarge => {
                let what = format!("the largest body taken here is {} bytes", self.settings.max_body.bytes());
                problem(StatusCode::PAYLOAD_TOO_LARGE, "HTTP-413", &what)
            }
            BodyError::NoRoom => come_back("HTTP-BUSY", 1),
            BodyError::Broken => problem(StatusCode::BAD_REQUEST, "HTTP-400", "the body ended early or is malformed"),
        })
    }

    async fn reply(&self, reply: &Reply, arrival: Arrival) -> Response {
        let asked = arrival.clone();
        let replied = timeout(reply.within, self.receiver.reply(arrival)).await;
        let fault = match replied {
            Ok(Ok(document)) => match self.codec.encode(&document) {
                Ok(body) => return self.document(body, &[]),
                Err(fault) => Some(fault),
            },
            Ok(Err(fault)) => Some(fault),
            Err(_) => None,
        };
        match self.otherwise(reply, &asked) {
            Some(Ok(body)) => self.document(body, &[(FALLBACK, HeaderValue::from_static("true"))]),
            Some(Err(fault)) => refused(&fault),
            None => match fault {
                Some(fault) => refused(&fault),
                None => problem(StatusCode::GATEWAY_TIMEOUT, "HTTP-504", "the reply did not come in time"),
            },
        }
    }

    /// `otherwise`, rendered with the question as its document.
    fn otherwise(&self, reply: &Reply, asked: &Arrival) -> Option<Result<Bytes, Fault>> {
        let template = reply.otherwise.as_ref()?;
        let document = asked.document.clone().or_else(|| self.codec.decode(&asked.body).ok()).unwrap_or_default();
        let id = MessageId::draw();
        let meta = Meta::from(Map::from_iter([("id", id.to_string())]));
        let rendered = template.render(&Scope {
            document: &document,
            headers: &asked.headers,
            meta: &meta,
            item: None,
            partner: None,
            connection: None,
            locals: None,
            time: self.clock.now(),
            id,
            tables: &NoTables,
        });
        Some(rendered.and_then(|value| self.codec.encode(&value.unwrap_or(Value::Null))))
    }

    fn document(&self, body: Bytes, headers: &[(HeaderName, HeaderValue)]) -> Response {
        let mut response = with(StatusCode::OK, headers, Body::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.codec.content_type()));
        response
    }
}

fn answer(answered: Answered) -> Response {
    let named = [(CONTENT_TYPE, HeaderValue::from_static(answered.content_type))];
    with(StatusCode::OK, &named, Body::from(answered.body))
}

/// A fallback must not fail, so it reads no table.
struct NoTables;

impl Tables for NoTables {
    fn row(&self, _table: &str, _key: &str) -> Result<Option<&Map>, Fault> {
        Err(Fault::misconfigured("HTTP-FALLBACK", "`otherwise` cannot read a table"))
    }
}
