//! Records polled from a local system in pages, beside a bare loop of reqwest and `serde_json` that asks for the same pages and
//! counts. Same system, same run, in turn; each side is a process of its own.
//!
//! ```text
//! cargo bench --bench polling -- [--records N] [--rounds N] [--assert]
//! ```
//! `docs/benchmarks.md` says what each number is. Only ratios are ever asserted.

#[path = "polling/bare.rs"]
mod bare;
#[path = "polling/hub.rs"]
mod hub;
#[path = "polling/system.rs"]
mod system;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

// The hub's own allocator, so that the bare loop does not lose by its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of the bare loop's rate.
const TARGET: f64 = 0.80;
const SIDES: [(&str, &str); 3] = [
    ("bare", "bare: reqwest, serde_json, counted"),
    ("count", "hub: 10 fields mapped, each with its position, counted"),
    ("store", "hub: the same, stored with hop and claim, synced"),
];

/// One run of a side.
struct Measured {
    rate: f64,
    cpu: f64,
    peak_mb: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [side, url, records] = arguments.as_slice()
        && SIDES.iter().any(|(name, _)| name == side)
    {
        let records = records.parse().expect("a number");
        let seconds = if side == "bare" { bare::poll(url) } else { hub::poll(url, &folder(side), side, records) };
        println!("{seconds} {} {}", cpu_seconds(), peak_kb());
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, otherwise: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(otherwise)
    };
    let (records, rounds) = (number("--records", 100_000), number("--rounds", 3).max(1));
    let url = system::start(records);
    let mut measured: [Vec<Measured>; 3] = Default::default();
    for _ in 0..rounds {
        for ((side, _), runs) in SIDES.iter().zip(&mut measured) {
            runs.push(run(side, &url, records));
        }
    }
    let [reference, ..] = &measured;
    println!("{records} records in pages of {}, the mean of {rounds} rounds\n", system::PAGE);
    println!("| | records/s | ratio | CPU s per 100k | peak RSS MB |\n|---|---:|---:|---:|---:|");
    let mut missed = false;
    for ((side, what), runs) in SIDES.iter().zip(&measured) {
        let mean = |of: &dyn Fn(&Measured) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let ratios = runs.iter().zip(reference).map(|(own, bare)| own.rate / bare.rate);
        let ratio = ratios.sum::<f64>() / runs.len() as f64;
        let (rate, cpu, peak) = (mean(&|run| run.rate), mean(&|run| run.cpu), mean(&|run| run.peak_mb));
        println!("| {what} | {rate:.0} | {ratio:.2} | {cpu:.2} | {peak:.0} |");
        missed |= *side == "count" && ratio < TARGET;
    }
    println!("\ntarget: {TARGET:.2} of the bare loop, counted{}", if missed { ": missed" } else { "" });
    if missed && arguments.iter().any(|argument| argument == "--assert") {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn run(side: &str, url: &str, records: usize) -> Measured {
    let program = std::env::current_exe().expect("the benchmark's own path");
    let output = Command::new(program).args([side, url, &records.to_string()]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [seconds, cpu, peak_kb] = numbers.as_slice() else {
        panic!("{side} ended without a result: {}", String::from_utf8_lossy(&output.stderr));
    };
    let records = records as f64;
    Measured { rate: records / seconds, cpu: cpu * 100_000.0 / records, peak_mb: peak_kb / 1024.0 }
}

/// An empty folder, on the disk the binaries are built on.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("polling").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the build folder takes folders");
    folder
}

/// User and system seconds of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // The 14th and 15th field, in hundredths of a second on every Linux there is.
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

/// The most memory this process has had, in kilobytes.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
