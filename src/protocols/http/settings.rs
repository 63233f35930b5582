//! What a pipeline says about HTTP, in and out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use axum::http::{HeaderName, Method};
use reqwest::Url;

use super::auth::Auth;
use super::head::HeaderText;
use crate::config::{MapReader, Node, OneOf, Reader, Setting, Shape, Size, Word, choice, settings};
use crate::formula::Template;
use crate::message::Text;

/// Paths of the hub's own.
const RESERVED: [&str; 4] = ["/health", "/metrics", "/console", "/api"];

settings! {
    /// Messages that other systems send to a path of the hub: webhooks.
    ///
    /// The sender hears `202` and `{"id": "..."}` once its message is on disk; `200` with the same id for a repeat; `409` where
    /// the same identity came with another content. What cannot be decoded is kept as a dead letter, and the sender hears
    /// `422` with code and place: sending it again is of no use. `503` with `Retry-After` says that nothing was kept.
    pub struct HttpSource {
        /// The path on the hub's listener, such as `/orders`. Another pipeline cannot have the same.
        path: RoutePath,
        /// How senders prove who they are. `none` says that anybody who reaches the hub may send; leaving it out does the
        /// same, and `check` warns.
        auth: Option<Door>,
        /// The methods taken. Left out: POST and PUT; with `reply`, GET and POST.
        methods: Vec<SourceMethod>,
        /// The largest body taken; a larger one hears `413` and is not read. Raise it for senders of large documents: memory
        /// for that many bytes is used while one is received.
        max_body: Size = "10MB",
        /// How long the body may take to arrive. A slower sender hears `408` and is cut off.
        read_timeout: Duration = "30s",
        /// The only content type taken, such as `application/json`. Left out: any, as many senders state it wrongly.
        content_type: Option<Text>,
        /// What a sender hears for a new message. Some insist on `200`.
        status: AcceptedStatus = "202",
        /// The header in which senders identify a message, so that one sent again is known as a repeat.
        id_header: HeaderText = "Idempotency-Key",
        /// The headers a message keeps, for `$headers`. Left out: all but credentials and those of the connection. There is
        /// also `$headers.method`, `$headers.path`, and `$headers.query_x` for a query parameter `x`.
        headers: Vec<HeaderText>,
        /// Answers each request with the pipeline's reply, at once and without a queue (reads and lookups only).
        reply: Option<Reply>,
    }
}

settings! {
    /// Request and reply: the sender waits for the pipeline's `reply:`. Nothing is stored, queued or replayed. A GET's query
    /// parameters are its document.
    pub struct Reply {
        /// How long the sender waits at most.
        within: Duration = "2s",
        /// What it hears when the pipeline fails or takes longer: status `200` with the header `x-raccord-fallback: true`.
        /// Left out: `504` when it takes too long, `422` for a request that is wrong, `503` otherwise.
        otherwise: Option<Template>,
    }
}

settings! {
    /// Messages sent to an address, one request each.
    ///
    /// Any answer 2xx means delivered. 408, 425, 429 and 5xx may pass and are tried again, as late as `Retry-After` asks. Other
    /// 4xx refuse the message. 401, 403, 407, a redirect or a wrong certificate wait for a person to correct the settings.
    pub struct HttpTarget {
        /// The address, `http` or `https`; a formula can build it from the message: `"=concat('https://erp.example/orders/', $.id)"`.
        url: Template,
        /// The method.
        method: TargetMethod = "POST",
        /// Headers to send, each a constant, a path or a formula. They are stored with the message: credentials belong in `auth`.
        headers: Option<BTreeMap<Text, Template>>,
        /// How the hub proves who it is.
        auth: Option<Auth>,
        /// The header with the message's id. A repeat carries the same, so that the peer can know it.
        idempotency: HeaderText = "Idempotency-Key",
        /// How long a request may take in all, the answer's last byte included. Raise it for peers that work long before they answer.
        timeout: Duration = "10s",
        /// How long connecting may take.
        connect_timeout: Duration = "5s",
        /// A proxy, such as `http://proxy.example:3128`. Left out: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment hold.
        proxy: Option<ProxyAddress>,
        /// Certificates beyond those the system trusts.
        tls: Option<Tls>,
        /// How much of an answer is read. What is longer is cut; its status counts.
        max_response: Size = "1MB",
    }
}

settings! {
    /// Certificates, as PEM files. Paths start at the hub's folder.
    pub struct Tls {
        /// A file with certificate authorities to trust, besides the system's: for peers with a private authority.
        ca: Option<PathBuf>,
        /// The hub's own certificate (with its chain), for peers that ask for one. Wants `key`.
        certificate: Option<PathBuf>,
        /// The private key of `certificate`.
        key: Option<PathBuf>,
    }
}

choice! {
    /// A method taken.
    pub enum SourceMethod {
        /// A new message: what nearly all senders use.
        Post = "POST",
        /// A message sent to a fixed place.
        Put = "PUT",
        /// A change.
        Patch = "PATCH",
        /// A question in the query parameters; with `reply` only.
        Get = "GET",
    }
}

choice! {
    /// A method to send with.
    pub enum TargetMethod {
        /// Gives the peer a message.
        Post = "POST",
        /// Puts a document in its place; repeats do no harm.
        Put = "PUT",
        /// Changes a document.
        Patch = "PATCH",
        /// Removes what the address names. The body is sent too.
        Delete = "DELETE",
    }
}

choice! {
    /// What a sender hears for a new message.
    pub enum AcceptedStatus {
        /// 200 OK
        Ok = "200",
        /// 201 Created
        Created = "201",
        /// 202 Accepted
        Queued = "202",
        /// 204 No Content; then without the id.
        NoContent = "204",
    }
}

/// Who may come in.
#[derive(Clone, Debug)]
pub enum Door {
    /// `none`: anybody.
    Open,
    Guarded(Auth),
}

/// A path on the hub's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePath(pub Text);

/// A proxy's address, which may hold a password: never printed.
#[derive(Clone)]
pub struct ProxyAddress(pub Text);

impl HttpSource {
    pub(super) fn methods(&self) -> Vec<Method> {
        match (self.methods.as_slice(), &self.reply) {
            ([], None) => vec![Method::POST, Method::PUT],
            ([], Some(_)) => vec![Method::GET, Method::POST],
            (methods, _) => methods.iter().map(|method| method.method()).collect(),
        }
    }

    pub(super) fn auth(&self) -> Option<&Auth> {
        match &self.auth {
            Some(Door::Guarded(auth)) => Some(auth),
            Some(Door::Open) | None => None,
        }
    }

    /// What is wrong with the proof it asks for.
    pub fn problem(&self) -> Option<&'static str> {
        self.auth().and_then(Auth::problem)
    }

    /// Reports what is wrong with fields taken together.
    pub(super) fn check(&self, map: &mut MapReader<'_>, reader: &mut Reader<'_>) {
        let mut at = |name: &'static str| map.node(name).map_or(map.span, |node| node.span);
        if let Some(said) = self.problem() {
            reader.error(at("auth"), said);
        }
        if self.auth.is_none() {
            reader
                .warning(at("path"), format!("anybody who reaches the hub may send to {}", self.path.0))
                .label("has no `auth`")
                .help("state `auth:`, or `auth: none` where a proxy in front checks senders");
        }
        if self.reply.is_none() && self.methods.contains(&SourceMethod::Get) {
            reader.error(at("methods"), "GET carries no message").label("works with `reply` only");
        }
    }
}

impl HttpTarget {
    pub(super) fn method(&self) -> Method {
        match self.method {
            TargetMethod::Post => Method::POST,
            TargetMethod::Put => Method::PUT,
            TargetMethod::Patch => Method::PATCH,
            TargetMethod::Delete => Method::DELETE,
        }
    }

    /// Reports what is wrong with fields taken together.
    pub(super) fn check(&self, map: &mut MapReader<'_>, reader: &mut Reader<'_>) {
        if let Some(node) = map.node("url") {
            check_url(node, reader);
        }
        let mut at = |name: &'static str| map.node(name).map_or(map.span, |node| node.span);
        if let Some(said) = self.auth.as_ref().and_then(Auth::problem) {
            reader.error(at("auth"), said);
        }
        if self.tls.as_ref().is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some()) {
            reader.error(at("tls"), "`certificate` and `key` go together").label("one of them is missing");
        }
        for name in self.headers.iter().flat_map(BTreeMap::keys) {
            if let Some(said) = unfit_header(name) {
                reader.error(at("headers"), format!("header `{name}`: {said}"));
            }
        }
    }
}

impl SourceMethod {
    fn method(self) -> Method {
        match self {
            SourceMethod::Post => Method::POST,
            SourceMethod::Put => Method::PUT,
            SourceMethod::Patch => Method::PATCH,
            SourceMethod::Get => Method::GET,
        }
    }
}

impl Setting for Door {
    fn shape() -> Shape {
        let none =
            Word { word: "none", about: "Anybody who reaches the hub may send: a proxy in front checks senders." };
        let Shape::OneOf(keys) = Auth::shape() else { return Shape::Choice(vec![none]) };
        let keys: Vec<OneOf> = keys;
        Shape::Either(vec![Shape::Choice(vec![none]), Shape::OneOf(keys)])
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Door> {
        match node.text() {
            Some(_) => reader.word(node, "word", &[("none", ())]).map(|()| Door::Open),
            None => Auth::read(node, reader).map(Door::Guarded),
        }
    }
}

impl Setting for ProxyAddress {
    fn shape() -> Shape {
        Shape::Text { what: "address", pattern: Some("^https?://.+$"), example: "http://proxy.example:3128" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<ProxyAddress> {
        reader.parsed(node, "an address such as `http://proxy.example:3128`", |text| {
            web_address(text).map(|_| ProxyAddress(text.into()))
        })
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Setting for RoutePath {
    fn shape() -> Shape {
        Shape::Text { what: "path", pattern: Some("^/[A-Za-z0-9._~/-]+$"), example: "/orders" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<RoutePath> {
        let path =
            reader.parsed(node, "a path such as `/orders` (letters, digits, `-`, `_`, `.`, `~`, `/`)", |text| {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
                let whole = text.len() > 1 && text.starts_with('/') && !text.ends_with('/') && !text.contains("//");
                (whole && text.bytes().all(fits)).then(|| Text::new(text))
            })?;
        let first = path[1..].split('/').next().unwrap_or_default();
        if RESERVED.iter().any(|reserved| reserved[1..] == *first) {
            reader.error(node.span, format!("`/{first}` belongs to the hub itself")).label("choose another path");
            return None;
        }
        Some(RoutePath(path))
    }
}

/// A constant address is checked at once; one that a formula builds, when a message has built it.
fn check_url(node: &Node, reader: &mut Reader<'_>) {
    let text = node.text().and_then(|text| reader.environment.expand(text).ok().map(|new| new.unwrap_or(text.into())));
    let Some(text) = text.filter(|text| !text.starts_with(['$', '='])) else { return };
    match web_address(&text) {
        None => reader
            .error(node.span, "this is not the address of a web server")
            .label("expected `http://...` or `https://...`"),
        Some(url) if has_credentials(&url) => {
            reader.error(node.span, "an address holds no credentials").label("they belong in `auth`")
        }
        Some(_) => return,
    };
}

pub(super) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// `text` as an address, where it is one that can be asked.
pub(super) fn web_address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn unfit_header(name: &str) -> Option<&'static str> {
    let Ok(name) = HeaderName::try_from(name) else { return Some("not the name of a header") };
    if name == AUTHORIZATION || name == PROXY_AUTHORIZATION {
        return Some("credentials belong in `auth`, which is not stored with each message");
    }
    [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name).then_some("set by the hub itself")
}
