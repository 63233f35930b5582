//! `raccord edi check FILE...`: findings, one a line; exit 1 where a message would be refused.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{Context, Input, Listed, Paint, Reading, count, line, output, to_value};
use crate::edi::directory::{Found, Library};
use crate::edi::facts;
use crate::edi::findings::{Finding, Findings, Severity};
use crate::edi::reader::{Event, Message, Reader};
use crate::edi::syntax::Dialect;
use crate::edi::tree::Tree;
use crate::message::Map;

#[derive(Debug, Args)]
pub struct Check {
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

/// What was counted in all files.
#[derive(Default)]
struct Counts {
    messages: usize,
    refused: usize,
    findings: u64,
    /// Files that are no EDI, and interchanges refused as a whole.
    others: usize,
}

impl Check {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let (mut counts, mut listed) = (Counts::default(), context.json.then(Listed::default));
        // The files that can be read are told of, then the fault of the first that cannot.
        let (mut fault, library) = (None, self.reading.library(context)?);
        for path in &self.files {
            if let Err(error) = self.file(path, &library, &mut counts, &mut listed) {
                fault = fault.or(Some(error));
            }
        }
        match listed {
            Some(listed) => listed.end(),
            None => counts.tell(),
        }
        match fault {
            Some(fault) => Err(fault),
            None if counts.refused + counts.others > 0 => Ok(output::found()),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn file(
        &self,
        path: &Path,
        library: &Library,
        counts: &mut Counts,
        listed: &mut Option<Listed>,
    ) -> anyhow::Result<()> {
        let input = Input::open(path)?;
        if let Some(what) = input.other() {
            counts.others += 1;
            match listed {
                Some(listed) => listed.put([("file", input.name), ("what", what)].into_iter().collect()),
                None => println!("{}: {} this {what}", input.name, Paint::new().with(super::Ink::Red, "error")),
            }
            return Ok(());
        }
        let mut told = Told { file: &input.name, segments: 0, listed };
        let mut reader = Reader::new(input.bytes, self.reading.options());
        let (policy, mut dialect) = (self.reading.options().policy, Dialect::Edifact);
        while let Some(event) = reader.read().with_context(|| format!("cannot read {}", input.name))? {
            if let Event::Interchange(interchange) = &event {
                dialect = interchange.notation.dialect;
            }
            let segments = match &event {
                Event::Interchange(interchange) => interchange.record.len(),
                Event::Group(group) => group.record.len(),
                Event::GroupEnd(trailer) | Event::InterchangeEnd(trailer) => trailer.record.len(),
                Event::Other(other) => other.record.len(),
                Event::Message(message) => message.record.len(),
            };
            if let Event::Message(message) = &event {
                let tree = Tree::read(message, library, &policy, 1000);
                counts.messages += 1;
                counts.refused += usize::from(!tree.accepted());
                let both = [&message.findings, &tree.findings];
                counts.findings += told.findings(&both, dialect, tree.found.as_ref(), Some(message));
            } else {
                counts.others += usize::from(event.findings().verdict() == Severity::RejectInterchange);
                counts.findings += told.findings(&[event.findings()], dialect, None, None);
            }
            told.segments += segments as u64;
        }
        Ok(())
    }
}

/// Tells the findings of one file.
struct Told<'a> {
    file: &'a str,
    /// The segments before the event.
    segments: u64,
    listed: &'a mut Option<Listed>,
}

impl Told<'_> {
    fn findings(
        &mut self,
        findings: &[&Findings],
        dialect: Dialect,
        found: Option<&Found<'_>>,
        message: Option<&Message>,
    ) -> u64 {
        let mut all: Vec<&Finding> = findings.iter().flat_map(|findings| findings.list()).collect();
        all.sort_by_key(|finding| finding.place.segment);
        let dropped: u64 = findings.iter().map(|findings| findings.dropped()).sum();
        for finding in &all {
            let within = if message.is_some() { finding.place.segment.max(1) } else { 1 };
            let at = self.segments + u64::from(within);
            if let Some(listed) = self.listed {
                let mut out: Map = [("file", self.file)].into_iter().collect();
                out.insert("at", count(at));
                if let Some(message) = message {
                    out.insert("message", facts::message(&message.kind, &message.reference));
                }
                for (name, value) in to_value(dialect, finding, found).iter() {
                    out.insert(name.clone(), value.clone());
                }
                listed.put(out);
                continue;
            }
            let around = message.map(|message| format!("{} {}, ", message.kind.name, message.reference));
            let (around, line) =
                (super::shown(&around.unwrap_or_default()), line(Paint::new(), dialect, finding, found));
            println!("{}:{at}: {around}{line}", self.file);
        }
        if dropped > 0 && self.listed.is_none() {
            println!("{}: and {dropped} more in this message", self.file);
        }
        all.len() as u64 + dropped
    }
}

impl Counts {
    fn tell(&self) {
        let messages = output::counted(self.messages, "message");
        match (self.findings, self.refused, self.others) {
            (0, 0, 0) => println!("No problem found in {messages}."),
            (findings, 0, 0) => eprintln!("{}, none of {messages} would be refused.", words(findings)),
            (findings, refused, _) => eprintln!("{}; {refused} of {messages} would be refused.", words(findings)),
        }
    }
}

fn words(findings: u64) -> String {
    output::counted(usize::try_from(findings).unwrap_or(usize::MAX), "finding")
}
