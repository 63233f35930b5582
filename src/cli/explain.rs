//! `raccord explain`: the manual, from the same definitions that read the configuration.

use std::process::ExitCode;

use clap::Args;
use rust_embed::RustEmbed;

use super::{Context, output};
use crate::config::{HubSettings, Setting, Shape, explain, nearest};
use crate::{formula, pipelines, protocols, steps};

/// One page a fault.
#[derive(RustEmbed)]
#[folder = "docs/faults/"]
struct Faults;

#[derive(Debug, Args)]
pub struct Explain {
    /// A key (`from.http.path`, `to.retry`, `hub.listen`), a step, a function or a fault code; nothing for an overview
    topic: Option<String>,
    /// The whole reference as Markdown: what docs/reference.md holds
    #[arg(long, conflicts_with = "topic")]
    all: bool,
}

impl Explain {
    pub fn run(&self, _context: &Context) -> anyhow::Result<ExitCode> {
        if self.all {
            print!("{}", reference());
            return Ok(ExitCode::SUCCESS);
        }
        let Some(topic) = &self.topic else {
            overview();
            return Ok(ExitCode::SUCCESS);
        };
        if let Some(page) = page(topic) {
            println!("{}", page.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("raccord: nothing is called `{topic}`");
        let names = names();
        if let Some(near) = nearest(topic, names.iter().map(String::as_str)) {
            eprintln!("did you mean `{near}`?");
        }
        let sign = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
        if topic.contains('-') && topic.chars().all(sign) {
            eprintln!(
                "a fault code that is not the hub's own stands in `errors:` of a manifest, which says what it means"
            );
        }
        Ok(output::found())
    }
}

/// The reference of the configuration's files, from the same definitions that read them.
fn reference() -> String {
    let mut out = String::from(
        "# Reference\n\nEverything the files of a hub may say; made by `raccord explain --all`. Steps are in [steps.md](steps.md),\n\
         paths and functions in [formulas.md](formulas.md), the documents formats give in [documents.md](documents.md).\n",
    );
    let mut section = |title: &str, shape: &Shape, path: &[&str]| {
        if let Some(page) = explain(shape, path) {
            out.push_str(&format!("\n## {title}\n\n```\n{}\n```\n", page.trim_end()));
        }
    };
    section("config/raccord.yaml", &HubSettings::shape(), &[]);
    for part in ["queue", "retention"] {
        section(&format!("config/raccord.yaml: {part}"), &HubSettings::shape(), &[part]);
    }
    let pipeline = pipelines::shape();
    section("pipelines/NAME/pipeline.yaml", &pipeline, &[]);
    for part in ["dedupe", "on_error"] {
        section(&format!("pipeline.yaml: {part}"), &pipeline, &[part]);
    }
    for kind in protocols::ALL.iter().filter(|kind| kind.source.is_some()) {
        section(&format!("from: {}", kind.name), &pipeline, &["from", kind.name]);
    }
    for kind in protocols::ALL.iter().filter(|kind| kind.target.is_some()) {
        section(&format!("to: {}", kind.name), &pipeline, &["to", kind.name]);
    }
    section("pipelines/NAME/cases/CASE.yaml", &pipelines::case_shape(), &[]);
    out
}

/// The page of a topic: a fault, a function, a key of the hub or of a pipeline, a step.
fn page(topic: &str) -> Option<String> {
    if let Some(fault) = Faults::get(&format!("{}.md", topic.to_uppercase())) {
        return String::from_utf8(fault.data.into_owned()).ok();
    }
    let path: Vec<&str> = topic.split('.').collect();
    match path.split_first() {
        Some((&"hub", rest)) => return explain(&HubSettings::shape(), rest),
        Some((&"case", rest)) => return explain(&pipelines::case_shape(), rest),
        Some((&"pipeline", rest)) => return explain(&pipelines::shape(), rest),
        Some((&("functions" | "formulas"), [])) => return Some(functions()),
        _ => {}
    }
    // A format's own settings, as they are called wherever they stand: `csv.delimiter`.
    let format: Vec<&str> = ["from", "file"].into_iter().chain(path.iter().copied()).collect();
    explain(&pipelines::shape(), &path)
        .or_else(|| explain(&steps::steps_shape(), &path))
        .or_else(|| formula::page(topic))
        .or_else(|| explain(&pipelines::shape(), &format))
}

/// The functions with what they are for, a line each.
fn functions() -> String {
    let line = |page: String| {
        let mut lines = page.lines().filter(|line| !line.is_empty());
        format!("{}\n    {}\n", lines.next().unwrap_or_default(), lines.next().unwrap_or_default())
    };
    formula::all().filter_map(|function| formula::page(function.name)).map(line).collect()
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = Faults::iter().map(|file| file.trim_end_matches(".md").to_owned()).collect();
    names.extend(formula::all().map(|function| function.name.to_owned()));
    names.extend(steps::ALL.iter().map(|step| step.name.to_owned()));
    for shape in [pipelines::shape(), HubSettings::shape()] {
        if let Shape::Struct(of) = shape {
            names.extend(of.fields.iter().map(|field| field.name.to_owned()));
        }
    }
    names
}

fn overview() {
    println!("raccord explain KEY, for instance:\n");
    println!("  pipeline            everything pipeline.yaml may say");
    println!("  hub                 everything config/raccord.yaml may say");
    println!("  case                everything a case may say");
    println!("  from.http.path      one key of a protocol");
    println!("  HTTP-422            a fault: what happened, what to do\n");
    let steps: Vec<&str> = steps::ALL.iter().map(|step| step.name).collect();
    println!("steps      {}", steps.join(" "));
    let functions: Vec<&str> = formula::all().map(|function| function.name).collect();
    println!("functions  {}", functions.join(" "));
    let faults: Vec<String> = Faults::iter().map(|file| file.trim_end_matches(".md").to_owned()).collect();
    println!("faults     {}", faults.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RACCORD_UPDATE=1` writes it anew.
    #[test]
    fn the_reference_in_docs_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");
        if std::env::var_os("RACCORD_UPDATE").is_some() {
            std::fs::write(path, reference()).expect("docs can be written");
        }
        let written = std::fs::read_to_string(path).expect("docs/reference.md is there");
        assert!(written == reference(), "docs/reference.md is not of this code: run the test with RACCORD_UPDATE=1");
    }

    #[test]
    fn topics_have_pages() {
        let topics = [
            "pipeline",
            "hub",
            "case",
            "case.expect",
            "pipeline.from",
            "hub.queue.memory",
            "csv.delimiter",
            "xml",
            "to.retry",
            "to.erp.retry",
            "from.http.path",
            "steps.map",
            "lookup",
            "round",
            "http-422",
            "functions",
            "formulas",
        ];
        for topic in topics {
            assert!(page(topic).is_some_and(|page| !page.trim().is_empty()), "{topic}");
        }
        assert!(page("nonsense").is_none());
    }

    #[test]
    fn an_example_keeps_its_indentation() {
        let page = page("steps.map").expect("the step has a page");
        assert!(page.contains("- map:\n    number: $.name"), "{page}");
    }
}
