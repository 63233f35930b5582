//! Where each message went, told from the journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::cli::output;
use crate::hub::Hub;
use crate::message::{Map, MessageId, Text, Value, json};
use crate::store::{Event, Hop};

/// Messages told one by one; the rest are counted.
const MOST: u32 = 2_000;
const SHOWN: usize = 12;

/// Waits until the sources have taken their files and every queue is empty; false when `patience` ends first.
pub async fn wait_until_quiet(hub: &Hub, folder: &Path, patience: Duration) -> bool {
    let until = crate::clock::later(hub.works().clock.now(), patience);
    let mut quiet = 0;
    while quiet < 3 {
        if hub.works().clock.now() > until {
            return false;
        }
        hub.works().clock.sleep(Duration::from_millis(200)).await;
        quiet = if files_taken(folder) && queues_empty(hub).await { quiet + 1 } else { 0 };
    }
    true
}

fn files_taken(folder: &Path) -> bool {
    ["in/tickets", "in/prices"].iter().all(|inbox| {
        let entries = std::fs::read_dir(folder.join(inbox));
        entries.is_ok_and(|entries| entries.flatten().all(|entry| !entry.path().is_file()))
    })
}

async fn queues_empty(hub: &Hub) -> bool {
    for pipeline in hub.registry().pipelines() {
        for queue in pipeline.destinations.iter().map(|to| &to.queue).chain([&pipeline.name]) {
            let depth = hub.works().engine.queue.depth(queue).await;
            if depth.map_or(true, |depth| depth.entries > 0) {
                return false;
            }
        }
    }
    true
}

/// What became of one message.
struct Fate {
    pipeline: Text,
    track: String,
    /// `erp: delivered after 1 retry`
    ends: Vec<String>,
}

/// Prints where each message went, pipeline by pipeline.
pub async fn tell(hub: &Hub, as_json: bool) -> anyhow::Result<()> {
    let store = &hub.works().engine.store;
    let mut fates: BTreeMap<Text, Vec<(MessageId, Fate)>> = BTreeMap::new();
    for origin in store.recent(MOST).await?.into_iter().rev() {
        if let Some(fate) = fate(&store.journal(origin).await?) {
            fates.entry(fate.pipeline.clone()).or_default().push((origin, fate));
        }
    }
    if as_json {
        println!("{}", json::to_pretty(&to_value(&fates)));
        return Ok(());
    }
    for (pipeline, messages) in &fates {
        println!("\n{pipeline}: {} messages", messages.len());
        let rows: Vec<Vec<String>> = messages
            .iter()
            .take(SHOWN)
            .map(|(id, fate)| vec![format!("  {}", &id.to_string()[..8]), fate.track.clone(), fate.ends.join(", ")])
            .collect();
        output::table(&["  MESSAGE", "TRACKED", "WHERE IT WENT"], &rows);
        summary(messages.iter().skip(SHOWN).map(|(_, fate)| fate));
    }
    Ok(())
}

/// The messages that are not told one by one, counted by where they went.
fn summary<'f>(fates: impl Iterator<Item = &'f Fate>) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    fates.for_each(|fate| *counts.entry(fate.ends.join(", ")).or_default() += 1);
    for (ends, count) in counts {
        println!("  and {count} more: {ends}");
    }
}

fn fate(hops: &[Hop]) -> Option<Fate> {
    let first = hops.first()?;
    let track =
        hops.iter().flat_map(|hop| &hop.track).map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>();
    let mut ends = Vec::new();
    let mut retries = BTreeMap::new();
    for hop in hops {
        let to = hop.destination.as_deref().unwrap_or("steps");
        match hop.event {
            Event::Retry => *retries.entry(hop.message).or_insert(0) += 1,
            Event::Delivered => ends.push(match retries.get(&hop.message) {
                Some(count) => format!("{to}: delivered after {count} retry"),
                None => format!("{to}: delivered"),
            }),
            Event::Dead => ends.push(format!("{to}: dead letter {}", hop.note.as_deref().unwrap_or_default())),
            Event::Filtered => ends.push("filtered out".to_owned()),
            Event::Joined => ends.push("joined a group".to_owned()),
            Event::Repeat => ends.push("a repeat, nothing done".to_owned()),
            Event::Accepted | Event::Conflict | Event::Routed | Event::Replayed | Event::Discarded => {}
        }
    }
    ends.dedup();
    Some(Fate { pipeline: first.pipeline.clone(), track: track.join(", "), ends })
}

fn to_value(fates: &BTreeMap<Text, Vec<(MessageId, Fate)>>) -> Value {
    let one = |(id, fate): &(MessageId, Fate)| {
        let mut out = Map::new();
        out.insert("message", id.to_string());
        out.insert("tracked", fate.track.as_str());
        out.insert("ends", Value::List(fate.ends.iter().map(|end| Value::from(end.as_str())).collect()));
        Value::Map(out)
    };
    let list = |messages: &Vec<(MessageId, Fate)>| Value::List(messages.iter().map(one).collect());
    Value::Map(fates.iter().map(|(pipeline, messages)| (pipeline.clone(), list(messages))).collect())
}
