//! What the documents list is what there is: `docs/dependencies.md` against `Cargo.toml`.

use std::collections::BTreeSet;

use super::sources::root;

#[test]
fn every_dependency_has_its_line() {
    let (manifest, page) = (read("Cargo.toml"), read("docs/dependencies.md"));
    let (declared, documented) = (declared(&manifest), documented(&page));
    assert!(declared.contains("tokio"), "Cargo.toml was not understood");
    let missing: Vec<_> = declared.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&declared).collect();
    assert!(missing.is_empty(), "docs/dependencies.md does not say what these are for: {missing:?}");
    assert!(stale.is_empty(), "docs/dependencies.md speaks of what Cargo.toml does not have: {stale:?}");
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in the sections of dependencies.
fn declared(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (inside && !line.starts_with('#'), line.split_once('=')) {
            names.insert(name.trim().to_owned());
        }
    }
    names
}

/// The first cells of the tables whose head begins with `crate`.
fn documented(page: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in page.lines() {
        let first = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next());
        match first {
            None => inside = inside && line.starts_with('|'),
            Some("crate") => inside = true,
            Some(name) if inside => drop(names.insert(name.to_owned())),
            Some(_) => {}
        }
    }
    names
}
