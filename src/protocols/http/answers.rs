//! What a sender hears: a status, and a body in JSON that says why.

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::settings::AcceptedStatus;
use crate::message::{Fault, Map, MessageId, Next, Value};
use crate::protocols::{Receipt, ReceiptOutcome};

/// What a sender hears of a message that was received: `unreadable` says why one became a dead letter.
pub(super) fn told(
    receipt: Option<&Receipt>,
    status: AcceptedStatus,
    unreadable: impl FnOnce() -> Option<Fault>,
) -> Response {
    let Some(Receipt { id, outcome }) = receipt else { return come_back("HTTP-NO-RECEIPT", 5) };
    match outcome {
        ReceiptOutcome::Stored => accepted(*id, status),
        ReceiptOutcome::Repeat => json(StatusCode::OK, format!(r#"{{"id":"{id}"}}"#)),
        ReceiptOutcome::Conflict => {
            let what = "a message with the same identity and another content was accepted before; this one is not used";
            explained(StatusCode::CONFLICT, *id, "HTTP-CONFLICT", what.to_owned())
        }
        ReceiptOutcome::Dead => {
            let cause = unreadable();
            let code = cause.as_ref().map_or("HTTP-DEAD-LETTER", Fault::code);
            let said = cause.as_ref().map(|fault| match fault.position() {
                Some(place) => format!("{} ({place})", fault.sentence()),
                None => fault.sentence(),
            });
            let said = said.unwrap_or_else(|| "it cannot be processed as it is".to_owned());
            explained(StatusCode::UNPROCESSABLE_ENTITY, *id, code, format!("{said}; kept as a dead letter"))
        }
    }
}

fn accepted(id: MessageId, status: AcceptedStatus) -> Response {
    let status = match status {
        AcceptedStatus::Ok => StatusCode::OK,
        AcceptedStatus::Created => StatusCode::CREATED,
        AcceptedStatus::Queued => StatusCode::ACCEPTED,
        AcceptedStatus::NoContent => return with(StatusCode::NO_CONTENT, &[], Body::empty()),
    };
    json(status, format!(r#"{{"id":"{id}"}}"#))
}

/// What a sender hears where nothing was stored. Only a refusal is told in full: other causes are the hub's own affair.
pub(super) fn refused(fault: &Fault) -> Response {
    match fault.next() {
        Next::Retry { after } => come_back(fault.code(), after.map_or(5, |after| after.as_secs())),
        Next::Reconnect => come_back(fault.code(), 5),
        Next::Misconfigured => come_back(fault.code(), 60),
        Next::Refuse => problem(StatusCode::UNPROCESSABLE_ENTITY, fault.code(), &fault.sentence()),
    }
}

fn explained(status: StatusCode, id: MessageId, code: &str, what: String) -> Response {
    let body: Map = [("id", id.to_string()), ("code", code.to_owned()), ("what", what)].into_iter().collect();
    json(status, Value::Map(body).to_string())
}

/// The rest of the body is not read, so nothing more can come on this connection.
pub(super) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer in JSON: `{"code": ..., "what": ...}`.
pub(super) fn problem(status: StatusCode, code: &str, what: &str) -> Response {
    let body: Map = [("code", code), ("what", what)].into_iter().collect();
    json(status, Value::Map(body).to_string())
}

/// `503`, and when to come back.
pub(super) fn come_back(code: &str, seconds: u64) -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, code, "nothing was taken; send it again later");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

pub(super) fn json(status: StatusCode, body: String) -> Response {
    with(status, &[(CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(body))
}

pub(super) fn with(status: StatusCode, headers: &[(HeaderName, HeaderValue)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}
