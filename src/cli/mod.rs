//! The command line: one file a command.
//!
//! Exit codes: 0 done; 1 something was found (errors in the configuration, a case that failed, a message that was refused);
//! 2 the command was written wrongly; 3 it could not be done (no such folder, a hub that is not there).

/// In every command the standard ones' names mean these: whoever reads no further (`raccord trace … | head`) is no panic.
macro_rules! print {
    ($($words:tt)*) => { $crate::cli::output::put(format_args!($($words)*)) };
}
macro_rules! println {
    () => { print!("\n") };
    ($($words:tt)*) => { $crate::cli::output::put(format_args!("{}\n", format_args!($($words)*))) };
}
macro_rules! eprint {
    ($($words:tt)*) => { $crate::cli::output::tell(format_args!($($words)*)) };
}
macro_rules! eprintln {
    ($($words:tt)*) => { $crate::cli::output::tell(format_args!("{}\n", format_args!($($words)*))) };
}

mod check;
mod connect;
mod connectors;
mod dead;
mod demo;
mod edi;
mod explain;
mod health;
mod init;
mod output;
mod partners;
mod reload;
mod run;
mod schema;
mod send;
mod status;
mod test;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::config::Environment;
use crate::hub::Options;

/// Joins a retailer's systems: reads YAML, moves messages, loses none, shows where each one is.
///
/// Exit codes: 0 done; 1 something was found (errors, a failed case, a refused message); 2 wrong usage; 3 could not be done.
#[derive(Debug, Parser)]
#[command(name = "raccord", version, max_term_width = 100)]
struct Cli {
    /// The hub's folder, with config/ and pipelines/
    #[arg(long, short = 'C', global = true, default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
    /// Answer in JSON, for machines
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a working hub to start from
    Init(init::Init),
    /// Read the whole configuration and tell every problem
    Check(check::Check),
    /// Run the hub until it is stopped
    Run(run::Run),
    /// Run the cases of the pipelines and of the manifests
    Test(test::Test),
    /// List the systems there are manifests of, show one, or check the connections
    Connectors(connectors::Connectors),
    /// Join a system: ask for its settings, write the connection, check it
    Connect(connect::Connect),
    /// Send a file into a pipeline, as its source would
    Send(send::Send),
    /// Where messages went: by id, order number, or whatever the pipeline tracks
    Trace(trace::Trace),
    /// List, show, replay or discard dead letters
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Let a running hub read its files again
    Reload(reload::Reload),
    /// What a hub is doing
    Status(status::Status),
    /// Ask a running hub whether it takes messages (for health checks)
    Health(health::Health),
    /// What became of the documents sent to trading partners
    Partners(partners::Partners),
    /// EDIFACT and X12 files by hand: explain one, check or compare them, to JSON and back
    #[command(subcommand)]
    Edi(edi::Edi),
    /// Explain a key of the configuration, a function or a fault: `raccord explain from.http.path`
    Explain(explain::Explain),
    /// Write the JSON Schemas of the configuration, for editors
    Schema(schema::Schema),
    /// Run the shipped pipelines on sample data, and show where each message went
    Demo(demo::Demo),
}

/// What every command uses.
struct Context {
    folder: PathBuf,
    json: bool,
}

/// Runs the command the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context { folder: cli.folder, json: cli.json };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(command(&context, cli.command));
        // Blocking reads that nobody waits for any more do not hold the process.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        outcome
    });
    outcome.unwrap_or_else(|error| {
        output::failed(context.json, &error);
        ExitCode::from(output::FAILED)
    })
}

async fn command(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(init) => init.run(context),
        Command::Check(check) => check.run(context),
        Command::Run(run) => run.run(context).await,
        Command::Test(test) => test.run(context).await,
        Command::Connectors(connectors) => connectors.run(context).await,
        Command::Connect(connect) => connect.run(context).await,
        Command::Send(send) => send.run(context).await,
        Command::Trace(trace) => trace.run(context).await,
        Command::Dead(dead) => dead.run(context).await,
        Command::Reload(reload) => reload.run(context).await,
        Command::Status(status) => status.run(context).await,
        Command::Health(health) => health.run(context).await,
        Command::Partners(partners) => partners.run(context).await,
        Command::Edi(edi) => edi.run(context),
        Command::Explain(explain) => explain.run(context),
        Command::Schema(schema) => schema.run(context),
        Command::Demo(demo) => demo.run(context).await,
    }
}

impl Context {
    fn environment(&self) -> Environment {
        Environment { only: None, folder: self.folder.clone() }
    }

    fn options(&self) -> Options {
        Options {
            folder: self.folder.clone(),
            environment: self.environment(),
            clock: Clock::real(),
            watch: true,
            listen: None,
        }
    }
}
