//! `raccord explain`: the manual, from the same definitions that read the configuration.

use std::process::ExitCode;

use clap::Args;
use rust_embed::RustEmbed;

use super::{Context, output};
use crate::config::{HubSettings, Setting, Shape, explain, nearest};
use crate::{connectors, formula, partners, pipelines, protocols, steps};

/// One page a fault.
#[derive(RustEmbed)]
#[folder = "docs/faults/"]
struct Faults;

#[derive(Debug, Args)]
pub struct Explain {
    /// A key (`from.http.path`, `to.retry`, `hub.listen`, `connectors.auth`), a step, a function or a fault code; nothing for an overview
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
    section("config/connections/NAME.yaml", &connectors::connection_shape(), &[]);
    let partner = partners::shape();
    section("config/partners/NAME.yaml", &partner, &[]);
    for part in PARTNER_PARTS {
        section(&format!("config/partners/NAME.yaml: {}", part.join(".")), &partner, part);
    }
    let manifest = connectors::shape();
    section("connectors/NAME.yaml", &manifest, &[]);
    for (part, path) in MANIFEST {
        section(&format!("connectors/NAME.yaml: {part}"), &manifest, path);
    }
    out
}

/// The parts of a partner's profile that have a page of their own in the reference.
const PARTNER_PARTS: [&[&str]; 9] = [
    &["us"],
    &["contact"],
    &["documents"],
    &["writes"],
    &["reads"],
    &["acknowledgments"],
    &["control_numbers"],
    &["batch"],
    &["transport"],
];

/// The parts of a manifest that have a page of their own in the reference.
const MANIFEST: [(&str, &[&str]); 27] = [
    ("settings", &["settings"]),
    ("auth", &["auth"]),
    ("auth: api_key", &["auth", "api_key"]),
    ("auth: oauth2", &["auth", "oauth2"]),
    ("auth: oauth2, assertion", &["auth", "oauth2", "assertion"]),
    ("auth: session", &["auth", "session"]),
    ("auth: sign", &["auth", "sign"]),
    ("limits", &["limits"]),
    ("errors", &["errors"]),
    ("errors: then", &["errors", "then"]),
    ("a request", &["check"]),
    ("a request: soap", &["check", "soap"]),
    ("a request: odata", &["check", "odata"]),
    ("poll", &["operations", "poll"]),
    ("poll: next", &["operations", "poll", "next"]),
    ("poll: cursor", &["operations", "poll", "cursor"]),
    ("poll: job", &["operations", "poll", "job"]),
    ("calls", &["operations", "poll", "calls"]),
    ("listen", &["operations", "listen"]),
    ("listen: auth", &["operations", "listen", "auth"]),
    ("listen: auth, hmac", &["operations", "listen", "auth", "hmac"]),
    ("listen: challenge", &["operations", "listen", "challenge"]),
    ("read", &["operations", "read"]),
    ("write", &["operations", "write"]),
    ("write: batch", &["operations", "write", "batch"]),
    ("cases", &["cases"]),
    ("cases: exchange", &["cases", "exchange"]),
];

/// The page of a topic: a fault, a function, a key of the hub or of a pipeline, a step.
fn page(topic: &str) -> Option<String> {
    if let Some(fault) = Faults::get(&format!("{}.md", topic.to_uppercase())) {
        return String::from_utf8(fault.data.into_owned()).ok();
    }
    let path: Vec<&str> = topic.split('.').collect();
    match path.split_first() {
        Some((&"hub", rest)) => return explain(&HubSettings::shape(), rest),
        Some((&"connectors", rest)) => return explain(&connectors::shape(), rest),
        Some((&"partners", rest)) => return explain(&partners::shape(), rest),
        Some((&"connections", rest)) => return explain(&connectors::connection_shape(), rest),
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
    names.extend(["connectors".to_owned(), "connections".to_owned()]);
    for shape in [pipelines::shape(), HubSettings::shape(), connectors::shape()] {
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
    println!("  connectors          everything a manifest may say: connectors.operations.poll.cursor");
    println!("  partners            everything a partner's profile may say: partners.acknowledgments.within");
    println!("  connections         what a connection may say beside its manifest's settings");
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
            "connectors",
            "connectors.auth.oauth2",
            "connectors.operations.poll.cursor.overlap",
            "connectors.operations.write.batch",
            "connections.tls",
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
