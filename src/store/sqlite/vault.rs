//! Secrets that change: see `store/vault.rs`.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::settle::Operation;
use crate::clock::later;
use crate::message::{Fault, Text, Value, json};
use crate::queue::embedded::{faults, nanoseconds};
use crate::store::{Kept, Vault};

/// A change, and who makes it.
pub struct Change {
    name: Text,
    holder: Text,
    what: What,
}

enum What {
    Take { lives: Duration },
    Keep { version: i64, value: String },
    PassOn,
}

const TAKE: &str = "INSERT INTO vault (name, version, holder, until) VALUES (?1, 0, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE vault.holder IS NULL OR vault.until <= ?4 OR vault.holder = excluded.holder
    RETURNING version, value";
const KEEP: &str =
    "UPDATE vault SET version = version + 1, value = ?4, holder = CASE WHEN holder = ?2 THEN NULL ELSE holder END
    WHERE name = ?1 AND version = ?3 RETURNING version, value";
const PASS_ON: &str = "UPDATE vault SET holder = NULL WHERE name = ?1 AND holder = ?2";

impl Change {
    /// What is kept then; `None` where nothing was changed, or nothing is asked.
    pub fn apply(&self, connection: &Connection, now: Timestamp) -> Result<Option<Kept>, Fault> {
        let (name, holder) = (self.name.as_str(), self.holder.as_str());
        match &self.what {
            What::Take { lives } => {
                let until = nanoseconds(later(now, *lives));
                let taking = params![name, holder, until, nanoseconds(now)];
                kept(connection.prepare_cached(TAKE)?.query_row(taking, columns).optional()?)
            }
            What::Keep { version, value } => {
                let keeping = params![name, holder, version, value];
                kept(connection.prepare_cached(KEEP)?.query_row(keeping, columns).optional()?)
            }
            What::PassOn => {
                connection.prepare_cached(PASS_ON)?.execute([name, holder])?;
                Ok(None)
            }
        }
    }
}

type Columns = (i64, Option<String>);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?))
}

fn kept(found: Option<Columns>) -> Result<Option<Kept>, Fault> {
    let Some((version, text)) = found else { return Ok(None) };
    let value = text.map(|text| json::read(text.as_bytes())).transpose();
    let value = value.map_err(|_| faults::corrupt("a secret in the vault is not readable"))?;
    Ok(Some(Kept { version, value }))
}

impl SqliteStore {
    async fn change(&self, name: &str, holder: &str, what: What) -> Result<Option<Kept>, Fault> {
        let change = Change { name: name.into(), holder: holder.into(), what };
        self.write(|reply| Operation::Vault { change, kept: None, reply }).await
    }
}

#[async_trait]
impl Vault for SqliteStore {
    async fn kept(&self, name: &str) -> Result<Kept, Fault> {
        let name = name.to_owned();
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached("SELECT version, value FROM vault WHERE name = ?")?;
            Ok(kept(statement.query_row([name], columns).optional()?)?.unwrap_or_default())
        };
        self.file.read(read).await
    }

    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<Kept>, Fault> {
        self.change(name, holder, What::Take { lives }).await
    }

    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault> {
        let what = What::Keep { version, value: json::to_text(value) };
        Ok(self.change(name, holder, what).await?.is_some())
    }

    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault> {
        self.change(name, holder, What::PassOn).await.map(drop)
    }
}
