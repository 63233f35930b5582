//! Structured logs. A line about a message carries `pipeline` and `message`; its content never stands in a log.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for a log collector.
    Json,
}

/// Starts logging to standard error. `RACCORD_LOG` filters as `info,raccord::protocols=debug` does. A second call does nothing.
pub fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_env("RACCORD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // lapin writes returned messages with their content, and at `trace` the login; what it has to say stands in our faults.
    let quiet = "lapin=off".parse().expect("a constant directive");
    let filter = filter.add_directive(quiet);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A log that cannot be written (its disk is full) is told nowhere: telling it on the same standard error would panic.
    let builder = builder.log_internal_errors(false);
    // An error means that logging was started before, by a test or an embedding program: theirs stands.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
