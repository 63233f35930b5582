//! `raccord trace 4711`: where is order 4711?

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::message::{Value, json};

#[derive(Debug, Args)]
pub struct Trace {
    /// A message id, or a value the pipeline tracks (an order number, a customer)
    find: String,
}

impl Trace {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let question = output::question("journal", [("find", Some(self.find.clone()))]);
        let Some(answer) = output::office(context, question).await? else { return Ok(output::found()) };
        if context.json {
            println!("{}", json::to_pretty(&answer));
            return Ok(ExitCode::SUCCESS);
        }
        let messages = answer.as_list().unwrap_or_default();
        for message in messages {
            println!("message {}", output::word(message, "message"));
            hops(message.get("hops").unwrap_or(&Value::Null));
        }
        if messages.is_empty() {
            println!("Nothing is known of `{}`.", self.find);
            return Ok(output::found());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A message's way, a line a hop.
pub fn hops(hops: &Value) {
    for hop in hops.as_list().unwrap_or_default() {
        let track: Vec<String> = hop
            .get("track")
            .and_then(Value::as_map)
            .map(|track| {
                track.iter().map(|(name, value)| format!("{name}={}", value.plain().unwrap_or_default())).collect()
            })
            .unwrap_or_default();
        let word = |name| output::word(hop, name);
        let line = format!(
            "  {}  {:<10} {:<18} {:<12} {} {}",
            word("at"),
            word("event"),
            word("pipeline"),
            word("destination"),
            word("note"),
            track.join(" ")
        );
        println!("{}", line.trim_end());
    }
}
