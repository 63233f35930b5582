//! What a peer's answer, or its silence, means for the message: retry, reconnect, refuse, or a person must act.

use std::error::Error;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use rustls::{AlertDescription, Error as TlsError};

use super::client::Answer;
use crate::message::Fault;

/// Longer waits asked by `Retry-After` are shortened to this.
const MOST_WAIT: Duration = Duration::from_secs(3600);
/// Characters of an answer repeated in a fault.
const EXCERPT: usize = 300;

/// The fault an answer's status stands for; none for 2xx.
pub(super) fn of_status(answer: &Answer, now: Timestamp) -> Option<Fault> {
    let status = answer.status;
    if status.is_success() {
        return None;
    }
    let code = code(status);
    let sentence = format!("answered {status}");
    let fault = match status.as_u16() {
        300..=399 => {
            let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            let to = readable(to);
            Fault::misconfigured(code, format!("answered {status} to {to}; redirects are not followed, correct `url`"))
        }
        401 | 403 | 407 => Fault::misconfigured(code, format!("{sentence} (correct the credential in `auth`)")),
        408 | 425 | 429 | 500..=599 => match retry_after(&answer.headers, now) {
            Some(delay) => Fault::retry(code, sentence).after(delay),
            None => Fault::retry(code, sentence),
        },
        400..=499 => Fault::refuse(code, sentence),
        // 1xx never ends a request, and beyond 599 nothing is defined.
        _ => Fault::retry(code, sentence),
    };
    // Where a redirect leads is said already.
    Some(if status.is_redirection() { fault } else { fault.detail(answer.excerpt()) })
}

/// The request's own error, without its address: a query may hold what is not for the journal.
pub(super) fn of_error(error: reqwest::Error, peer: &str, within: Duration) -> Fault {
    let error = error.without_url();
    if let Some(tls) = tls_cause(&error) {
        return tls_fault(tls, peer);
    }
    if error.is_connect() {
        return Fault::reconnect("HTTP-CONNECT", format!("{peer} cannot be reached")).cause(error);
    }
    if error.is_timeout() {
        return Fault::retry("HTTP-TIMEOUT", format!("{peer} did not answer in full within {within:?}"));
    }
    if error.is_builder() {
        return Fault::refuse("HTTP-REQUEST", "the request cannot be sent as it is").cause(error);
    }
    // Retry, and not reconnect: the peer was there, and it may be this very message that makes it hang up.
    Fault::retry("HTTP-BROKEN", format!("{peer} hung up or did not answer in HTTP")).cause(error)
}

impl Answer {
    /// Its first characters, on one line, for people.
    pub fn excerpt(&self) -> String {
        readable(&String::from_utf8_lossy(&self.body[..self.body.len().min(4 * EXCERPT)]))
    }

    /// The fault its status stands for, as [`super::Client::judge`]; none for 2xx.
    pub fn fault(&self, now: Timestamp) -> Option<Fault> {
        of_status(self, now)
    }

    /// How long the peer wants to be left alone: its `Retry-After`, at most an hour.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        retry_after(&self.headers, now)
    }

    /// A wait as `Retry-After` writes it (RFC 9110 section 10.2.3): seconds, or a date by our own clock. At most an hour.
    pub fn wait_of(text: &str, now: Timestamp) -> Option<Duration> {
        let text = text.trim();
        let delay = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
                Duration::try_from(at.duration_since(now)).unwrap_or_default()
            }
        };
        Some(delay.min(MOST_WAIT))
    }
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    Answer::wait_of(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
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

/// Each has a page; statuses nobody meets share one.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
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
        500 => "HTTP-500",
        501 => "HTTP-501",
        502 => "HTTP-502",
        503 => "HTTP-503",
        504 => "HTTP-504",
        other => match other / 100 {
            3 => "HTTP-REDIRECT",
            4 => "HTTP-4XX",
            5 => "HTTP-5XX",
            _ => "HTTP-STATUS",
        },
    }
}

fn readable(text: &str) -> String {
    let plain: String = text.chars().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().to_owned()
}
