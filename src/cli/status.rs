//! `raccord status`: what a hub is doing.

use std::collections::BTreeMap;
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
        let waits = answer.get("waits_since").and_then(Value::as_text);
        match (running, waits) {
            (_, Some(since)) => println!("The hub has waited to start since {since}."),
            (true, None) => println!("The hub runs.\n"),
            (false, None) => println!("No hub runs here; this is what its files say.\n"),
        }
        let mut rows = Vec::new();
        for pipeline in answer.get("pipelines").and_then(Value::as_list).unwrap_or_default() {
            for (queue, count) in pipeline.get("queues").and_then(Value::as_map).into_iter().flat_map(|map| map.iter())
            {
                rows.push(vec![queue.to_string(), count.plain().unwrap_or_default().to_string()]);
            }
        }
        let ready = answer.get("not_ready").and_then(Value::as_list).is_none_or(<[Value]>::is_empty);
        if ready || !rows.is_empty() {
            output::table(&["QUEUE", "WAITING"], &rows);
        } else if waits.is_none() {
            away(answer.get("away").and_then(Value::as_list).unwrap_or_default());
        }
        connections(answer.get("connections").and_then(Value::as_list).unwrap_or_default());
        for pipeline in answer.get("pipelines").and_then(Value::as_list).unwrap_or_default() {
            if let Some(source) = pipeline.get("source").and_then(Value::as_text) {
                println!("\nsource of {}: {source}", output::word(pipeline, "pipeline"));
            }
        }
        for (queue, why) in answer.get("resting").and_then(Value::as_map).into_iter().flat_map(|map| map.iter()) {
            println!("\n{queue} rests: {}", why.plain().unwrap_or_default());
        }
        instances(answer.get("instances").and_then(Value::as_list).unwrap_or_default());
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

/// Which server does not answer, since when and why: in the place of what it would have told.
fn away(away: &[Value]) {
    for one in away {
        let word = |name| output::word(one, name);
        println!("The {} has been away since {}: {}", word("server"), word("since"), word("why"));
    }
    println!("What waits in the queues cannot be told now.");
}

/// What went to connected systems since the hub was started.
fn connections(connections: &[Value]) {
    let names = ["connection", "requests", "failed", "last_round"];
    let word = |one: &Value, name: &str| one.get(name).and_then(Value::plain).unwrap_or_default().to_string();
    let row = |one: &Value| names.iter().map(|name| word(one, name)).collect();
    let rows: Vec<Vec<String>> = connections.iter().map(row).collect();
    if !rows.is_empty() {
        println!();
        output::table(&["CONNECTION", "REQUESTS", "FAILED", "LAST ROUND"], &rows);
    }
}

/// Who shares the queues, and what each holds; nothing where one instance has them for itself.
fn instances(instances: &[Value]) {
    if instances.is_empty() {
        return;
    }
    let yes = |instance: &Value, name: &str| instance.get(name) == Some(&Value::Bool(true));
    let row = |instance: &Value| {
        let this = if yes(instance, "this") { " (this one)" } else { "" };
        let differs = if yes(instance, "differs") { " (differs)" } else { "" };
        vec![
            format!("{}{this}", output::word(instance, "name")),
            format!("{}{differs}", output::word(instance, "revision")),
            output::word(instance, "seen").to_owned(),
            held(instance.get("holds").and_then(Value::as_list).unwrap_or_default()),
        ]
    };
    println!();
    let rows: Vec<_> = instances.iter().map(row).collect();
    output::table(&["INSTANCE", "REVISION", "SEEN", "HOLDS"], &rows);
    if instances.iter().any(|instance| yes(instance, "differs")) {
        println!(
            "\nNot all instances run the same configuration: see \"Changing it while it runs\" in docs/rabbitmq.md"
        );
    }
}

/// `orders (5 partitions), source:prices`
fn held(names: &[Value]) -> String {
    let mut queues: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for name in names.iter().filter_map(Value::as_text) {
        match name.split_once('#') {
            Some((queue, number)) => queues.entry(queue).or_default().push(format!(".p{number}")),
            None => drop(queues.entry(name).or_default()),
        }
    }
    let one = |(queue, partitions): (&str, Vec<String>)| match partitions.len() {
        0 => queue.to_owned(),
        1 => format!("{queue}{}", partitions[0]),
        count => format!("{queue} ({count} partitions)"),
    };
    queues.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_shortly() {
        let names = ["orders#0", "orders#12", "orders.to.erp#3", "source:prices"].map(Value::from);
        assert_eq!(held(&names), "orders (2 partitions), orders.to.erp.p3, source:prices");
    }
}
