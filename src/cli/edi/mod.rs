//! `raccord edi`: EDIFACT and X12 files by hand: what one says, what is wrong with it, what is answered, how two differ, as JSON
//! and back, by the definitions that ship or are imported.

mod answer;
mod archive;
mod check;
mod convert;
mod diff;
mod explain;
mod import;

use std::fs::File;
use std::io::{Cursor, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Context, output};
use crate::edi::charset::Charset;
use crate::edi::directory::{Found, Item, Library, Position, label};
use crate::edi::findings::{Code, Finding, Place, Severity};
use crate::edi::reader::Options;
use crate::edi::syntax::{Dialect, Tag, sniff};
use crate::message::{Map, Value, json};

#[derive(Debug, Subcommand)]
pub enum Edi {
    /// Show what a file says, what is wrong with it, and the acknowledgment it would get
    Explain(explain::Explain),
    /// Tell what is wrong with files, one finding a line; exit 1 where a message would be refused
    Check(check::Check),
    /// EDI to JSON documents, one a line, and such JSON to EDI
    Convert(convert::Convert),
    /// Compare two files, EDI or JSON, by what they mean; exit 0 equal, 1 different, 2 unreadable
    Diff(diff::Diff),
    /// Make tables of definitions from a UN/EDIFACT directory, a guideline or a spreadsheet one holds
    Import(import::Import),
}

impl Edi {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let outcome = match self {
            Edi::Explain(explain) => explain.run(context),
            Edi::Check(check) => check.run(context),
            Edi::Convert(convert) => convert.run(context),
            Edi::Diff(diff) => diff.run(context),
            Edi::Import(import) => import.run(context),
        };
        match outcome {
            Err(error) if error.is::<Bad>() => {
                output::failed(context.json, &error);
                Ok(output::found())
            }
            outcome => outcome,
        }
    }
}

/// What was given to the command is not what it reads: something was found.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Bad(String);

#[derive(Debug, Default, Args)]
struct Reading {
    /// The character set of the values, whatever the file declares: utf-8, latin1, windows-1250
    #[arg(long, value_name = "NAME", value_parser = charset)]
    charset: Option<Charset>,
    /// A folder of tables that stand before the shipped ones; config/edi, where there is one
    #[arg(long, value_name = "DIR")]
    tables: Option<PathBuf>,
}

/// Where tables of one's own are, in a hub's folder.
const TABLES: &str = "config/edi";

fn charset(name: &str) -> Result<Charset, String> {
    Charset::configured(name)
        .ok_or_else(|| "no character set of that name; utf-8, latin1 and ascii are some".to_owned())
}

impl Reading {
    fn options(&self) -> Options {
        Options { charset: self.charset, ..Options::default() }
    }

    /// The definitions messages are read by.
    fn library(&self, context: &Context) -> anyhow::Result<Library> {
        let usual = context.folder.join(TABLES);
        match &self.tables {
            Some(folder) => Ok(Library::from_folder(folder)?),
            None if usual.is_dir() => Ok(Library::from_folder(&usual)?),
            None => Ok(Library::with(Vec::new())),
        }
    }
}

/// A file, or standard input.
struct Input {
    name: String,
    /// What it begins with; `bytes` holds it as well.
    window: Vec<u8>,
    bytes: Box<dyn Read>,
}

/// An interchange begins within so many bytes, or the file is no EDI.
const WINDOW: u64 = 64 << 10;

impl Input {
    /// Opens `path`; `-` is standard input.
    fn open(path: &Path) -> anyhow::Result<Input> {
        let (name, mut source): (String, Box<dyn Read>) = match path.to_str() {
            Some("-") => ("standard input".to_owned(), Box::new(std::io::stdin())),
            _ => {
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                (path.display().to_string(), Box::new(file))
            }
        };
        let mut window = Vec::new();
        (&mut source).take(WINDOW).read_to_end(&mut window).with_context(|| format!("cannot read {name}"))?;
        let bytes = Box::new(Cursor::new(window.clone()).chain(source));
        Ok(Input { name, window, bytes })
    }

    /// The same, where it is EDI.
    fn open_edi(path: &Path) -> anyhow::Result<Input> {
        let input = Input::open(path)?;
        match input.other() {
            Some(what) => Err(Bad(format!("{} {what}", input.name)).into()),
            None => Ok(input),
        }
    }

    /// Whether it begins as JSON, whatever EDI may be quoted in it.
    fn is_json(&self) -> bool {
        let text = self.window.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.window);
        matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
    }

    /// What it is instead of EDI.
    fn other(&self) -> Option<String> {
        let text = self.window.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.window).trim_ascii_start();
        if self.window.is_empty() {
            return Some("is empty".to_owned());
        }
        if text.is_empty() {
            return Some("holds nothing but blanks".to_owned());
        }
        if sniff(&self.window).is_some() {
            return None;
        }
        let looks = match text {
            [b'{' | b'[', ..] => ", it looks like JSON",
            [b'<', ..] => ", it looks like XML",
            [b'P', b'K', 3, 4, ..] => ", it looks like a zip archive",
            [0x1F, 0x8B, ..] => ", it looks like gzip",
            [b'%', b'P', b'D', b'F', ..] => ", it looks like a PDF",
            _ if text.contains(&0) => ", it looks like a binary file",
            _ => "",
        };
        Some(format!("is not EDI{looks}: EDIFACT begins with UNA or UNB, X12 with ISA"))
    }
}

/// A text for a terminal: what could steer one is shown as what it is.
fn shown(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200E}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars().map(|c| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// How something is painted on a terminal.
#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Red,
    Yellow,
    Green,
}

/// Paints, where standard output is a terminal.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn new() -> Paint {
        Paint(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    fn with(self, ink: Ink, text: impl std::fmt::Display) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Red => "31",
            Ink::Yellow => "33",
            Ink::Green => "32",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// `error` where it refuses the message, else `warning`.
    fn weight(self, finding: &Finding) -> String {
        if refuses(finding) { self.with(Ink::Red, "error") } else { self.with(Ink::Yellow, "warning") }
    }
}

fn refuses(finding: &Finding) -> bool {
    finding.severity >= Severity::RejectMessage
}

/// `segment 9 UNT (message ends), element 1 (segments)`; of a missing segment only which.
fn place(dialect: Dialect, finding: &Finding, found: Option<&Found<'_>>) -> String {
    let Place { segment, tag, element, repetition, component, .. } = finding.place;
    let mut words = match (finding.code, segment) {
        // Its sentence says what it should stand after.
        (_, 0) | (Code::MissingSegment, _) => String::new(),
        _ => format!("segment {segment} "),
    };
    words.push_str(tag.as_str());
    if let Some(label) = tag_label(dialect, found, tag) {
        words.push_str(&format!(" ({label})"));
    }
    if element > 0 {
        words.push_str(&format!(", element {element}"));
    }
    if repetition > 1 {
        words.push_str(&format!(", repetition {repetition}"));
    }
    if component > 0 && !(component == 1 && is_simple(found, finding.place)) {
        words.push_str(&format!(", component {component}"));
    }
    if let Some(label) = label_at(dialect, found, finding.place) {
        words.push_str(&format!(" ({label})"));
    }
    words.trim().to_owned()
}

/// What the definition has at a place of a segment.
fn position<'f>(found: Option<&Found<'f>>, place: Place) -> Option<&'f Position> {
    let segment = found?.directory.segment_named(place.tag)?;
    segment.positions.get(usize::from(place.element).checked_sub(1)?)
}

fn is_simple(found: Option<&Found<'_>>, place: Place) -> bool {
    position(found, place).is_some_and(|position| matches!(position.item, Item::Element(_)))
}

fn label_at<'f>(dialect: Dialect, found: Option<&Found<'f>>, place: Place) -> Option<&'f str> {
    match &position(found, place)?.item {
        Item::Composite(_, parts, _) if place.component > 0 => {
            item_label(dialect, found, &parts.get(usize::from(place.component) - 1)?.item)
        }
        item => item_label(dialect, found, item),
    }
}

fn item_label<'f>(dialect: Dialect, found: Option<&Found<'f>>, item: &Item) -> Option<&'f str> {
    match item {
        Item::Element(def) => tag_label(dialect, found, def.id),
        Item::Composite(id, ..) => tag_label(dialect, found, *id),
    }
}

/// What a segment, element or composite is about; tables of one's own may know what ours do not.
fn tag_label<'f>(dialect: Dialect, found: Option<&Found<'f>>, tag: Tag) -> Option<&'f str> {
    label(dialect, tag).or_else(|| found?.directory.label(tag))
}

/// `error EDI-COUNT  segment 9 UNT (message ends), element 1 (segments): UNT says …`
fn line(paint: Paint, dialect: Dialect, finding: &Finding, found: Option<&Found<'_>>) -> String {
    let (weight, code) = (paint.weight(finding), finding.code.name());
    let place = Some(place(dialect, finding, found)).filter(|place| !place.is_empty());
    let place = place.map(|place| format!(", {place}")).unwrap_or_default();
    format!("{weight} {code}{place}: {}", shown(&finding.sentence))
}

/// A finding for machines.
fn to_value(dialect: Dialect, finding: &Finding, found: Option<&Found<'_>>) -> Map {
    let Place { segment, tag, element, repetition, component, offset, .. } = finding.place;
    let mut out = Map::new();
    out.insert("code", finding.code.name());
    out.insert("severity", finding.severity.name());
    let numbers = [
        ("segment", u64::from(segment)),
        ("element", element.into()),
        ("repetition", repetition.into()),
        ("component", component.into()),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| *number > 0) {
        out.insert(name, count(number));
    }
    if !tag.is_empty() {
        out.insert("tag", tag.as_str());
    }
    if let Some(label) = label_at(dialect, found, finding.place).or_else(|| tag_label(dialect, found, tag)) {
        out.insert("label", label);
    }
    out.insert("offset", count(offset));
    out.insert("what", finding.sentence.as_str());
    out
}

fn count(number: u64) -> Value {
    Value::number(&number.to_string()).unwrap_or_default()
}

/// A JSON list, printed item by item.
#[derive(Default)]
struct Listed {
    begun: bool,
}

impl Listed {
    fn put(&mut self, item: Map) {
        print!("{}{}", if self.begun { ",\n" } else { "[\n" }, json::to_text(&Value::Map(item)));
        self.begun = true;
    }

    fn end(self) {
        println!("{}", if self.begun { "\n]" } else { "[]" });
    }
}
