//! `raccord dead`: what could not be delivered, and what to do with it.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Context, output, trace};
use crate::message::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List dead letters, oldest first
    List {
        /// Only this pipeline's
        #[arg(long)]
        pipeline: Option<String>,
        /// Only this destination's
        #[arg(long)]
        destination: Option<String>,
        /// Only this fault's, for instance HTTP-422
        #[arg(long)]
        code: Option<String>,
        /// After this id: the next page
        #[arg(long)]
        after: Option<String>,
    },
    /// Show one: cause, place, body, and its way so far
    Show {
        id: String,
        /// Show people's data too
        #[arg(long)]
        reveal: bool,
    },
    /// Put messages back where they failed, with the same idempotency keys
    Replay {
        /// Ids, or `all` with a filter
        #[arg(required = true)]
        ids: Vec<String>,
        /// With `all`: only this pipeline's
        #[arg(long)]
        pipeline: Option<String>,
        /// With `all`: only this fault's
        #[arg(long)]
        code: Option<String>,
    },
    /// Give one up for good
    Discard {
        id: String,
        /// The reason, for the journal
        #[arg(long)]
        why: String,
    },
}

impl Dead {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Dead::List { pipeline, destination, code, after } => {
                let filters = [
                    ("pipeline", pipeline.clone()),
                    ("destination", destination.clone()),
                    ("code", code.clone()),
                    ("after", after.clone()),
                ];
                list(context, filters).await
            }
            Dead::Show { id, reveal } => show(context, id, *reveal).await,
            Dead::Replay { ids, pipeline, code } if ids.len() == 1 && ids[0] == "all" => {
                replay_all(context, pipeline.clone(), code.clone()).await
            }
            Dead::Replay { ids, .. } => replay(context, ids).await,
            Dead::Discard { id, why } => {
                let question = output::question("dead.discard", [("id", Some(id.clone())), ("why", Some(why.clone()))]);
                let Some(answer) = output::office(context, question).await? else { return Ok(output::found()) };
                said(context, &answer, &format!("{id} is discarded."));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn list(context: &Context, filters: [(&str, Option<String>); 4]) -> anyhow::Result<ExitCode> {
    let Some(answer) = output::office(context, output::question("dead.list", filters)).await? else {
        return Ok(output::found());
    };
    let letters = answer.as_list().unwrap_or_default();
    if context.json {
        println!("{}", json::to_pretty(&answer));
    } else if letters.is_empty() {
        println!("No dead letter.");
    } else {
        let row = |letter: &Value| {
            ["id", "at", "pipeline", "destination", "code", "cause"]
                .map(|name| output::word(letter, name).to_owned())
                .to_vec()
        };
        let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
        output::table(&["ID", "GIVEN UP", "PIPELINE", "DESTINATION", "CODE", "CAUSE"], &rows);
        if let Some(last) = letters.last().filter(|_| letters.len() == 200) {
            println!("\nThere may be more: --after {}", output::word(last, "id"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(context: &Context, id: &str, reveal: bool) -> anyhow::Result<ExitCode> {
    let mut question = output::question("dead.show", [("id", Some(id.to_owned()))]);
    question.insert("reveal", reveal);
    let Some(answer) = output::office(context, question).await? else { return Ok(output::found()) };
    if context.json {
        println!("{}", json::to_pretty(&answer));
        return Ok(ExitCode::SUCCESS);
    }
    for name in ["id", "at", "pipeline", "destination", "code", "cause", "step", "position", "attempts"] {
        if let Some(value) = answer.get(name).and_then(Value::plain) {
            println!("{name:<12} {value}");
        }
    }
    println!("\nits way");
    trace::hops(answer.get("hops").unwrap_or(&Value::Null));
    println!("\nbody");
    match answer.get("body") {
        Some(Value::Text(text)) => println!("{text}"),
        Some(document) => println!("{}", json::to_pretty(document)),
        None => {}
    }
    let code = output::word(&answer, "code");
    println!(
        "\nWhat to do: raccord explain {code}; then raccord dead replay {id}, or raccord dead discard {id} --why ..."
    );
    Ok(ExitCode::SUCCESS)
}

async fn replay(context: &Context, ids: &[String]) -> anyhow::Result<ExitCode> {
    for id in ids {
        let question = output::question("dead.replay", [("id", Some(id.clone()))]);
        let Some(answer) = output::office(context, question).await? else { return Ok(output::found()) };
        said(context, &answer, &format!("{id} goes again."));
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay_all(context: &Context, pipeline: Option<String>, code: Option<String>) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(pipeline.is_some() || code.is_some(), "`replay all` wants --pipeline or --code: which ones?");
    let mut seen = std::collections::HashSet::new();
    let mut refused = 0;
    let progress = output::progress(context, "sending again");
    loop {
        let question = output::question("dead.list", [("pipeline", pipeline.clone()), ("code", code.clone())]);
        let Some(answer) = output::office(context, question).await? else { return Ok(output::found()) };
        let listed = answer.as_list().unwrap_or_default().iter().map(|one| output::word(one, "id").to_owned());
        // A message that fails again at once comes back with the same id: each is replayed once.
        let ids: Vec<String> = listed.filter(|id| seen.insert(id.clone())).collect();
        if ids.is_empty() {
            break;
        }
        for id in ids {
            // One that nothing can be made of yet holds up no other.
            match replay(context, std::slice::from_ref(&id)).await {
                Ok(code) if code == output::found() => return Ok(code),
                Ok(_) => {}
                Err(error) => {
                    eprintln!("raccord: {id}: {error:#}");
                    refused += 1;
                }
            }
        }
        progress.set_message(format!("sent again: {}", seen.len()));
    }
    progress.finish_and_clear();
    let count = seen.len() - refused;
    if !context.json {
        println!("Sent again: {}.", output::counted(count, "message"));
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { output::found() })
}

fn said(context: &Context, answer: &Value, sentence: &str) {
    if context.json {
        println!("{}", json::to_text(answer));
    } else {
        println!("{sentence}");
    }
}
