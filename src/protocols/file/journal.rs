//! What a file target wrote last, so that a repeat after a kill writes nothing twice.
//!
//! `.raccord-<target>.journal` in the target's folder holds one line a batch: the ids in it and, where the batch was appended,
//! which bytes of which files. A line is synced *before* its bytes are written. Only the last line can then be in doubt: on
//! the next start its bytes are compared with their hash, and a torn batch is cut off and forgotten as a whole. Whoever works
//! with the journal holds its lock, so a reloaded pipeline may share the folder with the one it replaces. The journal knows
//! the last [`KEPT`] ids: repeats come soon, and never more than a batch or two at once.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk;
use crate::message::{MessageId, Value, json};

/// Ids remembered.
const KEPT: usize = 4_096;
/// A longer journal is written anew with the last ids only.
const LONGEST: u64 = 1024 * 1024;

pub struct Journal {
    folder: PathBuf,
    path: PathBuf,
    order: VecDeque<MessageId>,
    known: HashSet<MessageId>,
    /// Inode and length up to which the file was read; otherwise somebody else wrote to it.
    read: Option<(u64, u64)>,
}

/// The journal, locked.
pub struct Entered<'a> {
    journal: &'a mut Journal,
    file: File,
}

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub ids: Vec<MessageId>,
    pub appended: Vec<Appended>,
}

/// Bytes appended to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub name: String,
    /// Tells the file from a later one of the same name.
    pub inode: u64,
    /// Its length before.
    pub before: u64,
    pub length: u64,
    pub hash: String,
}

impl Journal {
    pub fn new(folder: &Path, target: &str) -> Journal {
        let name = format!(".raccord-{}.journal", target.replace('/', "_"));
        let (order, known) = (VecDeque::new(), HashSet::new());
        Journal { folder: folder.to_owned(), path: folder.join(name), order, known, read: None }
    }

    /// Locks the journal; where it is not as this process left it, reads it and settles its last line.
    pub fn enter(&mut self) -> io::Result<Entered<'_>> {
        let file = self.locked()?;
        let metadata = file.metadata()?;
        let mut entered = Entered { file, journal: self };
        if entered.journal.read != Some((metadata.ino(), metadata.len())) {
            entered.read_again()?;
        }
        if metadata.len() > LONGEST {
            entered.rewrite()?;
        }
        Ok(entered)
    }

    fn locked(&self) -> io::Result<File> {
        loop {
            let file = File::options().read(true).append(true).create(true).open(&self.path)?;
            lock(&file)?;
            // Another may have put a new journal in its place while this one waited.
            if fs::metadata(&self.path).is_ok_and(|there| there.ino() == file.metadata().map_or(0, |own| own.ino())) {
                return Ok(file);
            }
        }
    }

    fn remember(&mut self, ids: &[MessageId]) {
        for id in ids {
            if self.known.insert(*id) {
                self.order.push_back(*id);
            }
        }
        while self.order.len() > KEPT {
            let oldest = self.order.pop_front().expect("it is longer than zero");
            self.known.remove(&oldest);
        }
    }

    fn forget(&mut self, ids: &[MessageId]) {
        for id in ids {
            self.known.remove(id);
        }
        self.order.retain(|id| self.known.contains(id));
    }
}

impl Entered<'_> {
    pub fn knows(&self, id: &MessageId) -> bool {
        self.journal.known.contains(id)
    }

    /// Writes a line and syncs it.
    pub fn write(&mut self, batch: &Batch) -> io::Result<()> {
        // Until all is well, what the file holds is not known.
        let read = self.journal.read.take();
        let line = batch.to_line();
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.journal.remember(&batch.ids);
        self.journal.read = read.map(|(inode, length)| (inode, length + line.len() as u64));
        Ok(())
    }

    /// The batch just noted may not be whole: the next to enter reads the journal and settles it.
    pub fn doubt(&mut self) {
        self.journal.read = None;
    }

    fn read_again(&mut self) -> io::Result<()> {
        self.journal.order.clear();
        self.journal.known.clear();
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        (&self.file).take(4 * LONGEST).read_to_end(&mut text)?;
        let (mut whole, mut last) = (0, None);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(batch) = Batch::read(line) else { break };
            self.journal.remember(&batch.ids);
            whole += line.len() as u64;
            last = Some(batch);
        }
        // A torn line: its bytes were never written, since they come after the sync.
        self.file.set_len(whole)?;
        self.journal.read = Some((self.file.metadata()?.ino(), whole));
        match last {
            Some(batch) if !batch.settle(&self.journal.folder)? => {
                self.journal.forget(&batch.ids);
                self.rewrite()
            }
            _ => Ok(()),
        }
    }

    /// A new journal with the known ids, in the place of the old one and locked like it.
    fn rewrite(&mut self) -> io::Result<()> {
        self.journal.read = None;
        let part = self.journal.path.with_extension("part");
        let line = Batch { ids: self.journal.order.iter().copied().collect(), appended: Vec::new() }.to_line();
        disk::write_synced(&part, line.as_bytes())?;
        let file = File::options().read(true).append(true).open(&part)?;
        lock(&file)?;
        fs::rename(&part, &self.journal.path)?;
        disk::sync_folder(&self.journal.folder)?;
        self.journal.read = Some((file.metadata()?.ino(), line.len() as u64));
        self.file = file;
        Ok(())
    }
}

impl Batch {
    fn to_line(&self) -> String {
        let ids = self.ids.iter().map(|id| Value::from(id.to_string())).collect::<Vec<_>>();
        let appended = self.appended.iter().map(|one| {
            let number = |n: u64| Value::from(n.to_string());
            let fields = [
                ("name", Value::from(one.name.as_str())),
                ("inode", number(one.inode)),
                ("before", number(one.before)),
                ("length", number(one.length)),
                ("hash", Value::from(one.hash.as_str())),
            ];
            Value::Map(fields.into_iter().collect())
        });
        let appended = Value::List(appended.collect());
        let said =
            json::to_text(&Value::Map([("ids", Value::List(ids)), ("appended", appended)].into_iter().collect()));
        format!("{} {said}\n", hash(said.as_bytes()))
    }

    /// `None` for a line that is torn.
    fn read(line: &[u8]) -> Option<Batch> {
        let (said_hash, said) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
        if hash(said.as_bytes()) != said_hash {
            return None;
        }
        let value = json::read(said.as_bytes()).ok()?;
        let ids = value.get("ids")?.as_list()?.iter().map(|id| id.as_text()?.parse().ok());
        let appended = value.get("appended")?.as_list()?.iter().map(|one| {
            let text = |name: &str| one.get(name)?.as_text();
            Some(Appended {
                name: text("name")?.to_owned(),
                inode: text("inode")?.parse().ok()?,
                before: text("before")?.parse().ok()?,
                length: text("length")?.parse().ok()?,
                hash: text("hash")?.to_owned(),
            })
        });
        Some(Batch { ids: ids.collect::<Option<_>>()?, appended: appended.collect::<Option<_>>()? })
    }

    /// Whether all of the batch is in its files; where not, none of it is afterwards.
    fn settle(&self, folder: &Path) -> io::Result<bool> {
        let mut whole = true;
        for one in &self.appended {
            whole &= one.is_whole(folder)?;
        }
        if !whole {
            for one in &self.appended {
                one.cut(folder)?;
            }
        }
        Ok(whole)
    }
}

impl Appended {
    fn is_whole(&self, folder: &Path) -> io::Result<bool> {
        let Some(mut file) = self.open(folder)? else { return Ok(false) };
        file.seek(SeekFrom::Start(self.before))?;
        let (mut sha, mut left, mut piece) = (Sha256::new(), self.length, vec![0; 64 * 1024]);
        while left > 0 {
            let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut piece[..want])?;
            if read == 0 {
                return Ok(false);
            }
            sha.update(&piece[..read]);
            left -= read as u64;
        }
        Ok(hex(&sha.finalize()) == self.hash)
    }

    /// Cuts off what the batch left; bytes that others appended after it stay.
    fn cut(&self, folder: &Path) -> io::Result<()> {
        let Some(file) = self.open(folder)? else { return Ok(()) };
        let length = file.metadata()?.len();
        if length > self.before && length <= self.before + self.length {
            file.set_len(self.before)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// `None` where the file is gone: its reader took it.
    fn open(&self, folder: &Path) -> io::Result<Option<File>> {
        match File::options().read(true).write(true).open(folder.join(&self.name)) {
            Ok(file) => Ok((file.metadata()?.ino() == self.inode).then_some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Waits for its turn; some network shares know no locks.
fn lock(file: &File) -> io::Result<()> {
    match file.lock() {
        Err(error) if error.kind() != ErrorKind::Unsupported => Err(error),
        _ => Ok(()),
    }
}

/// 16 hexadecimal digits that only the same bytes have.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Room;
    use super::*;

    fn id(number: usize) -> MessageId {
        MessageId::derive(&[&number.to_be_bytes()])
    }

    #[test]
    fn a_journal_knows_what_was_written_after_a_restart() {
        let room = Room::new();
        let mut journal = Journal::new(&room.path(""), "a.to.b");
        journal.enter().expect("opens").write(&Batch { ids: vec![id(1)], appended: vec![] }).expect("writes");
        let mut other = Journal::new(&room.path(""), "a.to.b");
        assert!(other.enter().expect("opens").knows(&id(1)));
        other.enter().expect("opens").write(&Batch { ids: vec![id(2)], appended: vec![] }).expect("writes");
        assert!(journal.enter().expect("opens").knows(&id(2)), "what the other wrote is read");
    }

    #[test]
    fn a_torn_line_is_cut_off() {
        let room = Room::new();
        let path = room.path(".raccord-t.journal");
        let mut journal = Journal::new(&room.path(""), "t");
        for number in 0..2 {
            journal.enter().expect("opens").write(&Batch { ids: vec![id(number)], appended: vec![] }).expect("writes");
        }
        let whole = fs::read(&path).expect("it is there");
        let first = whole.iter().position(|byte| *byte == b'\n').expect("two lines") + 1;
        for cut in [first + 1, first + 20, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).expect("writes");
            let mut journal = Journal::new(&room.path(""), "t");
            let entered = journal.enter().expect("opens");
            assert!(entered.knows(&id(0)) && !entered.knows(&id(1)), "cut at {cut}");
            assert_eq!(fs::metadata(&path).expect("it is there").len(), first as u64);
        }
    }

    #[test]
    fn a_long_journal_is_written_anew() {
        let room = Room::new();
        let mut journal = Journal::new(&room.path(""), "t");
        for batch in 0..150 {
            let ids = (0..256).map(|number| id(batch * 256 + number)).collect();
            journal.enter().expect("opens").write(&Batch { ids, appended: vec![] }).expect("writes");
        }
        let length = fs::metadata(room.path(".raccord-t.journal")).expect("it is there").len();
        assert!(length < LONGEST + 20_000, "{length}");
        let mut other = Journal::new(&room.path(""), "t");
        let entered = other.enter().expect("opens");
        assert!(entered.knows(&id(150 * 256 - 1)) && entered.knows(&id(150 * 256 - KEPT)) && !entered.knows(&id(0)));
    }
}
