//! `raccord status`: what a hub is doing.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::message::{Value, json};

#[derive(Debug, Args)]
pub struct Status {}

impl Status {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let Some(answer) = output::office(context, output::question("status", [])).await? else {
            return Ok(output::found());
        };
        if context.json {
            println!("{}", json::to_pretty(&answer));
            return Ok(ExitCode::SUCCESS);
        }
        let running = answer.get("running") == Some(&Value::Bool(true));
        println!("{}\n", if running { "The hub runs." } else { "No hub runs here; this is what its files say." });
        let mut rows = Vec::new();
        for pipeline in answer.get("pipelines").and_then(Value::as_list).unwrap_or_default() {
            for (queue, count) in pipeline.get("queues").and_then(Value::as_map).into_iter().flat_map(|map| map.iter())
            {
                rows.push(vec![queue.to_string(), count.plain().unwrap_or_default().to_string()]);
            }
        }
        output::table(&["QUEUE", "WAITING"], &rows);
        for (queue, count) in answer.get("left_over").and_then(Value::as_map).into_iter().flat_map(|map| map.iter()) {
            let count = count.plain().unwrap_or_default();
            println!("\n{count} waiting in {queue}, which no pipeline takes any more: bring back what was called so");
        }
        for (pipeline, count) in
            answer.get("dead_letters").and_then(Value::as_map).into_iter().flat_map(|map| map.iter())
        {
            let count = count.plain().and_then(|count| count.parse().ok()).unwrap_or_default();
            let letters = output::counted(count, "dead letter");
            println!("\n{letters} of {pipeline}: raccord dead list --pipeline {pipeline}");
        }
        for reason in answer.get("not_ready").and_then(Value::as_list).unwrap_or_default() {
            println!("\nnot ready: {}", reason.plain().unwrap_or_default());
        }
        Ok(ExitCode::SUCCESS)
    }
}
