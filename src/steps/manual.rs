//! The manual of the steps, `docs/steps.md`: made of the verbs' own pages.

use std::fmt::Write;

use super::{ALL, DurableTable, StepKind};
use crate::config::{Field, Settings, Shape};

/// The faults steps make: code, and what it means and asks for. The page of `raccord explain CODE`.
pub static FAULTS: &[(&str, &str)] = &[
    (
        "STEP-LIMIT",
        "One message became more than 100,000 documents, or documents of more than 256 MB. Let the source cut it into several messages, or write only the fields that are needed.",
    ),
    ("STEP-LIST", "A list was expected at this path, and something else is there. Correct the path, or the document."),
    ("STEP-ANSWER", "The hub did not look up what a step asked for: a mistake in the hub, not in the message."),
    (
        "VALIDATE-SCHEMA",
        "The document does not match the JSON Schema. The sentence names the first 10 violations with their paths.",
    ),
    ("VALIDATE-RULE", "The document breaks a rule of `validate`. The sentence is the rule's own."),
    (
        "MAP-NOTHING",
        "A mapping that is one optional path found nothing, so there is no document. Filter such messages before, or make the path required.",
    ),
    (
        "SET-PLACE",
        "`set` was to put a field into something that is not a map. Correct the name, or map the document first.",
    ),
    (
        "SPLIT-KEY",
        "`group_by` gave null, a list or a map for an item. Leave such items out with `keep`, or give them a value with `coalesce`.",
    ),
    (
        "LOOKUP-MISSING",
        "The table has no row with this key. Add the row and replay the message, or state `missing: leave_out`.",
    ),
    ("LOOKUP-KEY", "The value to look up is null, a list or a map. Correct `where`, or skip the step with `when`."),
    ("LOOKUP-PLACE", "The row was to be put into something that is not a map. Correct `each`."),
    (
        "CALL-MISSING",
        "The system has nothing of what a `call` asked for. Add it there and replay the message, or state `missing: leave_out`.",
    ),
    ("CALL-PLACE", "The answer was to be put into something that is not a map. Correct `each`."),
    (
        "CALL-LIMIT",
        "One message asks systems for more than 10,000 things, or their answers are more than 16 MB. Let the source cut it into several messages, or ask for less.",
    ),
    ("REMEMBER-KEY", "A key column of the row is missing, null, a list or a map: such a row could not be found again."),
    (
        "AGGREGATE-KEY",
        "`by` gave null, a list or a map. Filter such documents before, or give them a value with `coalesce`.",
    ),
    (
        "AGGREGATE-FULL",
        "The group has `most` members and is not closed. Check `until`, state `within`, or raise `most`; then replay.",
    ),
    ("TABLE-UNKNOWN", "A formula reads a table that is not in config/tables. Correct the name, or add the file."),
];

const INTRODUCTION: &str = "\
# Steps

<!-- Made from the doc comments of src/steps; `UPDATE_GOLDEN=1 cargo test --lib steps::manual` writes it. -->

Steps stand between a source and its destinations, or before one destination. Each takes a document and hands on one,
several or none; what it does not change, it hands on as it is.

```yaml
steps:
  - filter: $.status == 'paid'
  - set: { currency: EUR }
    when: not has($.currency)
    note: The till of the old shops leaves it out.
```

- A step is **one verb** and, beside it, optionally `when:` (a condition: where it does not hold, the document passes this step
  unchanged) and `note:` (a remark).
- Steps run in order. After a `split` each following step runs over each document, in the order of the documents.
- A message passes **whole or not at all**. Where a step fails for one of its documents, nothing of the message goes on, and its
  original bytes go to dead letters with the fault's code, the step and the place in the document.
- What a step changes outside the document (`remember`, `aggregate`, `log`) becomes true together with what the message
  sends. Later steps of the same message see it at once.
- One message becomes at most 100,000 documents.
";

const TABLES: &str = "\
## Tables

**A file** `config/tables/<name>.csv`, as a spreadsheet saves it: the first line names the columns, the first column is the key,
and each key stands once. Columns are parted by `;` where the first line has one, else by tabulators, else by commas.
The text is UTF-8. An empty cell is a value the row does not have: an optional path leaves it out, another path is an error.
All values are texts, so `007` stays `007`. The files together may take 256 MB of memory, about 400,000 rows of five columns; they
are read when the configuration is.

**A durable table** is described in `config/tables/<name>.yaml` and kept in the hub's store; `remember` fills it.

```yaml
about: The ERP's number of each web order.
key: [shop, order]
columns: [erp_id]
retention: 400d
```

In both, a number and a text of the same digits are the same key: `12`, `'12'` and `12.0`. `012` is another one.
";

/// The whole manual as Markdown.
pub fn manual() -> String {
    let mut out = INTRODUCTION.to_owned();
    ALL.iter().for_each(|kind| verb(kind, &mut out));
    section(TABLES, &mut out);
    fields(&DurableTable::fields(), &mut out);
    section("## Faults\n\n| code | what it means and what to do |\n|---|---|", &mut out);
    FAULTS.iter().for_each(|(code, about)| line(&format!("| `{code}` | {about} |"), &mut out));
    out
}

fn verb(kind: &StepKind, out: &mut String) {
    section(&format!("## {}\n\n{}", kind.name, plain(kind.about)), out);
    if let Shape::Struct(shape) = (kind.shape)() {
        fields(&shape.fields, out);
    }
}

fn fields(fields: &[Field], out: &mut String) {
    section("| field | | what it says |\n|---|---|---|", out);
    for field in fields {
        let presence = match field.default {
            Some(default) => format!("default `{default}`"),
            None if field.required => "required".to_owned(),
            None => String::new(),
        };
        line(&format!("| `{}` | {presence} | {} |", field.name, plain(field.about).replace('\n', " ")), out);
    }
}

fn section(text: &str, out: &mut String) {
    out.push('\n');
    line(text.trim_end(), out);
}

fn line(text: &str, out: &mut String) {
    writeln!(out, "{text}").expect("writing to a string does not fail");
}

/// A doc comment without the blank before each line.
fn plain(about: &str) -> String {
    about.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_manual_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/steps.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, manual()).expect("docs/steps.md can be written");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == manual(), "docs/steps.md is behind the code; UPDATE_GOLDEN=1 writes it");
    }

    /// Each code that stands after `Fault::` in this folder has its line, and no other.
    #[test]
    fn every_fault_has_its_page() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/steps");
        let mut made = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(entry.path()).expect("the file can be read");
                let after = text.split("Fault::").skip(1).filter_map(|rest| {
                    let (call, rest) = rest.split_once('(')?;
                    let code = rest.trim_start().strip_prefix('"')?.split('"').next()?;
                    ["refuse", "retry", "reconnect", "misconfigured"].contains(&call).then(|| code.to_owned())
                });
                made.extend(after.filter(|code| !code.starts_with("FORMULA-")));
            }
        }
        let told: std::collections::BTreeSet<String> = FAULTS.iter().map(|(code, _)| (*code).to_owned()).collect();
        assert_eq!(made, told);
    }
}
