//! One file a message: written and synced under a hidden name, noted, then renamed. A file is whole or not there.
//!
//! The hidden name comes from the message's id. A repeat that the journal knows and whose hidden file is gone was renamed
//! before, even if a reader has taken the file since: nothing is written twice.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::disk;
use super::journal::{Batch, Entered, Journal};
use super::names::with_id;
use super::settings::Exists;
use crate::message::{Fault, MessageId, Text};

/// A file to place.
#[derive(Clone, Debug)]
pub struct Item {
    pub id: MessageId,
    pub name: Text,
    pub body: bytes::Bytes,
}

pub struct Placing {
    pub folder: PathBuf,
    pub exists: Exists,
    pub journal: Journal,
}

pub type Outcome = Result<Option<Text>, Fault>;

impl Placing {
    /// Places all; answers each, in order.
    pub fn place(&mut self, items: &[Item]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(items.len());
        while outcomes.len() < items.len() {
            // Files of the same name go one after the other, each seeing the one before.
            let mut names = HashSet::new();
            let rest = &items[outcomes.len()..];
            let round = rest.iter().take_while(|item| names.insert(&item.name)).count();
            outcomes.extend(self.round(&rest[..round]));
        }
        outcomes
    }

    fn round(&mut self, items: &[Item]) -> Vec<Outcome> {
        let all = |fault: Fault| items.iter().map(|_| Err(fault.clone())).collect();
        let entered = fs::create_dir_all(&self.folder).and_then(|()| self.journal.enter());
        let mut journal = match entered {
            Ok(journal) => journal,
            Err(error) => return all(disk::fault(error, "write into", &self.folder)),
        };
        let written: Vec<_> = items.iter().map(|item| write(&self.folder, self.exists, &journal, item)).collect();
        let ids =
            items.iter().zip(&written).filter(|(_, step)| matches!(step, Ok(Step::Rename(_)))).map(|(item, _)| item.id);
        let batch = Batch { ids: ids.collect(), appended: Vec::new() };
        if !batch.ids.is_empty()
            && let Err(error) = journal.write(&batch)
        {
            return all(disk::fault(error, "write into", &self.folder));
        }
        let renamed: Vec<_> = items.iter().zip(written).map(|(item, step)| self.finish(item, step)).collect();
        match disk::sync_folder(&self.folder) {
            Ok(()) => renamed,
            Err(error) => all(disk::fault(error, "write into", &self.folder)),
        }
    }

    fn finish(&self, item: &Item, step: Result<Step, Fault>) -> Outcome {
        let to = match step? {
            Step::There(name) => return Ok(Some(name)),
            Step::Rename(name) => name,
        };
        let (from, path) = (hidden(&self.folder, item.id), self.folder.join(&to));
        let renamed = match self.exists {
            Exists::Replace => fs::rename(&from, &path),
            Exists::Refuse | Exists::AddId => disk::rename_new(&from, &path),
        };
        match renamed {
            Ok(()) => Ok(Some(to)),
            // Somebody made one between two looks: the next attempt sees it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Fault::retry("FILE-EXISTS", format!("{} has just appeared", path.display())))
            }
            Err(error) => Err(disk::fault(error, "write", &path)),
        }
    }
}

/// What is left to do for an item.
enum Step {
    /// It is there under this name.
    There(Text),
    /// Rename its hidden file to this name.
    Rename(Text),
}

fn write(folder: &Path, exists: Exists, journal: &Entered<'_>, item: &Item) -> Result<Step, Fault> {
    let hidden = hidden(folder, item.id);
    if journal.knows(&item.id) && !hidden.exists() {
        return Ok(Step::There(item.name.clone()));
    }
    let step = decide(folder, exists, item)?;
    if matches!(step, Step::Rename(_)) {
        disk::write_synced(&hidden, &item.body).map_err(|error| {
            // Of an id that is noted it must stay: without it the next attempt would think all is done.
            if !journal.knows(&item.id) {
                let _ = fs::remove_file(&hidden);
            }
            disk::fault(error, "write", &folder.join(&item.name))
        })?;
    }
    Ok(step)
}

/// Under which name, given what is there.
fn decide(folder: &Path, exists: Exists, item: &Item) -> Result<Step, Fault> {
    let path = folder.join(&item.name);
    let read = |path: &Path| same_content(path, &item.body).map_err(|error| disk::fault(error, "read", path));
    match (read(&path)?, exists) {
        (None, _) | (Some(false), Exists::Replace) => Ok(Step::Rename(item.name.clone())),
        (Some(true), Exists::Refuse | Exists::Replace) => Ok(Step::There(item.name.clone())),
        (Some(false), Exists::Refuse) => Err(Fault::refuse(
            "FILE-EXISTS",
            format!("{} is there with other content: take it away, or set `exists`", path.display()),
        )),
        (Some(_), Exists::AddId) => {
            let name = with_id(&item.name, item.id);
            match read(&folder.join(&name))? {
                Some(true) => Ok(Step::There(name)),
                _ => Ok(Step::Rename(name)),
            }
        }
    }
}

/// `None` where there is no file.
pub fn same_content(path: &Path, content: &[u8]) -> io::Result<Option<bool>> {
    match path.symlink_metadata() {
        Ok(there) if !there.is_file() || there.len() != content.len() as u64 => Ok(Some(false)),
        Ok(_) => fs::read(path).map(|read| Some(read == content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn hidden(folder: &Path, id: MessageId) -> PathBuf {
    folder.join(format!(".{id}.part"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Room;
    use super::*;
    use crate::message::Next;

    fn placing(room: &Room, exists: Exists) -> Placing {
        Placing { folder: room.path("out"), exists, journal: Journal::new(&room.path("out"), "t") }
    }

    fn item(number: u8, name: &str, body: &str) -> Item {
        Item { id: MessageId::derive(&[&[number]]), name: name.into(), body: body.to_owned().into() }
    }

    /// Places items one by one, each by a target just started; tells what each answered and what the folder holds.
    fn check(exists: Exists, items: &[(u8, &str, &str)], outcomes: &[&str], files: &[(&str, &str)]) {
        let room = Room::new();
        let said: Vec<String> = items
            .iter()
            .map(|(number, name, body)| match &placing(&room, exists).place(&[item(*number, name, body)])[0] {
                Ok(name) => name.clone().unwrap_or_default().to_string(),
                Err(fault) => fault.code().to_owned(),
            })
            .collect();
        assert_eq!(said, outcomes, "{exists:?}");
        let there: Vec<_> = room.list("out").into_iter().filter(|name| !name.starts_with('.')).collect();
        assert_eq!(there, files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{exists:?}");
        for (name, content) in files {
            assert_eq!(room.read(&format!("out/{name}")), *content, "{exists:?} {name}");
        }
        assert!(!room.list("out").iter().any(|name| name.ends_with(".part")), "nothing is left over");
    }

    #[test]
    fn a_file_that_is_there_is_refused_replaced_or_joined() {
        let items = [(1, "a.json", "one"), (1, "a.json", "one"), (2, "a.json", "one"), (3, "a.json", "two")];
        check(Exists::Refuse, &items, &["a.json", "a.json", "a.json", "FILE-EXISTS"], &[("a.json", "one")]);
        check(Exists::Replace, &items, &["a.json"; 4], &[("a.json", "two")]);
        let (second, third) = (with_id("a.json", item(2, "", "").id), with_id("a.json", item(3, "", "").id));
        let mut files = vec![(second.as_str(), "one"), (third.as_str(), "two"), ("a.json", "one")];
        files.sort();
        check(Exists::AddId, &items, &["a.json", "a.json", second.as_str(), third.as_str()], &files);
    }

    #[test]
    fn a_repeat_writes_nothing_even_where_the_file_was_taken() {
        let room = Room::new();
        assert!(placing(&room, Exists::Refuse).place(&[item(1, "a.json", "one")])[0].is_ok());
        fs::remove_file(room.path("out/a.json")).expect("a reader takes it");
        assert!(placing(&room, Exists::Refuse).place(&[item(1, "a.json", "one")])[0].is_ok());
        assert_eq!(room.list("out"), [".raccord-t.journal"]);
    }

    #[test]
    fn a_kill_before_the_rename_is_made_good_by_the_repeat() {
        let room = Room::new();
        let one = item(1, "a.json", "one");
        let mut target = placing(&room, Exists::Refuse);
        fs::create_dir_all(room.path("out")).expect("it can be made");
        // As far as a run got that was killed between the note and the rename.
        write(&target.folder, target.exists, &target.journal.enter().expect("opens"), &one).expect("writes");
        let noted = Batch { ids: vec![one.id], appended: vec![] };
        target.journal.enter().expect("opens").write(&noted).expect("writes");
        assert!(room.list("out").iter().any(|name| name.ends_with(".part")));
        assert!(placing(&room, Exists::Refuse).place(&[one])[0].is_ok());
        assert_eq!(room.list("out"), [".raccord-t.journal", "a.json"]);
    }

    #[test]
    fn a_batch_is_answered_one_by_one() {
        let room = Room::new();
        let items = [item(1, "a", "one"), item(2, "a", "two"), item(3, "b", "three"), item(1, "a", "one")];
        let outcomes = placing(&room, Exists::Refuse).place(&items);
        let said: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map_err(Fault::code).is_ok()).collect();
        assert_eq!(said, [true, false, true, true]);
        assert_eq!(room.list("out"), [".raccord-t.journal", "a", "b"]);
    }

    #[test]
    fn a_full_disk_is_met_again_and_a_locked_folder_asks_a_person() {
        let room = Room::new();
        let mut target = placing(&room, Exists::Refuse);
        let one = item(1, "a.json", "one");
        fs::create_dir_all(room.path("out")).expect("it can be made");
        // Writing to it fails as on a full disk.
        std::os::unix::fs::symlink("/dev/full", hidden(&target.folder, one.id)).expect("a link");
        let fault = target.place(std::slice::from_ref(&one)).remove(0).expect_err("the disk is full");
        assert_eq!((fault.code(), fault.next()), ("FILE-FULL", Next::Retry { after: None }));
        assert!(target.place(&[one])[0].is_ok(), "there is room again");
        target.folder = "/sys/kernel/raccord".into();
        let fault = target.place(&[item(2, "b", "two")]).remove(0).expect_err("nobody may write there");
        assert_eq!((fault.code(), fault.next()), ("FILE-RIGHTS", Next::Misconfigured));
    }
}
