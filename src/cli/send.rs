//! `raccord send FILE --to PIPELINE`: a file in, as the pipeline's source would bring it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::{Context, output};
use crate::hub::MAX_SENT;
use crate::message::json;

#[derive(Debug, Args)]
pub struct Send {
    /// The message, or the file of messages
    file: PathBuf,
    /// The pipeline
    #[arg(long)]
    to: String,
}

impl Send {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let cannot = || format!("cannot read {}", self.file.display());
        let size = std::fs::metadata(&self.file).with_context(cannot)?.len();
        anyhow::ensure!(
            size <= MAX_SENT,
            "{} has {size} bytes; by hand {MAX_SENT} can be sent at most: leave it where the pipeline's source takes it",
            self.file.display()
        );
        let bytes = std::fs::read(&self.file).with_context(cannot)?;
        let question =
            output::question("send", [("pipeline", Some(self.to.clone())), ("body", Some(STANDARD.encode(bytes)))]);
        let progress = output::progress(context, "sending");
        let answer = output::office(context, question).await;
        progress.finish_and_clear();
        let Some(answer) = answer? else { return Ok(output::found()) };
        let receipts = answer.as_list().unwrap_or_default();
        let refused = receipts.iter().any(|receipt| matches!(output::word(receipt, "outcome"), "dead" | "conflict"));
        if context.json {
            println!("{}", json::to_pretty(&answer));
        } else {
            for receipt in receipts {
                let (outcome, id) = (output::word(receipt, "outcome"), output::word(receipt, "id"));
                println!("{id}  {}", said(outcome));
            }
            println!("{}.", output::counted(receipts.len(), "message"));
        }
        Ok(if refused { output::found() } else { ExitCode::SUCCESS })
    }
}

fn said(outcome: &str) -> &str {
    match outcome {
        "stored" => "stored",
        "repeat" => "seen before, nothing done",
        "conflict" => "seen before with other content: kept as a dead letter",
        "dead" => "cannot be read: kept as a dead letter",
        other => other,
    }
}
