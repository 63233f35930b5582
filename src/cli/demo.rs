use std::process::ExitCode;
use clap::Args;
use super::Context;
#[derive(Debug, Args)]
pub struct Demo {}
impl Demo {
    pub async fn run(&self, _context: &Context) -> anyhow::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
