//! `raccord connectors`: the systems that manifests describe, and whether the connections to them are well.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Context, output};
use crate::clock::Clock;
use crate::config::{Environment, Files, Problem, Reader, nearest, render, to_json};
use crate::connectors::{Connection, Connectors as Systems, Manifest, SettingKind, Wellness, ask_whether_well, load};
use crate::message::{Map, Next, Text, Value, json};
use crate::protocols::Surroundings;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Connectors {
    /// Show this one: its settings and operations; nothing lists them all
    name: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask each connection whether it is well, or one of them
    Check {
        /// The connection: `erp` for config/connections/erp.yaml
        connection: Option<String>,
    },
}

impl Connectors {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let read = Read::of(&context.folder, &context.environment());
        if let Some(Command::Check { connection }) = &self.command {
            return check(context, &read, connection.as_deref()).await;
        }
        let Some(name) = &self.name else {
            list(context, &read);
            return Ok(read.tell(context));
        };
        match read.systems.manifests.get(name.as_str()) {
            Some(manifest) => {
                show(context, manifest, &read);
                Ok(ExitCode::SUCCESS)
            }
            None => {
                let known = read.systems.manifests.keys().map(Text::as_str);
                let near = nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                anyhow::bail!("no system is called `{name}`{near} `raccord connectors` lists them")
            }
        }
    }
}

/// The manifests and connections of a folder, shipped manifests among them, and what is wrong with them.
pub(super) struct Read {
    pub systems: Systems,
    files: Files,
    problems: Vec<Problem>,
}

impl Read {
    pub fn of(folder: &Path, environment: &Environment) -> Read {
        let files = Files::default();
        let mut reader = Reader::new(&files, environment);
        let systems = load(folder, &mut reader).with_shipped(&mut reader);
        let problems = reader.problems;
        Read { systems, files, problems }
    }

    /// The connections to a system.
    fn connections(&self, manifest: &Manifest) -> Vec<&str> {
        let of = self.systems.connections.values().filter(|connection| connection.manifest.name == manifest.name);
        of.map(|connection| connection.name.as_str()).collect()
    }

    /// What could not be read, after what could.
    fn tell(&self, context: &Context) -> ExitCode {
        if self.problems.is_empty() {
            return ExitCode::SUCCESS;
        }
        if !context.json {
            eprint!("\n{}", render(&self.files, &self.problems, output::colours()));
        }
        output::found()
    }
}

/// `shipped`, or `own` where the hub's folder has one of that name.
fn origin(context: &Context, manifest: &Manifest) -> &'static str {
    let own = context.folder.join("connectors").join(format!("{}.yaml", manifest.name)).is_file();
    if own { "own" } else { "shipped" }
}

fn list(context: &Context, read: &Read) {
    let manifests = read.systems.manifests.values();
    if context.json {
        let systems: Vec<Value> = manifests.map(|manifest| summary(context, manifest, read).into()).collect();
        let mut out = Map::new();
        out.insert("systems", systems);
        out.insert("problems", to_json(&read.files, &read.problems));
        println!("{}", json::to_pretty(&out.into()));
        return;
    }
    let row = |manifest: &std::sync::Arc<Manifest>| {
        let head = &manifest.head;
        let roles: Vec<&str> = head.roles.iter().map(|role| role.word()).collect();
        let connections = match read.connections(manifest) {
            none if none.is_empty() => "-".to_owned(),
            some => some.join(", "),
        };
        vec![
            manifest.name.to_string(),
            head.system.to_string(),
            roles.join(", "),
            connections,
            origin(context, manifest).to_owned(),
            head.verified.against.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = manifests.map(row).collect();
    if rows.is_empty() {
        println!("No system: each has a manifest, connectors/NAME.yaml. docs/connectors.md says how one is written.");
        return;
    }
    output::table(&["name", "system", "roles", "connections", "manifest", "verified against"], &rows);
    println!("\nraccord connectors NAME shows one; raccord connect NAME joins one.");
}

fn summary(context: &Context, manifest: &Manifest, read: &Read) -> Map {
    let head = &manifest.head;
    let mut out = Map::new();
    out.insert("name", manifest.name.clone());
    out.insert("system", head.system.clone());
    if let Some(about) = &head.about {
        out.insert("about", about.as_str());
    }
    out.insert("roles", head.roles.iter().map(|role| role.word().into()).collect::<Vec<Value>>());
    out.insert("manifest", origin(context, manifest));
    out.insert("verified_against", head.verified.against.clone());
    out.insert("connections", read.connections(manifest).into_iter().map(Value::from).collect::<Vec<Value>>());
    out
}

fn show(context: &Context, manifest: &Manifest, read: &Read) {
    let head = &manifest.head;
    let none = std::collections::BTreeMap::new();
    let settings = head.settings.as_ref().unwrap_or(&none);
    if context.json {
        let mut out = summary(context, manifest, read);
        out.insert("settings", settings.iter().map(|(name, kind)| setting(name, kind)).collect::<Vec<Value>>());
        out.insert("operations", operations(manifest));
        println!("{}", json::to_pretty(&out.into()));
        return;
    }
    println!("{} ({})", head.system, manifest.name);
    if let Some(about) = &head.about {
        println!("{about}");
    }
    let connections = match read.connections(manifest) {
        none if none.is_empty() => format!("none; raccord connect {} makes one", manifest.name),
        some => some.join(", "),
    };
    println!("\nmanifest     {}", origin(context, manifest));
    println!("verified     against {}", head.verified.against);
    println!("connections  {connections}");
    println!("\nSettings of a connection");
    for (name, kind) in settings {
        println!("  {name:<18} {:<8} {}", kind.r#type.word(), presence(kind));
        kind.about.iter().for_each(|about| println!("  {:<18} {about}", ""));
    }
    println!("\nOperations");
    for (name, operation) in &manifest.operations {
        let document = match (operation.canonical(), operation.kind().word()) {
            (Some(named), "write") => format!("takes canonical/{named}"),
            (Some(named), _) => format!("gives canonical/{named}"),
            (None, _) => String::new(),
        };
        println!("  {name:<18} {:<8} {document}", operation.kind().word());
        println!("  {:<18} {}", "", operation.about());
    }
}

fn presence(kind: &SettingKind) -> String {
    match &kind.default {
        Some(default) => format!("default {}", default.0),
        None if kind.optional => "may be left out".to_owned(),
        None => "must be given".to_owned(),
    }
}

fn setting(name: &Text, kind: &SettingKind) -> Value {
    let mut out: Map = [("name", name.as_str()), ("type", kind.r#type.word())].into_iter().collect();
    if let Some(about) = &kind.about {
        out.insert("about", about.as_str());
    }
    if let Some(default) = &kind.default {
        out.insert("default", default.0.clone());
    }
    out.insert("required", kind.default.is_none() && !kind.optional);
    out.into()
}

fn operations(manifest: &Manifest) -> Vec<Value> {
    let one = |(name, operation): (&Text, &crate::connectors::Operation)| {
        let mut out: Map = [("name", name.as_str()), ("kind", operation.kind().word())].into_iter().collect();
        out.insert("about", operation.about());
        if let Some(named) = operation.canonical() {
            out.insert(if operation.kind().word() == "write" { "takes" } else { "gives" }, named);
        }
        out.into()
    };
    manifest.operations.iter().map(one).collect()
}

async fn check(context: &Context, read: &Read, wanted: Option<&str>) -> anyhow::Result<ExitCode> {
    output::ensure_hub(context)?;
    let connections = &read.systems.connections;
    if let Some(wanted) = wanted.filter(|wanted| !connections.contains_key(*wanted)) {
        read.tell(context);
        let near = nearest(wanted, connections.keys().map(Text::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        anyhow::bail!("there is no connection `{wanted}` that can be used{near}");
    }
    let mut all_well = true;
    let mut told = Vec::new();
    for connection in connections.values().filter(|one| wanted.is_none_or(|wanted| one.name == *wanted)) {
        let wellness = ask(context, connection).await;
        all_well &= !matches!(wellness, Wellness::Ill(_));
        if context.json {
            told.push(to_value(connection, &wellness));
        } else {
            print(connection, &wellness);
        }
    }
    if context.json {
        println!("{}", json::to_pretty(&Value::List(told)));
    } else if connections.is_empty() {
        println!("No connection: raccord connect SYSTEM makes one.");
    }
    // Of one connection, what is wrong with the others is no answer.
    let read_well = if wanted.is_none() { read.tell(context) } else { ExitCode::SUCCESS };
    Ok(if all_well { read_well } else { output::found() })
}

/// Asks one connection whether it is well.
pub(super) async fn ask(context: &Context, connection: &Connection) -> Wellness {
    let around = Surroundings::without_hub(Clock::real(), context.folder.clone());
    ask_whether_well(connection, &around).await
}

/// One connection's answer, for a person.
pub(super) fn print(connection: &Connection, wellness: &Wellness) {
    let (name, system) = (&connection.name, connection.about.as_deref().unwrap_or(&connection.manifest.head.system));
    match wellness {
        Wellness::Well => println!("ok      {name} ({system})"),
        Wellness::Unasked(why) => println!("?       {name} ({system}): not asked, {why}"),
        Wellness::Ill(fault) => {
            println!("FAULT   {name} ({system})");
            println!("        {fault}");
            println!("        {}; raccord explain {}", advice(fault.next()), fault.code());
        }
    }
}

fn advice(next: Next) -> &'static str {
    match next {
        Next::Retry { .. } => "this may pass: ask again in a while",
        Next::Reconnect => "look whether the address is right and the system is there",
        Next::Refuse => "look whether the settings are those of this system",
        Next::Misconfigured => "correct the connection's settings or credentials",
    }
}

/// One connection's answer, for machines.
pub(super) fn to_value(connection: &Connection, wellness: &Wellness) -> Value {
    let mut out: Map =
        [("connection", connection.name.clone()), ("system", connection.manifest.name.clone())].into_iter().collect();
    if let Some(about) = &connection.about {
        out.insert("about", about.as_str());
    }
    match wellness {
        Wellness::Well => drop(out.insert("is", "ok")),
        Wellness::Unasked(why) => {
            out.insert("is", "unasked");
            out.insert("why", *why);
        }
        Wellness::Ill(fault) => {
            out.insert("is", "fault");
            out.insert("code", fault.code());
            out.insert("what", fault.to_string());
            out.insert("do", advice(fault.next()));
        }
    }
    out.into()
}
