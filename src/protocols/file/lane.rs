//! A file that grows with its source and can be cut back: what one source file becomes, without queues in between.
//!
//! Records go to `.raccord-<target>-<part>.partial`; the point (part and length) commits with the source's cursor, so
//! cutting back to it after a kill repeats or skips nothing. `finish` gives the part its final name and a new part begins; a
//! part that is gone was finished before.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use super::disk;
use super::names::with_id;
use super::placing::same_content;
use super::settings::Exists;
use crate::message::{Fault, Map, MessageId, Value};

pub struct Lane {
    pub folder: PathBuf,
    pub target: String,
    pub exists: Exists,
    pub header: Bytes,
    pub growing: Option<Growing>,
}

/// The part in hand.
pub struct Growing {
    part: u64,
    /// Committed or about to be; bytes after it are of no worth.
    length: u64,
    /// Opened with the first record.
    file: Option<File>,
}

impl Lane {
    /// Goes back to `point`, as the last commit has it; `None` where nothing was ever committed.
    pub fn rewind(&mut self, point: Option<&Value>) -> Result<(), Fault> {
        fs::create_dir_all(&self.folder).map_err(|error| disk::fault(error, "create", &self.folder))?;
        let (part, length) = match point {
            None => (1, 0),
            Some(point) => read_point(point).ok_or_else(|| {
                Fault::misconfigured("FILE-POINT", format!("`{point}` is no point in a file of {}", self.target))
            })?,
        };
        let path = self.path(part);
        let opened = match File::options().write(true).open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(disk::fault(error, "write", &path)),
        };
        self.remove_others(part).map_err(|error| disk::fault(error, "clean up", &self.folder))?;
        self.growing = Some(match opened {
            Some(file) => {
                let there = file.metadata().map_err(|error| disk::fault(error, "read", &path))?.len();
                if there < length {
                    let said = format!("{} has {there} bytes, and had {length}: was it changed?", path.display());
                    return Err(Fault::misconfigured("FILE-CHANGED", said));
                }
                file.set_len(length).map_err(|error| disk::fault(error, "cut", &path))?;
                Growing { part, length, file: Some(file) }
            }
            None if length == 0 => Growing { part, length, file: None },
            None => Growing { part: part + 1, length: 0, file: None },
        });
        Ok(())
    }

    /// Appends and syncs; gives the point after it.
    pub fn append(&mut self, records: &[u8]) -> Result<Value, Fault> {
        let part = self.growing.as_ref().map_or(1, |growing| growing.part);
        let path = self.path(part);
        let growing = self.growing.get_or_insert(Growing { part, length: 0, file: None });
        let appended = growing.append(&path, &self.header, records);
        appended.map_err(|error| disk::fault(error, "write", &path))?;
        Ok(point(growing.part, growing.length))
    }

    /// Gives what was appended its final name. Nothing appended makes no file; what was finished before stays as it is.
    pub fn finish(&mut self, name: &str) -> Result<(), Fault> {
        let Some(Growing { part, length, file: Some(file) }) = &self.growing else { return Ok(()) };
        let (part, length, from) = (*part, *length, self.path(*part));
        file.set_len(length).and_then(|()| file.sync_all()).map_err(|error| disk::fault(error, "write", &from))?;
        self.rename(&from, name, part)?;
        disk::sync_folder(&self.folder).map_err(|error| disk::fault(error, "write into", &self.folder))?;
        self.growing = Some(Growing { part: part + 1, length: 0, file: None });
        Ok(())
    }

    fn rename(&self, from: &PathBuf, name: &str, part: u64) -> Result<(), Fault> {
        let to = self.folder.join(name);
        let fault = |error| disk::fault(error, "write", &to);
        if self.exists == Exists::Replace {
            return fs::rename(from, &to).map_err(fault);
        }
        match disk::rename_new(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map_err(fault),
        }
        if self.exists == Exists::AddId {
            let id = MessageId::derive(&[self.target.as_bytes(), &part.to_be_bytes()]);
            return fs::rename(from, self.folder.join(with_id(name, id))).map_err(fault);
        }
        let content = fs::read(from).map_err(fault)?;
        if same_content(&to, &content).map_err(fault)? == Some(true) {
            return fs::remove_file(from).map_err(fault);
        }
        let said = format!("{} is there with other content: take it away, or set `exists`", to.display());
        Err(Fault::misconfigured("FILE-EXISTS", said))
    }

    /// What was begun after the last commit.
    fn remove_others(&self, part: u64) -> io::Result<()> {
        let (kept, prefix) = (self.path(part), format!(".raccord-{}-", self.target.replace('/', "_")));
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".partial"));
            if path != kept && number.is_some_and(|number| number.parse::<u64>().is_ok()) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, part: u64) -> PathBuf {
        self.folder.join(format!(".raccord-{}-{part}.partial", self.target.replace('/', "_")))
    }
}

impl Growing {
    fn append(&mut self, path: &std::path::Path, header: &[u8], records: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = File::options().write(true).create(true).truncate(true).open(path)?;
                disk::sync_folder(disk::parent(path))?;
                none.insert(file)
            }
        };
        let mut end = self.length;
        for bytes in [if end == 0 { header } else { &[] }, records] {
            file.write_all_at(bytes, end)?;
            end += bytes.len() as u64;
        }
        file.sync_data()?;
        self.length = end;
        Ok(())
    }
}

fn point(part: u64, length: u64) -> Value {
    let number = |n: u64| Value::from(rust_decimal::Decimal::from(n));
    Value::Map(Map::from_iter([("part", number(part)), ("length", number(length))]))
}

fn read_point(point: &Value) -> Option<(u64, u64)> {
    let number = |name: &str| point.get(name)?.plain()?.parse().ok();
    Some((number("part")?, number("length")?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Room;
    use super::*;

    fn lane(room: &Room, exists: Exists) -> Lane {
        let header = Bytes::from_static(b"header\n");
        Lane { folder: room.path("out"), target: "a.to.b".into(), exists, header, growing: None }
    }

    fn visible(room: &Room) -> Vec<String> {
        room.list("out").into_iter().filter(|name| !name.starts_with('.')).collect()
    }

    /// Two source files of three appends each. After each action the run may be killed before or after its commit: the
    /// next run goes on from what was committed.
    #[test]
    fn a_kill_anywhere_repeats_and_skips_nothing() {
        let rows = |source: usize| (1..=3).map(move |n| format!("{source}:{n}\n"));
        for kill_at in 0..16 {
            let room = Room::new();
            let (mut step, mut committed_point, mut committed_rows, mut source) = (0, None, 0, 1);
            let mut killed = false;
            'run: loop {
                let mut lane = lane(&room, Exists::Refuse);
                lane.rewind(committed_point.as_ref()).expect("rewinds");
                loop {
                    let mut kill = || {
                        step += 1;
                        !killed && step == kill_at + 1
                    };
                    if source > 2 {
                        break 'run;
                    }
                    match rows(source).nth(committed_rows) {
                        Some(row) => {
                            let point = lane.append(row.as_bytes()).expect("appends");
                            if kill() {
                                killed = true;
                                continue 'run;
                            }
                            (committed_point, committed_rows) = (Some(point), committed_rows + 1);
                        }
                        None => {
                            lane.finish(&format!("{source}.csv")).expect("finishes");
                            if kill() {
                                killed = true;
                                continue 'run;
                            }
                            (source, committed_rows) = (source + 1, 0);
                        }
                    }
                    if kill() {
                        killed = true;
                        continue 'run;
                    }
                }
            }
            assert!(killed == (kill_at < 16), "{kill_at}");
            assert_eq!(visible(&room), ["1.csv", "2.csv"], "{kill_at}");
            assert_eq!(room.read("out/1.csv"), "header\n1:1\n1:2\n1:3\n", "{kill_at}");
            assert_eq!(room.read("out/2.csv"), "header\n2:1\n2:2\n2:3\n", "{kill_at}");
        }
    }

    #[test]
    fn a_name_that_is_taken_is_told_and_the_same_content_is_no_error() {
        let room = Room::new();
        room.write("out/a.csv", "other");
        let mut target = lane(&room, Exists::Refuse);
        target.rewind(None).expect("rewinds");
        target.append(b"1\n").expect("appends");
        assert_eq!(target.finish("a.csv").expect_err("it is there").code(), "FILE-EXISTS");
        room.write("out/a.csv", "header\n1\n");
        target.finish("a.csv").expect("the same content");
        assert_eq!(room.list("out"), ["a.csv"]);
        let mut target = lane(&room, Exists::AddId);
        target.rewind(None).expect("rewinds");
        target.append(b"2\n").expect("appends");
        target.finish("a.csv").expect("under another name");
        assert_eq!(visible(&room).len(), 2);
    }

    #[test]
    fn a_part_that_somebody_shortened_stops_the_lane() {
        let room = Room::new();
        let mut target = lane(&room, Exists::Refuse);
        target.rewind(None).expect("rewinds");
        let point = target.append(b"1\n").expect("appends");
        room.write("out/.raccord-a.to.b-1.partial", "h");
        let fault = lane(&room, Exists::Refuse).rewind(Some(&point)).expect_err("bytes are missing");
        assert_eq!(fault.code(), "FILE-CHANGED");
    }
}
