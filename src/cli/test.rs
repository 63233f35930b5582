//! `raccord test`: the cases of the pipelines and of the manifests.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::config::Severity;
use crate::connectors::{self, ManifestOutcome};
use crate::message::{Map, Value, json};
use crate::pipelines::{CaseOutcome, load, run_cases};

#[derive(Debug, Args)]
pub struct Test {
    /// Only the cases of this pipeline, or of the manifest of this name
    name: Option<String>,
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
        let mut manifests = connectors::run_cases(&configuration.connectors).await;
        if let Some(wanted) = &self.name {
            outcomes.retain(|outcome| outcome.pipeline == *wanted);
            manifests.retain(|outcome| outcome.manifest == *wanted);
        }
        if !loaded.problems.is_empty() {
            output::problems(context, &loaded);
        }
        let differences = outcomes.iter().map(|outcome| &outcome.differences);
        let differences = differences.chain(manifests.iter().map(|outcome| &outcome.differences));
        let (failed, passed): (Vec<_>, Vec<_>) = differences.partition(|differences| !differences.is_empty());
        let (failed, passed) = (failed.len(), passed.len());
        if context.json {
            let all = outcomes.iter().map(to_value).chain(manifests.iter().map(manifest_to_value));
            println!("{}", json::to_pretty(&Value::List(all.collect())));
        } else {
            outcomes.iter().for_each(print);
            manifests.iter().for_each(print_manifest);
            println!("\n{passed} passed, {failed} failed");
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

fn print_manifest(outcome: &ManifestOutcome) {
    let word = if outcome.differences.is_empty() { "ok    " } else { "FAILED" };
    println!("{word}  connectors/{}: {}", outcome.manifest, outcome.about);
    outcome.differences.iter().for_each(|difference| println!("        - {difference}"));
}

fn manifest_to_value(outcome: &ManifestOutcome) -> Value {
    let mut out = Map::new();
    out.insert("manifest", outcome.manifest.clone());
    out.insert("about", outcome.about.as_str());
    out.insert("passed", outcome.differences.is_empty());
    out.insert("differences", Value::List(outcome.differences.iter().map(|said| Value::from(said.as_str())).collect()));
    out.into()
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
