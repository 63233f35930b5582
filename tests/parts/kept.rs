//! What takes long to make, such as an installation: made once, kept in `parts/`, made again when its recipe changes.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{lock, root};

/// The folder `KIND/NAME-...`, filled by `make` on first need; `recipe` is all that what it holds depends on.
pub fn kept(kind: &str, name: &str, recipe: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let all = root().join(kind);
    let path = all.join(format!("{name}-{:016x}", hasher.finish()));
    // Written last: a folder without it was left half made.
    let made = path.join("made");
    if made.exists() {
        return path;
    }
    fs::create_dir_all(&all).expect("the build folder takes folders");
    let _one_at_a_time = lock(&format!("{kind}/{name}.lock"));
    if !made.exists() {
        remove_older(&all, name);
        fs::create_dir_all(&path).expect("the build folder takes folders");
        make(&path);
        fs::write(&made, "").expect("the folder was just made");
    }
    path
}

fn remove_older(all: &Path, name: &str) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let theirs = entry.file_name();
        let hash = theirs.to_str().and_then(|theirs| theirs.strip_prefix(name)?.strip_prefix('-'));
        if hash.is_some_and(|hash| hash.len() == 16) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs a command to its end; where it fails, so does the test, with what it said.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{out}{err}", done.status);
    out.into_owned()
}
