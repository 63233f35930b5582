//! A module of `src/` uses only those that `lib.rs` declares before it, so no cycle can exist; and the kinds of a room
//! (protocols, codecs, steps) do not know each other.
//!
//! The sources are read as text: comments and strings are blanked, then every path that starts at `crate` or `super` is
//! followed to the module it names. A kind that stands on another says so in its first line: ``builds on `http` ``.

use std::collections::BTreeSet;
use std::path::Path;

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
        ("codecs/xml.rs", "mod tests {\n use super::super::csv::Csv; }"),
        &["src/codecs/xml.rs:2: `xml` uses its sibling `csv`"],
    );
    check(("codecs/xml.rs", "mod tests {\n use super::*; }"), &[]);
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

#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

fn source(path: &str, text: &str) -> Source {
    let first_line = text.lines().next().unwrap_or_default().to_owned();
    Source { path: path.to_owned(), first_line, tokens: tokens(&blanked(text)) }
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
        for (used, line) in paths(&source.tokens, &own) {
            let place = format!("src/{}:{line}", source.path);
            match order.iter().position(|module| *module == used[0]) {
                Some(used_rank) if used_rank > rank => {
                    found.push(format!("{place}: `{}` uses `{}`, which lib.rs declares after it", own[0], used[0]))
                }
                Some(used_rank) if used_rank == rank => {
                    if let (Some(kind), Some(other)) = (own.get(1), used.get(1))
                        && kind != other
                        && kinds.contains(kind)
                        && kinds.contains(other)
                        && !source.first_line.contains(&format!("builds on `{other}`"))
                    {
                        found.push(format!("{place}: `{kind}` uses its sibling `{other}`"));
                    }
                }
                _ => {}
            }
        }
    }
    found
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

/// The modules and items that paths from `crate`, `super` or `self` lead to, as absolute paths, with their lines.
fn paths(tokens: &[Token], own: &[String]) -> Vec<(Vec<String>, usize)> {
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
                at = follow(tokens, at + 2, Vec::new(), &mut found);
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
                at = follow(tokens, at, base, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows a path, through its groups, from the token `at` on; answers where it ends.
fn follow(tokens: &[Token], mut at: usize, mut base: Vec<String>, found: &mut Vec<(Vec<String>, usize)>) -> usize {
    let Some(first) = tokens.get(at) else { return at };
    if first.text == "{" {
        at += 1;
        while tokens.get(at).is_some_and(|token| token.text != "}") {
            let next = follow(tokens, at, base.clone(), found);
            at = next.max(at + 1);
        }
        return at + 1;
    }
    let line = first.line;
    base.push(first.text.clone());
    at += 1;
    if tokens.get(at).is_some_and(|token| token.text == "::") {
        return follow(tokens, at + 1, base, found);
    }
    if base.last().is_some_and(|last| last == "self") {
        base.pop();
    }
    if base.first().is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic())) && first.text != "," {
        found.push((base, line));
    }
    at
}

/// Words, `::` and single marks.
fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while !rest.is_empty() {
            let word = rest.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
            let first = rest.chars().next().map_or(1, char::len_utf8);
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first
            };
            out.push(Token { text: rest[..length].to_owned(), line: number + 1 });
            rest = rest[length..].trim_start();
        }
    }
    out
}

/// The text with comments, strings and character literals replaced by blanks; lines stay.
fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = skipped(rest, out.chars().last());
        if length > 0 {
            out.push(' ');
            out.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// How many bytes of a comment or literal stand at the start of `rest`.
fn skipped(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        if rest[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            return rest[body..].find(&close).map_or(rest.len(), |end| body + end + close.len());
        }
    }
    // `'a'` and `'\n'` are characters, `'a` is a lifetime.
    let mut chars = rest.chars();
    if chars.next() == Some('\'') {
        let character = chars.next();
        if character == Some('\\') || (character.is_some() && chars.next() == Some('\'')) {
            return quoted(rest, '\'');
        }
    }
    0
}

fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Comments nest.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}
