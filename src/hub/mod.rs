//! Start, reload, drain, stop.
//!
//! [`Hub::start`] reads a folder and runs its pipelines; [`Hub::reload`] changes to what the folder says now, all or nothing;
//! [`Hub::stop`] lets what is on its way arrive. `office` answers people (`raccord dead`, `send`, `status`), in the running hub
//! or, without one, on its files.

mod engine;
mod health;
mod lobby;
mod office;
mod registry;
mod reload;
mod running;
mod supervise;
#[cfg(test)]
mod turns;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use office::{MAX_SENT, Office, ask};
pub use registry::Registry;
pub use reload::Changes;

use crate::clock::Clock;
use crate::config::{Environment, HubSettings};
use crate::message::{Fault, Text};
use crate::pipelines::{Calls, Configuration, Loaded, Memory, Works, load};
use crate::protocols::http::Routes;
use crate::protocols::{NoConnections, Surroundings};
use crate::store::Retention;
use crate::telemetry::Metrics;

/// How often the store forgets what is past its time.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a stop tries to tell the other instances.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// How to start a hub.
#[derive(Clone, Debug)]
pub struct Options {
    pub folder: PathBuf,
    pub environment: Environment,
    pub clock: Clock,
    /// Reload when files change.
    pub watch: bool,
    /// Instead of the configured address; for tests and the demo.
    pub listen: Option<String>,
}

/// Why a hub did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration has errors: nothing was started.
    Configuration(Box<LoadedProblems>),
    Fault(Fault),
}

/// What was wrong with a configuration, with the files to show it in.
pub struct LoadedProblems(pub Loaded);

impl std::fmt::Debug for LoadedProblems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} problems", self.0.problems.len())
    }
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> StartError {
        StartError::Fault(fault)
    }
}

/// A running hub.
pub struct Hub {
    pub(crate) options: Options,
    /// Settings it started with; some of them a reload cannot change.
    pub(crate) settings: HubSettings,
    pub(crate) works: Works,
    pub(crate) surroundings: Surroundings,
    pub(crate) registry: Arc<Registry>,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// Of the configuration in use.
    revision: Mutex<Text>,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Hub {
    /// Reads the folder and starts all it says.
    pub async fn start(options: Options) -> Result<Arc<Hub>, StartError> {
        let mut loaded = load(&options.folder, &options.environment);
        let Some(configuration) = loaded.configuration.take() else {
            return Err(StartError::Configuration(Box::new(LoadedProblems(loaded))));
        };
        let listen = options.listen.clone().unwrap_or_else(|| configuration.hub.listen.to_string());
        let data = engine::data(&configuration.hub, &options);
        let (works, listener, socket) = if configuration.hub.is_distributed() {
            let listener = bind(&listen).await?;
            lobby::make_folder(&data)?;
            let socket = office::occupy(&data).await?;
            let works = lobby::wait_for_engine(&configuration, &options, &listener, &socket).await?;
            (works, listener, socket)
        } else {
            let works = open_works(&configuration, &options).await?;
            declare(&works, &configuration).await?;
            (works, bind(&listen).await?, office::occupy(&data).await?)
        };
        let address = listener.local_addr().map_err(|error| cannot_listen(&listen, error))?;
        let registry = Arc::new(Registry::default());
        let surroundings = Surroundings {
            clock: options.clock.clone(),
            folder: options.folder.clone(),
            routes: Arc::new(Routes::default()),
            pipelines: registry.clone(),
            vault: works.engine.store.clone(),
            connections: Arc::new(NoConnections),
            metrics: works.metrics.clone(),
        };
        let hub = Arc::new(Hub {
            settings: configuration.hub.clone(),
            works,
            surroundings,
            registry,
            reloading: tokio::sync::Mutex::default(),
            revision: Mutex::default(),
            address,
            stop: CancellationToken::new(),
            tasks: Mutex::default(),
            options,
        });
        let adopted = hub.adopt(configuration).await;
        if let Err(error) = adopted.and_then(|_| hub.begin(listener, socket)) {
            leave(&hub.works).await;
            return Err(error);
        }
        let revision = hub.revision();
        info!(hub = %hub.settings.name, listen = %address, %revision, pipelines = hub.registry.len(), "the hub runs");
        Ok(hub)
    }

    /// Names the configuration in use: instances with the same one run the same.
    pub fn revision(&self) -> Text {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the hub listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn works(&self) -> &Works {
        &self.works
    }

    /// Stops sources, lets what is under way be settled within the configured time, and closes. What is left waits in the queue.
    pub async fn stop(&self) {
        info!("the hub stops");
        // First what could start something: listener, watch, office. Then the pipelines, sources first.
        self.stop.cancel();
        let within = self.settings.stop_within;
        // A reload under way may wait for a peer, or for room on the disk: the stop does not wait for ever with it.
        let _no_reload = tokio::time::timeout(within, self.reloading.lock()).await;
        if tokio::time::timeout(within, self.registry.stop_all()).await.is_err() {
            warn!(?within, "not everything ended in time: the rest waits in the queue for the next start");
        }
        // What only one instance does is another's now, without waiting for the end of our turns.
        leave(&self.works).await;
        let tasks: Vec<_> = self.tasks.lock().expect("no code panics while holding the tasks").drain(..).collect();
        for task in tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout(Duration::from_secs(5), task).await.is_err() {
                abort.abort();
            }
        }
        info!("the hub has stopped");
    }

    /// The folder of what this instance keeps.
    fn data(&self) -> PathBuf {
        engine::data(&self.settings, &self.options)
    }

    /// The tasks beside the pipelines: listener, office, sweep, watch.
    fn begin(self: &Arc<Hub>, listener: TcpListener, socket: UnixListener) -> Result<(), StartError> {
        let mut tasks = vec![
            tokio::spawn(health::serve(self.clone(), listener, self.stop.clone())),
            tokio::spawn(sweep(self.works.clone(), retention(&self.settings), self.stop.clone())),
            office::listen(self.clone(), socket, self.stop.clone()),
        ];
        if self.options.watch {
            tasks.push(watch::watch(self.clone(), self.stop.clone())?);
        }
        self.tasks.lock().expect("no code panics while holding the tasks").extend(tasks);
        Ok(())
    }
}

/// Lets other instances have what this one holds, and closes its connections.
async fn leave(works: &Works) {
    if tokio::time::timeout(LEAVE_WITHIN, works.engine.instances.leave()).await.is_err() {
        warn!("the other instances could not be told; they take over once they miss this one");
    }
}

/// Says how each pipeline's queues are shared, before they are used.
pub(crate) async fn declare(works: &Works, configuration: &Configuration) -> Result<(), Fault> {
    for (queue, sharing) in configuration.pipelines.values().flat_map(|pipeline| pipeline.queues()) {
        works.engine.queue.declare(&queue, sharing).await?;
    }
    Ok(())
}

/// Opens the engine of a configuration, with what runs on it.
pub(crate) async fn open_works(configuration: &Configuration, options: &Options) -> Result<Works, Fault> {
    let queue = configuration.hub.queue.clone().unwrap_or_default();
    let metrics = Metrics::default();
    let engine = engine::open(&configuration.hub, options, &metrics).await?;
    Ok(Works {
        engine,
        clock: options.clock.clone(),
        metrics,
        tables: configuration.tables.clone(),
        calls: Arc::new(Calls::new(Arc::new(NoConnections), options.clock.clone())),
        memory: Arc::new(Memory::new(queue.memory.bytes())),
        quota: u64::from(queue.quota),
    })
}

pub(crate) fn retention(settings: &HubSettings) -> Retention {
    let retention = settings.retention.clone().unwrap_or_default();
    Retention { journal: retention.journal, dead_letters: retention.dead_letters }
}

async fn bind(listen: &str) -> Result<TcpListener, Fault> {
    TcpListener::bind(listen).await.map_err(|error| cannot_listen(listen, error))
}

fn cannot_listen(listen: &str, error: std::io::Error) -> Fault {
    let said =
        format!("cannot listen on {listen}; is another hub running there? Change `listen` in config/raccord.yaml");
    Fault::misconfigured("HUB-LISTEN", said).cause(error)
}

/// Forgets what is past its time, a part at a call so that nothing waits long.
async fn sweep(works: Works, retention: Retention, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = works.clock.sleep(SWEEP) => {}
        }
        loop {
            match works.engine.store.sweep(works.clock.now(), retention).await {
                Ok(true) if !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(fault) => {
                    warn!(code = fault.code(), "cannot sweep the store: {fault}");
                    break;
                }
            }
        }
    }
}
