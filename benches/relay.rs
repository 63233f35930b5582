//! RabbitMQ in, 20 fields mapped, routed by content, RabbitMQ out, beside a bare relay of less than a hundred lines that does the same work
//! with lapin and `serde_json` and keeps no promise beyond confirms and acknowledgments. Same broker, same run, in turn.
//!
//! ```text
//! cargo bench --bench relay -- [--only NAME] [--queues quorum|classic] [--messages N] [--rounds N] [--backlog N] [--assert] [--keep]
//! ```
//! `docs/benchmarks.md` says what each number is. Only ratios, processor time and memory are ever asserted.

#[path = "relay/bare.rs"]
mod bare;
#[path = "relay/hub.rs"]
mod hub;
#[path = "relay/lanes.rs"]
mod lanes;
#[path = "throughput/messages.rs"]
#[allow(dead_code, reason = "the other benchmark has rows as well")]
mod messages;
#[path = "../tests/parts/mod.rs"]
mod parts;
#[path = "relay/process.rs"]
mod process;
#[path = "relay/report.rs"]
mod report;
#[path = "relay/scenarios.rs"]
mod scenarios;

use std::process::ExitCode;

use scenarios::SCENARIOS;

// The hub's own allocator, so that the bare relay does not lose by its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the command line says.
pub struct Options {
    /// Orders that wait when a side starts.
    pub messages: usize,
    /// How often both sides run, in turn.
    pub rounds: usize,
    /// Orders that wait in the larger run of `backlog`.
    pub backlog: usize,
    /// Kinds of queues to run on.
    pub queues: Vec<String>,
    only: Option<String>,
    /// Fails where a figure misses its target.
    assert: bool,
    /// Keeps the hubs' folders, to look at.
    pub keep: bool,
}

fn main() -> ExitCode {
    // The bare relay is this same program as a process of its own, so that its processor time and memory are its own.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, acks, url] = arguments.as_slice()
        && word == "bare"
    {
        bare::relay(url, acks == "many");
        return ExitCode::SUCCESS;
    }
    let options = match options(arguments) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let mut missed = Vec::new();
    for (name, run) in SCENARIOS {
        if options.only.as_deref().is_none_or(|only| only == *name) {
            for queues in &options.queues {
                let report = run(&options, queues);
                println!("{report}");
                missed.extend(report.missed().map(|line| format!("{name}, {queues}: {line}")));
            }
        }
    }
    for line in &missed {
        println!("misses its target: {line}");
    }
    if options.assert && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn options(arguments: Vec<String>) -> Result<Options, String> {
    let mut options = Options {
        messages: 100_000,
        rounds: 3,
        backlog: 1_000_000,
        queues: vec!["quorum".into(), "classic".into()],
        only: None,
        assert: false,
        keep: false,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        let number = |text: String| text.replace('_', "").parse().map_err(|_| format!("`{text}` is not a number"));
        match argument.as_str() {
            "--messages" => options.messages = number(value()?)?,
            "--rounds" => options.rounds = number(value()?)?,
            "--backlog" => options.backlog = number(value()?)?,
            "--queues" => options.queues = vec![kind(value()?)?],
            "--only" => options.only = Some(named(value()?)?),
            "--assert" => options.assert = true,
            "--keep" => options.keep = true,
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => {
                let known = "--only --queues --messages --rounds --backlog --assert --keep";
                return Err(format!("`{other}` is none of {known}"));
            }
        }
    }
    Ok(options)
}

fn kind(kind: String) -> Result<String, String> {
    let known = ["quorum", "classic"].contains(&kind.as_str());
    if known { Ok(kind) } else { Err(format!("no queues of the kind `{kind}`: quorum, classic")) }
}

fn named(name: String) -> Result<String, String> {
    let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    if names.contains(&name.as_str()) { Ok(name) } else { Err(format!("no scenario `{name}`: {}", names.join(", "))) }
}
