//! The hub while its engine is not there yet: it lives, is not ready, says why, and tries again until broker and database
//! answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::office::{self, seconds};
use super::{Options, cannot_listen, declare, leave, open_works};
use crate::clock::Clock;
use crate::message::{Fault, Map, Next, Value, json};
use crate::pipelines::{Condition, Configuration, Works};
use crate::protocols::http::Routes;

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_secs(2);
/// A try that takes longer is given up: an address that swallows everything.
const TRY_FOR: Duration = Duration::from_secs(60);
/// The same reason is told again after 4 s, 8 s ... and at last so often.
const TELL_EVERY: Duration = Duration::from_secs(600);

/// Opens the engine and declares the pipelines' queues, however long the servers take to come. Meanwhile `listener` and
/// `socket` are answered.
///
/// # Errors
/// What a person must mend (`misconfigured`, `refuse`): waiting would not help.
pub(super) async fn wait_for_engine(
    configuration: &Configuration,
    options: &Options,
    listener: &TcpListener,
    socket: &UnixListener,
) -> Result<Works, Fault> {
    let why = Condition::default();
    why.rests(&Fault::retry("HUB-WAITING", "the hub starts"));
    let served = serve(listener, why.clone())?;
    let telling = Telling { listen: listener.local_addr().ok(), ..Telling::default() };
    let opening = open(configuration, options, &why, telling);
    let waiting = Waiting { since: options.clock.now(), why: why.clone() };
    let opened = tokio::select! {
        opened = opening => opened,
        never = receive(socket, &waiting, &options.clock) => match never {},
    };
    served.end().await;
    opened
}

async fn open(
    configuration: &Configuration,
    options: &Options,
    why: &Condition,
    mut telling: Telling,
) -> Result<Works, Fault> {
    let mut works = None;
    loop {
        let trying = async {
            // Opened once; what it needs may still be on its way.
            if works.is_none() {
                works = Some(open_works(configuration, options).await?);
            }
            if let Some(works) = &works {
                works.engine.store.well().await?;
                declare(works, configuration).await?;
            }
            Ok(())
        };
        let tried = tokio::select! {
            tried = trying => tried,
            () = options.clock.sleep(TRY_FOR) => {
                Err(Fault::retry("HUB-WAITING", format!("no answer within {} seconds", TRY_FOR.as_secs())))
            }
        };
        let fault = match (tried, works.take()) {
            (Ok(()), Some(works)) => {
                if telling.told > 0 {
                    info!("the engine is there");
                }
                return Ok(works);
            }
            (Ok(()), None) => continue,
            (Err(fault), opened) => {
                works = opened;
                fault
            }
        };
        if !may_pass(&fault) {
            if let Some(works) = works {
                leave(&works).await;
            }
            return Err(fault);
        }
        why.rests(&fault);
        telling.tell(&fault);
        options.clock.sleep(TRY_EVERY).await;
        telling.waited += TRY_EVERY;
    }
}

/// Whether waiting may help.
pub(super) fn may_pass(fault: &Fault) -> bool {
    match fault.next() {
        Next::Retry { .. } | Next::Reconnect => true,
        Next::Refuse | Next::Misconfigured => false,
    }
}

/// Tells why the hub waits, each time less often; another reason at once.
#[derive(Default)]
struct Telling {
    /// Where the lobby answers.
    listen: Option<std::net::SocketAddr>,
    last: String,
    told: u32,
    waited: Duration,
}

impl Telling {
    fn tell(&mut self, fault: &Fault) {
        let reason = fault.to_string();
        if reason != self.last {
            (self.last, self.told) = (reason, 0);
        } else if self.waited < self.pause() {
            return;
        }
        let listen = self.listen.map(tracing::field::display);
        warn!(code = fault.code(), listen, "the hub waits to start: {fault}");
        self.told += 1;
        self.waited = Duration::ZERO;
    }

    fn pause(&self) -> Duration {
        TRY_EVERY.saturating_mul(1 << self.told.min(10)).min(TELL_EVERY)
    }
}

/// The lobby's listener, until it ends or is dropped.
struct Served {
    task: tokio::task::JoinHandle<()>,
    stop: DropGuard,
}

impl Served {
    async fn end(self) {
        drop(self.stop);
        let _ = self.task.await;
    }
}

/// `/health/live` is well, everything else is asked to come back. On a second handle of the listener: whoever connects while
/// the hub takes over is answered by it.
fn serve(listener: &TcpListener, why: Condition) -> Result<Served, Fault> {
    let second = second_handle(listener).map_err(|error| cannot_listen("the configured address", error))?;
    let reason = move || {
        let why = why.clone();
        async move {
            let reasons = Value::List(why.why().into_iter().map(Value::from).collect());
            let out: Map = [("ready", Value::Bool(false)), ("reasons", reasons)].into_iter().collect();
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::RETRY_AFTER, "5")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, json::to_text(&out.into())).into_response()
        }
    };
    let own = Router::new().route("/health/live", get(|| async { "alive\n" })).fallback(reason);
    let stop = CancellationToken::new();
    let serving = Arc::new(Routes::default()).serve(second, own, stop.clone());
    Ok(Served { task: tokio::spawn(serving), stop: stop.drop_guard() })
}

fn second_handle(listener: &TcpListener) -> std::io::Result<TcpListener> {
    let second = std::os::fd::AsFd::as_fd(listener).try_clone_to_owned()?;
    TcpListener::from_std(second.into())
}

/// What the hub waits for, as `raccord status` tells it.
#[derive(Clone)]
struct Waiting {
    since: Timestamp,
    why: Condition,
}

/// The office of the lobby: it knows that the hub waits, and why.
async fn receive(socket: &UnixListener, waiting: &Waiting, clock: &Clock) -> std::convert::Infallible {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                let waiting = waiting.clone();
                tokio::spawn(office::converse(stream, async move |question: Value| answer(&question, &waiting)));
            }
            Err(error) => {
                warn!("the office's socket: {error}");
                clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn answer(question: &Value, waiting: &Waiting) -> Result<Value, Fault> {
    let why = waiting.why.why().unwrap_or_default();
    if question.get("do").and_then(Value::as_text) == Some("status") {
        let mut out = Map::new();
        out.insert("running", true);
        out.insert("waits_since", seconds(waiting.since));
        out.insert("not_ready", Value::List(vec![Value::from(why)]));
        out.insert("pipelines", Value::List(Vec::new()));
        return Ok(out.into());
    }
    Err(Fault::retry("HUB-WAITING", format!("the hub waits for its broker and database: {why}")))
}

/// The folder of the office's socket, where the engine itself keeps no file.
pub(super) fn make_folder(data: &Path) -> Result<(), Fault> {
    std::fs::create_dir_all(data).map_err(|error| {
        Fault::misconfigured("HUB-SOCKET", format!("cannot make the folder {}", data.display())).cause(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_is_told_less_and_less_often() {
        let mut telling = Telling::default();
        let mut told = Vec::new();
        let fault = Fault::reconnect("HUB-WAITING", "nobody answers");
        for second in (0..3600).step_by(2) {
            let before = telling.told;
            telling.tell(&fault);
            if telling.told != before {
                told.push(second);
            }
            telling.waited += TRY_EVERY;
        }
        assert_eq!(told[..6], [0, 4, 12, 28, 60, 124], "{told:?}");
        assert!(told.len() < 20 && told.windows(2).all(|two| two[1] - two[0] <= 600), "{told:?}");
        telling.tell(&Fault::reconnect("HUB-WAITING", "another reason"));
        assert_eq!(telling.told, 1, "another reason is told at once");
    }
}
