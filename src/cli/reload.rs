//! `raccord reload`: a running hub reads its files again.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::message::json;

#[derive(Debug, Args)]
pub struct Reload {}

impl Reload {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let Some(answer) = output::office(context, output::question("reload", [])).await? else {
            return Ok(output::found());
        };
        println!("{}", if context.json { json::to_text(&answer) } else { json::to_pretty(&answer) });
        Ok(ExitCode::SUCCESS)
    }
}
