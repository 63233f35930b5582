//! One peer spoken to over HTTP: whatever comes back is an answer, or a fault that says what to do.

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Certificate, ClientBuilder, Identity, Proxy, Request, StatusCode, redirect};

use super::faults;
use super::settings::{HttpTarget, ProxyAddress, Tls};
use crate::clock::Clock;
use crate::message::Fault;

/// Connections to one peer, kept between requests.
#[derive(Clone, Debug)]
pub struct Client {
    way: Way,
    clock: Clock,
    timeout: Duration,
    most: usize,
}

#[derive(Clone, Debug)]
enum Way {
    Wire(reqwest::Client),
    Here(Arc<dyn Peer>),
}

/// Stands for a peer in this process: recorded answers in the place of a network.
#[async_trait]
pub trait Peer: Send + Sync + Debug {
    /// # Errors
    /// As [`Client::send`].
    async fn answer(&self, request: Request) -> Result<Answer, Fault>;
}

/// How to reach a peer.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// For a request in all, its answer included.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub proxy: Option<ProxyAddress>,
    pub tls: Option<Tls>,
    /// Most bytes of an answer kept.
    pub max_response: usize,
}

/// What a peer answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body was longer, and is not read to its end.
    pub cut: bool,
}

impl From<&HttpTarget> for ClientSettings {
    fn from(settings: &HttpTarget) -> ClientSettings {
        ClientSettings {
            timeout: settings.timeout,
            connect_timeout: settings.connect_timeout,
            proxy: settings.proxy.clone(),
            tls: settings.tls.clone(),
            max_response: settings.max_response.bytes(),
        }
    }
}

impl Client {
    /// `folder` is where relative paths of certificates start.
    ///
    /// # Errors
    /// `misconfigured`: a file that cannot be read, or a proxy that is no address.
    pub fn new(settings: &ClientSettings, folder: &Path, clock: Clock) -> Result<Client, Fault> {
        super::install_tls();
        let http = match builder(settings, folder)?.build() {
            Ok(http) => http,
            // A machine without any authority can still speak plain HTTP; https will say what is missing.
            Err(_) if settings.tls.is_none() => {
                let bare = builder(settings, folder)?.tls_certs_only([]);
                bare.build().map_err(|error| misconfigured("the connection cannot be set up").cause(error))?
            }
            Err(error) => return Err(misconfigured("the connection cannot be set up").cause(error)),
        };
        Ok(Client { way: Way::Wire(http), clock, timeout: settings.timeout, most: settings.max_response })
    }

    /// Asks `peer` instead of a network.
    pub fn to(peer: Arc<dyn Peer>, clock: Clock) -> Client {
        Client { way: Way::Here(peer), clock, timeout: Duration::ZERO, most: usize::MAX }
    }

    /// Sends a request and reads its answer, whatever its status.
    ///
    /// # Errors
    /// `reconnect`: the peer was not reached, so the request neither. `retry`: it was, and no whole answer came; the peer may
    /// have acted. `misconfigured`: certificates do not fit.
    pub async fn send(&self, request: Request) -> Result<Answer, Fault> {
        let http = match &self.way {
            Way::Wire(http) => http,
            Way::Here(peer) => return peer.answer(request).await,
        };
        let peer = peer(&request);
        let fault = |error| faults::of_error(error, &peer, self.timeout);
        let mut response = http.execute(request).await.map_err(fault)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        let mut cut = false;
        while let Some(piece) = response.chunk().await.map_err(fault)? {
            let room = self.most - body.len();
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                cut = true;
                break;
            }
        }
        Ok(Answer { status, headers, body: body.freeze(), cut })
    }

    /// The answer where it is 2xx, and otherwise the fault its status stands for.
    ///
    /// # Errors
    /// `retry` for 408, 425, 429 and 5xx, after `Retry-After`; `misconfigured` for 401, 403, 407 and redirects; `refuse` for
    /// other 4xx.
    pub fn judge(&self, answer: Answer) -> Result<Answer, Fault> {
        match faults::of_status(&answer, self.clock.now()) {
            None => Ok(answer),
            Some(fault) => Err(fault),
        }
    }
}

fn builder(settings: &ClientSettings, folder: &Path) -> Result<ClientBuilder, Fault> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("raccord/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(settings.timeout)
        .connect_timeout(settings.connect_timeout)
        // Shorter than the idle limit of common servers, so that we seldom write into a connection they just closed.
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(16);
    if let Some(proxy) = &settings.proxy {
        let proxy = Proxy::all(proxy.0.as_str()).map_err(|_| misconfigured("`proxy` is not an address"))?;
        builder = builder.proxy(proxy);
    }
    let Some(tls) = &settings.tls else { return Ok(builder) };
    if let Some(ca) = &tls.ca {
        let pem = read(folder, ca)?;
        let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|certificates| !certificates.is_empty());
        let certificates = certificates.ok_or_else(|| not_pem(ca, "certificates"))?;
        builder = builder.tls_certs_merge(certificates);
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        let mut pem = read(folder, certificate)?;
        pem.push(b'\n');
        pem.extend(read(folder, key)?);
        let identity = Identity::from_pem(&pem).map_err(|_| not_pem(certificate, "a certificate with its key"))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

fn read(folder: &Path, path: &Path) -> Result<Vec<u8>, Fault> {
    let path = folder.join(path);
    fs::read(&path).map_err(|error| misconfigured(&format!("cannot read {}", path.display())).cause(error))
}

fn not_pem(path: &Path, what: &str) -> Fault {
    misconfigured(&format!("{} does not hold {what} in PEM (`-----BEGIN ...`)", path.display()))
}

fn misconfigured(sentence: &str) -> Fault {
    Fault::misconfigured("HTTP-TLS", sentence)
}

/// `https://erp.example:8443`, without what may be private.
fn peer(request: &Request) -> String {
    request.url().origin().ascii_serialization()
}
