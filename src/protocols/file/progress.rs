//! How far a file was taken: what the cursor of a file source says.

use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::finder::Found;
use crate::message::{Map, Value};

/// Bytes at the beginning of a file that tell it from another of the same name, size and time.
const BEGINNING: u64 = 64 * 1024;

/// How far the file in hand was taken. Commits with the rows it counts, so a kill repeats none and skips none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub file: String,
    /// A hash of the file's name, size, modification time and beginning.
    pub identity: String,
    /// Records taken so far.
    pub row: u64,
    /// Where they end: bytes from the beginning of the file, and the line from 1.
    pub position: u64,
    pub line: u64,
    /// Of these, those that could not be read.
    pub dead: u64,
    /// Nothing is left to take: the file may be put away.
    pub complete: bool,
}

impl Progress {
    pub fn start(file: &str, identity: String) -> Progress {
        Progress { file: file.to_owned(), identity, row: 0, position: 0, line: 1, dead: 0, complete: false }
    }

    pub fn to_value(&self) -> Value {
        let number = |n: u64| Value::from(rust_decimal::Decimal::from(n));
        Map::from_iter([
            ("file", Value::from(self.file.as_str())),
            ("identity", Value::from(self.identity.as_str())),
            ("row", number(self.row)),
            ("position", number(self.position)),
            ("line", number(self.line)),
            ("dead", number(self.dead)),
            ("complete", Value::from(self.complete)),
        ])
        .into()
    }

    /// `None` where the value is not what [`Progress::to_value`] writes.
    pub fn read(value: &Value) -> Option<Progress> {
        let number = |name: &str| value.get(name)?.plain()?.parse().ok();
        Some(Progress {
            file: value.get("file")?.as_text()?.to_owned(),
            identity: value.get("identity")?.as_text()?.to_owned(),
            row: number("row")?,
            position: number("position")?,
            line: number("line")?,
            dead: number("dead")?,
            complete: value.get("complete")?.as_bool()?,
        })
    }
}

/// The identity of a file: the same after a restart, a copy or a move back.
pub fn identity(found: &Found, content: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update((found.name.len() as u64).to_be_bytes());
    hash.update(found.name.as_bytes());
    hash.update(found.state.size.to_be_bytes());
    hash.update(found.state.modified.to_be_bytes());
    let mut beginning = Vec::new();
    content.take(BEGINNING).read_to_end(&mut beginning)?;
    hash.update(&beginning);
    let digest: [u8; 32] = hash.finalize().into();
    Ok(digest[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_outlives_its_notation() {
        let progress = Progress {
            file: "a.csv".into(),
            identity: "00ff".into(),
            row: 12,
            position: 340,
            line: 14,
            dead: 1,
            complete: true,
        };
        assert_eq!(Progress::read(&progress.to_value()), Some(progress));
        assert_eq!(Progress::read(&Value::from("else")), None);
    }
}
