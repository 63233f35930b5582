//! For the tests of this room: a system on loopback that answers as it is told, and connections to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::connection::Connection;
use super::load::Connectors;
use super::manifest::Manifest;
use crate::clock::Clock;
use crate::config::{Data, Environment, Files, Reader, render};
use crate::message::{Map, Value, json};
use crate::protocols::{Surroundings, conformance};

/// A system on loopback.
pub struct System {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// As it was written, without `?`.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the system answers.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    lost: bool,
}

impl Reply {
    /// 200 with this JSON.
    pub fn json(text: &str) -> Reply {
        Reply::status(200).header("content-type", "application/json").body(text)
    }

    /// This status, and nothing in it.
    pub fn status(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    /// The connection breaks instead of an answer.
    pub fn lost() -> Reply {
        Reply { lost: true, ..Reply::default() }
    }

    pub fn with_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(self, body: impl AsRef<[u8]>) -> Reply {
        Reply { body: Bytes::copy_from_slice(body.as_ref()), ..self }
    }
}

impl Asked {
    /// `GET /orders?page=2`
    pub fn line(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, self.query)
    }

    /// The header's text; empty where there is none.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        json::read(&self.body).expect("the request's body is JSON")
    }
}

impl System {
    /// A system that answers what `answer` says of each request.
    pub async fn start(answer: impl FnMut(&Asked) -> Reply + Send + 'static) -> System {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let answer = Arc::new(Mutex::new(answer));
        let kept = asked.clone();
        let task = tokio::spawn(async move {
            // Connections end with the system.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, kept) = (answer.clone(), kept.clone());
                let service = service_fn(move |request: axum::http::Request<hyper::body::Incoming>| {
                    let (answer, kept) = (answer.clone(), kept.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = axum::body::to_bytes(Body::new(body), usize::MAX).await;
                        let asked = Asked {
                            method: parts.method.to_string(),
                            path: parts.uri.path().to_owned(),
                            query: parts.uri.query().unwrap_or_default().to_owned(),
                            headers: parts.headers,
                            body: body.map_err(std::io::Error::other)?,
                        };
                        let reply = (answer.lock().unwrap_or_else(PoisonError::into_inner))(&asked);
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
                        respond(reply)
                    }
                });
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        System { address, asked, task }
    }

    /// A system that gives these answers in order, and 500 after the last.
    pub async fn scripted(replies: impl IntoIterator<Item = Reply>) -> System {
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        System::start(move |_| replies.pop_front().unwrap_or_else(|| Reply::status(500).body("nothing more is said")))
            .await
    }

    /// `http://127.0.0.1:41234`
    pub fn url(&self) -> &str {
        &self.address
    }

    /// What was asked so far, in order.
    pub fn requests(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, as lines: `GET /orders?page=2`.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Asked::line).collect()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn respond(reply: Reply) -> Result<Response<Body>, std::io::Error> {
    if reply.lost {
        return Err(std::io::Error::other("lost"));
    }
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).expect("a status"));
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Body::from(reply.body)).expect("an answer"))
}

/// The manifest, or a panic with what is wrong.
pub fn manifest(yaml: &str) -> Arc<Manifest> {
    match read_manifest(yaml) {
        (Some(manifest), problems) if !problems.contains("error") => manifest,
        (_, problems) => panic!("{problems}"),
    }
}

/// The manifest where it can be used, and the problems as `check` shows them.
pub fn read_manifest(yaml: &str) -> (Option<Arc<Manifest>>, String) {
    let (files, environment) = (Files::default(), Environment::default());
    let file = files.add("connectors/test.yaml", yaml);
    let mut reader = Reader::new(&files, &environment);
    let mut connectors = Connectors::default();
    connectors.read_manifest(&"test".into(), file, yaml, &mut reader);
    let shown = render(&files, &reader.problems, false);
    (connectors.manifests.get("test").cloned(), shown)
}

/// A connection called `test` of this manifest; settings left out are what the manifest says.
pub fn connection(yaml: &str, settings: &[(&str, &str)]) -> Arc<Connection> {
    let manifest = manifest(yaml);
    let defaults = manifest.head.settings.iter().flatten().filter_map(|(name, kind)| {
        let Data(value) = kind.default.clone()?;
        Some((name.clone(), value))
    });
    let mut all: Map = defaults.collect();
    for (name, value) in settings {
        all.insert(*name, *value);
    }
    Arc::new(Connection::new("test".into(), manifest, all))
}

/// A hub without pipelines, by the machine's clock.
pub fn surroundings() -> Surroundings {
    conformance::surroundings(&std::env::temp_dir())
}

/// The same, by a clock that the test moves.
pub fn surroundings_at(time: &str) -> Surroundings {
    let clock = Clock::simulated(time.parse::<Timestamp>().expect("a time"));
    Surroundings { clock, ..surroundings() }
}

/// What a formula sees, owned: [`Seen::view`] lends it.
#[derive(Default)]
pub struct Seen {
    pub connection: Value,
    pub document: Value,
    pub headers: Map,
    pub locals: Map,
    pub meta: crate::formula::Meta,
}

impl Seen {
    /// The connection's settings, and this document in JSON.
    pub fn of(connection: &Connection, document: &str) -> Seen {
        let document = json::read(document.as_bytes()).expect("the document is JSON");
        Seen { connection: connection.settings.clone(), document, ..Seen::default() }
    }

    pub fn view(&self) -> super::scope::View<'_> {
        super::scope::View {
            operation: "test",
            connection: &self.connection,
            document: &self.document,
            headers: &self.headers,
            item: None,
            locals: &self.locals,
            meta: &self.meta,
            id: crate::message::MessageId::derive(&[b"test"]),
            time: Timestamp::UNIX_EPOCH,
        }
    }
}
