//! The sender: HTTP/1.1 with keep-alive over plain streams, requests made beforehand, one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections kept open; each waits for an answer before it sends the next.
const CONNECTIONS: usize = 64;

/// How a sending went.
pub struct Sent {
    /// Until the last was accepted.
    pub took: Duration,
    /// When the hundredths of it were accepted, for rates of parts.
    pub marks: Vec<Duration>,
    /// How often the hub said "come back".
    pub refused: usize,
}

/// Posts `count` of the bodies, in turn, to a path; returns once all are accepted.
pub fn send(address: SocketAddr, path: &str, bodies: &[String], count: usize) -> Sent {
    let requests: Vec<Vec<u8>> = bodies.iter().map(|body| request(path, body)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let shared = Arc::new(Shared {
            requests,
            count,
            begun: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            marks: std::sync::Mutex::new(Vec::new()),
            start: Instant::now(),
        });
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(shared.clone().connection(address))).collect();
        for connection in connections {
            connection.await.expect("a connection of the sender does not fail");
        }
        Sent {
            took: shared.start.elapsed(),
            marks: shared.marks.lock().expect("nobody panics while holding it").clone(),
            refused: shared.refused.load(Ordering::Relaxed),
        }
    })
}

struct Shared {
    requests: Vec<Vec<u8>>,
    count: usize,
    begun: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
    marks: std::sync::Mutex<Vec<Duration>>,
    start: Instant,
}

impl Shared {
    async fn connection(self: Arc<Shared>, address: SocketAddr) {
        let mut stream = TcpStream::connect(address).await.expect("the hub listens");
        stream.set_nodelay(true).expect("a stream takes the option");
        let mut buffer = vec![0; 4096];
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            let request = &self.requests[number % self.requests.len()];
            while !exchange(&mut stream, request, &mut buffer).await {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let accepted = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
            if accepted % self.count.div_ceil(100) == 0 {
                self.marks.lock().expect("nobody panics while holding it").push(self.start.elapsed());
            }
        }
    }
}

/// One request and its answer; whether it was accepted.
async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> bool {
    stream.write_all(request).await.expect("the hub reads");
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("the hub answers");
        assert!(read > 0, "the hub closed a connection");
        filled += read;
        if let Some(length) = answer_length(&buffer[..filled])
            && filled >= length
        {
            return buffer[9] == b'2';
        }
    }
}

/// Length of an answer whose head has come in whole.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    Some(head + content_length(&bytes[..head]))
}

/// What a head says of its body, in lower case as both ends here write it.
pub fn content_length(head: &[u8]) -> usize {
    let name = b"content-length: ";
    let Some(at) = memchr::memmem::find(head, name) else { return 0 };
    head[at + name.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, byte| sum * 10 + usize::from(byte - b'0'))
}

fn request(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
