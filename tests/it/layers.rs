//! A module of `src/` uses only those that `lib.rs` declares before it, so no cycle can exist; and the kinds of a room
//! (protocols, codecs, steps) do not know each other, their tests excepted.
//!
//! The sources are read as text: comments and strings are blanked, then every path that starts at `crate` or `super` is
//! followed to the module it names. A kind that stands on another says so in its first line: ``builds on `http` ``.

use std::collections::BTreeSet;
use std::path::Path;

use super::tokens::{Token, tokens};

/// Rooms whose kinds, those named in the room's `ALL`, are strangers to each other.
const ROOMS: [&str; 3] = ["protocols", "codecs", "steps"];

#[test]
fn a_module_uses_only_those_declared_before_it() {
    let mut sources = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read_all(&root, &root, &mut sources);
    assert!(sources.len() > 20, "only {} files found under {}", sources.len(), root.display());
    let found = back_edges(&sources);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_planted_back_edge_is_reported() {
    let check = |planted: (&str, &str), expect: &[&str]| {
        let mut sources: Vec<Source> = SAMPLE.iter().map(|(path, text)| source(path, text)).collect();
        sources.push(source(planted.0, planted.1));
        assert_eq!(back_edges(&sources), expect, "{planted:?}");
    };
    let queue = "src/codecs/xml.rs:2: `codecs` uses `queue`, which lib.rs declares after it";
    check(("codecs/xml.rs", "//! XML.\nuse crate::queue::Entry;"), &[queue]);
    check(("codecs/xml.rs", "//! XML.\nuse crate::{message::Value, queue::{self, Entry}};"), &[queue, queue]);
    check(("codecs/xml.rs", "//! XML.\nfn x() -> crate::queue::Entry { todo!() }"), &[queue]);
    check(("codecs/xml.rs", "//! XML.\nuse super::super::queue;"), &[queue]);
    check(("codecs/xml.rs", "//! crate::queue\n/* crate::queue /* */ */ const A: &str = \"crate::queue\";"), &[]);
    check(
        ("codecs/xml.rs", "const A: &str = r#\"\"crate::queue\"#; const B: char = '\"'; fn a<'a>(_: &'a str) {}"),
        &[],
    );
    check(
        ("codecs/xml.rs", "mod inner {\n use super::super::csv::Csv; }"),
        &["src/codecs/xml.rs:2: `xml` uses its sibling `csv`"],
    );
    check(("codecs/xml.rs", "mod tests {\n use super::*; use super::super::csv::Csv; }"), &[]);
    check(("codecs/xml/tests.rs", "use crate::codecs::csv::Csv;"), &[]);
    check(
        ("codecs/xml/tests.rs", "use crate::queue::Entry;"),
        &["src/codecs/xml/tests.rs:1: `codecs` uses `queue`, which lib.rs declares after it"],
    );
    check(("codecs/xml.rs", "use crate::codecs::charset::decode;"), &[]);
    check(("codecs/xml.rs", "//! XML, builds on `csv`.\nuse super::csv::Csv;"), &[]);
    check(("queue/file.rs", "use crate::codecs::csv::Csv; use super::Entry;"), &[]);
    check(("main.rs", "use crate::queue;"), &[]);
}

/// A tree in miniature: `charset` is a helper of the room, `csv` and `xml` are its kinds.
const SAMPLE: [(&str, &str); 5] = [
    ("lib.rs", "//! pub mod nothing;\npub mod message;\npub mod codecs;\npub mod queue;"),
    ("codecs/mod.rs", "mod csv; mod xml; mod charset; pub static ALL: &[&Kind] = &[&csv::KIND, &xml::KIND];"),
    ("codecs/csv.rs", "use crate::message::Value; use super::charset;"),
    ("codecs/charset.rs", ""),
    ("queue.rs", "pub struct Entry;"),
];

struct Source {
    /// Below `src/`, with `/`.
    path: String,
    first_line: String,
    tokens: Vec<Token>,
}

fn source(path: &str, text: &str) -> Source {
    let first_line = text.lines().next().unwrap_or_default().to_owned();
    Source { path: path.to_owned(), first_line, tokens: tokens(text) }
}

fn read_all(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("src exists").map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_all(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
            let below = path.strip_prefix(root).expect("found under it").to_string_lossy().replace('\\', "/");
            sources.push(source(&below, &text));
        }
    }
}

/// Every use of a later module or of a sibling, as `file:line: what`.
fn back_edges(sources: &[Source]) -> Vec<String> {
    let lib = sources.iter().find(|source| source.path == "lib.rs").expect("src/lib.rs");
    let order = declared(&lib.tokens);
    assert!(!order.is_empty(), "lib.rs declares no module");
    let mut found = Vec::new();
    for source in sources {
        let own = module_of(&source.path);
        let Some(rank) = own.first().and_then(|name| order.iter().position(|module| module == name)) else { continue };
        let kinds = kinds_of(sources, &own[0]);
        for usage in usages(&source.tokens, &own) {
            let said = match order.iter().position(|module| *module == usage.to[0]) {
                Some(later) if later > rank => {
                    format!("`{}` uses `{}`, which lib.rs declares after it", own[0], usage.to[0])
                }
                Some(same) if same == rank && between_siblings(&usage, &kinds, &source.first_line) => {
                    format!("`{}` uses its sibling `{}`", usage.from[1], usage.to[1])
                }
                _ => continue,
            };
            found.push(format!("src/{}:{}: {said}", source.path, usage.line));
        }
    }
    found
}

/// Whether one kind of a room uses another. A kind's tests may: the other is then one of the real parts around it.
fn between_siblings(usage: &Usage, kinds: &BTreeSet<String>, first_line: &str) -> bool {
    let (Some(from), Some(to)) = (usage.from.get(1), usage.to.get(1)) else { return false };
    let in_tests = usage.from.iter().any(|module| module == "tests");
    let said = first_line.contains(&format!("builds on `{to}`"));
    from != to && kinds.contains(from) && kinds.contains(to) && !in_tests && !said
}

/// The modules of `lib.rs`, in order.
fn declared(tokens: &[Token]) -> Vec<String> {
    let is_mod = |window: &&[Token]| window[0].text == "mod" && window[2].text == ";";
    tokens.windows(3).filter(is_mod).map(|window| window[1].text.clone()).collect()
}

/// `protocols/http/source.rs` → `[protocols, http, source]`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// What a room's `ALL` names.
fn kinds_of(sources: &[Source], room: &str) -> BTreeSet<String> {
    let listing = sources.iter().find(|source| source.path == format!("{room}/mod.rs"));
    let (true, Some(listing)) = (ROOMS.contains(&room), listing) else { return BTreeSet::new() };
    let from_all = listing.tokens.windows(2).position(|pair| pair[0].text == "ALL" && pair[1].text == ":");
    let all = &listing.tokens[from_all.unwrap_or(listing.tokens.len())..];
    let end = all.iter().position(|token| token.text == ";").unwrap_or(all.len());
    let is_path = |pair: &&[Token]| pair[1].text == "::";
    all[..end].windows(2).filter(is_path).map(|pair| pair[0].text.clone()).collect()
}

/// A path from `crate`, `super` or `self`: where it stands and what it leads to, both from the crate's root.
struct Usage {
    from: Vec<String>,
    to: Vec<String>,
    line: usize,
}

fn usages(tokens: &[Token], own: &[String]) -> Vec<Usage> {
    let mut found = Vec::new();
    let mut inside: Vec<(String, usize)> = Vec::new(); // inline modules, with the depth of their braces
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        let here = || own.iter().cloned().chain(inside.iter().map(|(name, _)| name.clone())).collect::<Vec<_>>();
        let follows = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        let continues = at > 0 && tokens[at - 1].text == "::";
        match tokens[at].text.as_str() {
            "mod" if tokens.get(at + 2).is_some_and(|token| token.text == "{") => {
                inside.push((tokens[at + 1].text.clone(), depth));
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inside.retain(|(_, opened)| *opened < depth);
            }
            "crate" if follows && !continues => {
                at = follow(tokens, at + 2, &here(), Vec::new(), &mut found);
                continue;
            }
            "super" | "self" if follows && !continues => {
                let mut base = here();
                while matches!(tokens.get(at).map(|token| token.text.as_str()), Some("super" | "self")) {
                    if tokens[at].text == "super" {
                        base.pop();
                    }
                    at += 2;
                }
                at = follow(tokens, at, &here(), base, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows a path, through its groups, from the token `at` on; answers where it ends.
fn follow(tokens: &[Token], mut at: usize, from: &[String], mut base: Vec<String>, found: &mut Vec<Usage>) -> usize {
    let Some(first) = tokens.get(at) else { return at };
    if first.text == "{" {
        at += 1;
        while tokens.get(at).is_some_and(|token| token.text != "}") {
            let next = follow(tokens, at, from, base.clone(), found);
            at = next.max(at + 1);
        }
        return at + 1;
    }
    let line = first.line;
    base.push(first.text.clone());
    at += 1;
    if tokens.get(at).is_some_and(|token| token.text == "::") {
        return follow(tokens, at + 1, from, base, found);
    }
    if base.last().is_some_and(|last| last == "self") {
        base.pop();
    }
    if base.first().is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic())) && first.text != "," {
        found.push(Usage { from: from.to_owned(), to: base, line });
    }
    at
}
