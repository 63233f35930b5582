//! Real business systems, joined by the manifests and pipelines that ship: what comes out is read back through each system's
//! own API.
//!
//! Part of the long run (`tests/run --long`): the systems take minutes to install, once.

mod goods;
mod orders;
mod people;
mod tickets;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::{Folder, HubProcess};
use crate::parts::medusa::Medusa;
use crate::parts::tryton::Tryton;
use crate::parts::vendure::Vendure;

/// Whether the long run was asked for; says so where not.
fn asked_for() -> bool {
    let long = std::env::var_os("RACCORD_LONG").is_some();
    if !long {
        println!("SKIPPED: the real systems take minutes to install; RACCORD_LONG=1 (tests/run --long) runs it");
    }
    long
}

/// The variables that `config/demo.env` asks for, with what the real systems answer to.
struct Variables(Vec<(&'static str, String)>);

impl Variables {
    /// What needs no system.
    fn new() -> Variables {
        let shipped = std::fs::read_to_string(shipped("config/demo.env")).expect("it ships");
        let demo = shipped.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        Variables(demo.map(|(name, value)| (&*name.to_owned().leak(), value.to_owned())).collect())
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Variables {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.into()));
        self
    }

    fn tryton(self, tryton: &Tryton) -> Variables {
        self.set("TRYTON_URL", format!("{}/{}", tryton.url(), tryton.database())).set("TRYTON_KEY", tryton.api_key())
    }

    fn vendure(self, vendure: &Vendure) -> Variables {
        self.set("VENDURE_URL", vendure.url()).set("VENDURE_KEY", vendure.api_key())
    }

    fn medusa(self, medusa: &Medusa) -> Variables {
        self.set("MEDUSA_URL", medusa.url()).set("MEDUSA_KEY", medusa.secret_key())
    }
}

/// A file or folder of the project.
fn shipped(relative: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// A hub of the shipped configuration with some of the shipped pipelines, which ask their systems every second.
fn lay_out(name: &str, pipelines: &[&str]) -> Folder {
    let folder = Folder::new(name);
    copy(&shipped("config"), &folder.path("config"));
    for pipeline in pipelines {
        let to = format!("pipelines/{pipeline}");
        copy(&shipped(&to), &folder.path(&to));
        let yaml = format!("{to}/pipeline.yaml");
        let hurried = folder.read(&yaml).lines().map(hurry).collect::<Vec<_>>().join("\n");
        folder.write(&yaml, hurried);
    }
    folder.replace("config/raccord.yaml", "listen: 127.0.0.1:8080", "listen: 127.0.0.1:0");
    folder
}

/// A pipeline's line, with `every:` of a second in place of what it says.
fn hurry(line: &str) -> String {
    match line.split_once("every: ") {
        Some((before, after)) if !before.contains('#') => {
            let rest = after.find([' ', ',', '}']).map_or("", |end| &after[end..]);
            format!("{before}every: 1s{rest}")
        }
        _ => line.to_owned(),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folders can be made");
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("it can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).expect("files can be copied");
        }
    }
}

/// The hub of a folder, with these variables; ready.
async fn run(folder: &Folder, variables: &Variables) -> HubProcess {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raccord"));
    command.arg("run").envs(variables.0.iter().map(|(name, value)| (*name, value)));
    let mut hub = HubProcess::spawn(folder, &mut command);
    hub.wait_ready().await;
    hub
}

/// Asks a system until it says what is waited for, for two minutes at most. `ask` may block.
async fn eventually<T: Send + 'static>(
    what: &str,
    hub: &HubProcess,
    ask: impl Fn() -> Option<T> + Send + Sync + 'static,
) -> T {
    let ask = std::sync::Arc::new(ask);
    let began = Instant::now();
    loop {
        let asked = ask.clone();
        if let Some(found) = tokio::task::spawn_blocking(move || asked()).await.expect("it can be asked") {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{what} never came\n{}", hub.log());
        sleep(Duration::from_millis(500)).await;
    }
}

/// Not a test: starts the systems, says the variables that the shipped hub needs, and stays until it is ended.
/// `tests/run --systems` runs it.
#[test]
#[ignore = "stays until it is ended: tests/run --systems"]
fn systems_to_try_the_shipped_pipelines_on() {
    let (tryton, vendure, medusa) = (Tryton::private(), Vendure::private(), Medusa::private());
    let variables = Variables::new().tryton(&tryton).vendure(&vendure).medusa(&medusa);
    let told: String = variables.0.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("systems-{}.env", std::process::id()));
    std::fs::write(&file, told).expect("files can be written");
    println!("Tryton, Vendure and Medusa run until you press Ctrl-C. In another terminal:\n");
    println!("  set -a; . {}; set +a; target/debug/raccord run\n", file.display());
    loop {
        std::thread::park();
    }
}
