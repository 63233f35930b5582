//! What commands print: for people by default, JSON for machines, colours only on a terminal.

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Context;
use crate::config::{render, to_json};
use crate::hub::{Office, ask};
use crate::message::{Map, Value, json};
use crate::pipelines::{Configuration, Loaded, load, load_hub};

/// Something was found.
pub const FOUND: u8 = 1;
/// It could not be done.
pub const FAILED: u8 = 3;

/// Writes to standard output. Where nobody reads it any more the command goes on without words, for what it does and its exit
/// code; where it cannot be written (a full disk), what was asked for is not there.
pub fn put(words: Arguments<'_>) {
    match std::io::stdout().write_fmt(words) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            tell(format_args!("raccord: cannot write to standard output: {error}\n"));
            std::process::exit(i32::from(FAILED));
        }
    }
}

/// Writes to standard error, if it can be.
pub fn tell(words: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(words);
}

pub fn failed(as_json: bool, error: &anyhow::Error) {
    if as_json {
        let map: Map = [("error", format!("{error:#}"))].into_iter().collect();
        println!("{}", json::to_text(&map.into()));
    } else {
        eprintln!("raccord: {error:#}");
    }
}

pub fn found() -> ExitCode {
    ExitCode::from(FOUND)
}

pub fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// The problems of a configuration, in full.
pub fn problems(context: &Context, loaded: &Loaded) {
    if context.json {
        println!("{}", json::to_pretty(&to_json(&loaded.files, &loaded.problems)));
    } else {
        eprint!("{}", render(&loaded.files, &loaded.problems, colours()));
    }
}

/// Fails where the folder holds no hub, and says how one is named or made.
pub fn ensure_hub(context: &Context) -> anyhow::Result<()> {
    let config = context.folder.join("config/raccord.yaml");
    anyhow::ensure!(
        config.is_file(),
        "{} is not a hub's folder: it has no config/raccord.yaml. `raccord init FOLDER` makes one; --folder names one",
        context.folder.display()
    );
    Ok(())
}

/// The configuration of the folder, or its problems told and `None`.
pub fn configuration(context: &Context) -> anyhow::Result<Option<Configuration>> {
    ensure_hub(context)?;
    let mut loaded = load(&context.folder, &context.environment());
    let configuration = loaded.configuration.take();
    if configuration.is_none() {
        problems(context, &loaded);
    }
    Ok(configuration)
}

/// Asks the hub that runs on the folder or, where none does, answers from its files.
pub async fn office(context: &Context, question: Map) -> anyhow::Result<Option<Value>> {
    ensure_hub(context)?;
    // A running hub is asked first, whatever its files say by now: a wrong edit hides no dead letter.
    let queue = load_hub(&context.folder, &context.environment()).and_then(|hub| hub.queue).unwrap_or_default();
    let data = context.folder.join(&queue.folder);
    let question = Value::Map(question);
    if let Some(answer) = ask(&data, &question).await {
        return match answer {
            Ok(answer) => Ok(Some(answer)),
            Err((code, what)) if code == "CONFIG-ERRORS" => {
                eprintln!("{what}");
                Ok(None)
            }
            Err((code, what)) => Err(anyhow::anyhow!("{code}: {what}")),
        };
    }
    let Some(configuration) = configuration(context)? else { return Ok(None) };
    let database = || {
        let store = configuration.hub.store.as_ref()?;
        Some(format!("the database at {}", store.postgres.addresses.join(", ")))
    };
    let office = told(Office::open(&configuration, &context.options()), database).await?;
    let broker = || {
        let rabbit = configuration.hub.queue.as_ref()?.rabbitmq.as_ref()?;
        Some(format!("the broker at {} or the database", rabbit.addresses.join(", ")))
    };
    let answer = told(office.answer(&question), || office.waits_for().or_else(broker)).await;
    office.close().await;
    Ok(Some(answer?))
}

/// Long enough for whoever looks at a terminal to wonder.
const WONDER: Duration = Duration::from_secs(2);

/// Awaits `work`; where it takes long, says once what it waits for, as soon as that is known.
async fn told<T>(work: impl Future<Output = T>, waits_for: impl Fn() -> Option<String>) -> T {
    let mut work = std::pin::pin!(work);
    let mut told = false;
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(WONDER), if !told => {
                if let Some(what) = waits_for() {
                    // On a terminal a sign of life may stand in the line.
                    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
                    eprintln!("{clear}raccord: waits for {what}");
                    told = true;
                }
            }
        }
    }
}

/// A question for the office.
pub fn question<const N: usize>(act: &str, more: [(&str, Option<String>); N]) -> Map {
    let mut question: Map = [("do", act)].into_iter().collect();
    for (name, value) in more {
        if let Some(value) = value {
            question.insert(name, value);
        }
    }
    question
}

/// A sign of life on long work: on a terminal only, and not where machines read.
pub fn progress(context: &Context, what: &'static str) -> ProgressBar {
    if context.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a constant template");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

/// Rows in columns, the last one as wide as it is.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(headings.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The text under `name`, or nothing.
pub fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_text).unwrap_or_default()
}
