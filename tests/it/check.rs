//! `raccord check` on `planted/`, a hub with twelve mistakes in three files: all are told in one run, each with its place and
//! what would be right. `planted.txt` is what is said; `RACCORD_UPDATE=1` writes it anew, to be read in review.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// File, line and column of each mistake, and a word of what is said about it.
const MISTAKES: [(&str, u64, u64, &str); 12] = [
    ("config/raccord.yaml", 3, 14, "not a duration"),
    ("config/raccord.yaml", 4, 1, "unknown key"),
    ("pipelines/orders/pipeline.yaml", 6, 5, "unknown step"),
    ("pipelines/orders/pipeline.yaml", 9, 21, "there is no table"),
    ("pipelines/orders/pipeline.yaml", 10, 13, "unknown function"),
    ("pipelines/orders/pipeline.yaml", 11, 14, "YAML cuts this formula at ` #`"),
    ("pipelines/orders/pipeline.yaml", 15, 10, "environment variable"),
    ("pipelines/orders/pipeline.yaml", 17, 30, "a secret is never written"),
    ("pipelines/returns/pipeline.yaml", 2, 19, "unknown protocol"),
    ("pipelines/returns/pipeline.yaml", 7, 16, "takes 1 argument"),
    ("pipelines/returns/pipeline.yaml", 8, 18, "YAML cuts this formula at `,`"),
    ("pipelines/returns/pipeline.yaml", 9, 1, "stands twice"),
];

#[test]
fn all_planted_mistakes_are_told_in_one_run() {
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let golden = here("planted.txt");
    if std::env::var_os("RACCORD_UPDATE").is_some() {
        std::fs::write(&golden, &said).expect("the golden file can be written");
    }
    let wanted = std::fs::read_to_string(&golden).expect("planted.txt stands beside this file");
    let difference = similar::TextDiff::from_lines(&wanted, &said).unified_diff().to_string();
    assert!(difference.is_empty(), "{difference}\nIf this is right: RACCORD_UPDATE=1, then read the change.");
    for (file, line, column, word) in MISTAKES {
        let place = format!("{file}:{line}:{column}");
        let (before, _) = said.split_once(&place).unwrap_or_else(|| panic!("{place} is not told:\n{said}"));
        assert!(before.lines().rev().any(|line| line.contains(word)), "{place}: {word}\n{said}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), MISTAKES.len(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "12 errors, 0 warnings.\n");
}

#[test]
fn machines_are_told_the_same() {
    let output = check(&["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
    let found: BTreeSet<(&str, u64, u64)> = told
        .iter()
        .map(|problem| {
            assert_eq!(problem["severity"], "error", "{problem}");
            let number = |name: &str| problem[name].as_u64().expect("a number");
            (problem["file"].as_str().expect("a file"), number("line"), number("column"))
        })
        .collect();
    let wanted: BTreeSet<_> = MISTAKES.iter().map(|(file, line, column, _)| (*file, *line, *column)).collect();
    assert_eq!(found, wanted);
    assert_eq!(told.len(), MISTAKES.len());
    for problem in &told {
        let (file, line) = (problem["file"].as_str().expect("a file"), problem["line"].as_u64().expect("a number"));
        let (.., word) =
            MISTAKES.iter().find(|(of, at, ..)| (*of, *at) == (file, line)).expect("each stands on its own line");
        assert!(problem["message"].as_str().is_some_and(|said| said.contains(word)), "{problem}");
        let helps = |name: &str| problem[name].as_str().is_some_and(|said| !said.is_empty());
        assert!(helps("label") || helps("help"), "nothing says what would be right: {problem}");
    }
}

fn check(more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raccord"));
    command.current_dir(here("planted")).arg("check").args(more).env_remove("PLANTED_ERP_URL");
    command.output().expect("the binary starts")
}

fn here(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(relative)
}
