//! As much of an HTTP client as the broker's management interface needs: one request a connection, blocking.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

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
        let mut stream = TcpStream::connect((self.host.as_str(), self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let key = STANDARD.encode(format!("{}:{}", self.user, self.password));
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\nauthorization: Basic {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.host,
            body.len(),
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {answer}")))?;
        Ok((status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body))))
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
