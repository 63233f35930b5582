//! Messages after one another in a file, a batch with two syncs: the journal's line, then the bytes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bytes::Bytes;

use super::disk;
use super::journal::{Appended, Batch, Journal, hash};
use super::placing::{Item, Outcome};
use crate::message::{Fault, Text};

pub struct Appending {
    pub folder: PathBuf,
    /// What a new file begins with.
    pub header: Bytes,
    pub journal: Journal,
}

/// A file and what goes to its end.
struct Growing {
    name: Text,
    file: File,
    before: u64,
    more: Vec<u8>,
}

impl Appending {
    /// Appends all that is not there yet, or nothing; answers each, in order.
    pub fn append(&mut self, items: &[Item]) -> Vec<Outcome> {
        match self.batch(items) {
            Ok(()) => items.iter().map(|item| Ok(Some(item.name.clone()))).collect(),
            Err(fault) => items.iter().map(|_| Err(fault.clone())).collect(),
        }
    }

    fn batch(&mut self, items: &[Item]) -> Result<(), Fault> {
        let folder = self.folder.clone();
        let fault = |error| disk::fault(error, "write into", &folder);
        fs::create_dir_all(&self.folder).map_err(fault)?;
        let mut journal = self.journal.enter().map_err(fault)?;
        let (mut files, mut ids, mut seen): (Vec<Growing>, _, _) = (Vec::new(), Vec::new(), HashSet::new());
        for item in items.iter().filter(|item| !journal.knows(&item.id)) {
            if !seen.insert(item.id) {
                continue;
            }
            ids.push(item.id);
            let at = match files.iter().position(|file| file.name == item.name) {
                Some(at) => at,
                None => {
                    let path = self.folder.join(&item.name);
                    let opened = Growing::open(&self.folder, &item.name, &self.header);
                    files.push(opened.map_err(|error| disk::fault(error, "write", &path))?);
                    files.len() - 1
                }
            };
            files[at].more.extend_from_slice(&item.body);
        }
        if ids.is_empty() {
            return Ok(());
        }
        let appended = files.iter().map(Growing::line).collect::<io::Result<_>>().map_err(fault)?;
        journal.write(&Batch { ids, appended }).map_err(fault)?;
        for file in &mut files {
            if let Err(error) = file.write() {
                // The next batch finds a last line that is not whole, and cuts it off.
                journal.doubt();
                return Err(disk::fault(error, "write", &self.folder.join(&file.name)));
            }
        }
        Ok(())
    }
}

impl Growing {
    fn open(folder: &std::path::Path, name: &Text, header: &Bytes) -> io::Result<Growing> {
        let path = folder.join(name);
        let file = match File::options().append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = File::options().append(true).create(true).open(&path)?;
                disk::sync_folder(folder)?;
                file
            }
            other => other?,
        };
        let before = file.metadata()?.len();
        let more = if before == 0 { header.to_vec() } else { Vec::new() };
        Ok(Growing { name: name.clone(), file, before, more })
    }

    fn line(&self) -> io::Result<Appended> {
        Ok(Appended {
            name: self.name.to_string(),
            inode: self.file.metadata()?.ino(),
            before: self.before,
            length: self.more.len() as u64,
            hash: hash(&self.more),
        })
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.more)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Room;
    use super::*;
    use crate::message::{MessageId, Next};

    fn appending(room: &Room) -> Appending {
        let folder = room.path("out");
        Appending { journal: Journal::new(&folder, "t"), folder, header: Bytes::from_static(b"header\n") }
    }

    fn item(number: usize, name: &str) -> Item {
        let id = MessageId::derive(&[&number.to_be_bytes()]);
        Item { id, name: name.into(), body: format!("row {number}\n").into() }
    }

    fn ok(outcomes: &[Outcome]) {
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }

    #[test]
    fn batches_follow_one_another_under_one_header() {
        let room = Room::new();
        let mut target = appending(&room);
        ok(&target.append(&[item(1, "a.csv"), item(2, "b.csv"), item(3, "a.csv")]));
        ok(&appending(&room).append(&[item(4, "a.csv")]));
        ok(&target.append(&[item(5, "a.csv"), item(4, "a.csv"), item(5, "a.csv")]));
        assert_eq!(room.read("out/a.csv"), "header\nrow 1\nrow 3\nrow 4\nrow 5\n");
        assert_eq!(room.read("out/b.csv"), "header\nrow 2\n");
    }

    #[test]
    fn a_batch_torn_anywhere_is_repeated_with_one_effect() {
        let room = Room::new();
        let mut target = appending(&room);
        ok(&target.append(&[item(1, "a.csv")]));
        let before = room.read("out/a.csv").len();
        let journal_before = fs::read(room.path("out/.raccord-t.journal")).expect("it is there");
        let batch = [item(2, "a.csv"), item(3, "b.csv"), item(4, "a.csv")];
        ok(&target.append(&batch));
        let (a, b) = (room.read("out/a.csv"), room.read("out/b.csv"));
        let journal = fs::read(room.path("out/.raccord-t.journal")).expect("it is there");
        for a_length in before..=a.len() {
            for b_length in [0, 3, b.len()] {
                // As a kill or a power cut leaves the files; written in place, for their inodes are noted.
                fs::write(room.path("out/.raccord-t.journal"), &journal).expect("writes");
                fs::write(room.path("out/a.csv"), &a[..a_length]).expect("writes");
                fs::write(room.path("out/b.csv"), &b[..b_length]).expect("writes");
                ok(&appending(&room).append(&batch));
                assert_eq!(
                    (room.read("out/a.csv"), room.read("out/b.csv")),
                    (a.clone(), b.clone()),
                    "{a_length} {b_length}"
                );
            }
        }
        for journal_length in journal_before.len()..journal.len() {
            fs::write(room.path("out/.raccord-t.journal"), &journal[..journal_length]).expect("writes");
            fs::write(room.path("out/a.csv"), &a[..before]).expect("writes");
            fs::write(room.path("out/b.csv"), "").expect("writes");
            ok(&appending(&room).append(&batch));
            assert_eq!((room.read("out/a.csv"), room.read("out/b.csv")), (a.clone(), b.clone()), "{journal_length}");
        }
    }

    #[test]
    fn bytes_that_are_not_the_batch_s_are_never_cut() {
        let room = Room::new();
        ok(&appending(&room).append(&[item(1, "a.csv"), item(2, "a.csv")]));
        // A reader took the file, and somebody made another of the same name.
        fs::rename(room.path("out/a.csv"), room.path("out/taken.csv")).expect("renames");
        room.write("out/a.csv", "other\n");
        ok(&appending(&room).append(&[item(3, "a.csv")]));
        assert_eq!(room.read("out/a.csv"), "other\nrow 3\n");
        assert_eq!(room.read("out/taken.csv"), "header\nrow 1\nrow 2\n");
    }

    #[test]
    fn a_full_disk_takes_the_batch_back_and_is_met_again() {
        let room = Room::new();
        let mut target = appending(&room);
        fs::create_dir_all(room.path("out")).expect("it can be made");
        std::os::unix::fs::symlink("/dev/full", room.path("out/b.csv")).expect("a link");
        let batch = [item(1, "a.csv"), item(2, "b.csv")];
        for outcome in target.append(&batch) {
            assert_eq!(outcome.expect_err("the disk is full").next(), Next::Retry { after: None });
        }
        fs::remove_file(room.path("out/b.csv")).expect("room is made");
        ok(&target.append(&batch));
        assert_eq!(room.read("out/a.csv"), "header\nrow 1\n");
        assert_eq!(room.read("out/b.csv"), "header\nrow 2\n");
    }
}
