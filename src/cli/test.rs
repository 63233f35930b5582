//! `raccord test`: the cases of the pipelines.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::config::Severity;
use crate::message::{Map, Value, json};
use crate::pipelines::{CaseOutcome, load, run_cases};

#[derive(Debug, Args)]
pub struct Test {
    /// Only this pipeline's cases
    pipeline: Option<String>,
}

impl Test {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        output::ensure_hub(context)?;
        let mut loaded = load(&context.folder, &context.environment());
        let Some(configuration) = loaded.configuration.take() else {
            output::problems(context, &loaded);
            return Ok(output::found());
        };
        loaded.problems.retain(|problem| problem.severity == Severity::Error);
        let mut outcomes = run_cases(&configuration, &loaded.files, &mut loaded.problems).await;
        if let Some(wanted) = &self.pipeline {
            outcomes.retain(|outcome| outcome.pipeline == *wanted);
        }
        if !loaded.problems.is_empty() {
            output::problems(context, &loaded);
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).count();
        if context.json {
            println!("{}", json::to_pretty(&Value::List(outcomes.iter().map(to_value).collect())));
        } else {
            outcomes.iter().for_each(print);
            println!("\n{} passed, {failed} failed", outcomes.len() - failed);
        }
        Ok(if failed > 0 || !loaded.problems.is_empty() { output::found() } else { ExitCode::SUCCESS })
    }
}

fn print(outcome: &CaseOutcome) {
    let word = if outcome.differences.is_empty() { "ok    " } else { "FAILED" };
    println!("{word}  {}: {}", outcome.pipeline, outcome.about);
    if !outcome.differences.is_empty() {
        println!("        {}", outcome.file.display());
        outcome.differences.iter().for_each(|difference| println!("        - {difference}"));
    }
}

fn to_value(outcome: &CaseOutcome) -> Value {
    let mut out = Map::new();
    out.insert("pipeline", outcome.pipeline.clone());
    out.insert("file", outcome.file.display().to_string());
    out.insert("about", outcome.about.as_str());
    out.insert("passed", outcome.differences.is_empty());
    out.insert("differences", Value::List(outcome.differences.iter().map(|said| Value::from(said.as_str())).collect()));
    out.into()
}
