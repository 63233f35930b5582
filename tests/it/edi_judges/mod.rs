//! Other people's readers judge EDI beside the hub: pydifact and pyx12 from PyPI, edifact and node-x12 from npm.
//!
//! What the hub writes, they must read without a complaint and see the same values in it; what others wrote, they must see
//! as the hub sees it. Where a judge cannot, a reason in its words' place says why, and is checked on the file itself.

mod acknowledgments;
mod corpus;
mod view;
mod written;

use std::path::PathBuf;

use raccord::edi::directory::Library;
use raccord::edi::findings::Policy;
use raccord::edi::reader::{Event, Options, Reader};
use raccord::edi::syntax::Delimiters;
use raccord::edi::tree::Tree;

use super::sources::root;
use crate::parts::judges::{Judge, Said};
use view::{Seen, encoding};
use written::Written;

/// A folder of this test alone, empty.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("edi-judges-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the build folder takes folders");
    path
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/edi").join(name)).expect("it ships")
}

#[test]
fn what_is_written_is_read_by_others() {
    let mut all = written::generated();
    let expected = if all.iter().all(|file| file.messages >= 3) { all.len() } else { 0 };
    assert_eq!(expected, 2 * 9 + 1 + 6 + 1, "all messages of each are written");
    all.extend(written::again("orders.edi", &sample("orders.edi"), |_| {}));
    all.extend(written::again("850.x12", &sample("850.x12"), |_| {}));
    all.extend(corpus::files().iter().filter_map(|file| written::again(&file.name, &file.bytes, written::known)));
    judged("written", &all);
}

#[test]
fn acknowledgments_are_read_by_others() {
    let mut all = acknowledgments::of_edifact("orders.edi", &sample("orders.edi"));
    all.extend(acknowledgments::of_x12("850.x12", &sample("850.x12")));
    let payments = acknowledgments::payments();
    all.extend(acknowledgments::of_x12("payments", payments.as_bytes()));
    let mapped = judged("acknowledgments", &all);
    for name in ["997 of payments", "999 of payments"] {
        assert!(mapped.iter().any(|mapped| mapped == name), "{name} was not judged by pyx12's map: {mapped:?}");
    }
}

/// Each judge reads what is for it, without a complaint; the names of those pyx12 has a map for.
fn judged(name: &str, all: &[Written]) -> Vec<String> {
    let folder = folder(name);
    let (mut mapped, mut wrong) = (Vec::new(), Vec::new());
    for judge in Judge::ALL {
        let seen = all.iter().map(|file| (file, Seen::of(&file.bytes)));
        let mine: Vec<(&Written, Seen)> = seen.filter(|(_, seen)| seen.judges().contains(&judge)).collect();
        let given: Vec<(PathBuf, &str)> = mine
            .iter()
            .enumerate()
            .map(|(number, (file, _))| {
                let path = folder.join(format!("{judge:?}-{number}"));
                std::fs::write(&path, &file.bytes).expect("the folder is ours");
                (path, encoding(&file.bytes))
            })
            .collect();
        let mut excused = 0;
        for ((file, seen), said) in mine.iter().zip(judge.read(&given)) {
            assert!(seen.findings.is_empty(), "{}: {:?}", file.name, seen.findings);
            mapped.extend(said.mapped.then(|| file.name.clone()));
            if said.complaints.is_empty() && corpus::alike(&said, seen) {
                continue;
            }
            match excuse(judge, seen, &said) {
                Some(why) => {
                    excused += 1;
                    println!("{judge:?} {why}: {}", file.name);
                }
                None => wrong.push(format!(
                    "{judge:?}, {}: {:?}; {}",
                    file.name,
                    said.complaints,
                    corpus::difference(&said, seen)
                )),
            }
        }
        println!("{judge:?}: {} files read, {excused} of them with an excuse", mine.len());
        assert!(
            excused * 5 <= mine.len() || mine.len() < 10,
            "{judge:?} cannot read {excused} of {} files",
            mine.len()
        );
    }
    assert!(wrong.is_empty(), "{} files are not read as they were written:\n{}", wrong.len(), wrong.join("\n"));
    let _ = std::fs::remove_dir_all(&folder);
    mapped
}

/// Why a judge complains of a file that is good.
fn excuse(judge: Judge, seen: &Seen, said: &Said) -> Option<&'static str> {
    let alike = corpus::alike(said, seen);
    let told = |text: &str| said.complaints.iter().all(|complaint| complaint.contains(text));
    let first = seen.interchanges.first()?.delimiters;
    let usual = Delimiters { repetition: None, decimal: b'.', ..first } == Delimiters::EDIFACT;
    let value = |tag: &str, element: usize| {
        let segment = seen.segments.iter().find(|(name, _)| name == tag);
        segment.and_then(|(_, elements)| elements.get(element - 1)?.first()).map(String::as_str)
    };
    let level = value("UNB", 1).unwrap_or_default();
    Some(match judge {
        Judge::Pydifact if alike && seen.count("UNE") > 0 && told("UNH segment was not closed") => {
            "takes a UNE for the end of a message without UNT"
        }
        Judge::Pyx12 if alike && value("AK1", 1).is_some_and(|group| !HEALTH_CARE.contains(&group)) => {
            "knows acknowledgments of the groups of health care alone"
        }
        Judge::Pyx12 if alike && value("ST", 1) == Some("999") && value("ST", 3).is_none() => {
            "asks a 999 for its guideline"
        }
        Judge::NodeX12 if alike && seen.count("TA1") > 0 && told("TA1 segment cannot appear outside") => "knows no TA1",
        Judge::Edifact if !usual && (told("Invalid character U at position 0") || told("Range out of order")) => {
            "mixes up delimiters and character sets"
        }
        Judge::Edifact if !usual && said.complaints.len() == 2 => "mixes up delimiters and character sets",
        Judge::Edifact if alike && told("No definition found for character encoding") => "knows five character sets",
        Judge::Edifact if alike && matches!(level, "UNOA" | "UNOB") && told("Invalid character") => {
            "keeps to the characters of level A, as the partner did not"
        }
        Judge::Edifact if alike && seen.count("PAT") > 0 && told("is missing") => "has tables of a release without PAT",
        _ => return None,
    })
}

/// The groups pyx12's maps of acknowledgments list.
const HEALTH_CARE: [&str; 9] = ["BE", "HB", "HC", "HI", "HN", "HP", "HR", "HS", "RA"];

#[test]
fn the_corpus_is_read_alike() {
    let folder = folder("corpus");
    corpus::compare(&corpus::files(), &folder);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn acknowledgments_of_others_are_read() {
    let folder = folder("answers");
    let payments = acknowledgments::payments().replace("*X*004010~", "*X*004010X061A1~");
    let mut asked = vec![(folder.join("payments"), "latin1")];
    std::fs::write(&asked[0].0, payments).expect("the folder is ours");
    let corpus = corpus::files();
    let x12 = corpus.iter().filter(|file| file.seen.judges().contains(&Judge::Pyx12));
    asked.extend(x12.map(|file| corpus::given(Judge::Pyx12, file, &folder)));
    let mut read = 0;
    // It gives up in the middle of some.
    for said in Judge::Pyx12.read(&asked).iter().filter(|said| said.answer.contains("\nIEA*")) {
        let mut reader = Reader::new(said.answer.as_bytes(), Options::default());
        while let Some(event) = reader.read().expect("a slice does not fail") {
            // It repeats what it was sent, tabs in a tag among it: warnings are no matter.
            assert!(event.findings().accepted(), "{:?} in {}", event.findings().list(), said.answer);
            let Event::Message(message) = event else { continue };
            assert!(matches!(message.kind.name.as_str(), "997" | "999"), "{}", message.kind);
            let tree = Tree::read(message, Library::shipped(), &Policy::default(), 100);
            assert!(tree.accepted(), "{:?} in {}", tree.findings.list(), said.answer);
            read += 1;
        }
    }
    println!("{read} acknowledgments of pyx12 read");
    assert!(read > 0, "pyx12 answered nothing");
    let _ = std::fs::remove_dir_all(&folder);
}
