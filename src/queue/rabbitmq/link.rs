//! A connection to RabbitMQ that comes back: made when it is first needed, and again after it was lost.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use lapin::auth::AuthProvider;
use lapin::types::{LongString, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::faults::{fault_in, gone, unreachable};
use super::wire::{Cut, Wire, runtime};
use crate::config::{Secret, Tls, TlsSettings};
use crate::message::{Fault, Text};
use crate::telemetry::{Outage, in_words};

/// One address has so long to answer, TLS and login included.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A question to the broker that changes nothing (a channel, a close) has so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The first pause after a failed attempt; each next one is twice as long, up to the longest, all of them shortened by up to half
/// by chance so that many hubs do not come back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Bytes of one frame, as much as a broker allows unless told otherwise: the properties and headers of a message travel in one,
/// and what others wrote must come through. lapin keeps buffers of 32 frames each way.
const FRAME: u32 = 128 << 10;

/// How often a connection that says nothing is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Each `host` or `host:port`; tried in turn.
    pub addresses: Vec<Text>,
    pub vhost: Text,
    /// Left out together with the password where a client certificate says who connects; else `guest`, as everywhere.
    pub user: Option<Text>,
    pub password: Option<Secret>,
    pub tls: Option<TlsSettings>,
    pub heartbeat: Duration,
    /// The map of the configuration in which these stand, such as `queue.rabbitmq`.
    pub map: &'static str,
    /// What the broker shows the connection as.
    pub name: String,
    /// Where the paths of `tls` start.
    pub folder: PathBuf,
}

/// One connection. Cheap to ask for a channel; all who ask while there is none share one attempt.
///
/// Publish and consume on links of their own: a broker short of memory or disk stops reading from who publishes, and then
/// nothing else goes out on that connection either, not even an acknowledgement.
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    settings: LinkSettings,
    addresses: Vec<(String, u16)>,
    live: Mutex<Option<Arc<Live>>>,
    attempts: tokio::sync::Mutex<Attempts>,
    /// Attempts ended so far: who waited for one while it ran does not start another.
    ended: AtomicU64,
    generation: AtomicU64,
    state: watch::Sender<LinkState>,
    away: Mutex<Away>,
}

/// Why there is no connection, since it was lost or the first attempt failed.
#[derive(Default)]
struct Away {
    since: Option<(Instant, Fault)>,
    /// An attempt has failed since.
    tried: bool,
    /// Of a connection that was there before, as the log tells it.
    told: Outage,
}

/// What a link is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    pub connected: bool,
    /// The broker does not read from it: it is short of memory or disk.
    pub blocked: bool,
    /// Connections made so far; the number of the present or last one.
    pub generation: u64,
}

struct Attempts {
    /// The address to try next.
    next: usize,
    failures: u32,
    not_before: Option<Instant>,
    last: Option<Fault>,
    closed: bool,
}

struct Live {
    connection: Connection,
    generation: u64,
    cut: Cut,
    /// Ends by itself when the connection has: it tells why.
    watcher: AbortHandle,
}

impl Link {
    /// Checks the settings; connects when a channel is asked for. Within a tokio runtime.
    ///
    /// # Errors
    /// `misconfigured`: an address that is none, a TLS file that cannot be read.
    pub fn open(settings: LinkSettings) -> Result<Link, Fault> {
        let port = if settings.tls.is_some() { 5671 } else { 5672 };
        let addresses: Result<Vec<_>, _> = settings.addresses.iter().map(|address| split(address, port)).collect();
        let addresses = addresses?;
        if addresses.is_empty() {
            return Err(Fault::misconfigured("AMQP-ADDRESS", "`addresses` names no broker"));
        }
        if settings.vhost.len() > 255 {
            return Err(Fault::misconfigured("AMQP-VHOST", "`vhost` is longer than 255 bytes"));
        }
        // Read again at each connection, so that renewed certificates count.
        settings.tls.as_ref().map(|tls| Tls::read(tls, &settings.folder)).transpose()?;
        let attempts = Attempts { next: 0, failures: 0, not_before: None, last: None, closed: false };
        Ok(Link {
            inner: Arc::new(Inner {
                settings,
                addresses,
                live: Mutex::new(None),
                attempts: tokio::sync::Mutex::new(attempts),
                ended: AtomicU64::new(0),
                generation: AtomicU64::new(0),
                state: watch::Sender::new(LinkState::default()),
                away: Mutex::default(),
            }),
        })
    }

    /// A new channel, on a new connection where there is none. After a failed attempt the next one waits a little (at most
    /// 10 s), so whoever asks in a loop does not hammer the broker.
    ///
    /// # Errors
    /// `reconnect`: down, or no answer in time; `misconfigured`: refused, and why.
    pub async fn channel(&self) -> Result<Channel, Fault> {
        Ok(self.channel_of().await?.0)
    }

    /// A new channel, and the number of the connection it is on.
    ///
    /// # Errors
    /// As [`Link::channel`].
    pub async fn channel_of(&self) -> Result<(Channel, u64), Fault> {
        let live = self.inner.live().await?;
        match timeout(ANSWER_WITHIN, live.connection.create_channel()).await {
            Ok(Ok(channel)) => Ok((channel, live.generation)),
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_) => {
                // Nothing else on it would be answered either.
                let fault = gone("the broker did not answer in time");
                self.inner.drop_live(&live, &fault);
                Err(fault)
            }
        }
    }

    /// The fault that `error` of this connection or a channel of it is.
    pub fn fault(&self, error: &lapin::Error) -> Fault {
        fault_in(error, self.inner.settings.map)
    }

    /// Since when there is no connection, and why; `None` while there is one, and before the first attempt.
    pub fn away(&self) -> Option<(Instant, Fault)> {
        self.inner.away().since.clone()
    }

    /// The broker does not read from this connection: what is published waits, and should not be more.
    pub fn blocked(&self) -> bool {
        self.inner.state.borrow().blocked
    }

    /// Waits until the connection is not blocked (or is gone), at most `within`. Whether that is so.
    pub async fn unblocked(&self, within: Duration) -> bool {
        let mut state = self.inner.state.subscribe();
        timeout(within, state.wait_for(|state| !state.blocked)).await.is_ok()
    }

    /// Number of the present connection, or of the last: 0 before the first. Another number: what was declared on channels is
    /// gone with them.
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// Changes as they come: for metrics.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.inner.state.subscribe()
    }

    /// Ends the connection, with a word to the broker where it listens. No other is made.
    pub async fn close(&self) {
        self.inner.attempts.lock().await.closed = true;
        let live = self.inner.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(live) = live {
            live.watcher.abort();
            // A blocked connection would not send it.
            if !live.connection.status().blocked() {
                let _ = timeout(Duration::from_secs(2), live.connection.close(200, "OK".into())).await;
            }
            live.cut.now();
        }
        self.inner.state.send_modify(|state| (state.connected, state.blocked) = (false, false));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(live) = self.inner.live.lock().unwrap_or_else(PoisonError::into_inner).take() {
            live.watcher.abort();
            live.cut.now();
        }
    }
}

impl Inner {
    async fn live(self: &Arc<Inner>) -> Result<Arc<Live>, Fault> {
        if let Some(live) = self.present() {
            return Ok(live);
        }
        let seen = self.ended.load(Ordering::Acquire);
        // In a task of its own: one who asks and leaves does not end the attempt of the others.
        let attempt = tokio::spawn(self.clone().attempt(seen));
        attempt.await.unwrap_or_else(|_| Err(gone("the hub is stopping")))
    }

    fn present(&self) -> Option<Arc<Live>> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(over) = live.take_if(|live| !live.connection.status().connected()) {
            self.lost(over.generation, &gone("the connection to the broker was lost"));
        }
        live.clone()
    }

    fn drop_live(&self, over: &Arc<Live>, why: &Fault) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.take_if(|live| Arc::ptr_eq(live, over)).is_some() {
            over.cut.now();
            self.lost(over.generation, why);
        }
    }

    fn away(&self) -> MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(self: Arc<Inner>, seen: u64) -> Result<Arc<Live>, Fault> {
        let mut attempts = self.attempts.lock().await;
        if attempts.closed {
            return Err(gone("the hub is stopping"));
        }
        if let Some(live) = self.present() {
            return Ok(live);
        }
        if let Some(fault) = attempts.last.clone().filter(|_| self.ended.load(Ordering::Acquire) != seen) {
            return Err(fault);
        }
        if let Some(not_before) = attempts.not_before {
            sleep(not_before.saturating_duration_since(Instant::now())).await;
        }
        let connected = self.connect(&mut attempts.next).await;
        self.ended.fetch_add(1, Ordering::AcqRel);
        match connected {
            Ok((connection, cut, address)) => {
                (attempts.failures, attempts.not_before, attempts.last) = (0, None, None);
                Ok(self.welcome(connection, cut, address))
            }
            Err(fault) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << attempts.failures.min(10)).min(LONGEST_PAUSE);
                attempts.failures = attempts.failures.saturating_add(1);
                attempts.not_before = Some(Instant::now() + pause.mul_f64(1.0 - chance() / 2.0));
                attempts.last = Some(fault.clone());
                self.failed(&fault);
                Err(fault)
            }
        }
    }

    /// Keeps why there is no connection, and tells it now and then. Of one that never was, whoever asked for it tells.
    fn failed(&self, fault: &Fault) {
        let mut away = self.away();
        away.since.get_or_insert_with(|| (Instant::now(), fault.clone())).1 = fault.clone();
        away.tried = true;
        if self.generation.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(length) = away.told.lasts().filter(|length| !length.is_zero()) {
            let (connection, code) = (&self.settings.name, fault.code());
            tracing::warn!(%connection, code, "no connection to the broker for {} now: {fault}", in_words(length));
        }
    }

    /// Tries each address once, from `next` on, which stays at the one that answered.
    async fn connect(&self, next: &mut usize) -> Result<(Connection, Cut, String), Fault> {
        let mut fault: Option<Fault> = None;
        for _ in 0..self.addresses.len() {
            let (host, port) = &self.addresses[*next % self.addresses.len()];
            match self.connect_to(host, *port).await {
                Ok((connection, cut)) => return Ok((connection, cut, format!("{host}:{port}"))),
                Err(failed) => {
                    let failed = failed.at(format!("{host}:{port}"));
                    tracing::debug!(broker = %format_args!("{host}:{port}"), fault = %failed, "no connection");
                    // Of several, what a person must change is worth more to know than one that is down.
                    let keep = fault.as_ref().is_some_and(|fault| fault.next() == crate::message::Next::Misconfigured);
                    if !keep {
                        fault = Some(failed);
                    }
                    *next = (*next + 1) % self.addresses.len();
                }
            }
        }
        Err(fault.expect("there is an address"))
    }

    async fn connect_to(&self, host: &str, port: u16) -> Result<(Connection, Cut), Fault> {
        let settings = &self.settings;
        let tls = settings.tls.as_ref().map(|tls| Tls::read(tls, &settings.folder)).transpose()?;
        let external = settings.user.is_none() && settings.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
        let login = if external {
            Login { mechanism: "EXTERNAL", answer: LongString::default() }
        } else {
            let user = settings.user.as_deref().unwrap_or("guest");
            let password = settings.password.as_ref().map_or("guest", Secret::reveal);
            Login { mechanism: "PLAIN", answer: format!("\0{user}\0{password}").into() }
        };
        let properties = ConnectionProperties::default()
            .with_connection_name(settings.name.as_str().into())
            .with_client_property("product".into(), "raccord".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
            .with_auth_provider(login);
        let heartbeat = u16::try_from(settings.heartbeat.as_secs().max(1)).unwrap_or(u16::MAX);
        let uri = AMQPUri {
            scheme: AMQPScheme::AMQP,
            // The name and password go through `Login`, which nothing prints.
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: String::new(), password: String::new() },
                host: host.to_owned(),
                port,
            },
            vhost: settings.vhost.to_string(),
            query: AMQPQueryString { frame_max: Some(FRAME), heartbeat: Some(heartbeat), ..AMQPQueryString::default() },
        };
        let cut = Cut::default();
        let connect = {
            let cut = cut.clone();
            async move |uri: AMQPUri, _| {
                let wire = Wire::connect(&uri.authority.host, uri.authority.port, tls.as_ref(), cut.clone());
                let wire =
                    timeout(CONNECT_WITHIN, wire).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
                Ok(lapin::AsyncTcpStream::Plain(wire))
            }
        };
        match timeout(CONNECT_WITHIN, Connection::connector(uri, runtime(), connect, properties)).await {
            Ok(Ok(connection)) => Ok((connection, cut)),
            Ok(Err(error)) => {
                cut.now();
                // A broker hangs up as it stops, and also where it does not take what it was shown; what it says of a
                // certificate (TLS 1.3 lets it come late), or of words that are not encrypted, may be lost on the way.
                Err(match fault_in(&error, settings.map) {
                    fault if fault.code() != "AMQP-GONE" => fault,
                    _ if external => gone(&no_external(settings.map)),
                    _ if settings.tls.is_some() => gone(&hung_up(settings.map)),
                    _ => gone(&hung_up_on_plain(settings.map)),
                })
            }
            Err(_) => {
                cut.now();
                Err(unreachable("the broker did not answer in time", settings.map))
            }
        }
    }

    fn welcome(self: &Arc<Inner>, connection: Connection, cut: Cut, address: String) -> Arc<Live> {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.state.send_replace(LinkState { connected: true, blocked: false, generation });
        let name = &self.settings.name;
        let away = std::mem::take(&mut *self.away());
        let how = match away.told.length() {
            Some(length) if away.tried => format!(" again, after {}", in_words(length)),
            // Nobody had asked for it meanwhile.
            Some(_) => " again".to_owned(),
            None => String::new(),
        };
        tracing::info!(connection = %name, broker = %address, "connected to the broker{how}");
        let watched = Watched { link: Arc::downgrade(self), state: self.state.subscribe(), generation, address };
        let watcher = tokio::spawn(watched.watch(connection.events_listener()));
        let live = Arc::new(Live { connection, generation, cut, watcher: watcher.abort_handle() });
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
        live
    }

    fn lost(&self, generation: u64, why: &Fault) {
        self.state.send_if_modified(|state| {
            let ours = state.generation == generation && state.connected;
            if ours {
                (state.connected, state.blocked) = (false, false);
                let mut away = self.away();
                away.since = Some((Instant::now(), why.clone()));
                away.told.lasts();
            }
            ours
        });
    }
}

/// Tells the link what becomes of one connection, until it is gone, and the log of its end.
struct Watched {
    link: std::sync::Weak<Inner>,
    state: watch::Receiver<LinkState>,
    generation: u64,
    address: String,
}

impl Watched {
    async fn watch(mut self, events: impl futures_util::Stream<Item = Event>) {
        let mut events = std::pin::pin!(events);
        let mut error = None;
        loop {
            let generation = self.generation;
            let event = tokio::select! {
                biased;
                event = events.next() => Some(event),
                _ = self.state.wait_for(|state| state.generation != generation || !state.connected) => None,
                () = sleep(LOOK_EVERY) => None,
            };
            let Some(link) = self.link.upgrade() else { return };
            match event {
                Some(Some(Event::ConnectionBlocked(reason))) => {
                    let (connection, broker) = (&link.settings.name, &self.address);
                    tracing::warn!(%connection, %broker, reason, "the broker takes no more for now");
                    link.state.send_modify(|state| state.blocked = true);
                }
                Some(Some(Event::ConnectionUnblocked)) => {
                    let (connection, broker) = (&link.settings.name, &self.address);
                    tracing::info!(%connection, %broker, "the broker takes messages again");
                    link.state.send_modify(|state| state.blocked = false);
                }
                // Of a channel, or the one that ends the connection, which is seen at once then.
                Some(Some(Event::Error(said))) => error = Some(said),
                Some(None) => return self.over(&link, error.as_ref()),
                Some(Some(_)) => {}
                None if link.present().is_some_and(|live| live.generation == generation) => error = None,
                None => {}
            }
            if link.present().is_none_or(|live| live.generation != generation) {
                while let Some(Some(event)) = events.next().now_or_never() {
                    if let Event::Error(said) = event {
                        error = Some(said);
                    }
                }
                return self.over(&link, error.as_ref());
            }
        }
    }

    /// The connection is over, for `error` where it was said.
    fn over(&self, link: &Inner, error: Option<&lapin::Error>) {
        let why = error.map(|error| fault_in(error, link.settings.map));
        link.lost(self.generation, why.as_ref().unwrap_or(&gone("the connection to the broker was lost")));
        let known = link.away().since.as_ref().map(|(_, known)| known.clone());
        let why = why.or(known).unwrap_or_else(|| gone("it is not said why"));
        let (connection, broker, code) = (&link.settings.name, &self.address, why.code());
        tracing::warn!(%connection, %broker, code, "the connection to the broker was lost: {}", why.sentence());
    }
}

fn no_external(map: &str) -> String {
    format!(
        "the broker closed the connection as the hub came with its certificate alone: where it does so again, enable its plugin \
         `rabbitmq_auth_mechanism_ssl`, or give `{map}.user` and `{map}.password`"
    )
}

fn hung_up(map: &str) -> String {
    format!(
        "the broker closed the encrypted connection before the hub had logged in: where it does so again and asks for a \
         certificate, give a client certificate that it trusts as `{map}.tls.certificate` and `{map}.tls.key`"
    )
}

fn hung_up_on_plain(map: &str) -> String {
    format!(
        "the broker closed the connection before the hub had logged in: where it does so again, this may be its encrypted port; \
         then give `{map}.tls`, or the plain port (5672) in `{map}.addresses`"
    )
}

/// Logs in by name and password, or by the client certificate.
struct Login {
    mechanism: &'static str,
    answer: LongString,
}

impl AuthProvider for Login {
    fn mechanism(&self) -> ShortString {
        self.mechanism.into()
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        Ok(self.answer.clone())
    }
}

/// `host`, `host:port`, `[::1]:port`.
fn split(address: &str, port: u16) -> Result<(String, u16), Fault> {
    // Not repeated where it may hold a password.
    let wrong = || {
        let shown = if address.contains('@') || address.contains("//") { "one of them" } else { address };
        let sentence =
            format!("`addresses` wants `host` or `host:port`, without a scheme, user or path: {shown} is not that");
        Fault::misconfigured("AMQP-ADDRESS", sentence)
    };
    let (host, rest) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
        None => address.find(':').map_or((address, ""), |at| address.split_at(at)),
    };
    let port = match rest {
        "" => port,
        rest => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?,
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

/// From 0 to 1, drawn.
fn chance() -> f64 {
    let drawn = crate::message::MessageId::draw();
    f64::from(u16::from_be_bytes([drawn.as_bytes()[0], drawn.as_bytes()[1]])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_a_port() {
        assert_eq!(split("mq-1.example", 5672).expect("a host"), ("mq-1.example".into(), 5672));
        assert_eq!(split("mq-1:5673", 5672).expect("a host and port"), ("mq-1".into(), 5673));
        assert_eq!(split("[::1]:5673", 5672).expect("an address and port"), ("::1".into(), 5673));
        for wrong in ["", "amqp://u:secret@mq", "mq:port", "mq/vhost", "u:secret@mq"] {
            let fault = split(wrong, 5672).expect_err(wrong);
            assert!(!fault.to_string().contains("secret"), "{fault}");
        }
    }
}
