//! Credentials of a connection: put on each request, renewed in time, kept where they must survive.

use super::forms::Outgoing;
use super::manifest::Auth;
use super::scope::View;
use crate::message::{Fault, Text};
use crate::protocols::Surroundings;
use crate::protocols::http::Client;

/// The credentials of one connection.
pub struct Credentials {
    #[allow(dead_code, reason = "the kinds are still to come")]
    auth: Option<Auth>,
}

/// Which credential a request went out with; told back where the system refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof(pub u64);

impl Credentials {
    /// `connection` names what is kept for it.
    ///
    /// # Errors
    /// `misconfigured`: a key that is none.
    pub fn new(auth: Option<&Auth>, _connection: &Text, _surroundings: &Surroundings) -> Result<Credentials, Fault> {
        Ok(Credentials { auth: auth.cloned() })
    }

    /// Puts the credential on a request; one that is missing or near its end is asked for first, once for all that wait for it.
    ///
    /// # Errors
    /// `misconfigured` where the system does not give one; `retry`, `reconnect` where it could not be asked.
    pub async fn prove(&self, _client: &Client, _request: &mut Outgoing, _view: &View<'_>) -> Result<Proof, Fault> {
        Ok(Proof::default())
    }

    /// Whether `status` says that the credential has ended, and a new one may help.
    pub fn has_ended(&self, _status: u16) -> bool {
        false
    }

    /// The credential of `proof` is of no more use: the next request asks for another, unless somebody has already.
    pub fn forget(&self, _proof: Proof) {}
}
