//! `raccord run`: the hub, until SIGTERM or Ctrl-C.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, output};
use crate::hub::{Hub, StartError};
use crate::telemetry::{LogFormat, start_logs};

#[derive(Debug, Args)]
pub struct Run {
    /// Do not reload when files change (`raccord reload` and SIGHUP still do)
    #[arg(long)]
    no_watch: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = Logs::Text)]
    logs: Logs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Logs {
    Text,
    Json,
}

impl Run {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        start_logs(match self.logs {
            Logs::Text => LogFormat::Text,
            Logs::Json => LogFormat::Json,
        });
        if output::configuration(context)?.is_none() {
            return Ok(output::found());
        }
        let mut options = context.options();
        options.watch = !self.no_watch;
        let (mut terminate, mut interrupt, mut hangup) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
        let starting = tokio::select! {
            started = Hub::start(options) => started,
            // It may wait long for a broker.
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        };
        let hub = match starting {
            Ok(hub) => hub,
            Err(StartError::Fault(fault)) => return Err(fault.into()),
            Err(StartError::Configuration(problems)) => {
                output::problems(context, &problems.0);
                return Ok(output::found());
            }
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => tokio::select! {
                    // A reload may wait for a peer; a stop does not wait for it.
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    reloaded = hub.reload() => if let Err(StartError::Configuration(problems)) = reloaded {
                        output::problems(context, &problems.0);
                    },
                },
            }
        }
        hub.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}
