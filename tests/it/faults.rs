//! Every fault code has its page in `docs/faults`, and every page its code.
//!
//! A code is a text of the form `AREA-DETAIL` in a source, outside its tests. Other texts of that form are listed below.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::sources::{all, root, test_modules};

/// Texts that look like codes and are none.
const OTHERS: [&str; 2] = ["UTF-8", "ISO-8859-1"];

/// What a page says, in this order.
const SECTIONS: [&str; 3] = ["## What happened", "## What raccord did", "## What to do"];

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    let codes = codes();
    assert!(codes.len() > 10, "only {} codes were found", codes.len());
    let pages = pages();
    let missing: Vec<_> = codes.iter().filter(|(code, _)| !pages.contains_key(*code)).collect();
    let stale: Vec<_> = pages.keys().filter(|code| !codes.contains_key(*code)).collect();
    assert!(missing.is_empty(), "codes without a page in docs/faults, and where they are made: {missing:#?}");
    assert!(stale.is_empty(), "pages without a code in src: {stale:?}");
}

#[test]
fn every_page_says_what_happened_what_raccord_did_and_what_to_do() {
    for (code, page) in pages() {
        assert_eq!(page.lines().next(), Some(format!("# {code}").as_str()), "{code}.md: its first line");
        let sections: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(sections, SECTIONS, "{code}.md: its sections");
        let lines = page.lines().count();
        assert!(lines <= 40, "{code}.md: {lines} lines are no short page");
    }
}

fn pages() -> BTreeMap<String, String> {
    let folder = root().join("docs/faults");
    let files = std::fs::read_dir(&folder).expect("docs/faults exists").map(|entry| entry.expect("readable").path());
    let page = |path: PathBuf| {
        let code = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        (code, std::fs::read_to_string(&path).expect("pages are UTF-8"))
    };
    files.map(page).collect()
}

/// The codes in the sources, with the files they stand in.
fn codes() -> BTreeMap<String, BTreeSet<String>> {
    let sources = all();
    let tests = test_modules(&sources);
    let mut codes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !tests.iter().any(|module| source.module().starts_with(module))) {
        for code in texts(without_tests(&source.text)).filter(|text| is_code(text)) {
            codes.entry(code.to_owned()).or_default().insert(source.path.clone());
        }
    }
    codes
}

/// A file's tests stand at its end.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

/// What stands between quotes, comments left out.
fn texts(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2))
}

/// `FORMULA-TYPE`, `HTTP-422`: upper case and digits, a dash, an area of letters before it.
fn is_code(text: &str) -> bool {
    let mut parts = text.split('-');
    let area = parts.next().unwrap_or_default();
    let upper = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let rest: Vec<&str> = parts.collect();
    area.len() > 2
        && area.bytes().all(|b| b.is_ascii_uppercase())
        && !rest.is_empty()
        && rest.into_iter().all(upper)
        && !OTHERS.contains(&text)
}
