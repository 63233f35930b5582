//! `raccord reload`: a running hub reads its files again.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::message::{Value, json};

#[derive(Debug, Args)]
pub struct Reload {}

impl Reload {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let Some(answer) = output::office(context, output::question("reload", [])).await? else {
            return Ok(output::found());
        };
        if context.json {
            println!("{}", json::to_pretty(&answer));
        } else {
            print!("{}", in_lines(&answer));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for what was done to pipelines, and one for each warning.
fn in_lines(answer: &Value) -> String {
    let list = |name: &str| answer.get(name).and_then(Value::as_list).unwrap_or_default();
    let names = |name: &str| list(name).iter().filter_map(Value::as_text).collect::<Vec<_>>().join(", ");
    let mut out = String::new();
    if ["added", "changed", "removed"].iter().all(|name| list(name).is_empty()) {
        out.push_str("No pipeline has changed.\n");
    }
    for name in ["added", "changed", "removed", "unchanged"] {
        if !list(name).is_empty() {
            out.push_str(&format!("{:<11}{}\n", format!("{name}:"), names(name)));
        }
    }
    for warning in list("warnings").iter().filter_map(Value::as_text) {
        out.push_str(&format!("\nwarning: {warning}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expect: &str) {
        let answer = json::read(answer.as_bytes()).expect("it is JSON");
        assert_eq!(in_lines(&answer), expect);
    }

    #[test]
    fn what_a_reload_did_is_read_in_lines() {
        check(
            r#"{"added":["returns"],"changed":["orders","prices"],"removed":[],"unchanged":["stock"],"warnings":[]}"#,
            "added:     returns\nchanged:   orders, prices\nunchanged: stock\n",
        );
        check(
            r#"{"added":[],"changed":[],"removed":[],"unchanged":["stock"],"warnings":["`listen` has changed"]}"#,
            "No pipeline has changed.\nunchanged: stock\n\nwarning: `listen` has changed\n",
        );
    }
}
