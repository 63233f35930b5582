//! Files made durable: sync before rename, never over another file, and faults that say which right is missing.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::message::Fault;

/// Runs what blocks on the disk away from the threads that serve everyone.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Fault::retry("FILE-IO", "the work on the disk was cut short").cause(error))
}

/// What an error of the system means for a message; `doing` completes "could not …".
pub fn fault(error: io::Error, doing: &str, path: &Path) -> Fault {
    let shown = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Fault::retry("FILE-FULL", format!("no room on the disk to {doing} {shown}: free some space")).cause(error)
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            let user = rustix::process::geteuid().as_raw();
            let said = format!("raccord's user (uid {user}) may not {doing} {shown}: give it that right");
            Fault::misconfigured("FILE-RIGHTS", said).cause(error)
        }
        ErrorKind::NotADirectory => {
            Fault::misconfigured("FILE-FOLDER", format!("could not {doing} {shown}: a folder is expected")).cause(error)
        }
        ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle => {
            Fault::reconnect("FILE-FOLDER", format!("could not {doing} {shown}: is the share mounted?")).cause(error)
        }
        ErrorKind::InvalidFilename => Fault::refuse("FILE-NAME", format!("could not {doing} {shown}")).cause(error),
        _ => Fault::retry("FILE-IO", format!("could not {doing} {shown}")).cause(error),
    }
}

/// Writes `content` so that it is on the disk when this returns; the name itself is safe after [`sync_folder`].
pub fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes names created, renamed or removed in `folder` outlive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network shares know no sync of a folder; their server decides.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Renames, and fails with `AlreadyExists` instead of covering another file.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not know the flag: look first, then rename.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            if to.symlink_metadata().is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        other => other.map_err(io::Error::from),
    }
}

/// Moves a file into `folder`, under its own name or, where that is taken, with a number: `prices-2.csv`. Gives its new path.
pub fn move_into(from: &Path, folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for number in 1..=u32::MAX {
        let to = folder.join(numbered(from, number));
        match rename_new(from, &to) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) if error.kind() == ErrorKind::CrossesDevices => match copy_over(from, &to) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other?,
            },
            other => other?,
        }
        sync_folder(folder)?;
        sync_folder(parent(from))?;
        return Ok(to);
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// The folder a path stands in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Between two file systems: the copy is whole and synced under its final name before the original goes.
fn copy_over(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".part");
    let part = to.with_file_name(name);
    fs::copy(from, &part)?;
    File::options().write(true).open(&part)?.sync_all()?;
    rename_new(&part, to).inspect_err(|_| drop(fs::remove_file(&part)))?;
    sync_folder(parent(to))?;
    fs::remove_file(from)
}

fn numbered(path: &Path, number: u32) -> std::ffi::OsString {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    if number > 1 {
        name.push(format!("-{number}"));
    }
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Next;

    #[test]
    fn a_full_disk_is_tried_again_and_a_missing_right_asks_a_person() {
        let full = fs::write("/dev/full", "x").expect_err("it is always full");
        assert_eq!(fault(full, "write", Path::new("out/a")).next(), Next::Retry { after: None });
        let locked = File::create("/sys/kernel/raccord-test").expect_err("nobody may write there");
        let said = fault(locked, "create", Path::new("out/a"));
        assert_eq!((said.code(), said.next()), ("FILE-RIGHTS", Next::Misconfigured));
        assert!(said.to_string().contains("out/a") && said.to_string().contains("uid"), "{said}");
    }

    #[test]
    fn a_moved_file_never_covers_another() {
        let room = super::super::tests::Room::new();
        for content in ["one", "two", "three"] {
            let from = room.write("prices.csv", content);
            move_into(&from, &room.path("done")).expect("it moves");
        }
        assert_eq!(room.list("done"), ["prices-2.csv", "prices-3.csv", "prices.csv"]);
        assert_eq!(room.read("done/prices-2.csv"), "two");
    }

    #[test]
    fn a_file_moves_to_another_file_system() {
        let room = super::super::tests::Room::new();
        let from = room.write("prices.csv", "one");
        let other = Path::new("/dev/shm").join(room.path("").file_name().expect("the room has a name"));
        let moved = move_into(&from, &other).expect("it moves");
        assert_eq!(fs::read_to_string(&moved).expect("it is there"), "one");
        assert!(!from.exists());
        assert_eq!(fs::read_dir(&other).expect("a folder").count(), 1);
        fs::remove_dir_all(other).expect("it can be removed");
    }
}
