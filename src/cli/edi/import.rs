//! `raccord edi import FILE...`: tables of definitions from what somebody holds: a UN/EDIFACT directory as UN/ECE publishes it,
//! the tables of a guideline in our own form, or a spreadsheet of its messages.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use super::archive::{Budget, is_archive, unpack};
use super::{Bad, Context, TABLES, count, output, shown};
use crate::edi::directory::Library;
use crate::edi::directory::import::{Heading, Held, Import as Texts, Left, Made, is_spreadsheet, spreadsheet};
use crate::message::{Map, Value, json};

#[derive(Debug, Args)]
pub struct Import {
    /// Archives, folders or texts of a UN/EDIFACT directory; or one file of tables, or one CSV file (docs/edi.md)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The release, where the files do not say it: D.96A, 004010
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// The guideline whose own messages these are, as UNH or ST03 names it: EAN008
    #[arg(long, value_name = "NAME")]
    guideline: Option<String>,
    /// Only these messages of a directory: ORDERS,DESADV
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// The folder the tables go to; config/edi of the hub's folder
    #[arg(long, value_name = "DIR")]
    tables: Option<PathBuf>,
    /// Write over tables of the same release and guideline
    #[arg(long)]
    replace: bool,
}

/// Of a file, and of all in folders together.
const LARGEST: u64 = 512 << 20;

/// What was read of all files.
#[derive(Default)]
struct Collected {
    texts: Texts,
    /// Tables in our form, or a spreadsheet.
    own: Option<(PathBuf, String)>,
    files: usize,
    useful: usize,
    left: Vec<String>,
}

impl Import {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut collected = Collected::default();
        let mut budget = Budget::default();
        for path in &self.files {
            collected.path(path, &mut budget, 0)?;
        }
        let folder = self.tables.clone().unwrap_or_else(|| context.folder.join(TABLES));
        let (source, made) = match collected.own.take() {
            Some(_) if collected.files > 1 => {
                return Err(Bad("tables or a spreadsheet are imported alone: name that one file".to_owned()).into());
            }
            Some((path, text)) => (Some(path.clone()), self.own(&path, text)?),
            None => {
                let guideline = self.guideline.as_deref().unwrap_or_default();
                let made = collected.texts.make(self.release.as_deref(), guideline, &self.only);
                let none = if collected.useful == 0 {
                    "nothing that looks like a UN/EDIFACT directory, tables or a spreadsheet was found"
                } else {
                    ""
                };
                let told = |why: String| if none.is_empty() { Bad(why) } else { Bad(none.to_owned()) };
                (None, made.map_err(told)?)
            }
        };
        collected.left.extend(made.left.iter().cloned());
        let place = folder.join(made.heading.file_name());
        if place.exists() && !self.replace {
            return Err(Bad(format!("{} is there already: --replace writes over it", place.display())).into());
        }
        let named = source.as_deref().unwrap_or(&place);
        Library::check_tables(&folder, named, made.tables.clone()).map_err(|error| Bad(error.to_string()))?;
        write(&folder, &place, &made.tables)?;
        self.tell(context, &place, &made, &collected);
        Ok(if collected.left.is_empty() { ExitCode::SUCCESS } else { output::found() })
    }

    /// The heading by the options, for a file that has none.
    fn heading(&self) -> Result<Option<Heading>, Bad> {
        let Some(release) = &self.release else { return Ok(None) };
        let dialect = if release.starts_with(|c: char| c.is_ascii_digit()) { "x12" } else { "edifact" };
        let said = format!("d {dialect} {release} {}", self.guideline.as_deref().unwrap_or_default());
        Heading::read(&said).map_err(|(_, why)| Bad(why))
    }

    /// Tables or a spreadsheet.
    fn own(&self, path: &Path, text: String) -> Result<Made, Bad> {
        let needed = || Bad(format!("{} does not say of which release it is: say it by --release", path.display()));
        let at = |line: usize, why: &str| match line {
            0 => Bad(format!("{}: {why}", path.display())),
            line => Bad(format!("{}:{line}: {why}", path.display())),
        };
        if is_spreadsheet(&text) {
            let heading = self.heading()?.ok_or_else(needed)?;
            return spreadsheet(&text, heading).map_err(|Left { line, why }| at(line, &why));
        }
        let stated = Heading::read(&text).map_err(|(line, why)| at(line, &why))?;
        let tables = match &stated {
            Some(_) => text,
            // On the first line, so that the numbers of the others stay.
            None => {
                let heading = self.heading()?.ok_or_else(needed)?;
                let dialect = if heading.dialect == crate::edi::syntax::Dialect::X12 { "x12" } else { "edifact" };
                format!("{text}\nd {dialect} {} {}\n", heading.release, heading.guideline)
            }
        };
        let heading = Heading::read(&tables).map_err(|(line, why)| at(line, &why))?.ok_or_else(needed)?;
        let differs = |said: &Option<String>, stated: &str| said.as_deref().is_some_and(|said| said != stated);
        if differs(&self.release, &heading.release) || differs(&self.guideline, &heading.guideline) {
            let stated = format!("{} {}", heading.release, heading.guideline);
            return Err(at(0, &format!("it says of itself that it is of {}", stated.trim())));
        }
        let lines = |letter: &str| tables.lines().filter(|line| line.trim_start().starts_with(letter)).count();
        let (messages, segments) = (lines("m "), lines("s "));
        Ok(Made { heading, tables, messages, segments, left: Vec::new() })
    }

    fn tell(&self, context: &Context, place: &Path, made: &Made, collected: &Collected) {
        if context.json {
            let mut out: Map = [("file", place.display().to_string())].into_iter().collect();
            out.insert("release", made.heading.release.as_str());
            out.insert("guideline", made.heading.guideline.as_str());
            out.insert("messages", count(made.messages as u64));
            out.insert("left_out", collected.left.iter().map(|why| Value::text(why.as_str())).collect::<Vec<Value>>());
            println!("{}", json::to_text(&out.into()));
            return;
        }
        for why in &collected.left {
            eprintln!("raccord: left out: {}", shown(why));
        }
        let of = match made.heading.guideline.as_str() {
            "" => made.heading.release.clone(),
            guideline => format!("{guideline} ({})", made.heading.release),
        };
        let (messages, segments) =
            (output::counted(made.messages, "message"), output::counted(made.segments, "segment"));
        println!("{} holds {messages} and {segments} of {of}.", place.display());
        if self.tables.is_none() {
            println!("`raccord edi explain`, `check`, `convert` and `diff` read it from now on.");
        } else {
            println!("`raccord edi check --tables {} FILE` reads it.", place.parent().unwrap_or(place).display());
        }
    }
}

impl Collected {
    fn path(&mut self, path: &Path, budget: &mut Budget, depth: usize) -> anyhow::Result<()> {
        let unread = || format!("cannot read {}", path.display());
        if path.is_dir() {
            ensure!(depth < 5, "{}: folders stand in folders too deep", path.display());
            let entries = std::fs::read_dir(path).with_context(unread)?;
            let mut inner =
                entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(unread)?;
            inner.sort();
            return inner.iter().try_for_each(|path| self.path(path, budget, depth + 1));
        }
        let size = std::fs::metadata(path).with_context(unread)?.len();
        if size > LARGEST {
            return Err(Bad(format!("{} is larger than can be a directory", path.display())).into());
        }
        let bytes = std::fs::read(path).with_context(unread)?;
        let name = path.display().to_string();
        if is_archive(&bytes) {
            return Ok(unpack(&name, &bytes, budget, &mut |name, bytes| self.text(name, bytes)).map_err(Bad)?);
        }
        if let Ok(text) = std::str::from_utf8(&bytes)
            && (is_spreadsheet(text) || is_table(text))
        {
            self.files += 1;
            self.own = Some((path.to_owned(), text.to_owned()));
            return Ok(());
        }
        self.text(&name, &bytes);
        Ok(())
    }

    fn text(&mut self, name: &str, bytes: &[u8]) {
        self.files += 1;
        // The interactive part of a directory has segments of the same names.
        let short = name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
        if ["idsd", "idcd", "idmd"].iter().any(|part| short.starts_with(part)) {
            return;
        }
        let mut left = Vec::new();
        if self.texts.read(bytes, &mut left) != Held::Nothing {
            self.useful += 1;
        }
        self.useful += left.len();
        self.left.extend(left.into_iter().map(|Left { line, why }| match line {
            0 => format!("{name}: {why}"),
            line => format!("{name}:{line}: {why}"),
        }));
    }
}

/// Whether the first line that says something is one of tables.
fn is_table(text: &str) -> bool {
    let mut lines = text.trim_start_matches('\u{FEFF}').lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    matches!(first.as_bytes(), [b'm' | b's' | b'c' | b'e' | b'd' | b'l', b' ', ..])
}

/// Whole or not at all: what reads the folder meanwhile finds the one or the other.
fn write(folder: &Path, place: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let new = place.with_extension("new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, place));
    written.with_context(|| format!("cannot write {}", place.display()))
}
