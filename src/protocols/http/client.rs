//! One peer spoken to over HTTP: whatever comes back is an answer, or a fault that says what to do.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, ClientBuilder, Identity, Proxy, Request, StatusCode, redirect};
use rustls::{AlertDescription, Error as TlsError};

use bytes::{Bytes, BytesMut};

use super::settings::{HttpTarget, Tls};
use crate::clock::Clock;
use crate::message::Fault;

/// Longer waits asked by `Retry-After` are shortened to this.
const MOST_WAIT: Duration = Duration::from_secs(3600);
/// Characters of an answer repeated in a fault.
const EXCERPT: usize = 300;

/// Connections to one peer, kept between requests.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    clock: Clock,
    timeout: Duration,
    most: usize,
}

/// How to reach a peer.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// For a request in all, its answer included.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub proxy: Option<String>,
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
            proxy: settings.proxy.as_ref().map(ToString::to_string),
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
        Ok(Client { http, clock, timeout: settings.timeout, most: settings.max_response })
    }

    /// Sends a request and reads its answer, whatever its status.
    ///
    /// # Errors
    /// `reconnect`: the peer was not reached, so the request neither. `retry`: it was, and no whole answer came; the peer may
    /// have acted. `misconfigured`: certificates do not fit.
    pub async fn send(&self, request: Request) -> Result<Answer, Fault> {
        let peer = peer(&request);
        let fault = |error| self.no_answer(error, &peer);
        let mut response = self.http.execute(request).await.map_err(fault)?;
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
        let status = answer.status;
        if status.is_success() {
            return Ok(answer);
        }
        let code = code(status);
        let said = answer.excerpt();
        let sentence =
            if said.is_empty() { format!("answered {status}") } else { format!("answered {status}: {said}") };
        Err(match status.as_u16() {
            300..=399 => {
                let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
                let to = readable(to);
                Fault::misconfigured(
                    code,
                    format!("answered {status} to {to}; redirects are not followed, correct `url`"),
                )
            }
            401 | 403 | 407 => Fault::misconfigured(code, format!("{sentence} (correct the credential in `auth`)")),
            408 | 425 | 429 | 500..=599 => match self.retry_after(&answer.headers) {
                Some(delay) => Fault::retry(code, sentence).after(delay),
                None => Fault::retry(code, sentence),
            },
            400..=499 => Fault::refuse(code, sentence),
            // 1xx never ends a request, and beyond 599 nothing is defined.
            _ => Fault::retry(code, sentence),
        })
    }

    /// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date by our own clock.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let delay = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
                Duration::try_from(at.duration_since(self.clock.now())).unwrap_or_default()
            }
        };
        Some(delay.min(MOST_WAIT))
    }

    /// The request's own error, without its address: a query may hold what is not for the journal.
    fn no_answer(&self, error: reqwest::Error, peer: &str) -> Fault {
        let error = error.without_url();
        if let Some(tls) = tls_cause(&error) {
            return tls_fault(tls, peer);
        }
        if error.is_connect() {
            return Fault::reconnect("HTTP-CONNECT", format!("{peer} cannot be reached")).cause(error);
        }
        if error.is_timeout() {
            let within = self.timeout;
            return Fault::retry("HTTP-TIMEOUT", format!("{peer} did not answer in full within {within:?}"));
        }
        if error.is_builder() {
            return Fault::refuse("HTTP-REQUEST", "the request cannot be sent as it is").cause(error);
        }
        // Retry, and not reconnect: the peer was there, and it may be this very message that makes it hang up.
        Fault::retry("HTTP-BROKEN", format!("{peer} hung up or did not answer in HTTP")).cause(error)
    }
}

impl Answer {
    /// Its first characters, on one line, for people.
    pub fn excerpt(&self) -> String {
        readable(&String::from_utf8_lossy(&self.body[..self.body.len().min(4 * EXCERPT)]))
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
        let proxy = Proxy::all(proxy.as_str()).map_err(|_| misconfigured("`proxy` is not an address"))?;
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

/// The TLS error somewhere beneath `error`. An `io::Error` hides what it wraps from `source()`.
fn tls_cause(error: &reqwest::Error) -> Option<&TlsError> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<io::Error>().and_then(|io| io.get_ref());
        if let Some(tls) = error.downcast_ref().or_else(|| wrapped.and_then(|inner| inner.downcast_ref())) {
            return Some(tls);
        }
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn tls_fault(error: &TlsError, peer: &str) -> Fault {
    use AlertDescription as Alert;
    let for_a_person = match error {
        TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented | TlsError::UnsupportedNameType => true,
        // What the peer thinks of our certificate.
        TlsError::AlertReceived(alert) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::ProtocolVersion
        ),
        _ => false,
    };
    if for_a_person {
        return Fault::misconfigured("HTTP-TLS", format!("no trust between the hub and {peer}: {error}"));
    }
    Fault::reconnect("HTTP-TLS", format!("no secure connection to {peer}: {error}"))
}

/// `https://erp.example:8443`, without what may be private.
fn peer(request: &Request) -> String {
    request.url().origin().ascii_serialization()
}

fn readable(text: &str) -> String {
    let plain: String = text.chars().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().to_owned()
}

/// Each has a page; statuses nobody meets share one.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "HTTP-REDIRECT",
        400 => "HTTP-400",
        401 => "HTTP-401",
        403 => "HTTP-403",
        404 => "HTTP-404",
        405 => "HTTP-405",
        406 => "HTTP-406",
        407 => "HTTP-407",
        408 => "HTTP-408",
        409 => "HTTP-409",
        410 => "HTTP-410",
        411 => "HTTP-411",
        412 => "HTTP-412",
        413 => "HTTP-413",
        415 => "HTTP-415",
        422 => "HTTP-422",
        425 => "HTTP-425",
        428 => "HTTP-428",
        429 => "HTTP-429",
        400..=499 => "HTTP-4XX",
        500 => "HTTP-500",
        501 => "HTTP-501",
        502 => "HTTP-502",
        503 => "HTTP-503",
        504 => "HTTP-504",
        500..=599 => "HTTP-5XX",
        _ => "HTTP-STATUS",
    }
}
