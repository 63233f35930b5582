//! `raccord edi convert FILE`: EDI to JSON documents, one a line, and such JSON to EDI.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{Bad, Context, Input, Paint, Reading, line, output, shown, to_value};
use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::facts::{self, Entry, Unsaid};
use crate::edi::findings::{Finding, Findings};
use crate::edi::reader::{Event, Reader};
use crate::edi::syntax::Dialect;
use crate::edi::tree::Tree;
use crate::edi::writer::{InterchangeWriter, Newline, WriteError};
use crate::message::{Map, Value, json};

#[derive(Debug, Args)]
pub struct Convert {
    /// The file, EDI or JSON; `-` is standard input
    file: PathBuf,
    /// Write each EDI segment on a line of its own
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    reading: Reading,
}

impl Convert {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let (input, library) = (Input::open(&self.file)?, self.reading.library(context)?);
        let done = match input.other() {
            _ if input.is_json() => self.to_edi(input, &library),
            Some(what) => Err(Bad(format!("{} {what}", input.name)).into()),
            None => self.to_json(input, &library),
        };
        Ok(if done? { ExitCode::SUCCESS } else { output::found() })
    }

    /// Whether no message would be refused.
    fn to_json(&self, input: Input, library: &Library) -> anyhow::Result<bool> {
        let policy = self.reading.options().policy;
        let (mut interchange, mut group) = (Map::new(), None);
        let (mut messages, mut refused) = (0, 0);
        let mut reader = Reader::new(input.bytes, self.reading.options());
        while let Some(event) = reader.read().with_context(|| format!("cannot read {}", input.name))? {
            match event {
                Event::Interchange(begun) => (interchange, group) = (facts::interchange(begun), None),
                Event::Group(begun) => group = Some(facts::group(begun)),
                Event::GroupEnd(_) => group = None,
                Event::Message(message) => {
                    let tree = Tree::read(message, library, &policy, 1000);
                    messages += 1;
                    refused += usize::from(!tree.accepted());
                    let mut out: Map = [("interchange", interchange.clone())].into_iter().collect();
                    if let Some(group) = &group {
                        out.insert("group", group.clone());
                    }
                    out.insert("message", facts::message(&message.kind, &message.reference));
                    out.insert("document", document(&tree));
                    out.insert("accepted", tree.accepted());
                    let findings = [&message.findings, &tree.findings].into_iter().flat_map(Findings::list);
                    let told =
                        |finding: &Finding| to_value(message.notation.dialect, finding, tree.found.as_ref()).into();
                    let findings: Vec<Value> = findings.map(told).collect();
                    if !findings.is_empty() {
                        out.insert("findings", findings);
                    }
                    println!("{}", json::to_text(&out.into()));
                }
                _ => {}
            }
        }
        if refused > 0 {
            let of = output::counted(messages, "message");
            eprintln!("raccord: {refused} of {of} would be refused: raccord edi check {} says why", input.name);
        }
        Ok(refused == 0)
    }

    /// Whether no message was refused.
    fn to_edi(&self, input: Input, library: &Library) -> anyhow::Result<bool> {
        let mut out = BufWriter::new(io::stdout().lock());
        match self.write(Documents::new(input), library, &mut out) {
            Ok(refused) => Ok(refused == 0),
            Err(Stop::Bad(error)) => {
                // What stands before it was written by then.
                drop(out.flush());
                Err(error)
            }
            Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
            Err(Stop::Output(error)) => Err(error).context("cannot write to standard output"),
        }
    }

    /// Writes the documents as interchanges: those that follow each other with the same envelope are one.
    fn write(&self, mut documents: Documents, library: &Library, out: &mut impl Write) -> Result<usize, Stop> {
        let mut refused = 0;
        let mut next = documents.next()?;
        while let Some(first) = next.take() {
            let number = first.number;
            let mut profile = first.entry.profile(self.reading.charset).map_err(|unsaid| lacks(&unsaid, number))?;
            profile.newline = if self.lines { Newline::Lf } else { Newline::None };
            let dialect = profile.dialect;
            let header = first.entry.header(dialect).map_err(|unsaid| lacks(&unsaid, number))?;
            let begun = InterchangeWriter::new(&mut *out, &profile, library, header);
            let mut writer = begun.map_err(|error| unwritten(error, number, "its interchange"))?;
            let (interchange, mut current, mut group) = (first.entry.interchange.clone(), first, None);
            loop {
                let Numbered { entry, number } = &current;
                let around = entry.group_header(dialect).map_err(|unsaid| lacks(&unsaid, *number))?;
                if let Some(header) = around.filter(|_| entry.group != group) {
                    let begun = writer.group(header);
                    begun.map_err(|error| unwritten(error, *number, "its group"))?;
                    group = entry.group.clone();
                }
                let (kind, reference) = entry.kind().map_err(|unsaid| lacks(&unsaid, *number))?;
                match writer.message(&kind, &reference, &entry.document) {
                    Ok(findings) => tell(dialect, *number, &findings),
                    Err(WriteError::Refused(findings)) => {
                        refused += 1;
                        eprintln!(
                            "raccord: JSON document {}, {} {}, is not written:",
                            number,
                            kind.name,
                            shown(&reference)
                        );
                        tell(dialect, *number, &findings);
                    }
                    Err(WriteError::Io(error)) => return Err(Stop::Output(error)),
                }
                match documents.next()? {
                    Some(following) if following.entry.interchange == interchange => current = following,
                    following => {
                        next = following;
                        break;
                    }
                }
            }
            writer.finish().map_err(|error| unwritten(error, number, "the end of its interchange"))?;
        }
        out.flush().map_err(Stop::Output)?;
        Ok(refused)
    }
}

fn tell(dialect: Dialect, number: usize, findings: &Findings) {
    for finding in findings.list() {
        eprintln!("JSON document {number}: {}", line(Paint(output::colours()), dialect, finding, None));
    }
}

/// Why no more is written.
pub(super) enum Stop {
    Bad(anyhow::Error),
    Output(io::Error),
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Stop {
        Stop::Bad(bad.into())
    }
}

pub(super) fn lacks(unsaid: &Unsaid, number: usize) -> Stop {
    Bad(format!("JSON document {number} {unsaid}")).into()
}

fn unwritten(error: WriteError, number: usize, what: &str) -> Stop {
    match error {
        WriteError::Io(error) => Stop::Output(error),
        WriteError::Refused(findings) => {
            let why = findings.list().first().map(|finding| shown(&finding.sentence)).unwrap_or_default();
            Bad(format!("JSON document {number}: {what} cannot be written: {why}")).into()
        }
    }
}

/// One message, and which of the input it is, from 1.
pub(super) struct Numbered {
    pub entry: Entry,
    pub number: usize,
}

/// JSON documents: one a line, or one text that is a document or a list of them.
pub(super) struct Documents {
    name: String,
    source: BufReader<Box<dyn Read>>,
    /// Read and not handed out.
    waiting: std::vec::IntoIter<Value>,
    handed: usize,
    lines: usize,
}

/// Of one line, or of a text that is not in lines.
const MOST: u64 = 256 << 20;

impl Documents {
    pub(super) fn new(input: Input) -> Documents {
        let source = BufReader::new(input.bytes);
        Documents { name: input.name, source, waiting: Vec::new().into_iter(), handed: 0, lines: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<Numbered>, Stop> {
        loop {
            if let Some(value) = self.waiting.next() {
                self.handed += 1;
                let number = self.handed;
                let entry = Entry::read(&value).map_err(|unsaid| lacks(&unsaid, number))?;
                return Ok(Some(Numbered { entry, number }));
            }
            let Some(text) = self.line()? else { return Ok(None) };
            if text.trim_ascii().is_empty() {
                continue;
            }
            let values = match json::read(&text) {
                Ok(Value::List(values)) => values,
                Ok(value) => vec![value],
                Err(_) if self.handed == 0 => self.whole(text)?,
                Err(error) => return Err(self.bad(&format!("line {}: {}", self.lines, error.what))),
            };
            self.waiting = values.into_iter();
        }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        let mut text = Vec::new();
        let read = (&mut self.source).take(MOST).read_until(b'\n', &mut text);
        self.lines += 1;
        match read {
            Ok(0) => Ok(None),
            Ok(read) if read as u64 == MOST => {
                Err(self.bad(&format!("line {} is longer than {MOST} bytes", self.lines)))
            }
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(self.unread(error)),
        }
    }

    /// The first line is no document: all of it may be one text.
    fn whole(&mut self, mut text: Vec<u8>) -> Result<Vec<Value>, Stop> {
        let read = (&mut self.source).take(MOST).read_to_end(&mut text).map_err(|error| self.unread(error))?;
        if read as u64 == MOST {
            return Err(self.bad(&format!("is longer than {MOST} bytes: write one document a line")));
        }
        match json::read(&text) {
            Ok(Value::List(values)) => Ok(values),
            Ok(value) => Ok(vec![value]),
            Err(error) => Err(self.bad(&format!("is not JSON: {error}"))),
        }
    }

    fn bad(&self, what: &str) -> Stop {
        Bad(format!("{} {what}", self.name)).into()
    }

    fn unread(&self, error: io::Error) -> Stop {
        Stop::Bad(anyhow::Error::new(error).context(format!("cannot read {}", self.name)))
    }
}
