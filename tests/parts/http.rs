//! As much of an HTTP client as the servers' own interfaces need: one request a connection, blocking.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What came back: the body as JSON, or as text where it is none.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// As it was sent, a line each.
    pub head: String,
    pub body: Value,
}

impl Answer {
    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// One request to `host:port`, with a body of JSON or none.
pub fn exchange(
    (host, port): (&str, u16),
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut head = format!("{method} {path} HTTP/1.0\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {answer}")))?;
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    Ok(Answer { status, head: head.to_owned(), body })
}

/// Where requests go, and as whom.
#[derive(Clone, Debug)]
pub struct Place {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
}

impl Place {
    /// Status and body of an answer, or why there was none.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
        let key = format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)));
        let answer = exchange((&self.host, self.port), method, path, &[("authorization", &key)], body)?;
        Ok((answer.status, answer.body))
    }

    /// The body of an answer that went well, or the test fails.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.request(method, path, body) {
            Ok((200..300, body)) => body,
            answer => panic!("{method} {path} on port {}: {answer:?}", self.port),
        }
    }
}
