//! The suites against a real server, and what only this database can show.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::writer::{Gap, Kill};
use super::*;
use crate::queue::conformance::Place;
use crate::store::conformance::LedgerPlace;
use crate::store::{Alone, Engine, scenario};

static KILLS: Mutex<Option<HashMap<String, Arc<Kill>>>> = Mutex::new(None);

/// Kills that tests have set for a schema.
pub fn kill_of(schema: &str) -> Option<Arc<Kill>> {
    KILLS.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(schema)
}

fn kill(schema: &str, kill: Kill) {
    let mut kills = KILLS.lock().unwrap_or_else(PoisonError::into_inner);
    kills.get_or_insert_default().insert(schema.to_owned(), Arc::new(kill));
}

/// A schema of its own.
struct Schema {
    settings: PostgresSettings,
    clock: Clock,
    /// Kills each engine opened there.
    dice: Option<Mutex<scenario::Dice>>,
}

impl Schema {
    fn new() -> Schema {
        let name = format!("test {}", MessageId::draw());
        let address = std::env::var("PGTEST").unwrap_or_else(|_| "127.0.0.1:5455".into());
        let settings = PostgresSettings {
            addresses: vec![address.into()],
            database: "postgres".into(),
            user: "postgres".into(),
            password: None,
            tls: None,
            schema: name.into(),
            connections: 8,
            statement_within: std::time::Duration::from_secs(30),
        };
        Schema { settings, clock: Clock::simulated(Timestamp::UNIX_EPOCH), dice: None }
    }

    async fn ledger_of(&self) -> Arc<Postgres> {
        if let Some(dice) = &self.dice {
            let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
            let gap = if dice.below(2) == 0 { Gap::BeforeCommit } else { Gap::AfterCommit };
            kill(&self.settings.schema, Kill { gap, commits_left: (dice.below(60) as i64).into() });
        }
        Postgres::open(&self.settings, 1_000_000, Path::new("."), self.clock.clone()).await.expect("the database opens")
    }
}

#[async_trait]
impl Place for Schema {
    async fn open(&self) -> Engine {
        let ledger = self.ledger_of().await;
        Engine { queue: ledger.clone(), store: ledger, instances: Arc::new(Alone) }
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[async_trait]
impl LedgerPlace for Schema {
    async fn ledger(&self) -> Arc<dyn Ledger> {
        self.ledger_of().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_conforms() {
    crate::queue::conformance::run(Schema::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms() {
    crate::store::conformance::run(Schema::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_conforms() {
    crate::store::conformance::ledger(Schema::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_when_killed() {
    for seed in scenario::seeds(3) {
        let place = Schema { dice: Some(Mutex::new(scenario::Dice(!seed))), ..Schema::new() };
        scenario::run(&place, seed, 60).await;
    }
}
