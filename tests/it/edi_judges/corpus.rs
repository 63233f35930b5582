//! A corpus of other people's files, where one is at hand (`RACCORD_CORPUS`): the judges see the segments and values the hub
//! sees, or a reason says why not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::view::{Seen, encoding};
use crate::parts::judges::{Judge, Said, Segment};

/// A file, and what the judges are given of it.
pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
    pub seen: Seen,
}

/// The corpus, but for files that are no EDI of the two dialects.
pub fn files() -> Vec<File> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/edi-corpus");
    let folder = std::env::var_os("RACCORD_CORPUS").map_or(beside, PathBuf::from);
    let Ok(index) = std::fs::read_to_string(folder.join("INDEX.tsv")) else {
        println!("skipped: {} is not there; RACCORD_CORPUS names a corpus", folder.display());
        return Vec::new();
    };
    let names = index.lines().skip(1).filter_map(|line| line.split('\t').next());
    let file = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        File { name: name.to_owned(), seen: Seen::of(&bytes), bytes }
    };
    names.map(file).filter(|file| file.seen.dialect().is_some()).collect()
}

/// What each judge sees of the files it is for.
pub fn compare(files: &[File], folder: &Path) {
    let mut unexplained = Vec::new();
    for judge in Judge::ALL {
        let mine: Vec<&File> = files.iter().filter(|file| file.seen.judges().contains(&judge)).collect();
        let given: Vec<(PathBuf, &str)> = mine.iter().map(|file| given(judge, file, folder)).collect();
        let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (file, said) in mine.iter().zip(judge.read(&given)) {
            if alike(&said, &file.seen) {
                told.entry("alike").or_default().push(&file.name);
                continue;
            }
            match reason(judge, file, &said) {
                Some(reason) => told.entry(reason).or_default().push(&file.name),
                None => unexplained.push(format!("{judge:?}, {}: {}", file.name, difference(&said, &file.seen))),
            }
        }
        println!("{judge:?}: {} files", mine.len());
        told.iter().for_each(|(reason, files)| println!("{:5} {reason}{}", files.len(), named(reason, files)));
        let alike = told.get("alike").map_or(0, Vec::len);
        assert!(alike * 100 >= mine.len() * 85, "{judge:?} sees only {alike} of {} files alike", mine.len());
    }
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
}

fn named(reason: &str, files: &[&str]) -> String {
    if reason == "alike" { String::new() } else { format!(": {}", files.join(", ")) }
}

/// The file as a program would hand it over: from the first interchange to the terminator of the last segment, with nothing
/// in the header that the judge refuses to know.
pub fn given<'a>(judge: Judge, file: &'a File, folder: &Path) -> (PathBuf, &'a str) {
    let bytes = &file.bytes;
    let begins = |window: &[u8]| matches!(window, b"UNA" | b"UNB" | b"UIB" | b"ISA");
    let start = bytes.windows(3).position(begins).unwrap_or(0);
    let end = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace() && *byte != 0x1A).map_or(0, |last| last + 1);
    let mut copy = bytes.get(start..end).unwrap_or_default().to_vec();
    let terminator = file.seen.interchanges.last().map_or(b'\'', |notation| notation.delimiters.segment);
    if copy.last() != Some(&terminator) {
        copy.push(terminator);
    }
    match judge {
        // It takes a repetition separator for a sign that there is no UNA.
        Judge::Edifact if copy.starts_with(b"UNA") && copy.len() > 9 => copy[7] = b' ',
        // It knows these two.
        Judge::Pyx12 if fixed(&copy) && !matches!(&copy[84..89], b"00401" | b"00501") => {
            copy[84..89].copy_from_slice(b"00401");
        }
        _ => {}
    }
    let path = folder.join(format!("{judge:?}-{}", file.name.replace('/', "-")));
    std::fs::write(&path, copy).expect("the folder is ours");
    (path, encoding(bytes))
}

/// Whether the ISA is as wide as it must be.
fn fixed(bytes: &[u8]) -> bool {
    let separator = bytes.get(3);
    bytes.starts_with(b"ISA") && bytes.get(103) == separator && bytes.get(83) == separator && bytes.len() > 106
}

pub fn alike(said: &Said, seen: &Seen) -> bool {
    said.segments.len() == seen.segments.len()
        && said.segments.iter().zip(&seen.segments).all(|(a, b)| plain(a) == plain(b))
}

/// A segment without what is the reader's own way: newlines within values, zeros before the control number, the version
/// that was set for pyx12, blanks before a tag.
fn plain((tag, elements): &Segment) -> Segment {
    let text = |text: &String| text.replace(['\r', '\n'], "");
    let mut elements: Vec<Vec<String>> = elements.iter().map(|element| element.iter().map(text).collect()).collect();
    let number = match tag.as_str() {
        "ISA" => 12,
        "IEA" => 1,
        _ => usize::MAX,
    };
    if let Some(number) = elements.get_mut(number) {
        number.iter_mut().for_each(|number| *number = number.trim_start_matches('0').to_owned());
    }
    if let Some(version) = elements.get_mut(11).filter(|_| tag == "ISA") {
        version.clear();
    }
    (text(tag).trim().to_owned(), crate::parts::judges::trimmed(elements))
}

pub fn difference(said: &Said, seen: &Seen) -> String {
    let first = said.segments.iter().zip(&seen.segments).position(|(a, b)| plain(a) != plain(b));
    let at = first.unwrap_or(said.segments.len().min(seen.segments.len()));
    format!(
        "it sees {} segments, the hub {}; segment {at}: {:?}, {:?}; {:?}; {:?}",
        said.segments.len(),
        seen.segments.len(),
        said.segments.get(at),
        seen.segments.get(at),
        said.complaints.first(),
        seen.findings.first()
    )
}

/// Why a judge sees something else: what is wrong with the file by the hub's own findings, or what the judge cannot do.
fn reason(judge: Judge, file: &File, said: &Said) -> Option<&'static str> {
    let has = |code: &str| file.seen.findings.iter().any(|finding| finding.starts_with(&format!("{code} ")));
    let told = |text: &str| said.complaints.iter().any(|complaint| complaint.contains(text));
    let first = file.seen.interchanges.first()?.delimiters;
    let changing = file.seen.interchanges.iter().any(|notation| notation.delimiters != first);
    let newline = file.seen.segments.iter().any(|(tag, _)| tag.contains(['\r', '\n']));
    Some(match judge {
        Judge::Pyx12 | Judge::NodeX12 if has("EDI-ISA") => "finds delimiters only in an ISA of 106 bytes",
        Judge::Pyx12 | Judge::NodeX12 if changing => "takes the delimiters of the first interchange for all",
        Judge::Pyx12 if has("EDI-EMPTY-SEGMENT,") => "ends at an empty segment",
        Judge::Pyx12 if void(file) => "leaves out an element of separators alone",
        Judge::Pyx12 if told("Interchange Control Version Number is unknown") && has("EDI-CHARSET") => {
            "counts characters, not bytes, up to the ISA's version"
        }
        Judge::NodeX12 if has("EDI-EMPTY-SEGMENT,") && told("reading 'range'") => "fails at an empty segment",
        Judge::NodeX12 if told("reading 'range'") && bare(file) => "fails at a segment of a tag alone",
        Judge::NodeX12 if told("Document is too short") => "reads no document below 113 bytes",
        Judge::NodeX12 if has("EDI-INTERCHANGE-REFERENCE") => "reads the number of an IEA up to what is no digit",
        Judge::Pydifact | Judge::Edifact if has("EDI-TAG") || newline => "ends at a tag that is none",
        Judge::Pydifact | Judge::Edifact if has("EDI-UNA") => "knows delimiters only from a UNA in order",
        Judge::Pydifact | Judge::Edifact if has("EDI-EMPTY-SEGMENT,") => "takes an empty segment for one",
        Judge::Pydifact if has("EDI-ENVELOPE") => "ends at an empty UNB",
        Judge::Pydifact if has("EDI-CHARSET") => "reads a file in one character set, the hub each value in its own",
        Judge::Edifact if told("Range out of order") => "cannot make its expressions for these delimiters",
        Judge::Edifact if first.segment == b'\n' => "knows no UNA that ends with a newline",
        Judge::Edifact if first != raccord::edi::syntax::Delimiters::EDIFACT => {
            "mixes up delimiters and character sets"
        }
        Judge::Edifact if has("EDI-CHARSET") || has("EDI-CONTROL") => "ends at a character it does not expect",
        _ => return None,
    })
}

/// An element of nothing but separators of components.
fn void(file: &File) -> bool {
    let component = file.seen.interchanges.first().map(|notation| char::from(notation.delimiters.component));
    let separators =
        |text: &String| component.is_some_and(|separator| text.chars().all(|character| character == separator));
    file.seen.segments.iter().any(|(tag, elements)| {
        tag != "ISA" && elements.iter().flatten().any(|text| !text.is_empty() && separators(text))
    })
}

fn bare(file: &File) -> bool {
    file.seen.segments.iter().any(|(_, elements)| elements.is_empty())
}
