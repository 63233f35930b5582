//! Systems that call the hub over loopback: signed rightly and not, twice, several at once, unreadable.

use std::io::Write;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::connectors::manifest::Operation;
use crate::connectors::testing::{Reply as Says, System, connection, surroundings_at};
use crate::protocols::conformance::{Mood, Recorder, codec};

const NOW: &str = "2026-11-02T10:00:00Z";

const HEAD: &str = "
system: Test
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
  secret: { type: secret, default: s3cret }
operations:
  changed:
    kind: listen
";

const SIGNED: &str = "
    auth:
      hmac:
        secret: $connection.secret
        header: X-Sig
        signed: '{timestamp}.{body}'
        timestamp_header: X-Time
        tolerance: 5m
";

fn source(operation: &str, url: &str) -> ListenSource {
    let connection = connection(&format!("{HEAD}{operation}"), &[("url", url)]);
    let Operation::Listen(listen) = connection.manifest.operations["changed"].clone() else { panic!("a listen") };
    ListenSource { connection, operation: "changed".into(), listen, path: RoutePath("/hooks/test/changed".into()) }
}

/// A hub's listener with one web hook.
struct Hub {
    url: String,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    client: reqwest::Client,
}

impl Hub {
    async fn start(operation: &str) -> Hub {
        Hub::beside(operation, "http://127.0.0.1:1").await
    }

    /// Beside a system at `url`.
    async fn beside(operation: &str, url: &str) -> Hub {
        let around = surroundings_at(NOW);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url_here = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (stop, recorder) = (CancellationToken::new(), Arc::new(Recorder::default()));
        let serving = tokio::spawn(around.routes.clone().serve(listener, axum::Router::new(), stop.clone()));
        let mut source = source(operation, url).open("articles", codec(), &around).expect("it opens");
        let receiver: Arc<dyn Receiver> = recorder.clone();
        source.begin(&receiver, &stop);
        let running = {
            let stop = stop.clone();
            tokio::spawn(async move { source.run(receiver, stop).await.expect("it runs until it is stopped") })
        };
        http::install_tls();
        let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().expect("a client");
        Hub { url: format!("{url_here}/hooks/test/changed"), recorder, stop, tasks: vec![serving, running], client }
    }

    async fn ask(&self, request: RequestBuilder) -> (u16, String) {
        let answer = request.send().await.expect("the hub answers");
        (answer.status().as_u16(), answer.text().await.expect("it ends"))
    }

    async fn post(&self, body: &str) -> u16 {
        self.ask(self.client.post(&self.url).body(body.to_owned())).await.0
    }

    /// Sends `body` as signed at `time`.
    async fn signed(&self, body: &str, time: &str, secret: &[u8]) -> u16 {
        let seconds = time.parse::<Timestamp>().expect("a time").as_second().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
        mac.update(format!("{seconds}.{body}").as_bytes());
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = self.client.post(&self.url).header("x-time", seconds).header("x-sig", signature);
        self.ask(request.body(body.to_owned())).await.0
    }

    /// The documents that were stored, and the codes of dead letters.
    fn stored(&self) -> Vec<String> {
        let show = |arrival: Arrival| match arrival.fault {
            Some(fault) => format!("{} {}", fault.code(), String::from_utf8_lossy(&arrival.body)),
            None => arrival.document.expect("a document").to_string(),
        };
        self.recorder.stored().into_iter().map(show).collect()
    }

    async fn end(self) -> Vec<String> {
        let stored = self.stored();
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("it ends well");
        }
        stored
    }
}

/// What the log says while a test holds it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no test panics here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn held(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(move || log.clone()).finish())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no test panics here")).into_owned()
    }
}

#[tokio::test]
async fn only_what_the_system_signed_now_is_taken() {
    let hub = Hub::start(&format!("{SIGNED}    id: $item.id\n")).await;
    assert_eq!(hub.signed(r#"{"id":1}"#, NOW, b"s3cret").await, 200);
    assert_eq!(hub.signed(r#"{"id":2}"#, "2026-11-02T09:55:01Z", b"s3cret").await, 200);
    assert_eq!(hub.signed(r#"{"id":3}"#, NOW, b"another").await, 401);
    assert_eq!(hub.post(r#"{"id":4}"#).await, 401, "no signature");
    assert_eq!(hub.signed(r#"{"id":5}"#, "2026-11-01T10:00:00Z", b"s3cret").await, 401, "a recording");
    // Within the time it holds, a recording is the same event.
    assert_eq!(hub.signed(r#"{"id":1}"#, NOW, b"s3cret").await, 200);
    assert_eq!(hub.end().await, [r#"{"id":1}"#, r#"{"id":2}"#]);
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_told_in_the_log() {
    let (log, hub) = (Log::default(), Hub::start(SIGNED).await);
    let held = log.held();
    assert_eq!(hub.signed("{}", "2026-11-02T09:00:00Z", b"s3cret").await, 401);
    assert!(log.text().contains("its time is 3600 s behind the hub's clock"), "{}", log.text());
    assert!(!log.text().contains("s3cret"));
    drop(held);
    assert!(hub.end().await.is_empty());
}

#[tokio::test]
async fn an_event_sent_twice_is_one_message() {
    let hub = Hub::start("    id: $item.id\n    status: 204\n").await;
    for body in [r#"{"id":1,"v":1}"#, r#"{"id":1,"v":1}"#, r#"{"id":2,"v":1}"#] {
        assert_eq!(hub.post(body).await, 204);
    }
    let handed: Vec<_> = hub.recorder.handed().into_iter().filter_map(|arrival| arrival.position).collect();
    assert_eq!(handed, ["1", "1", "2"]);
    assert_eq!(hub.end().await.len(), 2);
    let hub = Hub::start("").await;
    for body in [r#"{"v":1}"#, r#"{ "v": 1 }"#, r#"{"v":2}"#] {
        assert_eq!(hub.post(body).await, 200);
    }
    assert_eq!(hub.end().await, [r#"{"v":1}"#, r#"{"v":2}"#], "known by its content");
}

#[tokio::test]
async fn a_body_holds_several_events() {
    let operation = "
    items: $.events
    keep: $item.type == 'article'
    id: $item.id
    document: { article: $item.id, shop: $.shop, at: $headers.x_shop }
";
    let hub = Hub::start(operation).await;
    let body = r#"{"shop":"web","events":[{"type":"article","id":1},{"type":"order","id":2},{"type":"article"},{"type":"article","id":3}]}"#;
    let (status, said) = hub.ask(hub.client.post(&hub.url).header("x-shop", "a").body(body)).await;
    assert_eq!((status, said.as_str()), (200, ""));
    assert_eq!(hub.post(r#"{"shop":"web","events":[{"type":"order","id":2}]}"#).await, 200);
    assert_eq!(hub.post(r#"{"shop":"web","events":7}"#).await, 200);
    let stored = hub.end().await;
    assert_eq!(
        stored,
        [
            r#"{"article":1,"shop":"web","at":"a"}"#,
            r#"FORMULA-MISSING {"raccord:item":{"type":"article"}}"#,
            r#"{"article":3,"shop":"web","at":"a"}"#,
            r#"CONNECTOR-EVENTS {"shop":"web","events":7}"#,
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_the_sender_need_not_know() {
    let hub = Hub::start("").await;
    assert_eq!(hub.post("<html>").await, 200);
    let form = hub.client.post(&hub.url).header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(hub.ask(form.body("id=7&tag=a&tag=b+c")).await.0, 200);
    hub.recorder.set(Mood::Refuse);
    assert_eq!(hub.post("{}").await, 503, "nothing was stored");
    assert_eq!(hub.end().await, ["DECODE-JSON <html>", r#"{"id":"7","tag":["a","b c"]}"#]);
}

#[tokio::test]
async fn a_challenge_is_answered_and_not_stored() {
    let operation = "
    auth: { api_key: { header: X-Key, value: $connection.secret } }
    challenge:
      when: $.token == $connection.secret
      answer: $.challenge
";
    let hub = Hub::start(operation).await;
    let get = |query: &str| hub.client.get(format!("{}?{query}", hub.url));
    assert_eq!(hub.ask(get("token=s3cret&challenge=abc")).await, (200, "abc".to_owned()));
    assert_eq!(hub.ask(get("token=wrong&challenge=abc")).await.0, 405);
    assert_eq!(hub.ask(get("challenge=abc")).await.0, 405);
    let post = |key: &'static str, body: &'static str| hub.client.post(&hub.url).header("x-key", key).body(body);
    let question = r#"{"token":"s3cret","challenge":{"n":1}}"#;
    assert_eq!(hub.ask(post("s3cret", question)).await, (200, r#"{"n":1}"#.to_owned()));
    assert_eq!(hub.ask(post("wrong", question)).await.0, 401, "the proof comes first");
    assert_eq!(hub.ask(post("s3cret", r#"{"n":2}"#)).await, (200, String::new()));
    let headers = hub.recorder.stored()[0].headers.clone();
    assert!(!Value::Map(headers).to_string().contains("s3cret"));
    assert_eq!(hub.end().await, [r#"{"n":2}"#]);
}

#[tokio::test]
async fn an_event_that_cannot_be_completed_comes_again() {
    let system = System::scripted([
        Says::status(503),
        Says::lost(),
        Says::lost(),
        Says::json(r#"{"id":7,"name":"Lamp"}"#),
        Says::status(422),
    ])
    .await;
    let operation = "
    id: $item.event
    calls:
      - name: article
        request: { get: \"=concat('/articles/', url($item.id))\" }
    document: { article: $calls.article, event: $item.event }
";
    let hub = Hub::beside(operation, system.url()).await;
    let mut refused = 0;
    while hub.post(r#"{"event":"e1","id":7}"#).await == 503 {
        refused += 1;
        assert!(hub.stored().is_empty() && refused < 4, "{:?}", system.lines());
    }
    assert!(refused >= 1);
    while system.requests().len() < 4 {
        // The lost answers were asked for again by the client itself.
        assert_eq!(hub.post(r#"{"event":"e1","id":7}"#).await, 200);
    }
    assert_eq!(hub.post(r#"{"event":"e2","id":8}"#).await, 200, "never to be completed: a dead letter");
    let stored = hub.end().await;
    assert_eq!(stored, [r#"{"article":{"id":7,"name":"Lamp"},"event":"e1"}"#, r#"HTTP-422 {"event":"e2","id":8}"#]);
}

#[tokio::test]
async fn what_proves_nothing_is_told() {
    let told = |auth: &str| match source(auth, "http://127.0.0.1:1").http() {
        Ok(_) => "well".to_owned(),
        Err(fault) => fault.sentence(),
    };
    assert_eq!(told(SIGNED), "well");
    let sign = |rest: &str| format!("    auth: {{ hmac: {{ secret: $connection.secret, header: X-Sig{rest} }} }}\n");
    assert!(told(&sign(", signed: '{time}'")).contains("placeholders"));
    assert!(told(&sign(", signed: '{timestamp}'")).contains("no `{body}`"));
    assert!(told(&sign(", timestamp_header: X-Time")).contains("no `{timestamp}`"));
    assert!(told("    auth: { bearer: '' }\n").contains("is empty"));
    assert!(told("    auth: { api_key: { query: key, value: $connection.secret } }\n").contains("`header`"));
    assert!(told("    status: 302\n").contains("200 to 299"));
}
