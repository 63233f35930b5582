//! How fast, beside what could be reached at all: each scenario runs the hub as a process of its own and, in the same run, a
//! bare loop that does the least the same promise costs. `docs/benchmarks.md` says what each number is.
//!
//! ```text
//! cargo bench --bench throughput -- [--only NAME] [--messages N] [--backlog N] [--rows N] [--assert] [--keep]
//! ```
//! Only ratios are ever asserted: a time says as much about the machine as about the hub.

#[path = "throughput/backlog.rs"]
mod backlog;
#[path = "throughput/bare.rs"]
mod bare;
#[path = "throughput/doorman.rs"]
mod doorman;
#[path = "throughput/hub.rs"]
mod hub;
#[path = "throughput/messages.rs"]
mod messages;
#[path = "throughput/orders.rs"]
mod orders;
#[path = "throughput/peer.rs"]
mod peer;
#[path = "throughput/report.rs"]
mod report;
#[path = "throughput/rows.rs"]
mod rows;
#[path = "throughput/sender.rs"]
mod sender;

use std::process::ExitCode;

use report::Report;

// The hub's own allocator, so that the bare loops do not lose by theirs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the command line says.
pub struct Options {
    /// Orders sent in each scenario over HTTP.
    pub messages: usize,
    /// Messages that stand in a queue in the `backlog` scenario.
    pub backlog: usize,
    /// Lines of the CSV file.
    pub rows: usize,
    only: Option<String>,
    /// Fails where a ratio is below its target.
    assert: bool,
    /// Keeps the hubs' folders, to look at.
    pub keep: bool,
}

/// A name, and what runs under it.
type Scenario = (&'static str, fn(&Options) -> Report);

const SCENARIOS: &[Scenario] = &[
    ("http-file", orders::http_to_file),
    ("http-http", orders::http_to_http),
    ("csv", rows::csv_to_ndjson),
    ("backlog", backlog::backlog),
];

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let mut below = Vec::new();
    for (name, run) in SCENARIOS {
        if options.only.as_deref().is_none_or(|only| only == *name) {
            let report = run(&options);
            println!("{report}");
            below.extend(report.below().map(|line| format!("{name}: {line}")));
        }
    }
    for line in &below {
        println!("below its target: {line}");
    }
    if options.assert && !below.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { messages: 100_000, backlog: 200_000, rows: 200_000, only: None, assert: false, keep: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        let number = |text: String| text.replace('_', "").parse().map_err(|_| format!("`{text}` is not a number"));
        match argument.as_str() {
            "--messages" => options.messages = number(value()?)?,
            "--backlog" => options.backlog = number(value()?)?,
            "--rows" => options.rows = number(value()?)?,
            "--only" => options.only = Some(named(value()?)?),
            "--assert" => options.assert = true,
            "--keep" => options.keep = true,
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => return Err(format!("`{other}` is none of --messages --backlog --rows --only --assert --keep")),
        }
    }
    Ok(options)
}

fn named(name: String) -> Result<String, String> {
    let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    if names.contains(&name.as_str()) { Ok(name) } else { Err(format!("no scenario `{name}`: {}", names.join(", "))) }
}
