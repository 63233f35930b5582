//! Connections: to the first server that takes writes, with their prepared statements.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::faults::{self, Failure};
use super::schema::quoted;
use crate::config::tls::{explain, tls_error};
use crate::config::{PostgresSettings, Tls};
use crate::message::Fault;

/// For one server to take a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A statement is given up by the server; one that has not answered so long after is on a dead connection.
const GRACE: Duration = Duration::from_secs(5);
/// A connection whose other end takes nothing for so long is closed, by either side.
const UNHEARD: Duration = Duration::from_secs(15);
/// A transaction whose next statement does not come for so long is ended by the server, with its locks.
const IDLE: Duration = Duration::from_secs(10);
/// Times a reading is tried on new connections before it is a fault.
const TRIES: usize = 3;

pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How to reach the database.
pub struct Connector {
    config: Config,
    tls: Option<NamedTls>,
    /// Of each session.
    setup: String,
    within: Duration,
    pub schema: String,
    /// The addresses, for faults.
    place: Arc<str>,
}

impl Connector {
    /// # Errors
    /// `STORE-LOGIN`: no address, or one that is none. `CONFIG-TLS`.
    pub fn new(settings: &PostgresSettings, folder: &Path) -> Result<Connector, Fault> {
        let mut config = Config::new();
        if settings.addresses.is_empty() {
            return Err(Fault::misconfigured("STORE-LOGIN", "`store.postgres.addresses` names no server"));
        }
        for address in &settings.addresses {
            let (host, port) = host_and_port(address)?;
            config.host(host).port(port);
        }
        config.dbname(settings.database.as_str()).user(settings.user.as_str()).application_name("raccord");
        if let Some(password) = &settings.password {
            config.password(password.reveal());
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite).connect_timeout(CONNECT_WITHIN);
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(UNHEARD);
        let tls = settings.tls.as_ref().map(|tls| Tls::read(tls, folder).map(NamedTls::new)).transpose()?;
        if tls.is_some() {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
        }
        let schema = settings.schema.to_string();
        // Every statement finds its rows by an index, whatever the statistics of a table that empties and fills say; a
        // process that is stopped holds no lock longer than a statement may take.
        let milliseconds = settings.statement_within.as_millis();
        let (idle, unheard) = (IDLE.min(settings.statement_within).as_millis(), UNHEARD.as_millis());
        let setup = format!(
            "SET search_path TO {}; SET statement_timeout = {milliseconds};
             SET idle_in_transaction_session_timeout = {idle}; SET synchronous_commit = on;
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
             SET tcp_user_timeout = {unheard};
             SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
             SET enable_mergejoin = off; SET jit = off; SET client_min_messages = warning",
            quoted(&schema)
        );
        let place = settings.addresses.join(", ").into();
        Ok(Connector { config, tls, setup, within: settings.statement_within, schema, place })
    }

    pub async fn connect(&self) -> Result<Connection, Fault> {
        self.connect_and_hear(None).await
    }

    /// A connection whose notifications go to `heard`.
    pub async fn connect_and_hear(&self, heard: Option<mpsc::Sender<String>>) -> Result<Connection, Fault> {
        let connected = async {
            let (client, driving) = match &self.tls {
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    (client, tokio::spawn(drive(connection, heard)))
                }
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    (client, tokio::spawn(drive(connection, heard)))
                }
            };
            let driving = AbortOnDropHandle::new(driving);
            client.batch_execute(&self.setup).await?;
            Ok::<_, tokio_postgres::Error>((client, driving))
        };
        let most = CONNECT_WITHIN * u32::try_from(self.config.get_hosts().len()).unwrap_or(1) + self.within;
        let (client, driving) = match tokio::time::timeout(most, connected).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(self.refused(error)),
            Err(_) => return Err(faults::lost().at(&*self.place)),
        };
        let (within, place) = (self.within + GRACE, self.place.clone());
        Ok(Connection { client, _driving: driving, statements: Mutex::default(), within, place })
    }

    /// The user and the database, as SQL writes them.
    pub fn user_and_database(&self) -> (String, String) {
        let name = |name: Option<&str>| quoted(name.unwrap_or_default());
        (name(self.config.get_user()), name(self.config.get_dbname()))
    }

    fn refused(&self, error: tokio_postgres::Error) -> Fault {
        // The library has no kind for it.
        if error.as_db_error().is_none() && format!("{error:?}").contains("database does not allow writes") {
            return faults::no_writes().at(&*self.place);
        }
        if let Some(tls) = tls_error(&error) {
            let sentence = explain(tls, "the database", "store.postgres.tls");
            return Fault::misconfigured("CONFIG-TLS", sentence).cause(error);
        }
        if self.tls.is_some() && format!("{error:?}").contains("kind: Tls") {
            let sentence =
                "the database offers no encryption: switch it on there (`ssl = on`), or leave `store.postgres.tls` out";
            return Fault::misconfigured("CONFIG-TLS", sentence).cause(error);
        }
        Failure::from(error).fault().at(&*self.place)
    }
}

fn host_and_port(address: &str) -> Result<(&str, u16), Fault> {
    let wrong = || {
        let sentence = format!("`{address}` in `store.postgres.addresses` is not `host` or `host:port`");
        Fault::misconfigured("STORE-LOGIN", sentence)
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, port.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (address, None),
        },
    };
    let port = port.map_or(Ok(5432), |port| port.parse().map_err(|_| wrong()))?;
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

/// Moves the connection's bytes until either end closes it.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, heard: Option<mpsc::Sender<String>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        let message = std::future::poll_fn(|context| match connection.poll_message(context) {
            Poll::Ready(message) => Poll::Ready(message),
            Poll::Pending => Poll::Pending,
        });
        match message.await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if let Some(heard) = &heard {
                    // Where many have not been looked at, one more says nothing new.
                    let _ = heard.try_send(notification.payload().to_owned());
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// TLS to a server whose certificate may have another name than its address.
#[derive(Clone)]
struct NamedTls {
    make: MakeRustlsConnect,
    name: Option<String>,
}

impl NamedTls {
    fn new(tls: Tls) -> NamedTls {
        let name = tls.server_name.map(|name| name.to_str().into_owned());
        NamedTls { make: MakeRustlsConnect::new((*tls.config).clone()), name }
    }
}

impl MakeTlsConnect<Socket> for NamedTls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = self.name.as_deref().unwrap_or(host);
        MakeTlsConnect::<Socket>::make_tls_connect(&mut self.make, name)
    }
}

/// One session. Statements sent before an answer was awaited follow each other without a pause.
pub struct Connection {
    client: Client,
    /// Ends with it: the server learns at once that nobody waits any more, and lets its locks go.
    _driving: AbortOnDropHandle<()>,
    statements: Mutex<HashMap<&'static str, Statement>>,
    within: Duration,
    place: Arc<str>,
}

impl Connection {
    pub async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let statement = self.statement(sql).await?;
        self.in_time(self.client.query(&statement, params)).await
    }

    /// How many rows it touched.
    pub async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Failure> {
        let statement = self.statement(sql).await?;
        self.in_time(self.client.execute(&statement, params)).await
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Statements without values and answers.
    pub async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.in_time(self.client.batch_execute(sql)).await
    }

    /// Prepares statements ahead: those that are not ready are sent out of turn.
    pub async fn prepare(&self, all: &[&'static str]) -> Result<(), Failure> {
        let prepared = all.iter().map(|sql| self.statement(sql));
        futures_util::future::join_all(prepared).await.into_iter().try_for_each(|statement| statement.map(drop))
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.in_time(self.client.prepare(sql)).await?;
        self.statements().insert(sql, statement.clone());
        Ok(statement)
    }

    fn statements(&self) -> MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.within, answer).await {
            Ok(answer) => answer.map_err(|error| match Failure::from(error) {
                Failure::Lost(fault) => Failure::Lost(fault.at(&*self.place)),
                failure => failure,
            }),
            Err(_) => Err(Failure::Lost(faults::lost().at(&*self.place))),
        }
    }
}

/// Connections for whoever does not write in the writer's turn.
pub struct Pool {
    pub connector: Arc<Connector>,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    most: usize,
}

/// A connection of the pool. One that is not given back is closed.
pub struct Taken<'a> {
    pub connection: Connection,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub fn new(connector: Arc<Connector>, most: usize) -> Pool {
        Pool { connector, idle: Mutex::default(), permits: Semaphore::new(most), most }
    }

    pub async fn take(&self) -> Result<Taken<'_>, Fault> {
        let permit = match tokio::time::timeout(self.connector.within + GRACE, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| faults::lost())?,
            Err(_) => return Err(faults::busy()),
        };
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) if !connection.is_closed() => connection,
            Some(_) | None => self.connector.connect().await?,
        };
        Ok(Taken { connection, _permit: permit })
    }

    pub fn give(&self, taken: Taken<'_>) {
        let mut idle = self.idle();
        if idle.len() < self.most {
            idle.push(taken.connection);
        }
    }

    pub async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            let taken = self.take().await?;
            match taken.connection.query(sql, params).await {
                Ok(rows) => {
                    self.give(taken);
                    return Ok(rows);
                }
                Err(Failure::Fault(fault)) => {
                    self.give(taken);
                    return Err(fault);
                }
                Err(Failure::Again(fault) | Failure::Lost(fault)) if tries >= TRIES => return Err(fault),
                Err(Failure::Again(_)) => self.give(taken),
                // Those beside it were lost with it, most likely.
                Err(Failure::Lost(_)) => self.idle().clear(),
            }
        }
    }

    /// A statement that stands for itself and may be repeated; how many rows it gave.
    pub async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<usize, Fault> {
        Ok(self.query(sql, params).await?.len())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
