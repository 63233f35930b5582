//! HTTP against real sockets: a hub's listener with senders of all kinds, and peers that misbehave.

mod auth;
mod source;
mod target;
mod tls;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `request` as it is and reads until the other side closes.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the listener takes connections");
    // Who refuses early may close before it has read all: what it said counts.
    let _ = stream.write_all(request).await;
    heard(&mut stream).await
}

async fn heard(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `lines`, a blank line, `body`, as HTTP/1.1 writes them; the connection is closed after the answer.
fn request(lines: &str, body: &str) -> Vec<u8> {
    let mut text = lines.lines().map(str::trim).collect::<Vec<_>>().join("\r\n");
    if !text.to_lowercase().contains("content-length") {
        text.push_str(&format!("\r\nContent-Length: {}", body.len()));
    }
    format!("{text}\r\nHost: hub.example\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

/// `status body` of a raw answer, or `closed`.
fn short(answer: &str) -> String {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return "closed".to_owned() };
    let status = head.split(' ').nth(1).unwrap_or_default();
    format!("{status} {body}").trim().to_owned()
}
