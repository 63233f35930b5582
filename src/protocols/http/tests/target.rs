//! Peers that misbehave.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::message::{Fault, Next, Text, Value};
use crate::protocols::conformance::{
    self, Behaviour, Taken, TargetPeer, bounded, deliver_document, delivery, read_target_yaml, read_yaml,
};
use crate::protocols::{Surroundings, Target, read_target};

/// A server that reads a request and then does as told.
struct Peer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    alive: Mutex<CancellationToken>,
}

#[derive(Clone)]
enum Script {
    /// Answers these bytes and closes.
    Says(String),
    /// One byte at a time, slowly.
    Drips(String),
    /// 200, and a body without end.
    Floods,
    Hangs,
}

struct State {
    script: Script,
    /// Heads and bodies of the requests.
    requests: Vec<(String, String)>,
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

impl Peer {
    async fn start(script: Script) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State { script, requests: Vec::new() }));
        let peer = Peer { address, state, alive: Mutex::default() };
        peer.listen(listener);
        peer
    }

    fn listen(&self, listener: TcpListener) {
        let alive = CancellationToken::new();
        *self.alive.lock().expect("no panic") = alive.clone();
        let state = self.state.clone();
        tokio::spawn(alive.run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("it accepts");
                tokio::spawn(serve(stream, state.clone()));
            }
        }));
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.state.lock().expect("no panic").requests.clone()
    }

    fn settings(&self, more: &str) -> String {
        format!("protocol: http\nurl: http://{}/orders\ntimeout: 300ms\n{more}", self.address)
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let (mut head, mut body) = (Vec::new(), Vec::new());
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    body.resize(length.parse().expect("a length"), 0);
    if stream.read_exact(&mut body).await.is_err() {
        return;
    }
    let script = {
        let mut state = state.lock().expect("no panic");
        state.requests.push((head, String::from_utf8_lossy(&body).into_owned()));
        state.script.clone()
    };
    match script {
        Script::Says(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        Script::Drips(bytes) => {
            for byte in bytes.bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Script::Floods => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
        }
        // Until the other side gives up.
        Script::Hangs => drop(heard(&mut stream).await),
    }
}

#[async_trait]
impl TargetPeer for Peer {
    fn open(&self) -> Result<Arc<dyn Target>, Fault> {
        open(&self.settings(""))
    }

    async fn behave(&self, behaviour: Behaviour) -> bool {
        let script = match behaviour {
            Behaviour::Well => Script::Says(OK.to_owned()),
            Behaviour::Refuse => Script::Says(answer(422, "no such article")),
            Behaviour::Slow => Script::Hangs,
            Behaviour::Down => {
                self.alive.lock().expect("no panic").cancel();
                // Down is when nobody accepts any more.
                while TcpStream::connect(self.address).await.is_ok() {
                    sleep(Duration::from_millis(5)).await;
                }
                return true;
            }
        };
        self.state.lock().expect("no panic").script = script;
        if self.alive.lock().expect("no panic").is_cancelled() {
            let listener = TcpListener::bind(self.address).await.expect("its port is still free");
            self.listen(listener);
        }
        true
    }

    async fn taken(&self) -> Vec<Taken> {
        let well = matches!(self.state.lock().expect("no panic").script, Script::Says(ref said) if said == OK);
        let key = |head: &str| head.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned));
        let taken = |(head, text): (String, String)| Taken { key: key(&head).unwrap_or_default(), text };
        if well { self.requests().into_iter().map(taken).collect() } else { Vec::new() }
    }
}

fn surroundings() -> Surroundings {
    let mut surroundings = conformance::surroundings(Path::new("."));
    surroundings.clock = Clock::simulated(Timestamp::from_second(1_700_000_000).expect("a time"));
    surroundings
}

fn open(yaml: &str) -> Result<Arc<dyn Target>, Fault> {
    read_target_yaml(yaml).open("test.to.peer", conformance::codec(), &surroundings())
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// What a delivery to a peer with this script comes to: `Ok 200 OK`, or `next fault`.
async fn outcome(script: Script, settings: &str) -> String {
    let peer = Peer::start(script).await;
    let target = open(&peer.settings(settings)).expect("the target opens");
    shown(bounded("an outcome", target.deliver(&delivery(&*target, 1))).await)
}

fn shown(outcome: Result<Option<Text>, Fault>) -> String {
    match outcome {
        Ok(said) => format!("ok {}", said.unwrap_or_default()),
        Err(fault) => match fault.next() {
            Next::Retry { after: Some(after) } => format!("retry after {after:?} {fault}"),
            Next::Retry { after: None } => format!("retry {fault}"),
            Next::Reconnect => format!("reconnect {fault}"),
            Next::Refuse => format!("refuse {fault}"),
            Next::Misconfigured => format!("misconfigured {fault}"),
        },
    }
}

async fn check(script: Script, expect: &str) {
    let shown = outcome(script, "").await;
    assert!(shown.starts_with(expect), "expected: {expect}\nshown: {shown}");
}

async fn says(answer: impl Into<String>, expect: &str) {
    check(Script::Says(answer.into()), expect).await;
}

#[tokio::test]
async fn a_target_passes_the_suite() {
    conformance::target(async || Peer::start(Script::Hangs).await).await;
}

#[tokio::test]
async fn every_status_says_what_to_do() {
    says(OK, "ok 200 OK").await;
    says("HTTP/1.1 204 No Content\r\n\r\n", "ok 204").await;
    says(answer(400, "line 3\r\nis wrong"), "refuse HTTP-400: answered 400 Bad Request: line 3  is wrong").await;
    says(answer(418, ""), "refuse HTTP-4XX: answered 418").await;
    says(
        answer(422, &"é".repeat(9000)),
        &format!("refuse HTTP-422: answered 422 Unprocessable Entity: {}", "é".repeat(300)),
    )
    .await;
    says(answer(401, ""), "misconfigured HTTP-401").await;
    says(answer(403, "no"), "misconfigured HTTP-403: answered 403 Forbidden (correct the credential in `auth`): no")
        .await;
    for (status, code) in
        [(408, "HTTP-408"), (425, "HTTP-425"), (429, "HTTP-429"), (500, "HTTP-500"), (599, "HTTP-5XX")]
    {
        says(answer(status, ""), &format!("retry {code}: answered {status}")).await;
    }
    let later = |when: &str| answer(503, "").replace("Connection", &format!("Retry-After: {when}\r\nConnection"));
    says(later("120"), "retry after 120s HTTP-503").await;
    // One minute after the hub's own time.
    says(later("Tue, 14 Nov 2023 22:14:20 GMT"), "retry after 60s HTTP-503").await;
    says(later("Tue, 14 Nov 2000 22:14:20 GMT"), "retry after 0ns HTTP-503").await;
    says(later("99999999"), "retry after 3600s HTTP-503").await;
    says(later("soon"), "retry HTTP-503").await;
    let moved = answer(302, "").replace("Connection", "Location: https://elsewhere.example/\r\nConnection");
    says(moved, "misconfigured HTTP-REDIRECT: answered 302 Found to https://elsewhere.example/").await;
}

#[tokio::test]
async fn a_peer_that_misbehaves_delays_and_harms_nothing() {
    check(Script::Hangs, "retry HTTP-TIMEOUT").await;
    check(Script::Drips(OK.to_owned()), "retry HTTP-TIMEOUT").await;
    check(Script::Drips(answer(200, &"x".repeat(500))), "retry HTTP-TIMEOUT").await;
    says("", "retry HTTP-BROKEN").await;
    says("SSH-2.0-OpenSSH_9.2\r\n", "retry HTTP-BROKEN").await;
    says("HTTP/1.1 200", "retry HTTP-BROKEN").await;
    // Accepted, they say, and are gone before they have said all: the same key makes a repeat harmless.
    says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", "retry HTTP-BROKEN").await;
    check(Script::Floods, "ok 200 OK").await;
    says(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", "x: y\r\n".repeat(100_000)), "retry HTTP-BROKEN").await;
    let nobody = open("protocol: http\nurl: http://127.0.0.1:1/").expect("it opens");
    let shown = shown(nobody.deliver(&delivery(&*nobody, 1)).await);
    assert!(shown.starts_with("reconnect HTTP-CONNECT: http://127.0.0.1:1 cannot be reached"), "{shown}");
}

#[tokio::test]
async fn a_request_carries_what_was_prepared() {
    let peer = Peer::start(Script::Says(OK.to_owned())).await;
    let settings = "method: PUT\nheaders: { X-Name: $.name, Content-Type: text/x-order }\nidempotency: X-Id\n\
                    auth: { bearer: { token: '${TEST_SECRET}' } }";
    let target = open(&peer.settings(settings)).expect("it opens");
    let prepared = delivery(&*target, 7);
    assert!(!format!("{prepared:?}").contains("s3cret"), "credentials are not stored");
    target.deliver(&prepared).await.expect("it is delivered");
    let (head, body) = peer.requests().remove(0);
    assert_eq!(body, r#"{"name":"order-7"}"#);
    assert!(head.starts_with("put /orders http/1.1\r\n"), "{head}");
    for line in ["x-name: order-7", "content-type: text/x-order", "authorization: bearer s3cret"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    assert!(head.contains(&format!("x-id: {}\r\n", prepared.id)), "{head}");
}

#[tokio::test]
async fn a_signed_request_is_what_a_source_admits() {
    let auth = "auth: { hmac: { secret: '${TEST_SECRET}', header: Sig, prefix: v1=, signed: '{timestamp}.{body}', \
                timestamp: { header: Sig, prefix: t= } } }";
    let peer = Peer::start(Script::Says(OK.to_owned())).await;
    let target = open(&peer.settings(auth)).expect("it opens");
    target.deliver(&delivery(&*target, 1)).await.expect("it is delivered");
    let (head, _) = peer.requests().remove(0);
    // printf '1700000000.{"name":"order-1"}' | openssl dgst -sha256 -hmac s3cret
    assert!(
        head.contains("sig: t=1700000000,v1=74ab971c6ad380b0405e433ff2a04bcfda7b29c4e574d0d2962a3b7d593edd5b\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_message_cannot_forge_headers() {
    let peer = Peer::start(Script::Says(OK.to_owned())).await;
    let target = open(&peer.settings("headers: { X-Name: $.name }")).expect("it opens");
    let prepare = |name: Value| {
        let document = Value::Map([("name", name)].into_iter().collect());
        deliver_document(&*target, 1, &document).map(|_| ()).expect_err("it is refused").to_string()
    };
    assert!(prepare("a\r\nX-Evil: 1".into()).contains("HTTP-HEADER: header X-Name cannot hold a line break"));
    assert!(prepare(Value::List(vec![])).contains("header X-Name cannot be a list"));
}

/// The problems of a target's settings hold `expect`.
fn check_problems(yaml: &str, expect: &str) {
    let problems = read_yaml(&format!("protocol: http\n{yaml}"), read_target).err().unwrap_or_default();
    assert!(problems.contains(expect), "{yaml}\nexpected: {expect}\n{problems}");
}

#[test]
fn wrong_settings_are_explained() {
    check_problems("url: erp.example/orders", "not the address of a web server");
    check_problems("url: ftp://erp.example/", "not the address of a web server");
    check_problems("url: http://h/\nheaders: { Authorization: x }", "credentials belong in `auth`");
    check_problems("url: http://h/\nheaders: { Content-Length: 3 }", "set by the hub itself");
    check_problems("url: http://h/\nheaders: { 'a b': 3 }", "not the name of a header");
    check_problems("url: http://h/\ntls: { certificate: a.pem }", "`tls.key` is missing");
    check_problems("url: http://h/\nproxy: nowhere", "is not an address such as `http://proxy.example:3128`");
    check_problems("url: http://user:word@h/", "they belong in `auth`");
    check_problems("url: http://h/\nauth: { bearer: { token: written } }", "a secret is never written in a file");
    check_problems("url: http://h/\ntimeout: 5", "is not a duration");
}
