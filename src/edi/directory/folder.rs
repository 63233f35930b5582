//! Tables of one's own, from a folder: a file a release or guideline, as `raccord edi import` writes them or a person does.
//!
//! The first line says what the tables are of, the others are as `parse.rs` tells:
//! ```text
//! d edifact D.20B            a release: all its messages, or those one needs
//! d edifact D.96A EAN008     a guideline: its own messages; what it does not describe is that of the release
//! d x12 004010 VICS
//! ```
//! The segments of the envelope need not be in it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::library::{Own, release_text, service};
use super::{Directory, Library};
use crate::edi::syntax::Dialect;

/// Larger than any release.
const LARGEST: u64 = 32 << 20;

/// Why the tables of a folder could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{}: {why}", .file.display(), line_of(*.line))]
pub struct FolderError {
    pub file: PathBuf,
    /// From 1; 0 where it is the whole file.
    pub line: usize,
    pub why: String,
}

fn line_of(line: usize) -> String {
    if line > 0 { format!(":{line}") } else { String::new() }
}

/// What the tables of a file are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    pub dialect: Dialect,
    pub release: String,
    /// Empty for the release itself.
    pub guideline: String,
}

impl Heading {
    /// The heading of tables, if they have one.
    ///
    /// # Errors
    /// Its line, and a sentence.
    pub fn read(tables: &str) -> Result<Option<Heading>, (usize, String)> {
        let mut lines = tables.lines().map(str::trim).enumerate();
        let Some((index, line)) = lines.find(|(_, line)| line.starts_with("d ")) else { return Ok(None) };
        let wrong = |why: &str| (index + 1, format!("`{line}`: {why}"));
        let mut words = line.split_whitespace().skip(1);
        let dialect = match words.next() {
            Some("edifact") => Dialect::Edifact,
            Some("x12") => Dialect::X12,
            _ => return Err(wrong("after `d` stands edifact or x12")),
        };
        let release = words.next().ok_or_else(|| wrong("the release is missing: D.96A, 004010"))?;
        let digits = release.len() == 6 && release.bytes().all(|byte| byte.is_ascii_digit());
        let dotted = release.len() > 2 && release.contains('.');
        if !match dialect {
            Dialect::X12 => digits,
            Dialect::Edifact => dotted,
        } {
            return Err(wrong("a release is written as D.96A, one of X12 as 004010"));
        }
        let guideline = words.next().unwrap_or_default().to_owned();
        if words.next().is_some() {
            return Err(wrong("after the guideline stands nothing more"));
        }
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !plain(release) || !plain(&guideline) {
            return Err(wrong("names are of letters, digits, `.`, `-` and `_`"));
        }
        Ok(Some(Heading { dialect, release: release.to_owned(), guideline }))
    }

    /// The file such tables are kept in: `D.96A.txt`, `D.96A-EAN008.txt`.
    pub fn file_name(&self) -> String {
        match self.guideline.as_str() {
            "" => format!("{}.txt", self.release),
            guideline => format!("{}-{guideline}.txt", self.release),
        }
    }
}

/// A file of the folder.
struct Tables {
    file: PathBuf,
    heading: Heading,
    text: String,
}

impl Library {
    /// The tables in the files `*.txt` of `folder` first, what is shipped behind them.
    ///
    /// # Errors
    /// The first file that cannot be read, or whose tables are wrong, with the line.
    pub fn from_folder(folder: &Path) -> Result<Library, FolderError> {
        Library::of_tables(&tables_in(folder)?)
    }

    /// Whether tables would be right in a folder, beside those that are there already; `file` is what errors name.
    ///
    /// # Errors
    /// As [`Library::from_folder`], and where the folder has tables of the same already.
    pub fn check_tables(folder: &Path, file: &Path, text: String) -> Result<Heading, FolderError> {
        let tables = Tables::of(file.to_owned(), text)?;
        let heading = tables.heading.clone();
        let mut all = if folder.is_dir() { tables_in(folder)? } else { Vec::new() };
        // Those they take the place of.
        let place = folder.join(heading.file_name());
        all.retain(|held| held.file != place);
        all.push(tables);
        Library::of_tables(&all)?;
        Ok(heading)
    }

    fn of_tables(all: &[Tables]) -> Result<Library, FolderError> {
        for (at, tables) in all.iter().enumerate() {
            if let Some(before) = all[..at].iter().find(|before| before.heading == tables.heading) {
                let why = format!("holds the same as {}: only one may stay", before.file.display());
                return Err(tables.wrong(0, why));
            }
        }
        let mut own = Vec::new();
        for tables in all {
            tables.read_into(all, &mut own)?;
        }
        Ok(Library::of(own))
    }
}

/// The tables in the files of a folder, by name.
fn tables_in(folder: &Path) -> Result<Vec<Tables>, FolderError> {
    let unread = |error: std::io::Error| FolderError {
        file: folder.to_owned(),
        line: 0,
        why: format!("cannot be read: {error}"),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let file = entry.map_err(unread)?.path();
        if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) {
            files.push(file);
        }
    }
    files.sort();
    files.into_iter().map(Tables::read).collect()
}

impl Tables {
    fn read(file: PathBuf) -> Result<Tables, FolderError> {
        let wrong = |line: usize, why: String| FolderError { file: file.clone(), line, why };
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|opened| opened.take(LARGEST).read_to_end(&mut bytes));
        read.map_err(|error| wrong(0, format!("cannot be read: {error}")))?;
        if bytes.len() as u64 == LARGEST {
            return Err(wrong(0, format!("is larger than {} MiB: these are no tables", LARGEST >> 20)));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong(0, "is not UTF-8 text".to_owned()))?;
        Tables::of(file, text)
    }

    fn of(file: PathBuf, text: String) -> Result<Tables, FolderError> {
        let wrong = |line: usize, why: String| FolderError { file: file.clone(), line, why };
        let text = text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text);
        let heading = Heading::read(&text).map_err(|(line, why)| wrong(line, why))?;
        let heading = heading.ok_or_else(|| {
            let why = "has no line `d`, which says what the tables are of: `d edifact D.96A`, `d x12 004010 VICS`";
            wrong(0, why.to_owned())
        })?;
        Ok(Tables { file, heading, text })
    }

    fn wrong(&self, line: usize, why: String) -> FolderError {
        FolderError { file: self.file.clone(), line, why }
    }

    /// Adds the directories these tables make: of EDIFACT one for each syntax, whose envelopes differ.
    fn read_into(&self, all: &[Tables], own: &mut Vec<Own>) -> Result<(), FolderError> {
        let Heading { dialect, release, guideline } = &self.heading;
        let is_base = |tables: &&Tables| {
            tables.heading.guideline.is_empty()
                && tables.heading.dialect == *dialect
                && tables.heading.release == *release
        };
        let base = match guideline.as_str() {
            "" => None,
            _ => {
                all.iter().find(is_base).map(|tables| tables.text.as_str()).or_else(|| release_text(*dialect, release))
            }
        };
        let syntaxes: &[Option<bool>] = if *dialect == Dialect::X12 { &[None] } else { &[Some(false), Some(true)] };
        for fourth in syntaxes {
            let mut tables = vec![service(*dialect, *fourth == Some(true))];
            tables.extend(base);
            let mine = tables.len();
            tables.push(&self.text);
            let made = Directory::parse(*dialect, release, &tables);
            let mut directory = made.map_err(|error| match error.table == mine {
                true => self.wrong(error.line, error.why),
                false => self.wrong(0, format!("the tables of {release} itself are wrong: {}", error.why)),
            })?;
            if let Some((message, tag)) = directory.undescribed() {
                let line = self.text.lines().position(|line| line.trim().starts_with(&format!("m {message} ")));
                let why = format!(
                    "{message} has the segment {tag}, which no line `s {tag}` describes: add one, or import {release} as well"
                );
                return Err(self.wrong(line.map_or(0, |index| index + 1), why));
            }
            if !guideline.is_empty() {
                // What stands only in the release is not of the guideline.
                let stated = |name: &str| self.text.lines().any(|line| line.trim().starts_with(&format!("m {name} ")));
                directory.messages.retain(|name, _| stated(name));
                directory.guideline.clone_from(guideline);
            }
            own.push(Own { directory, fourth: *fourth });
        }
        Ok(())
    }
}

impl Directory {
    /// A segment of a message that no table describes.
    fn undescribed(&self) -> Option<(&str, super::Tag)> {
        let mut names = self.names().into_iter();
        names.find_map(|name| {
            let unknown = self.messages.get(name)?.nodes.iter().skip(1).find(|node| node.segment.is_none())?;
            Some((name, unknown.tag))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edi::reader::MessageType;

    /// Reads a folder of these files.
    fn folder(name: &str, files: &[(&str, &str)]) -> Result<Library, FolderError> {
        let folder = std::env::temp_dir().join(format!("raccord-tables-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (file, text) in files {
            std::fs::write(folder.join(file), text).expect("a file");
        }
        let read = Library::from_folder(&folder);
        std::fs::remove_dir_all(&folder).expect("it was made");
        read
    }

    #[test]
    fn a_guideline_stands_before_its_release() {
        let guideline = "d edifact D.96A EAN008\nm ORDERS UNH! BGM! DTM!:2 (1:2 NAD!) UNT!\n";
        let release = "d edifact D.20B\nm ORDERS UNH! BGM! UNT!\ns BGM 1004!\ne 1004 an..70\nl 1004 their number\n";
        let library = folder("good", &[("a.txt", guideline), ("b.txt", release), ("c.md", "no tables")]).expect("good");
        let check = |release: &str, association: &str, syntax: u8, expect: (&str, &str, bool, usize)| {
            let kind = MessageType {
                name: "ORDERS".into(),
                version: "D".into(),
                release: release.into(),
                association: association.into(),
                ..MessageType::default()
            };
            let found = library.find(Dialect::Edifact, &kind, syntax).expect("there");
            let got = (found.directory.release.as_str(), found.directory.guideline.as_str(), found.exact);
            assert_eq!((got.0, got.1, got.2, found.definition.children(0).len().min(9)), expect, "{kind}");
        };
        check("96A", "EAN008", 3, ("D.96A", "EAN008", true, 5));
        check("96A", "EAN008", 4, ("D.96A", "EAN008", true, 5));
        check("96A", "EAN009", 3, ("D.96A", "", true, 9));
        check("20B", "", 3, ("D.20B", "", true, 3));
        check("19A", "", 4, ("D.20B", "", false, 3));
        let kind =
            MessageType { name: "INVOIC".into(), version: "D".into(), release: "96A".into(), ..MessageType::default() };
        let found = library.find(Dialect::Edifact, &kind, 3).expect("shipped");
        assert_eq!((found.directory.guideline.as_str(), found.exact), ("", true));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file_and_line() {
        let check = |text: &str, expect: &str| {
            let error = folder("bad", &[("t.txt", text)]).expect_err(text).to_string();
            assert!(error.contains(&format!("t.txt{expect}")), "{error}");
        };
        check("# nothing", ": has no line `d`");
        check("\nd odette D.96A", ":2: `d odette D.96A`: after `d` stands edifact or x12");
        check("d x12 4010", ":1: `d x12 4010`: a release is written as");
        check("d edifact ../../etc/x.y", ":1: ");
        check("d edifact D.96A\nx NAD 3035", ":2: `x NAD 3035`: a line begins with");
        check("d edifact D.96A\ns NADXX 3035", ":2: `s NADXX 3035`: the name is not one of up to four");
        check("d edifact D.96A\ne 3035 an..many", ":2: `e 3035 an..many`: `many` is no length");
        check("d edifact D.96A\nm ORDERS UNH! (1:9 NAD! UNT!", ":2: `m ORDERS UNH! (1:9 NAD! UNT!`: a `)` is missing");
        check("d edifact D.96A\nm ORDERS UNH! UNT!)", ":2: `m ORDERS UNH! UNT!)`: there is one `)` too many");
        check("d edifact D.96A\nm ORDERS UNH!:0 UNT!", ":2: `m ORDERS UNH!:0 UNT!`: `UNH!:0`: `0` is no number");
        check(
            "d edifact D.20B\nm ORDERS UNH! XYZ UNT!",
            ":2: ORDERS has the segment XYZ, which no line `s XYZ` describes",
        );
        let twice = folder("twice", &[("a.txt", "d edifact D.96A\n"), ("b.txt", "d edifact D.96A\n")]);
        assert!(twice.expect_err("twice").to_string().contains("b.txt: holds the same as"));
        let error = Library::from_folder(Path::new("/no/such/folder")).expect_err("there is none").to_string();
        assert!(error.starts_with("/no/such/folder: cannot be read: "), "{error}");
    }

    /// Tables with parts cut, doubled and changed are refused with a line, or messages are read by them: no panic either way.
    #[test]
    fn damaged_tables_do_no_harm() {
        use proptest::prelude::*;

        use crate::edi::document::{document, lay_out};
        use crate::edi::findings::{Findings, Policy};
        use crate::edi::reader::{Event, Options, Reader};
        use crate::edi::tree::Tree;

        const TABLES: &str = "m ORDERS UNH! BGM! DTM!:35 (1:10 NAD! (2:5 CTA! COM:5)) (3:99 LIN! PIA:25 QTY:10) UNS! CNT UNT!\n\
            s BGM C002 1004 1225\ns DTM C507!\ns NAD 3035! C082 3164\ns CTA 3139\ns COM C076!\ns LIN 1082 1229 C212\n\
            s PIA 4347! C212! C212*5 C212\ns QTY C186!\ns CNT C270!\nc C002 1001 1131\nc C507 2005! 2380\nc C082 3039! 1131\n\
            c C076 3148! 3155!\nc C212 7140 7143\nc C186 6063! 6060!\nc C270 6069! 6066!\ne 3035 an..3\ne 6060 n..15\n";
        const MESSAGE: &str = "UNB+UNOC:3+A+B+260101:1200+7'UNH+1+ORDERS:D:97B:UN'BGM+220+PO+9'DTM+2:20260101'NAD+BY+1:2+Town'CTA+OC'\
            COM+1:TE'LIN+1++2:EN'PIA+1+3:SA+4:SA*5:SA+6'QTY+21:5'XXX+1:2+3'UNS+S'CNT+2:1'UNT+13+1'UNZ+1+7'";
        let read = std::cell::Cell::new(0);
        let cases = if std::env::var_os("RACCORD_LONG").is_some() { 20_000 } else { 400 };
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
        proptest!(config, |(edits in prop::collection::vec(edit, 0..8))| {
            let mut bytes = TABLES.as_bytes().to_vec();
            for (at, byte, how) in edits {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte & 0x7F,
                    1 => drop(bytes.drain(at..(at + usize::from(byte) % 20).min(bytes.len()))),
                    2 => bytes.insert(at, b"!:*() \n95C"[usize::from(byte) % 10]),
                    _ => bytes.swap(at, usize::from(byte) % TABLES.len().min(at + 1)),
                }
            }
            let text = String::from_utf8(bytes).expect("ASCII");
            let tables = [super::super::library::service(Dialect::Edifact, false), &text];
            let Ok(directory) = Directory::parse(Dialect::Edifact, "D.97B", &tables) else { return Ok(()) };
            let library = Library::with(vec![directory]);
            let mut reader = Reader::new(MESSAGE.as_bytes(), Options::default());
            while let Some(event) = reader.read().expect("a slice does not fail") {
                let Event::Message(message) = event else { continue };
                let tree = Tree::read(message, &library, &Policy::default(), 100);
                let document = document(&tree);
                if let Some(found) = tree.found {
                    lay_out(&document, found, b'.', &Policy::tolerant(), &mut Findings::new(100));
                    read.set(read.get() + 1);
                }
            }
        });
        assert!(read.get() > 20, "hardly any tables were still right: {}", read.get());
    }
}
