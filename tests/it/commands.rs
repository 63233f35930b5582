//! The commands as a person gives them: the hub that `init` makes, and the hub that ships.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::sources::root;

#[test]
fn the_hub_that_init_makes_is_sound() {
    let room = Room::new("init");
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let hub = room.0.join("my-hub");
    said(&hub, &["check", "--strict"], "No problem found");
    said(&hub, &["test"], "0 failed");
}

#[test]
fn the_hub_that_ships_is_sound_and_its_cases_pass() {
    said(&root(), &["check", "--strict"], "No problem found");
    said(&root(), &["test"], ", 0 failed");
}

#[test]
fn a_case_that_expects_something_else_fails() {
    let room = Room::new("case");
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let case = room.0.join("my-hub/pipelines/orders/cases/paid.yaml");
    let text = std::fs::read_to_string(&case).expect("init wrote it");
    std::fs::write(&case, text.replace("total_net: 20.00", "total_net: 20.01")).expect("the folder is ours");
    let output = raccord(&room.0.join("my-hub"), &["test"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && shown.contains("total_net: expected 20.01, got 20.00"), "{shown}");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    let room = Room::new("mistake");
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let pipeline = room.0.join("my-hub/pipelines/orders/pipeline.yaml");
    let text = std::fs::read_to_string(&pipeline).expect("init wrote it");
    std::fs::write(&pipeline, text.replace("- filter:", "- filtre:")).expect("the folder is ours");
    let output = raccord(&room.0.join("my-hub"), &["check"]);
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    for part in ["unknown step `filtre`", "pipelines/orders/pipeline.yaml:", "did you mean `filter`?"] {
        assert!(!output.status.success() && shown.contains(part), "`{part}` is not in: {shown}");
    }
}

/// Runs a command in `folder`, which must succeed and say `expect`.
fn said(folder: &Path, arguments: &[&str], expect: &str) {
    let output = raccord(folder, arguments);
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    assert!(output.status.success() && shown.contains(expect), "raccord {arguments:?} did not say `{expect}`: {shown}");
}

/// With the variables of `config/demo.env`.
fn raccord(folder: &Path, arguments: &[&str]) -> Output {
    let variables = std::fs::read_to_string(root().join("config/demo.env")).expect("it ships");
    let lines = variables.lines().filter(|line| !line.starts_with('#'));
    let mut command = Command::new(env!("CARGO_BIN_EXE_raccord"));
    command.args(arguments).current_dir(folder).envs(lines.filter_map(|line| line.split_once('=')));
    command.output().expect("the binary was built with the tests")
}

/// A folder of the test's own, gone when it ends.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        let path = std::env::temp_dir().join(format!("raccord-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the system's temporary folder can be written");
        Room(path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
