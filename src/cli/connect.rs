//! `raccord connect SYSTEM`: asks for what a system's manifest wants to know, writes the connection, and asks it whether it is well.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::connectors::{self, Read};
use super::{Context, output};
use crate::config::{Environment, Files, Reader, nearest, render};
use crate::connectors::{Connection, Manifest, SettingKind, SettingType, Wellness};
use crate::message::{Map, Text, Value, json};

#[derive(Debug, Args)]
pub struct Connect {
    /// The system: a name that `raccord connectors` lists
    system: String,
    /// What the connection is called; the system's name otherwise
    #[arg(long)]
    name: Option<String>,
    /// A setting, instead of being asked for it; secrets by reference only: --set password='${ERP_PASSWORD}'
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write the connection without reading it back and asking whether it is well
    #[arg(long)]
    no_check: bool,
}

/// Where values of secrets go that the person wants kept.
const SECRETS: &str = ".env";

impl Connect {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        output::ensure_hub(context)?;
        let mut read = Read::of(&context.folder, &context.environment());
        let manifest = read.systems.manifests.get(self.system.as_str()).cloned();
        let manifest = manifest.with_context(|| unknown("system", &self.system, read.systems.manifests.keys()))?;
        let name = Text::from(self.name.as_deref().unwrap_or(&self.system));
        let path = self.path(context, &name)?;
        let given = self.given(&manifest)?;
        let answers = if io::stdin().is_terminal() && !context.json {
            ask(&manifest, &name, given)?
        } else {
            let missing = missing(&manifest, &name, &given);
            anyhow::ensure!(missing.is_empty(), "settings are missing:\n{}", missing.join("\n"));
            Answers { settings: given, secrets: BTreeMap::new() }
        };
        let text = written(&manifest, &answers.settings);
        let connection = match self.no_check {
            true => None,
            false => match self.read_back(context, &mut read, (&name, &text), &answers)? {
                Some(connection) => Some(connection),
                None => return Ok(output::found()),
            },
        };
        save(&path, &text)?;
        if !answers.secrets.is_empty() {
            keep(context, &answers.secrets)?;
        }
        let wellness = match &connection {
            Some(connection) => Some(connectors::ask(context, connection).await),
            None => None,
        };
        tell(context, (&name, &path), connection.as_ref().zip(wellness.as_ref()));
        Ok(if matches!(wellness, Some(Wellness::Ill(_))) { output::found() } else { ExitCode::SUCCESS })
    }

    fn path(&self, context: &Context, name: &str) -> anyhow::Result<PathBuf> {
        let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && !name.is_empty();
        anyhow::ensure!(fits, "`{name}` cannot name a connection: small letters, digits and `-` only");
        let path = context.folder.join("config/connections").join(format!("{name}.yaml"));
        anyhow::ensure!(!path.exists(), "{} is there already; --name gives another", path.display());
        Ok(path)
    }

    /// The settings on the command line.
    fn given(&self, manifest: &Manifest) -> anyhow::Result<BTreeMap<Text, String>> {
        let kinds = manifest.head.settings.iter().flatten().collect::<BTreeMap<_, _>>();
        let mut given = BTreeMap::new();
        for set in &self.set {
            let (key, value) = set.split_once('=').with_context(|| format!("`--set {set}`: a setting is KEY=VALUE"))?;
            let kind = kinds.iter().find(|(name, _)| name.as_str() == key).map(|(_, kind)| *kind);
            let kind = kind.with_context(|| unknown("setting", key, kinds.keys().copied()))?;
            anyhow::ensure!(
                kind.r#type != SettingType::Secret || value.contains("${"),
                "`{key}` is a secret, and a command line is remembered: --set {key}='${{{}}}' names the variable that holds it",
                variable(self.name.as_deref().unwrap_or(&self.system), key)
            );
            given.insert(key.into(), value.to_owned());
        }
        Ok(given)
    }

    /// The connection as the hub will read it; `None` where it is wrong, which was told.
    fn read_back(
        &self,
        context: &Context,
        read: &mut Read,
        (name, text): (&Text, &str),
        answers: &Answers,
    ) -> anyhow::Result<Option<Connection>> {
        let mut environment = context.environment();
        if !answers.secrets.is_empty() {
            let own = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            environment = Environment { only: Some(own.chain(answers.secrets.clone()).collect()), ..environment };
        }
        let files = Files::default();
        let mut reader = Reader::new(&files, &environment);
        let connection = read.systems.read_connection(name, text, &mut reader);
        if connection.is_none() {
            eprint!("{}", render(&files, &reader.problems, output::colours()));
            anyhow::ensure!(!context.json, "the connection cannot be read: nothing was written");
            eprintln!("Nothing was written. --no-check writes it all the same.");
        }
        Ok(connection)
    }
}

fn unknown<'k>(what: &str, word: &str, known: impl Iterator<Item = &'k Text>) -> String {
    let known: Vec<&str> = known.map(Text::as_str).collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("there is no {what} `{word}`; did you mean `{near}`?"),
        None => format!("there is no {what} `{word}`; known: {}", known.join(", ")),
    }
}

/// `ERP_API_KEY` for the setting `api_key` of the connection `erp`.
fn variable(connection: &str, setting: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{connection}_{setting}").chars().map(plain).collect()
}

/// What a person or the command line said.
struct Answers {
    /// As they are written into the file: secrets as references.
    settings: BTreeMap<Text, String>,
    /// Variables to the values of secrets.
    secrets: BTreeMap<String, String>,
}

/// What must be given and was not, a line each.
fn missing(manifest: &Manifest, name: &str, given: &BTreeMap<Text, String>) -> Vec<String> {
    let kinds = manifest.head.settings.iter().flatten();
    let needed = kinds.filter(|(key, kind)| kind.default.is_none() && !kind.optional && !given.contains_key(*key));
    let line = |(key, kind): (&Text, &SettingKind)| {
        let value = match kind.r#type {
            SettingType::Secret => format!("'${{{}}}'", variable(name, key)),
            other => other.word().to_uppercase(),
        };
        format!("  --set {key}={value}    {}", kind.about.as_deref().unwrap_or_default()).trim_end().to_owned()
    };
    needed.map(line).collect()
}

fn ask(manifest: &Manifest, name: &str, mut settings: BTreeMap<Text, String>) -> anyhow::Result<Answers> {
    let mut secrets = BTreeMap::new();
    println!("Joining {}. What stands in [brackets] holds where you only press Enter.\n", manifest.head.system);
    for (key, kind) in manifest.head.settings.iter().flatten() {
        if settings.contains_key(key) {
            continue;
        }
        if let Some(about) = &kind.about {
            println!("{about}");
        }
        if kind.r#type == SettingType::Secret {
            let variable = variable(name, key);
            let shown = if std::env::var_os(&variable).is_some() {
                format!(" [${variable}, which is set]")
            } else {
                String::new()
            };
            let value = asked(&format!("{key}{shown}, not shown: "), true, kind.optional || !shown.is_empty())?;
            if value.is_empty() && shown.is_empty() {
                continue;
            }
            settings.insert(key.clone(), format!("${{{variable}}}"));
            if !value.is_empty() {
                secrets.insert(variable, value);
            }
            continue;
        }
        let default = kind.default.as_ref().map(|default| format!(" [{}]", default.0.plain().unwrap_or_default()));
        let may_be_empty = default.is_some() || kind.optional;
        let value = asked(&format!("{key}{}: ", default.unwrap_or_default()), false, may_be_empty)?;
        if !value.is_empty() {
            settings.insert(key.clone(), value);
        }
    }
    Ok(Answers { settings, secrets })
}

/// One answer from the terminal; asked again while it is empty and may not be.
fn asked(question: &str, hidden: bool, may_be_empty: bool) -> anyhow::Result<String> {
    loop {
        print!("{question}");
        io::stdout().flush()?;
        let quiet = if hidden { Some(Quiet::begin()?) } else { None };
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line)?;
        drop(quiet);
        if hidden {
            println!();
        }
        anyhow::ensure!(read > 0, "the answer did not come: nothing was written");
        let answer = line.trim().to_owned();
        if may_be_empty || !answer.is_empty() {
            return Ok(answer);
        }
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> anyhow::Result<Quiet> {
        let before = tcgetattr(io::stdin()).context("cannot hide what is typed")?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).context("cannot hide what is typed")?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// The connection's file.
fn written(manifest: &Manifest, settings: &BTreeMap<Text, String>) -> String {
    let mut out = format!("# Every setting: raccord connectors {}\nsystem: {}\n", manifest.name, manifest.name);
    for (key, value) in settings {
        out.push_str(&format!("{key}: {}\n", scalar(value)));
    }
    out
}

/// A text as YAML writes it: in quotes where it could be read as something else.
fn scalar(value: &str) -> String {
    let begins = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '$');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./${}@+".contains(c);
    let address = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://")).unwrap_or(value);
    if begins && address.chars().all(|c| plain(c) || c == ':') && !address.ends_with(':') {
        return value.to_owned();
    }
    json::to_text(&Value::from(value))
}

fn save(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    // Another who joins a system under this name at the same time is not overwritten.
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Appends the values of secrets to a file for the environment, where the person wants that.
fn keep(context: &Context, secrets: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let names: Vec<&str> = secrets.keys().map(String::as_str).collect();
    let path = context.folder.join(SECRETS);
    let question = format!("\nAppend {} to {}, readable by you alone? [y/N] ", names.join(", "), path.display());
    if !matches!(asked(&question, false, true)?.as_str(), "y" | "Y" | "yes") {
        println!("The hub needs them in its environment: {}", names.join(", "));
        return Ok(());
    }
    let lines: String = secrets.iter().map(|(name, value)| format!("{name}={}\n", shell(value))).collect();
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(lines.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("Before the hub starts: set -a; . {SECRETS}; set +a   (and keep {SECRETS} out of version control)");
    Ok(())
}

/// A value as a shell reads it.
fn shell(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&b);
    if value.bytes().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', "'\\''")) }
}

fn tell(context: &Context, (name, path): (&Text, &PathBuf), asked: Option<(&Connection, &Wellness)>) {
    if context.json {
        let mut out: Map = [("connection", name.clone())].into_iter().collect();
        out.insert("wrote", path.display().to_string());
        if let Some((connection, wellness)) = asked {
            out.insert("check", connectors::to_value(connection, wellness));
        }
        println!("{}", json::to_pretty(&out.into()));
        return;
    }
    println!("wrote {}", path.display());
    match asked {
        Some((connection, wellness)) => connectors::print(connection, wellness),
        None => println!("raccord connectors check {name} asks whether it is well."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Data, FileId, Setting, parse};

    #[test]
    fn what_is_written_is_read_as_it_was_said() {
        let long = [
            "https://erp.example/api",
            "${ERP_KEY}",
            "a b: c #d",
            "- x",
            "'q' \"r\"",
            "12",
            "true",
            "key:",
            "é",
            "x\ty",
            "*a",
            "https://[::1]:8",
        ];
        for value in long {
            let yaml = format!("v: {}\n", scalar(value));
            let environment =
                Environment { only: Some([("ERP_KEY".to_owned(), "k".to_owned())].into()), ..Environment::default() };
            let files = Files::default();
            let mut reader = Reader::new(&files, &environment);
            let node = parse(FileId::default(), &yaml, &mut reader.problems).expect("it is YAML");
            let read = Data::read(&node, &mut reader).expect(&yaml).0;
            let read = read.get("v").and_then(Value::plain).expect(&yaml);
            assert_eq!(read, value.replace("${ERP_KEY}", "k"), "{yaml}");
        }
    }

    #[test]
    fn secrets_have_names_and_values_a_shell_reads() {
        assert_eq!(variable("erp-paris", "api_key"), "ERP_PARIS_API_KEY");
        assert_eq!(shell("abc/1=="), "abc/1==");
        assert_eq!(shell("it's $x"), "'it'\\''s $x'");
    }
}
