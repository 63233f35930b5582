//! `raccord health`: exit 0 while a running hub takes messages. For container health checks.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::message::{Map, Value, json};

#[derive(Debug, Args)]
pub struct Health {}

impl Health {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let Some(answer) = output::office(context, output::question("status", [])).await? else {
            return Ok(output::found());
        };
        let reasons = answer.get("not_ready").and_then(Value::as_list).unwrap_or_default();
        let running = answer.get("running") == Some(&Value::Bool(true));
        if context.json {
            let out: Map =
                [("running", Value::Bool(running)), ("reasons", Value::List(reasons.to_vec()))].into_iter().collect();
            println!("{}", json::to_text(&out.into()));
            let ready = running && reasons.is_empty();
            return Ok(if ready { ExitCode::SUCCESS } else { output::found() });
        }
        if running && reasons.is_empty() {
            println!("ready");
            return Ok(ExitCode::SUCCESS);
        }
        if !running {
            println!("no hub runs here");
        }
        reasons.iter().for_each(|reason| println!("{}", reason.plain().unwrap_or_default()));
        Ok(output::found())
    }
}
