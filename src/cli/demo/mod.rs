//! `raccord demo`: the shipped pipelines on the shipped samples, with stand-ins for the systems around them.
//!
//! A web shop posts signed orders, tills and a supplier drop files, a form asks who holds a card. The ERP's stand-in is away
//! for its first calls, so that a retry is seen. Everything else is the hub as it ships.

mod broker;
mod stand_ins;
mod story;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use rust_embed::RustEmbed;

use super::Context;
use crate::clock::Clock;
use crate::config::Environment;
use crate::hub::{Hub, Options, StartError};
use crate::message::Fault;
use crate::telemetry::{LogFormat, start_logs};
use broker::Broker;
use stand_ins::StandIns;

/// The hub that ships.
#[derive(RustEmbed)]
#[folder = "pipelines/"]
struct Pipelines;

#[derive(RustEmbed)]
#[folder = "config/"]
struct Config;

/// The pipelines it plays: those that need no connected system. The others are shown with real ones (`tests/it/systems.rs`).
const PLAYED: [&str; 5] = ["account-prefill", "price-list", "stock-movement", "till-tickets", "web-order"];

#[derive(Debug, Args)]
pub struct Demo {
    /// End when every message has arrived
    #[arg(long)]
    once: bool,
    /// Where to lay the hub out, to look at it afterwards; a temporary folder otherwise
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Where messages wait
    #[arg(long, value_enum, default_value_t = Queue::Embedded)]
    queue: Queue,
    /// With `--queue rabbitmq`: the broker
    #[arg(long, value_name = "ADDRESS", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    broker: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Queue {
    /// In a file of the demo's folder
    Embedded,
    /// In RabbitMQ; the store stays in the demo's folder
    Rabbitmq,
}

/// Longest time for a broker that answers to let the hub in.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for all messages to arrive: the ERP's stand-in makes some of them wait for a retry of 5 seconds.
const PATIENCE: Duration = Duration::from_secs(120);

impl Demo {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        start_logs(LogFormat::Text);
        let broker = match self.queue {
            Queue::Embedded => None,
            Queue::Rabbitmq => Some(Broker::parse(&self.broker)?),
        };
        if let Some(broker) = &broker {
            broker.ensure_there().await?;
        }
        let folder = Folder::lay_out(self.keep.as_deref())?;
        let stand_ins = StandIns::start().await?;
        let mut variables = stand_ins.environment(folder.path());
        if let Some(broker) = &broker {
            variables.extend([broker.write_into(folder.path())?]);
        }
        let starting = tokio::time::timeout(START_WITHIN, start(folder.path(), variables)).await;
        let hub =
            starting.context("the hub could not start in time; its last words above say what it waited for")??;
        println!("The hub runs on http://{} from {}\n", hub.address(), folder.path().display());
        stand_ins.feed(folder.path(), hub.address()).await?;
        let progress = super::output::progress(context, "waiting for all messages to arrive; retries take 5 seconds");
        let arrived = story::wait_until_quiet(&hub, folder.path(), PATIENCE).await;
        progress.finish_and_clear();
        story::tell(&hub, context.json).await?;
        if !self.once && arrived {
            println!("\nThe hub goes on; Ctrl-C ends it. In another terminal:");
            println!("  raccord -C {} trace '#1042'", folder.path().display());
            println!("  raccord -C {} dead list", folder.path().display());
            println!("  curl http://{}/metrics", hub.address());
            tokio::signal::ctrl_c().await?;
        }
        hub.stop().await;
        anyhow::ensure!(arrived, "not every message arrived within {PATIENCE:?}");
        Ok(ExitCode::SUCCESS)
    }
}

async fn start(folder: &Path, variables: BTreeMap<String, String>) -> anyhow::Result<std::sync::Arc<Hub>> {
    let options = Options {
        folder: folder.to_owned(),
        environment: Environment { only: Some(variables), folder: folder.to_owned() },
        clock: Clock::real(),
        watch: true,
        listen: Some("127.0.0.1:0".to_owned()),
    };
    Hub::start(options).await.map_err(|error| match error {
        StartError::Fault(fault) => anyhow::Error::from(fault),
        StartError::Configuration(problems) => {
            let said = crate::config::render(&problems.0.files, &problems.0.problems, false);
            Fault::misconfigured("CONFIG-ERRORS", format!("the shipped configuration has errors\n\n{said}")).into()
        }
    })
}

/// The demo's folder; a temporary one goes with it.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn lay_out(keep: Option<&Path>) -> anyhow::Result<Folder> {
        let temporary = || std::env::temp_dir().join(format!("raccord-demo-{}", std::process::id()));
        let folder = Folder { path: keep.map_or_else(temporary, Path::to_owned), temporary: keep.is_none() };
        let filled = std::fs::read_dir(&folder.path).is_ok_and(|mut entries| entries.next().is_some());
        anyhow::ensure!(!filled, "{} is not empty", folder.path.display());
        for name in Pipelines::iter().filter(|name| name.split('/').next().is_some_and(|first| PLAYED.contains(&first)))
        {
            let file = Pipelines::get(&name).context("a listed file is there")?;
            write(&folder.path.join("pipelines").join(name.as_ref()), &file.data)?;
        }
        for name in Config::iter().filter(|name| !name.starts_with("connections/")) {
            let file = Config::get(&name).context("a listed file is there")?;
            write(&folder.path.join("config").join(name.as_ref()), &file.data)?;
        }
        Ok(folder)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // A folder left behind in the temporary place is no harm.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
