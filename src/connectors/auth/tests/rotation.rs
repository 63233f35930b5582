//! Refresh tokens that are others after each use, on a server that ends a line whose old token comes again.

use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::Clock;
use crate::config::{PostgresSettings, QueueSettings, Secret};
use crate::message::{MessageId, Next, Value};
use crate::parts;
use crate::queue::embedded::Scratch;
use crate::store::{Kept, MemoryVault, Vault};

const REFRESH: &str = "oauth2:
  grant: refresh_token
  token_url: /oauth/token
  client_id: $connection.id
  client_secret: $connection.secret
  refresh_token: $connection.first
";

/// The server's view of the line: `s3cret-r1`, then `s3cret-r2`...
#[derive(Default)]
struct Issued {
    last: u32,
    /// How many old tokens are still taken: 0 on a strict server.
    grace: u32,
    reused: u32,
}

/// A server that gives `s3cret-a2` with `s3cret-r2` for `s3cret-r1`, and so on.
async fn rotating(grace: u32) -> (System, Arc<Mutex<Issued>>) {
    let issued = Arc::new(Mutex::new(Issued { last: 1, grace, reused: 0 }));
    let state = issued.clone();
    let system = System::start(move |asked| {
        let mut issued = state.lock().expect("no panic");
        let given = field(asked, "refresh_token").unwrap_or_default();
        let number: u32 = given.trim_start_matches("s3cret-r").parse().unwrap_or(0);
        if number != issued.last {
            issued.reused += 1;
        }
        if number == 0 || number > issued.last || number + issued.grace < issued.last {
            let said = format!(r#"{{"error":"invalid_grant","error_description":"{given} was used before"}}"#);
            return Reply::json(&said).with_status(400);
        }
        issued.last += 1;
        let n = issued.last;
        Reply::json(&format!(r#"{{"access_token":"s3cret-a{n}","refresh_token":"s3cret-r{n}","expires_in":3600}}"#))
    })
    .await;
    (system, issued)
}

/// What a vault does when it is to keep something.
enum Keeping {
    Well,
    Fails,
    /// Nothing is kept and nothing answered, as if the process had been killed.
    Dies,
    Waits(Arc<Semaphore>),
}

/// A vault that can be made to behave badly.
struct Odd {
    inner: Arc<dyn Vault>,
    keeping: Mutex<Keeping>,
}

impl Odd {
    fn new(inner: Arc<dyn Vault>, keeping: Keeping) -> Arc<Odd> {
        Arc::new(Odd { inner, keeping: Mutex::new(keeping) })
    }

    fn now(&self, keeping: Keeping) {
        *self.keeping.lock().expect("no panic") = keeping;
    }
}

#[async_trait]
impl Vault for Odd {
    async fn kept(&self, name: &str) -> Result<Kept, Fault> {
        self.inner.kept(name).await
    }

    async fn take_turn(&self, name: &str, holder: &str, lives: Duration) -> Result<Option<Kept>, Fault> {
        self.inner.take_turn(name, holder, lives).await
    }

    async fn keep(&self, name: &str, holder: &str, version: i64, value: &Value) -> Result<bool, Fault> {
        let waits = match &*self.keeping.lock().expect("no panic") {
            Keeping::Well => None,
            Keeping::Fails => return Err(Fault::retry("STORE-FULL", "no room")),
            Keeping::Dies => Some(Arc::new(Semaphore::new(0))),
            Keeping::Waits(until) => Some(until.clone()),
        };
        if let Some(until) = waits {
            until.acquire().await.expect("it is never closed").forget();
        }
        self.inner.keep(name, holder, version, value).await
    }

    async fn pass_on(&self, name: &str, holder: &str) -> Result<(), Fault> {
        // A killed process passes nothing on.
        if matches!(*self.keeping.lock().expect("no panic"), Keeping::Dies) {
            return Ok(());
        }
        self.inner.pass_on(name, holder).await
    }
}

fn around(clock: &Clock, vault: Arc<dyn Vault>) -> Surroundings {
    Surroundings { clock: clock.clone(), vault, ..testing::surroundings() }
}

fn midnight() -> Clock {
    Clock::simulated(MIDNIGHT.parse().expect("a time"))
}

/// Moves a simulated clock until `future` has ended; tells how many seconds that took.
async fn moving<T>(clock: &Clock, future: impl Future<Output = T>) -> (T, u32) {
    let mut future = std::pin::pin!(future);
    for second in 0..600 {
        match tokio::time::timeout(Duration::from_millis(20), &mut future).await {
            Ok(ended) => return (ended, second),
            Err(_) => clock.advance(Duration::from_secs(1)),
        }
    }
    panic!("it does not end")
}

#[tokio::test]
async fn each_renewal_uses_the_newest_and_a_restart_goes_on_from_it() {
    let (system, issued) = rotating(0).await;
    let clock = midnight();
    let around = around(&clock, Arc::new(MemoryVault::new(clock.clone())));
    let party = Party::new(REFRESH, system.url(), &around);
    assert_eq!(party.authorization().await, "Bearer s3cret-a2");
    let asked = &system.requests()[0];
    assert_eq!(asked.text(), "grant_type=refresh_token&refresh_token=s3cret-r1");
    clock.advance(Duration::from_secs(3600));
    assert_eq!(party.authorization().await, "Bearer s3cret-a3");
    // Another process takes what is stored, without a question, and goes on from it.
    let after = Party::new(REFRESH, system.url(), &around);
    assert_eq!(after.authorization().await, "Bearer s3cret-a3");
    assert_eq!(system.lines().len(), 2);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(after.authorization().await, "Bearer s3cret-a4");
    assert_eq!(party.authorization().await, "Bearer s3cret-a4");
    // Refused before its end: the stored one is not offered again.
    let (_, proof) = after.prove().await.expect("a token");
    after.credentials.forget(proof);
    assert_eq!(after.authorization().await, "Bearer s3cret-a5");
    let (_, proof) = party.prove().await.expect("a token");
    party.credentials.forget(proof);
    assert_eq!(party.authorization().await, "Bearer s3cret-a5", "the other has renewed it already");
    let issued = issued.lock().expect("no panic");
    assert_eq!((issued.last, issued.reused), (5, 0));
}

/// Some servers give no other refresh token.
#[tokio::test]
async fn a_refresh_token_that_stays_is_used_again() {
    let system = System::start(|_| Reply::json(r#"{"access_token":"s3cret-a","expires_in":60}"#)).await;
    let clock = midnight();
    let around = around(&clock, Arc::new(MemoryVault::new(clock.clone())));
    let party = Party::new(REFRESH, system.url(), &around);
    for _ in 0..3 {
        assert_eq!(party.authorization().await, "Bearer s3cret-a");
        clock.advance(Duration::from_secs(60));
    }
    let sent: Vec<_> = system.requests().iter().map(|asked| field(asked, "refresh_token")).collect();
    assert_eq!(sent, vec![Some("s3cret-r1".to_owned()); 3]);
}

#[tokio::test]
async fn a_new_setting_wins_over_what_is_stored() {
    let (system, _) = rotating(0).await;
    let clock = midnight();
    let around = around(&clock, Arc::new(MemoryVault::new(clock.clone())));
    let party = Party::new(REFRESH, system.url(), &around);
    assert_eq!(party.authorization().await, "Bearer s3cret-a2");
    let settings = [("url", system.url()), ("first", "s3cret-r2")];
    let anew = Party::with(REFRESH, &settings, &around).expect("it opens");
    assert_eq!(anew.authorization().await, "Bearer s3cret-a3");
    let sent: Vec<_> = system.requests().iter().filter_map(|asked| field(asked, "refresh_token")).collect();
    assert_eq!(sent, ["s3cret-r1", "s3cret-r2"]);
    let kept = around.vault.kept("oauth2:test").await.expect("it can be read");
    assert!(!format!("{kept:?}").contains(SECRET));
    assert_eq!(
        (kept.version, kept.value.expect("a value").get("refresh").and_then(Value::as_text)),
        (2, Some("s3cret-r3"))
    );
}

#[tokio::test]
async fn a_revoked_token_asks_for_a_person() {
    let (system, _) = rotating(0).await;
    let clock = midnight();
    let around = around(&clock, Arc::new(MemoryVault::new(clock.clone())));
    let settings = [("url", system.url()), ("first", "s3cret-old")];
    let party = Party::with(REFRESH, &settings, &around).expect("it opens");
    let fault = party.fault().await;
    let said = format!(
        "CONNECTOR-LOGIN: {} refused a token (invalid_grant): the refresh token was used up or revoked: authorise anew with `raccord connect`: *** was used before (auth.oauth2)",
        system.url()
    );
    assert_eq!((fault.to_string(), fault.next()), (said, Next::Misconfigured));
    party.fault().await;
    assert_eq!(system.lines().len(), 1, "what is wrong is not asked again at once");
}

/// Nothing is used before it is on disk, and whoever stops waiting does not stop the storing.
#[tokio::test]
async fn the_new_token_is_on_disk_before_it_is_used() {
    let (system, issued) = rotating(0).await;
    let clock = midnight();
    let gate = Arc::new(Semaphore::new(0));
    let memory = Arc::new(MemoryVault::new(clock.clone()));
    let around = around(&clock, Odd::new(memory.clone(), Keeping::Waits(gate.clone())));
    let party = Party::new(REFRESH, system.url(), &around);
    {
        let mut proving = std::pin::pin!(party.authorization());
        while system.lines().is_empty() {
            let early = tokio::time::timeout(Duration::from_millis(10), &mut proving).await;
            assert!(early.is_err(), "used before it was kept: {early:?}");
        }
        let early = tokio::time::timeout(Duration::from_millis(200), &mut proving).await;
        assert!(early.is_err(), "used before it was kept: {early:?}");
    }
    // The one who waited is gone.
    gate.add_permits(1);
    assert_eq!(party.authorization().await, "Bearer s3cret-a2");
    assert_eq!(memory.kept("oauth2:test").await.expect("it can be read").version, 1);
    let issued = issued.lock().expect("no panic");
    assert_eq!((issued.last, issued.reused), (2, 0));
}

/// The store has no room just then: the token is held, and kept before anything else is asked.
#[tokio::test]
async fn a_token_the_store_does_not_take_is_not_lost() {
    let (system, issued) = rotating(0).await;
    let clock = midnight();
    let odd = Odd::new(Arc::new(MemoryVault::new(clock.clone())), Keeping::Fails);
    let around = around(&clock, odd.clone());
    let party = Party::new(REFRESH, system.url(), &around);
    for _ in 0..3 {
        assert_eq!(party.authorization().await, "STORE-FULL Retry { after: None }");
        clock.advance(Duration::from_secs(1));
    }
    odd.now(Keeping::Well);
    assert_eq!(party.authorization().await, "Bearer s3cret-a2");
    clock.advance(Duration::from_secs(3600));
    assert_eq!(party.authorization().await, "Bearer s3cret-a3");
    let issued = issued.lock().expect("no panic");
    assert_eq!((issued.last, issued.reused), (3, 0));
}

/// Killed between the server's answer and the store: the turn ends with its time, and the old token is tried once more, which
/// servers with a period of grace take. A strict one wants a person.
#[tokio::test]
async fn a_kill_between_answer_and_store_holds_nobody_up_for_long() {
    for (grace, expect) in [(1, "Bearer s3cret-a3"), (0, "CONNECTOR-LOGIN Misconfigured")] {
        let (system, _) = rotating(grace).await;
        let clock = midnight();
        let memory = Arc::new(MemoryVault::new(clock.clone()));
        let killed = Party::new(REFRESH, system.url(), &around(&clock, Odd::new(memory.clone(), Keeping::Dies)));
        {
            let mut proving = std::pin::pin!(killed.authorization());
            while system.lines().is_empty() {
                let _ = tokio::time::timeout(Duration::from_millis(10), &mut proving).await;
            }
        }
        let other = Party::new(REFRESH, system.url(), &around(&clock, memory));
        let (said, seconds) = moving(&clock, other.authorization()).await;
        assert_eq!(said, expect, "grace {grace}");
        assert!((1..=31).contains(&seconds), "it waited {seconds} s");
    }
}

/// An instance whose turn has passed while it waited for the server: what it brings late is not lost where nothing newer is
/// kept, and does no harm where something is.
#[tokio::test]
async fn a_late_answer_is_kept_where_it_is_the_newest() {
    let (system, issued) = rotating(1).await;
    let clock = midnight();
    let gate = Arc::new(Semaphore::new(0));
    let memory = Arc::new(MemoryVault::new(clock.clone()));
    let slow =
        Party::new(REFRESH, system.url(), &around(&clock, Odd::new(memory.clone(), Keeping::Waits(gate.clone()))));
    let other = Party::new(REFRESH, system.url(), &around(&clock, memory.clone()));
    let mut proving = std::pin::pin!(slow.authorization());
    while system.lines().is_empty() {
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut proving).await.is_err());
    }
    let (said, _) = moving(&clock, other.authorization()).await;
    assert_eq!(said, "Bearer s3cret-a3");
    gate.add_permits(1);
    assert_eq!(proving.await, "Bearer s3cret-a3", "it takes what the other stored");
    assert_eq!(issued.lock().expect("no panic").last, 3);
    assert_eq!(memory.kept("oauth2:test").await.expect("it can be read").version, 1);
}

/// Many at once in each of several instances, again and again: the server is asked once a round.
async fn several_instances(vaults: Vec<Arc<dyn Vault>>) {
    let (system, issued) = rotating(0).await;
    let parties: Vec<Party> =
        vaults.iter().map(|vault| Party::new(REFRESH, system.url(), &around(&Clock::real(), vault.clone()))).collect();
    for round in 2..5_u32 {
        let all = parties.iter().flat_map(|party| (0..10).map(move |_| party.prove()));
        let expect = format!("Bearer s3cret-a{round}");
        for proved in futures_util::future::join_all(all).await {
            let (request, _) = proved.unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(header(&request, "authorization"), expect);
        }
        for party in &parties {
            let (_, proof) = party.prove().await.expect("a token");
            party.credentials.forget(proof);
        }
    }
    let issued = issued.lock().expect("no panic");
    assert_eq!((issued.last, issued.reused), (4, 0), "no token was used twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_on_one_file_ask_once() {
    let scratch = Scratch::make();
    let engine =
        crate::store::open(&scratch.0.join("data"), &QueueSettings::default(), Clock::real()).expect("it opens");
    several_instances(vec![engine.store.clone(), engine.store.clone(), engine.store]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_on_one_database_ask_once() {
    let database = parts::postgres::Postgres::shared().database();
    let place = database.place();
    let settings = PostgresSettings {
        addresses: vec![place.address.into()],
        database: place.database.into(),
        user: place.user.into(),
        password: Some(Secret::new(place.password)),
        tls: None,
        schema: format!("test {}", MessageId::draw()).into(),
        connections: 8,
        statement_within: Duration::from_secs(30),
    };
    let mut vaults: Vec<Arc<dyn Vault>> = Vec::new();
    for _ in 0..3 {
        vaults
            .push(crate::store::open_postgres(&settings, 1000, Path::new("."), Clock::real()).await.expect("it opens"));
    }
    several_instances(vaults).await;
}

/// A hub that was killed opens its file again and goes on from the newest token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_opened_again_holds_the_newest_token() {
    let (system, issued) = rotating(0).await;
    let (scratch, clock) = (Scratch::make(), midnight());
    for round in 2..4 {
        let engine =
            crate::store::open(&scratch.0.join("data"), &QueueSettings::default(), clock.clone()).expect("it opens");
        let party = Party::new(REFRESH, system.url(), &around(&clock, engine.store));
        assert_eq!(party.authorization().await, format!("Bearer s3cret-a{round}"));
        clock.advance(Duration::from_secs(3600));
    }
    assert_eq!(issued.lock().expect("no panic").reused, 0);
}
