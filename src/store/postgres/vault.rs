//! Secrets that change: see `store/vault.rs`. Turns go by the database's own time.

use std::time::Duration;

use async_trait::async_trait;

use super::Postgres;
use super::faults::{Failure, corrupt};
use crate::message::{Fault, Value, json};
use crate::store::{Kept, Vault};

const READ: &str = "SELECT version, value FROM vault WHERE name = $1";
const TAKE: &str = "INSERT INTO vault (name, version, holder, until)
    VALUES ($1, 0, $2, clock_timestamp() + $3 * interval '1 second')
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
        WHERE vault.holder IS NULL OR vault.until <= clock_timestamp() OR vault.holder = excluded.holder
    RETURNING version, value";
const KEEP: &str =
    "UPDATE vault SET version = version + 1, value = $4, holder = CASE WHEN holder = $2 THEN NULL ELSE holder END
    WHERE name = $1 AND version = $3 RETURNING version, value";
const PASS_ON: &str = "UPDATE vault SET holder = NULL WHERE name = $1 AND holder = $2";

fn kept(rows: &[tokio_postgres::Row]) -> Result<Option<Kept>, Fault> {
    let Some(row) = rows.first() else { return Ok(None) };
    let read = || -> Result<(i64, Option<&str>), tokio_postgres::Error> { Ok((row.try_get(0)?, row.try_get(1)?)) };
    let (version, text) = read().map_err(Failure::from).map_err(Failure::fault)?;
    let value = text.map(|text| json::read(text.as_bytes())).transpose();
    let value = value.map_err(|_| corrupt("a secret in the vault is not readable"))?;
    Ok(Some(Kept { version, value }))
}

#[async_trait]
impl Vault for Postgres {
    async fn kept(&self, name: &str) -> Result<Kept, Fault> {
        Ok(kept(&self.pool.query(READ, &[&name]).await?)?.unwrap_or_default())
    }

    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<Kept>, Fault> {
        kept(&self.pool.query(TAKE, &[&name, &holder, &lives.as_secs_f64()]).await?)
    }

    /// Repeated after its answer was lost, it finds its own version in its way: the caller then reads what it wrote.
    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault> {
        let text = json::to_text(value);
        Ok(!self.pool.query(KEEP, &[&name, &holder, &version, &text]).await?.is_empty())
    }

    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault> {
        self.pool.execute(PASS_ON, &[&name, &holder]).await.map(drop)
    }
}
