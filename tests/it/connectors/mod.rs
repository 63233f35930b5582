//! Connected systems that behave badly, and the built hub between them: nothing lost, nothing doubled, counted at the system.
//!
//! What an operation does about each fault by itself is tested beside it (`src/connectors`).

mod edits;
mod faults;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::harness::{Folder, wait_for};

/// A request a system got.
#[derive(Clone, Debug)]
struct Asked {
    /// `POST /orders`
    line: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What a system answers.
#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// The request was taken and the connection breaks.
    lost: bool,
}

fn json(body: impl ToString) -> Reply {
    Reply {
        status: 200,
        headers: vec![("content-type", "application/json".into())],
        body: body.to_string(),
        lost: false,
    }
}

fn status(status: u16) -> Reply {
    Reply { status, ..json("{}") }
}

/// A system on loopback that answers as told and keeps what it was asked.
struct System {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl System {
    async fn start(answer: impl FnMut(&Asked) -> Reply + Send + 'static) -> System {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (kept, answer) = (asked.clone(), Arc::new(Mutex::new(answer)));
        let all = move |request: Request| {
            let (kept, answer) = (kept.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
                let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                };
                let asked = Asked {
                    line: format!("{} {}", parts.method, parts.uri.path()),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    headers: parts.headers.iter().map(header).collect(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                let reply = (answer.lock().expect("no answer panics"))(&asked);
                kept.lock().expect("no test panics while holding them").push(asked);
                respond(reply)
            }
        };
        let router = Router::new().fallback(all);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("loopback serves") });
        System { url, asked, task }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics while holding them").clone()
    }

    /// What was asked with this line so far.
    fn lines(&self, line: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.line == line).collect()
    }

    /// Waits until this was asked so often.
    #[track_caller]
    fn asked_times(&self, line: &str, times: usize) -> impl Future<Output = ()> {
        let (asked, line) = (self.asked.clone(), line.to_owned());
        wait_for(format!("{times} times {line}"), move || {
            let asked = asked.lock().expect("no test panics while holding them");
            (asked.iter().filter(|asked| asked.line == line).count() >= times).then_some(())
        })
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn respond(reply: Reply) -> Response<Body> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let body = match reply.lost {
        // A body that breaks off: the connection is closed before its length.
        true => {
            response = response.header("content-length", "100");
            Body::from_stream(tokio_stream_of_error())
        }
        false => Body::from(reply.body),
    };
    response.body(body).expect("an answer")
}

fn tokio_stream_of_error() -> impl futures_util::Stream<Item = Result<String, std::io::Error>> {
    futures_util::stream::iter([Err(std::io::Error::other("lost"))])
}

/// A hub with these manifests and a connection of the same name to each system, and pipelines.
fn hub(name: &str, systems: &[(&str, &str, &System)], pipelines: &[(&str, &str)]) -> Folder {
    let folder = Folder::hub(name, pipelines);
    for (name, manifest, system) in systems {
        folder.write(&format!("connectors/{name}.yaml"), manifest);
        folder.write(&format!("config/connections/{name}.yaml"), format!("system: {name}\nurl: {}\n", system.url));
    }
    folder
}

/// The dead letters of a hub, each as `PIPELINE CODE`.
fn dead(folder: &Folder) -> Vec<String> {
    let listed = folder.asked(&["dead", "list"]);
    let word = |letter: &Value, name: &str| letter[name].as_str().unwrap_or_default().to_owned();
    let letters = listed.as_array().cloned().unwrap_or_default();
    letters.iter().map(|letter| format!("{} {}", word(letter, "pipeline"), word(letter, "code"))).collect()
}

/// The id of the only dead letter, once there is one.
async fn the_dead(folder: &Folder) -> String {
    wait_for("a dead letter", || {
        let listed = folder.asked(&["dead", "list"]);
        let letters = listed.as_array().cloned().unwrap_or_default();
        assert!(letters.len() < 2, "{letters:#?}");
        letters.first().and_then(|letter| letter["id"].as_str().map(str::to_owned))
    })
    .await
}
