//! Refresh tokens that are others after each use, kept in the vault for all instances.
//!
//! A token used twice is taken for stolen by many servers, which then end all of its line. So one instance asks at a time, what
//! it got is on disk before it is used, and the others take it from there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::current::Fresh;
use super::oauth2::fresh;
use super::token::Wanted;
use crate::clock::{Clock, later};
use crate::config::Secret;
use crate::message::{Fault, Map, MessageId, Text, Value};
use crate::protocols::Surroundings;
use crate::protocols::http::Client;
use crate::store::{Kept, Vault};

/// A turn ends so long after it was taken: an instance that died in it holds the others up no longer.
const TURN: Duration = Duration::from_secs(30);
/// A token server that has not answered so long into a turn is given up, before the turn ends.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How often an instance looks whether the one whose turn it is has come to an end.
const LOOK: Duration = Duration::from_millis(200);
/// How long it waits for that.
const WAIT: Duration = Duration::from_secs(45);

/// The refresh tokens of a connection.
pub(super) struct Rotation {
    name: Text,
    vault: Arc<dyn Vault>,
    clock: Clock,
    early: Duration,
    /// What the server gave and the vault did not take: the old one may be of no use any more.
    unkept: Mutex<Option<(i64, Stored)>>,
}

/// What the vault keeps of a connection.
#[derive(Clone)]
struct Stored {
    /// Hash of the refresh token in the settings: with another, what is stored is of an earlier one.
    setting: Text,
    refresh: Text,
    access: Text,
    renew_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

impl Rotation {
    pub fn new(connection: &Text, surroundings: &Surroundings, early: Duration) -> Rotation {
        let name = format!("oauth2:{connection}").into();
        let (vault, clock) = (surroundings.vault.clone(), surroundings.clock.clone());
        Rotation { name, vault, clock, early, unkept: Mutex::default() }
    }

    /// Another token than `refused`: what an instance has stored, or what the server gives. `first` is the setting's refresh token.
    ///
    /// It goes on if the caller does not wait for it: an answer that nobody stores would be the end of the line.
    ///
    /// # Errors
    /// As [`Wanted::ask`]; `CONNECTOR-RENEWAL` (reconnect) where another instance does not come to an end; the store's.
    pub async fn renew(
        self: &Arc<Self>,
        client: &Client,
        wanted: Wanted,
        first: &str,
        refused: Option<Secret>,
    ) -> Result<Fresh<Secret>, Fault> {
        let (rotation, client, first) = (self.clone(), client.clone(), Text::from(first));
        let renewing =
            tokio::spawn(async move { rotation.take_turn(&client, &wanted, &first, refused.as_ref()).await });
        renewing
            .await
            .unwrap_or_else(|_| Err(Fault::reconnect("CONNECTOR-RENEWAL", "the renewal of a token has ended")))
    }

    async fn take_turn(
        &self,
        client: &Client,
        wanted: &Wanted,
        first: &Text,
        refused: Option<&Secret>,
    ) -> Result<Fresh<Secret>, Fault> {
        let setting = hash(first);
        self.keep_what_was_not(&setting).await?;
        let kept = self.vault.kept(&self.name).await?;
        if let Some(fresh) = self.usable(&kept, &setting, refused) {
            return Ok(fresh);
        }
        let holder = MessageId::draw().to_string();
        let kept = self.wait_for_turn(&holder).await?;
        // Another may have been here first.
        let renewed = match self.usable(&kept, &setting, refused) {
            Some(fresh) => Ok(fresh),
            None => self.ask(client, wanted, &holder, (&kept, first, setting)).await,
        };
        // A turn that cannot be passed on ends by itself.
        let _ = self.vault.pass_on(&self.name, &holder).await;
        renewed
    }

    async fn wait_for_turn(&self, holder: &str) -> Result<Kept, Fault> {
        let until = later(self.clock.now(), WAIT);
        loop {
            if let Some(kept) = self.vault.take_turn(&self.name, holder, TURN).await? {
                return Ok(kept);
            }
            if self.clock.now() >= until {
                let said = "another instance has been renewing the token for a while; it is asked again";
                return Err(Fault::reconnect("CONNECTOR-RENEWAL", said));
            }
            self.clock.sleep(LOOK).await;
        }
    }

    async fn ask(
        &self,
        client: &Client,
        wanted: &Wanted,
        holder: &str,
        (kept, first, setting): (&Kept, &Text, Text),
    ) -> Result<Fresh<Secret>, Fault> {
        let stored = Stored::read(kept, &setting);
        let refresh = stored.map_or_else(|| first.clone(), |stored| stored.refresh);
        let asking = wanted.ask(client, &self.clock, Some(&refresh));
        let given = match tokio::time::timeout(ANSWER_WITHIN, asking).await {
            Ok(given) => given?,
            Err(_) => return Err(Fault::reconnect("CONNECTOR-TOKEN", "the token server did not answer in time")),
        };
        let fresh = fresh(&given, self.early);
        let stored = Stored {
            setting,
            refresh: given.refresh.unwrap_or(refresh),
            access: fresh.value.reveal().into(),
            renew_at: fresh.renew_at,
            ends_at: fresh.ends_at,
        };
        match self.vault.keep(&self.name, holder, kept.version, &stored.write()).await {
            Ok(true) => Ok(fresh),
            // A turn that took too long: what the other one stored is the newest.
            Ok(false) => self.stored_by_another(&stored.setting).await,
            Err(fault) => {
                *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) = Some((kept.version, stored));
                Err(fault)
            }
        }
    }

    /// What the store did not take the last time, before anything is asked.
    async fn keep_what_was_not(&self, setting: &str) -> Result<(), Fault> {
        let unkept = || self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((version, stored)) = unkept().clone().filter(|(_, stored)| stored.setting == setting) else {
            return Ok(());
        };
        self.vault.keep(&self.name, "", version, &stored.write()).await?;
        *unkept() = None;
        Ok(())
    }

    async fn stored_by_another(&self, setting: &str) -> Result<Fresh<Secret>, Fault> {
        let kept = self.vault.kept(&self.name).await?;
        self.usable(&kept, setting, None).ok_or_else(|| {
            Fault::reconnect("CONNECTOR-RENEWAL", "another instance has renewed the token meanwhile; it is asked again")
        })
    }

    /// The stored token, where it is of the same setting, not near its end and not the refused one.
    fn usable(&self, kept: &Kept, setting: &str, refused: Option<&Secret>) -> Option<Fresh<Secret>> {
        let stored = Stored::read(kept, setting)?;
        let is_fresh = stored.renew_at.is_none_or(|renew_at| self.clock.now() < renew_at);
        let value = Secret::new(stored.access.as_str());
        let good = is_fresh && refused != Some(&value);
        good.then_some(Fresh { value, renew_at: stored.renew_at, ends_at: stored.ends_at })
    }
}

impl Stored {
    /// `None` where nothing is kept, or of another setting.
    fn read(kept: &Kept, setting: &str) -> Option<Stored> {
        let value = kept.value.as_ref()?;
        let text = |name: &str| value.get(name).and_then(Value::as_text).map(Text::new);
        let time = |name: &str| text(name).and_then(|text| text.parse().ok());
        let stored = Stored {
            setting: text("setting")?,
            refresh: text("refresh")?,
            access: text("access")?,
            renew_at: time("renew_at"),
            ends_at: time("ends_at"),
        };
        (stored.setting == setting).then_some(stored)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("setting", self.setting.clone());
        map.insert("refresh", self.refresh.clone());
        map.insert("access", self.access.clone());
        for (name, time) in [("renew_at", self.renew_at), ("ends_at", self.ends_at)] {
            if let Some(time) = time {
                map.insert(name, time.to_string());
            }
        }
        Value::Map(map)
    }
}

/// Tells two refresh tokens of the settings apart, and neither to whoever reads it.
fn hash(first: &str) -> Text {
    let digest = Sha256::new().chain_update("raccord refresh token ").chain_update(first).finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
