//! A corpus of real documents, where one is at hand: each file gives a result or findings, the same as last time; what is
//! valid is written back equal.
//!
//! `RACCORD_CORPUS` names the folder (else `../shared/edi-corpus` beside the project): files, and an `INDEX.tsv` whose first
//! column is their path. With `RACCORD_UPDATE=1` the summary `tests/edi/corpus.tsv` is written anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::findings::{Code, Finding, Findings, Policy, Severity};
use crate::edi::reader::{Event, Interchange, Message, Options, Reader};
use crate::edi::syntax::Dialect;
use crate::edi::tree::Tree;
use crate::edi::writer::{GroupHeader, Header, InterchangeWriter, Profile, WriteError};
use crate::message::Value;

const SUMMARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edi/corpus.tsv");

/// Longer than any file takes in a slow build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/edi-corpus");
    let folder = std::env::var_os("RACCORD_CORPUS").map_or(beside, PathBuf::from);
    if folder.join("INDEX.tsv").is_file() {
        return Some(folder);
    }
    println!("skipped: {} is not there; RACCORD_CORPUS names a corpus", folder.display());
    None
}

#[test]
fn each_file_gives_what_it_gave_before() {
    let Some(folder) = corpus() else { return };
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).expect("INDEX.tsv is text");
    let mut summary = String::new();
    let (mut files, mut written) = (0, 0);
    for line in index.lines().skip(1) {
        let name = line.split('\t').next().unwrap_or_default();
        let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let begun = Instant::now();
        let result = Result::of(name, &bytes);
        assert!(begun.elapsed() < PATIENCE, "{name} took {:?}", begun.elapsed());
        written += result.written;
        files += 1;
        writeln!(summary, "{name}\t{result}").expect("memory");
    }
    println!("{files} files, {written} messages written back equal");
    if std::env::var_os("RACCORD_UPDATE").is_some() {
        std::fs::write(SUMMARY, &summary).expect("the summary can be written");
    }
    let before = std::fs::read_to_string(SUMMARY).expect("tests/edi/corpus.tsv is there");
    let changed = |(before, now): (&str, &str)| (before != now).then(|| format!("- {before}\n+ {now}"));
    let changes: Vec<_> = before.lines().zip(summary.lines()).filter_map(changed).collect();
    assert!(changes.is_empty(), "{} files give something else:\n{}", changes.len(), changes.join("\n"));
    assert_eq!(before.lines().count(), summary.lines().count());
}

/// What a file gave.
#[derive(Default)]
struct Result {
    interchanges: u32,
    messages: u32,
    refused: u32,
    codes: BTreeMap<&'static str, u64>,
    /// Messages without any finding, written and read again.
    written: u32,
}

impl std::fmt::Display for Result {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\t{}\t{}\t", self.interchanges, self.messages, self.refused)?;
        let codes: Vec<_> = self.codes.iter().map(|(code, count)| format!("{code}:{count}")).collect();
        f.write_str(&codes.join(" "))
    }
}

impl Result {
    fn of(name: &str, bytes: &[u8]) -> Result {
        let mut result = Result::default();
        let mut reader = Reader::new(bytes, Options::default());
        let (mut raw, mut header) = (Vec::new(), Interchange::default());
        while let Some(event) = reader.read().expect("a slice does not fail") {
            raw.extend_from_slice(event.raw());
            result.count(event.findings());
            match event {
                Event::Interchange(interchange) => {
                    result.interchanges += 1;
                    header = interchange.clone();
                }
                Event::Message(message) => result.message(name, message, &header),
                _ => {}
            }
        }
        assert_eq!(raw, bytes, "{name}: every byte is kept");
        result
    }

    fn count(&mut self, findings: &Findings) {
        findings.list().iter().for_each(|finding| *self.codes.entry(finding.code.name()).or_default() += 1);
    }

    fn message(&mut self, name: &str, message: &Message, header: &Interchange) {
        let tree = Tree::read(message, Library::shipped(), &Policy::default(), 1000);
        self.messages += 1;
        self.refused += u32::from(!tree.accepted());
        self.count(&tree.findings);
        let fits = |finding: &Finding| finding.code == Code::Release;
        let clean = tree.found.is_some() && tree.findings.list().iter().all(fits) && message.findings.is_empty();
        let odd = |finding: &Finding| finding.code == Code::Isa || finding.severity > Severity::Warn;
        if clean && !header.findings.list().iter().any(odd) {
            written_equal(name, &tree, header);
            self.written += 1;
        }
    }
}

/// Writes the tree, reads what was written, and compares the two.
fn written_equal(name: &str, tree: &Tree<'_>, interchange: &Interchange) {
    let bytes = match written(tree, interchange) {
        Ok(bytes) => bytes,
        Err(WriteError::Refused(findings)) => panic!("{name}: {:#?}", findings.list()),
        Err(WriteError::Io(error)) => panic!("{name}: {error}"),
    };
    let mut reader = Reader::new(&bytes[..], Options::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        let Event::Message(message) = event else { continue };
        let again = Tree::read(message, Library::shipped(), &Policy::default(), 1000);
        assert_eq!(again.findings.list().len(), tree.findings.list().len(), "{name}: {:?}", again.findings.list());
        assert_eq!(content(&again), content(tree), "{name}");
        return;
    }
    panic!("{name}: no message was written");
}

/// The document without UNT or SE: what they say (zeros before a count) is the writer's.
fn content(tree: &Tree<'_>) -> Value {
    let mut content = document(tree);
    if let Value::Map(map) = &mut content {
        map.remove("UNT");
        map.remove("SE");
    }
    content
}

fn written(tree: &Tree<'_>, interchange: &Interchange) -> std::result::Result<Vec<u8>, WriteError> {
    let profile = Profile::like(interchange);
    let Interchange { sender, receiver, date, time, .. } = interchange.clone();
    let header = Header { sender, receiver, date, time, reference: "1".to_owned(), ..Header::default() };
    let mut writer = InterchangeWriter::new(Vec::new(), &profile, Library::shipped(), header)?;
    if interchange.notation.dialect == Dialect::X12 {
        let version = tree.message.kind.release.clone();
        writer.group(GroupHeader { function: "PO".to_owned(), version, ..GroupHeader::default() })?;
    }
    writer.tree(tree)?;
    writer.finish()
}
