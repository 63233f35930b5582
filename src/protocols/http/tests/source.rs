//! Senders of all kinds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::clock::Clock;
use crate::message::{Fault, Value};
use crate::protocols::conformance::{
    self, Mood, Recorder, Running, SourcePeer, Told, bounded, read_source_yaml, read_yaml,
};
use crate::protocols::http::{Limits, Routes};
use crate::protocols::{Source, Surroundings, read_source};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

/// A hub's listener with one webhook.
struct Hub {
    address: SocketAddr,
    yaml: String,
    surroundings: Surroundings,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Hub {
    async fn start(yaml: &str) -> Hub {
        Hub::limited(yaml, Limits::default()).await
    }

    async fn limited(yaml: &str, limits: Limits) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut surroundings = conformance::surroundings(Path::new("."));
        surroundings.routes = Arc::new(Routes::new(limits));
        surroundings.clock = Clock::simulated(Timestamp::from_second(1_700_000_000).expect("a time"));
        let stop = CancellationToken::new();
        let extra =
            Router::new().route("/health", get(async || "well")).route("/large", get(async || vec![b'x'; 64 << 20]));
        let serving = tokio::spawn(surroundings.routes.clone().serve(listener, extra, stop.clone()));
        Hub { address, yaml: format!("protocol: http\npath: /in\n{yaml}"), surroundings, stop, serving }
    }

    /// The webhook, running and mounted.
    async fn run(self) -> (Arc<Hub>, Running) {
        let hub = Arc::new(self);
        let peer: Arc<dyn SourcePeer> = hub.clone();
        let running = Running::start(&peer);
        bounded("the path", async {
            while format!("{:?}", hub.surroundings.routes) == "[]" {
                sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        (hub, running)
    }

    async fn ask(&self, request: &[u8]) -> String {
        bounded("an answer", exchange(self.address, request)).await
    }
}

#[async_trait]
impl SourcePeer for Hub {
    fn open(&self) -> Result<Box<dyn Source>, Fault> {
        read_source_yaml(&self.yaml).open("test", conformance::codec(), &self.surroundings)
    }

    async fn send(&self, message: &str, _recorder: &Recorder) -> Told {
        let message = Value::from(message).to_string();
        loop {
            let answer = self.ask(&request("POST /in HTTP/1.1", &message)).await;
            match answer.split(' ').nth(1) {
                Some("202") => return Told::Accepted,
                // The source has not mounted its path yet, or no more.
                Some("404") => sleep(Duration::from_millis(5)).await,
                _ => return Told::ComeBack,
            }
        }
    }
}

/// The answer to `request`, where the webhook has the settings `yaml`: it begins with `expect`, ids left out.
async fn check(yaml: &str, request: &[u8], expect: &str) -> Vec<crate::protocols::Arrival> {
    let (hub, running) = Hub::start(yaml).await.run().await;
    let answer = short(&hub.ask(request).await);
    let recorder = running.recorder.clone();
    running.stop().await;
    assert_eq!(format!("{:?}", hub.surroundings.routes), "[]", "a stopped source leaves its path");
    let plain = without_id(&answer);
    assert!(plain.starts_with(expect), "{yaml}\nexpected: {expect}\nanswered: {plain}");
    recorder.stored()
}

/// `{"id":"6f..."` → `{"id":"*"`
fn without_id(answer: &str) -> String {
    match answer.split_once("{\"id\":\"") {
        Some((before, after)) if after.len() > 36 => format!("{before}{{\"id\":\"*{}", &after[36..]),
        _ => answer.to_owned(),
    }
}

#[tokio::test]
async fn a_webhook_passes_the_suite() {
    conformance::source(async || Hub::start("auth: none").await).await;
}

#[tokio::test]
async fn a_sender_is_told_what_became_of_its_message() {
    let post = request("POST /in?store=12 HTTP/1.1\nIdempotency-Key: k1\nX-Shop: a", "{\"n\":1.10}");
    let stored = check("", &post, r#"202 {"id":"*"}"#).await;
    assert_eq!(stored[0].body, "{\"n\":1.10}");
    assert_eq!(stored[0].position.as_deref(), Some("k1"));
    let headers = Value::Map(stored[0].headers.clone()).to_string();
    assert!(headers.contains(r#""x_shop":"a""#) && headers.contains(r#""query_store":"12""#), "{headers}");
    check("status: 200", &post, r#"200 {"id":"*"}"#).await;
    check("status: 204", &post, "204").await;
    check("", &request("PUT /in HTTP/1.1", "{}"), "202").await;
    check("methods: [POST]", &request("PUT /in HTTP/1.1", "{}"), r#"405 {"code":"HTTP-405""#).await;
    check("", &request("GET /in HTTP/1.1", ""), "405").await;
    check("", &request("POST /elsewhere HTTP/1.1", "{}"), "404").await;
    check("", &request("GET /health HTTP/1.1", ""), "200 well").await;
    let dead = check("", &request("POST /in HTTP/1.1", "{\"a\":"), r#"422 {"id":"*","code":"DECODE-JSON""#).await;
    assert_eq!(dead.len(), 1, "kept as a dead letter");
}

#[tokio::test]
async fn what_a_path_does_not_take_is_refused_before_it_is_stored() {
    let typed = |content: &str| request(&format!("POST /in HTTP/1.1\nContent-Type: {content}"), "{}");
    check("content_type: application/json", &typed("text/plain"), "415").await;
    check("content_type: application/json", &typed("Application/JSON; charset=utf-8"), "202").await;
    check("", &typed("text/plain"), "202").await;
    check("", &request("POST /in HTTP/1.1\nContent-Encoding: gzip", "{}"), "415").await;
    check("", &request(&format!("POST /in HTTP/1.1\nIdempotency-Key: {}", "k".repeat(600)), "{}"), "400").await;
    check("", &request(&format!("POST /in HTTP/1.1\nX: {}", "k".repeat(20_000)), "{}"), "431").await;
    check("", &request(&format!("POST /in HTTP/1.1\nX: {}", "k".repeat(90_000)), "{}"), "431").await;
    check("", b"this is not HTTP\r\n\r\n", "400").await;
}

#[tokio::test]
async fn a_body_is_bounded() {
    let large = "x".repeat(2000);
    // Said to be too large, and not sent: nothing of it is waited for.
    let said = request("POST /in HTTP/1.1\nContent-Length: 99999999", "");
    check("max_body: 1KB", &said, r#"413 {"code":"HTTP-413","what":"the largest body taken here is 1024 bytes"}"#)
        .await;
    // Not said, and too large all the same.
    let chunked = format!("7d0\r\n{large}\r\n0\r\n\r\n");
    let chunked =
        format!("POST /in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunked}");
    check("max_body: 1KB", chunked.as_bytes(), "413").await;
    check("max_body: 2KB", chunked.as_bytes(), "422").await;
    check("max_body: 1KB", b"POST /in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400").await;
}

#[tokio::test]
async fn only_who_proves_itself_comes_in() {
    let auth = "auth: { hmac: { secret: '${TEST_SECRET}', header: X-Sig, prefix: sha256=, signed: '{timestamp}.{body}', \
                timestamp: { header: X-Time } } }";
    // printf '1700000000.{}' | openssl dgst -sha256 -hmac s3cret
    let right = "97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf";
    let signed = |time: i64, signature: &str, body: &str| {
        request(&format!("POST /in HTTP/1.1\nX-Time: {time}\nX-Sig: sha256={signature}"), body)
    };
    check(auth, &signed(1_700_000_000, right, "{}"), "202").await;
    for (time, signature, body) in [
        (1_700_000_000, right, "{ }"),
        (1_700_000_000, &right.replace('9', "8"), "{}"),
        (1_700_000_000, "", "{}"),
        (1_600_000_000, right, "{}"),
        // printf '1600000000.{}' | openssl dgst -sha256 -hmac s3cret: right, and years old.
        (1_600_000_000, "27ea0c444df424d4e9bdb205d272b4d5517671648a24442a5c6cdc22275b7048", "{}"),
    ] {
        let stored = check(auth, &signed(time, signature, body), r#"401 {"code":"HTTP-401""#).await;
        assert!(stored.is_empty());
    }
    let basic = "auth: { basic: { user: shop, password: '${TEST_SECRET}' } }";
    check(basic, &request("POST /in HTTP/1.1\nAuthorization: Basic c2hvcDpzM2NyZXQ=", "{}"), "202").await;
    check(basic, &request("POST /in HTTP/1.1", "{}"), "401").await;
    let key = "auth: { api_key: { header: X-Key, key: '${TEST_SECRET}' } }";
    let stored = check(key, &request("POST /in HTTP/1.1\nX-Key: s3cret", "{}"), "202").await;
    assert!(!format!("{:?}", stored[0]).contains("s3cret"), "the key is not kept");
}

#[tokio::test]
async fn a_repeat_hears_its_first_id_and_a_conflict_its_cause() {
    let (hub, running) = Hub::start("").await.run().await;
    let post = |body: &str| request("POST /in HTTP/1.1\nIdempotency-Key: k1", body);
    let first = short(&hub.ask(&post("{}")).await);
    let repeat = short(&hub.ask(&post("{}")).await);
    assert_eq!(repeat, first.replace("202", "200"), "the same id");
    let conflict = short(&hub.ask(&post("[]")).await);
    assert!(conflict.starts_with("409") && conflict.contains("another content"), "{conflict}");
    running.recorder.set(Mood::Refuse);
    let full = hub.ask(&post("{}")).await.to_lowercase();
    assert!(full.starts_with("http/1.1 503") && full.contains("retry-after: 7\r\n"), "{full}");
    running.stop().await;
}

#[tokio::test]
async fn a_slow_sender_is_cut_and_the_next_is_served() {
    let limits = Limits { head: Duration::from_millis(200), connections: 1, ..Limits::default() };
    let (hub, running) = Hub::limited("read_timeout: 200ms", limits).await.run().await;
    let mut slow_head = TcpStream::connect(hub.address).await.expect("it connects");
    let drip = async {
        while slow_head.write_all(b"P").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    bounded("the end of a slow head", drip).await;
    let mut slow_body = TcpStream::connect(hub.address).await.expect("it connects");
    slow_body.write_all(&request("POST /in HTTP/1.1\nContent-Length: 1000", "")).await.expect("the head passes");
    let (mut from, mut to) = slow_body.split();
    let drip = async {
        while to.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut answer = Vec::new();
    let reading = async {
        let _ = from.read_to_end(&mut answer).await;
    };
    bounded("the end of a slow body", async {
        tokio::select! { () = drip => {}, () = reading => {} }
    })
    .await;
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    drop(slow_body);
    let idle = TcpStream::connect(hub.address).await.expect("it connects");
    let answer = short(&hub.ask(&request("POST /in HTTP/1.1", "{}")).await);
    assert!(answer.starts_with("202"), "one place, and nobody keeps it: {answer}");
    drop(idle);
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let limits = Limits { write: Duration::from_millis(200), connections: 1, ..Limits::default() };
    let (hub, running) = Hub::limited("", limits).await.run().await;
    let mut deaf = TcpStream::connect(hub.address).await.expect("it connects");
    deaf.write_all(&request("GET /large HTTP/1.1", "")).await.expect("it asks");
    let answer = short(&hub.ask(&request("POST /in HTTP/1.1", "{}")).await);
    assert!(answer.starts_with("202"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn bodies_together_are_bounded() {
    let limits = Limits { bodies: 1000, ..Limits::default() };
    let (hub, running) = Hub::limited("", limits).await.run().await;
    let mut half = TcpStream::connect(hub.address).await.expect("it connects");
    half.write_all(&request("POST /in HTTP/1.1\nContent-Length: 1000", &" ".repeat(900))).await.expect("it begins");
    let post = request("POST /in HTTP/1.1", &format!("{{{}}}", " ".repeat(200)));
    bounded("a refusal", async {
        while !short(&hub.ask(&post).await).starts_with("503") {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(half);
    bounded("room again", async {
        while !short(&hub.ask(&post).await).starts_with("202") {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_sender_may_close_its_side_before_it_is_answered() {
    let (hub, running) = Hub::start("").await.run().await;
    running.recorder.set(Mood::Hold);
    let mut one_way = TcpStream::connect(hub.address).await.expect("it connects");
    one_way.write_all(&request("POST /in HTTP/1.1", "{}")).await.expect("it sends");
    one_way.shutdown().await.expect("it closes its side");
    running.recorder.until("the message is on its way", |state| state.waiting == 1).await;
    sleep(Duration::from_millis(50)).await;
    running.recorder.set(Mood::Accept);
    let answer = short(&bounded("the answer", heard(&mut one_way)).await);
    assert!(answer.starts_with("202"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn an_intake_is_whole_even_where_its_sender_is_cut() {
    let limits = Limits { stop: Duration::from_millis(50), ..Limits::default() };
    let (hub, running) = Hub::limited("", limits).await.run().await;
    running.recorder.set(Mood::Hold);
    let mut sender = TcpStream::connect(hub.address).await.expect("it connects");
    sender.write_all(&request("POST /in HTTP/1.1", "{}")).await.expect("it sends");
    running.recorder.until("the message is on its way", |state| state.waiting == 1).await;
    hub.stop.cancel();
    assert_eq!(bounded("the cut", heard(&mut sender)).await, "", "the listener does not wait for ever");
    let recorder = running.recorder.clone();
    let stopping = tokio::spawn(running.stop());
    sleep(Duration::from_millis(50)).await;
    assert!(!stopping.is_finished(), "a source ends after its intake");
    recorder.set(Mood::Accept);
    stopping.await.expect("it stops");
    assert_eq!(recorder.stored().len(), 1, "what was begun is stored");
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_takes_no_more() {
    let (hub, running) = Hub::start("").await.run().await;
    running.recorder.set(Mood::Hold);
    let asking = tokio::spawn({
        let hub = hub.clone();
        async move { short(&hub.ask(&request("POST /in HTTP/1.1", "{}")).await) }
    });
    running.recorder.until("a request on its way", |state| state.waiting == 1).await;
    hub.stop.cancel();
    bounded("the listener's end", async {
        while TcpStream::connect(hub.address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!hub.serving.is_finished(), "a request is on its way");
    running.recorder.set(Mood::Accept);
    let answer = bounded("the answer", asking).await.expect("no panic");
    assert!(answer.starts_with("202"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn the_next_version_takes_over_without_a_gap() {
    let (hub, old) = Hub::start("").await.run().await;
    let peer: Arc<dyn SourcePeer> = hub.clone();
    let new = Running::start(&peer);
    let (mut asked, mut old) = (0, Some(old));
    while asked < 50 || new.recorder.stored().is_empty() {
        let answer = short(&hub.ask(&request("POST /in HTTP/1.1", "{}")).await);
        assert!(answer.starts_with("202"), "{answer}");
        asked += 1;
        if asked == 25
            && let Some(old) = old.take()
        {
            old.stop().await;
        }
    }
    new.stop().await;
}

#[tokio::test]
async fn a_body_on_its_way_reaches_a_path_that_stops() {
    let (hub, old) = Hub::start("").await.run().await;
    let recorder = old.recorder.clone();
    let mut sender = TcpStream::connect(hub.address).await.expect("it connects");
    let request = request("POST /in HTTP/1.1", r#"{"n":1}"#);
    let (begun, rest) = request.split_at(request.len() - 5);
    sender.write_all(begun).await.expect("it sends");
    sleep(Duration::from_millis(50)).await;
    let stopping = tokio::spawn(old.stop());
    sleep(Duration::from_millis(50)).await;
    sender.write_all(rest).await.expect("it sends");
    let answer = short(&bounded("the answer", heard(&mut sender)).await);
    assert!(answer.starts_with("202"), "{answer}");
    stopping.await.expect("it stops");
    assert_eq!(recorder.stored().len(), 1);
}

#[tokio::test]
async fn a_question_is_answered_in_time_or_by_the_fallback() {
    let question = request("POST /in HTTP/1.1", r#"{"card":"12"}"#);
    let reply = "reply: { within: 5s }";
    assert!(check(reply, &question, r#"200 {"card":"12"}"#).await.is_empty(), "nothing is stored");
    check(reply, &request("GET /in?card=12&tag=a&tag=b HTTP/1.1", ""), r#"200 {"card":"12","tag":["a","b"]}"#).await;
    check(reply, &request("POST /in HTTP/1.1", "{"), r#"422 {"code":"DECODE-JSON""#).await;
    let fallback = "reply: { within: 100ms, otherwise: { found: 'no' } }";
    check(fallback, &request("POST /in HTTP/1.1", "{"), r#"200 {"found":"no"}"#).await;
    for (yaml, expect) in [(fallback, r#"200 {"found":"no"}"#), ("reply: { within: 100ms }", "504")] {
        let (hub, running) = Hub::start(yaml).await.run().await;
        running.recorder.set(Mood::Hold);
        let answer = hub.ask(&question).await;
        assert!(short(&answer).starts_with(expect), "{answer}");
        assert_eq!(answer.contains("x-raccord-fallback: true"), expect.starts_with("200"), "{answer}");
        running.recorder.set(Mood::Refuse);
        let answer = short(&hub.ask(&question).await);
        let expect = if expect.starts_with("200") { expect } else { "503" };
        assert!(answer.starts_with(expect), "{answer}");
        running.stop().await;
    }
}

/// The problems of a source's settings hold `expect`.
fn check_problems(yaml: &str, expect: &str) {
    let problems = read_yaml(&format!("protocol: http\n{yaml}"), read_source).err().unwrap_or_default();
    assert!(problems.contains(expect), "{yaml}\nexpected: {expect}\n{problems}");
}

#[test]
fn wrong_settings_are_explained() {
    check_problems("path: orders", "is not a path such as `/orders`");
    check_problems("path: /metrics", "`/metrics` belongs to the hub itself");
    check_problems("path: /in\nmethods: [GET]", "works with `reply` only");
    check_problems("path: /in\nauth: nobody", "unknown word `nobody`");
    check_problems(
        "path: /in\nauth: { hmac: { secret: '${TEST_SECRET}', header: S, timestamp: { header: T } } }",
        "old message",
    );
    // A warning alone is no error, and shows beside one.
    check_problems("path: /in\nmax_bodi: 1MB", "anybody who reaches the hub may send to /in");
    let missing = read_yaml("protocol: htp\n", read_source).expect_err("no such protocol");
    assert!(missing.contains("did you mean `http`?"), "{missing}");
}
