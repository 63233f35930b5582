//! Real files, where a corpus is at hand (`RACCORD_CORPUS`, as in `src/edi/trials`): each message that is read stands alone, reading
//! goes on after it, and written again it says the same. And one message of very many lines.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::super::testing::{outcome, read, records};
use crate::edi::findings::Code;
use crate::message::Value;

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
fn real_messages_stand_alone_and_are_written_again() {
    let Some(folder) = corpus() else { return };
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).expect("INDEX.tsv is text");
    // What deviates may be written otherwise: blanks, control characters.
    let strict = Code::ALL.iter().filter(|code| **code != Code::Release);
    let strict: Vec<_> = strict.map(|code| format!("{}: reject_message", code.name())).collect();
    let (strict, mut taken, mut written) = (strict.join(", "), 0, 0);
    for line in index.lines().skip(1) {
        let name = line.split('\t').next().unwrap_or_default();
        let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        for format in ["edifact", "x12"] {
            // Resuming after each message reads all that is before it again.
            if bytes.len() < 100_000 {
                records(&format!("format: {format}"), &bytes);
            }
            let codec = read(&format!("{{ format: {format}, {format}: {{ findings: {{ {strict} }} }} }}"));
            let mut messages = codec.records(Box::new(&bytes[..])).expect("it has records");
            while let Some(Ok(record)) = messages.next() {
                let Ok(document) = record.document else { continue };
                taken += 1;
                let Ok(bytes) = codec.encode(&document) else { continue };
                let again = codec.decode(&bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
                assert_eq!(content(again), content(document), "{name}");
                written += 1;
            }
        }
    }
    println!("{taken} messages read, {written} written again");
    assert!(written * 2 > taken, "{written} of {taken}");
}

/// What a message says: the document without what the writer counts anew.
fn content(document: Value) -> Value {
    let mut document = document.get("document").cloned().unwrap_or_default();
    if let Value::Map(map) = &mut document {
        map.remove("UNT");
        map.remove("SE");
        map.remove("UNH");
        map.remove("ST");
    }
    document
}

#[test]
fn a_message_of_very_many_lines_is_one() {
    const LINES: usize = 200_000;
    let mut text = "UNB+UNOC:3+A+B+260101:1200+7'UNH+1+ORDERS:D:96A:UN'BGM+220+4711+9'DTM+137:20260101:102'".to_owned();
    for line in 1..=LINES {
        write!(text, "LIN+{line}++4012345678901:EN'QTY+21:12'").expect("memory");
    }
    write!(text, "UNS+S'UNT+{}+1'UNZ+1+7'", 5 + 2 * LINES).expect("memory");
    let codec = read("format: edifact");
    let document = codec.decode(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
    let lines = document.get("document").and_then(|document| document.get("LIN_group")).and_then(Value::as_list);
    assert_eq!(lines.map(<[Value]>::len), Some(LINES));
    let small = read(&format!("{{ format: edifact, edifact: {{ max_message: {}KB }} }}", text.len() / 2048));
    assert!(outcome(small.decode(text.as_bytes())).contains("is longer than `max_message`"));
}
