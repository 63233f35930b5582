//! OAuth 2.0 (RFC 6749): what a manifest says → the token to use now.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;

use super::assertion::Claims;
use super::current::{Current, Fresh};
use super::rotation::Rotation;
use super::token::{Given, Wanted};
use super::{Proof, needed, optional, unfit};
use crate::clock::{Clock, later};
use crate::config::Secret;
use crate::connectors::manifest::{Grant, ManifestHead, OAuth2};
use crate::connectors::scope::View;
use crate::formula::Template;
use crate::message::{Fault, Text};
use crate::protocols::Surroundings;
use crate::protocols::http::Client;

/// The tokens of a connection, one after the other.
pub(super) struct Tokens {
    settings: OAuth2,
    /// What a `token_url` that is a path is put behind.
    base: Template,
    clock: Clock,
    current: Current<Secret>,
    rotation: Arc<Rotation>,
}

impl Tokens {
    /// # Errors
    /// `CONNECTOR-CREDENTIAL` (misconfigured): the grant wants what is not there.
    pub fn new(
        settings: &OAuth2,
        head: &ManifestHead,
        connection: &Text,
        surroundings: &Surroundings,
    ) -> Result<Tokens, Fault> {
        let clock = surroundings.clock.clone();
        let missing = match settings.grant {
            Grant::ClientCredentials if settings.client_id.is_none() => Some("client_id"),
            Grant::Password if settings.user.is_none() => Some("user"),
            Grant::Password if settings.password.is_none() => Some("password"),
            Grant::RefreshToken if settings.refresh_token.is_none() => Some("refresh_token"),
            Grant::JwtBearer if settings.assertion.is_none() => Some("assertion"),
            Grant::ClientCredentials | Grant::Password | Grant::RefreshToken | Grant::JwtBearer => None,
        };
        if let Some(missing) = missing {
            return Err(unfit(format!("this grant wants `{missing}` too")).at("auth.oauth2"));
        }
        Ok(Tokens {
            settings: settings.clone(),
            base: head.base.clone(),
            rotation: Arc::new(Rotation::new(connection, surroundings, settings.early)),
            current: Current::new(&clock),
            clock,
        })
    }

    /// The token to use now.
    ///
    /// # Errors
    /// As [`super::Credentials::prove`].
    pub async fn get(&self, client: &Client, view: &View<'_>) -> Result<(Secret, Proof), Fault> {
        self.current.get(async |refused| self.ask(client, view, refused).await).await
    }

    pub fn forget(&self, proof: Proof) {
        self.current.forget(proof);
    }

    async fn ask(&self, client: &Client, view: &View<'_>, refused: Option<Secret>) -> Result<Fresh<Secret>, Fault> {
        let wanted = self.wanted(view)?;
        match &self.settings.refresh_token {
            Some(first) if self.settings.grant == Grant::RefreshToken => {
                let first = needed(view, first, "auth.oauth2.refresh_token")?;
                self.rotation.renew(client, wanted, &first, refused).await
            }
            Some(_) | None => Ok(fresh(&wanted.ask(client, &self.clock, None).await?, self.settings.early)),
        }
    }

    fn wanted(&self, view: &View<'_>) -> Result<Wanted, Fault> {
        let settings = &self.settings;
        let value = |template: &Option<Template>, name: &str| match template {
            Some(template) => optional(view, template, &format!("auth.oauth2.{name}")),
            None => Ok(None),
        };
        let client = value(&settings.client_id, "client_id")?;
        let secret = value(&settings.client_secret, "client_secret")?;
        let mut fields: Vec<(Text, Text)> = Vec::new();
        let mut add = |name: &str, value: Option<Text>| fields.extend(value.map(|value| (name.into(), value)));
        if settings.grant == Grant::Password {
            add("username", value(&settings.user, "user")?);
            add("password", value(&settings.password, "password")?);
        }
        add("scope", value(&settings.scope, "scope")?);
        for (name, template) in settings.parameters.iter().flatten() {
            add(name, optional(view, template, &format!("auth.oauth2.parameters.{name}"))?);
        }
        let assertion = settings.assertion.as_ref().filter(|_| settings.grant == Grant::JwtBearer);
        Ok(Wanted {
            grant: settings.grant,
            url: self.url(view)?,
            client: client.map(|id| (id, secret)),
            client_auth: settings.client_auth,
            fields,
            claims: assertion.map(|assertion| Claims::render(assertion, view)).transpose()?,
        })
    }

    fn url(&self, view: &View<'_>) -> Result<Url, Fault> {
        const PLACE: &str = "auth.oauth2.token_url";
        let mut address = needed(view, &self.settings.token_url, PLACE)?;
        if address.starts_with('/') {
            let base = needed(view, &self.base, "base")?;
            address = format!("{}{address}", base.trim_end_matches('/')).into();
        }
        let url = Url::parse(&address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| unfit("this is not an address such as `https://login.example/oauth/token`").at(PLACE))
    }
}

/// A token just given. Its end is counted from when it was asked for, by our clock alone.
pub(super) fn fresh(given: &Given, early: Duration) -> Fresh<Secret> {
    let times = given.lives.map(|lives| times(given.asked, lives, early));
    Fresh { value: given.access.clone(), renew_at: times.map(|(renew, _)| renew), ends_at: times.map(|(_, ends)| ends) }
}

/// A token of short life would else be renewed for each request.
fn times(asked: Timestamp, lives: Duration, early: Duration) -> (Timestamp, Timestamp) {
    (later(asked, lives.saturating_sub(early.min(lives / 2))), later(asked, lives))
}
