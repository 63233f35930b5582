//! What the documents list is what there is: `docs/dependencies.md` against `Cargo.toml`, those of what has a lock
//! file of its own among them.

use std::collections::BTreeSet;

use super::sources::root;

#[test]
fn every_dependency_has_its_line() {
    let manifests = ["Cargo.toml", "fuzz/Cargo.toml", "benches/edi-beside/Cargo.toml"].map(read);
    let declared: BTreeSet<String> = manifests.iter().flat_map(|manifest| declared(manifest)).collect();
    let documented = documented(&read("docs/dependencies.md"));
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

/// The pipelines that the READMEs show are read by the real reader, in the hub `init` writes; the manuals of steps, formats and
/// formulas have tests of their own beside their code.
#[test]
fn the_pipelines_in_the_readmes_are_pipelines() {
    for readme in ["README.md", "README.fr.md"] {
        let text = read(readme);
        let blocks: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty(), "{readme} shows no pipeline");
        for block in blocks {
            let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("documents-{readme}"));
            let _ = std::fs::remove_dir_all(&folder);
            let write = |name: &str, text: &str| {
                let path = folder.join(name);
                std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
                std::fs::write(path, text).expect("the file can be written");
            };
            write("config/raccord.yaml", "name: readme\n");
            write("config/tables/countries.csv", "code,name\nFR,France\n");
            write("pipelines/orders/pipeline.yaml", block);
            let loaded = raccord::pipelines::load(&folder, &raccord::config::Environment::default());
            let said = raccord::config::render(&loaded.files, &loaded.problems, false);
            assert!(loaded.problems.is_empty(), "{readme}: {said}");
        }
    }
}
