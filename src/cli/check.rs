//! `raccord check`: the whole configuration, every problem, in one pass.

use std::process::ExitCode;

use clap::Args;

use super::output::counted;
use super::{Context, output};
use crate::config::Severity;
use crate::pipelines::{load, refuses};

#[derive(Debug, Args)]
pub struct Check {
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        output::ensure_hub(context)?;
        let loaded = load(&context.folder, &context.environment());
        output::problems(context, &loaded);
        if !context.json {
            let count = |severity| loaded.problems.iter().filter(|problem| problem.severity == severity).count();
            let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
            match &loaded.configuration {
                Some(configuration) if configuration.pipelines.is_empty() => {
                    println!("No pipeline: each has a folder of its own, pipelines/NAME/pipeline.yaml.");
                }
                Some(configuration) if warnings == 0 => {
                    let pipelines = configuration.pipelines.values().filter(|pipeline| !pipeline.is_lane()).count();
                    let mut found = counted(pipelines, "pipeline");
                    match configuration.partners.partners.len() {
                        0 => {}
                        partners => found.push_str(&format!(" and {}", counted(partners, "partner"))),
                    }
                    println!("No problem found in {found}.");
                }
                _ => println!("{}, {}.", counted(errors, "error"), counted(warnings, "warning")),
            }
        }
        Ok(if refuses(&loaded.problems, self.strict) { output::found() } else { ExitCode::SUCCESS })
    }
}
