//! The folder: whose it is, and the room kept for finishing what was accepted.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::io::Errno;

use super::faults;
use crate::message::Fault;

/// Held for as long as the file is open: released by the system even when the hub is killed.
pub struct Lock(#[allow(dead_code, reason = "closing it releases the lock")] File);

impl Lock {
    pub fn take(folder: &Path) -> Result<Lock, Fault> {
        let path = folder.join("raccord.lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|error| folder_fault(folder, error))?;
        if !locked_within(&file, PATIENCE) {
            let mut holder = String::new();
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut holder);
            let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
            return Err(Fault::misconfigured(
                "STORE-LOCKED",
                format!(
                    "{holder} already runs on {}; one hub a folder: stop it, or give this hub another folder",
                    folder.display()
                ),
            ));
        }
        // The name of the holder is for people; the lock itself does not depend on it.
        let _ = file.rewind();
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Lock(file))
    }
}

/// A hub that was killed a moment ago still holds its lock while the system takes it apart.
const PATIENCE: Duration = Duration::from_secs(2);

fn locked_within(file: &File, patience: Duration) -> bool {
    let step = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    while flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if waited >= patience {
            return false;
        }
        std::thread::sleep(step);
        waited += step;
    }
    true
}

/// What an error of the folder itself means.
pub fn folder_fault(folder: &Path, error: std::io::Error) -> Fault {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem => faults::read_only().at(folder.display().to_string()).cause(error),
        StorageFull => faults::full().cause(error),
        _ => Fault::misconfigured("STORE-IO", format!("the folder {} cannot be used", folder.display())).cause(error),
    }
}

/// Disk space for settling: intakes stop while the disk is nearly full, and a file of ballast is given up when even a
/// settle finds no room. A quarter of the reserve is ballast, the rest must stay free.
pub struct Reserve {
    folder: PathBuf,
    ballast: PathBuf,
    ballast_bytes: u64,
    free_bytes: u64,
    holds_ballast: bool,
}

impl Reserve {
    pub fn new(folder: &Path, bytes: u64) -> Reserve {
        let ballast_bytes = bytes / 4;
        let mut reserve = Reserve {
            folder: folder.to_owned(),
            ballast: folder.join("reserve"),
            ballast_bytes,
            free_bytes: bytes - ballast_bytes,
            holds_ballast: false,
        };
        reserve.retake();
        reserve
    }

    /// Whether new messages may come in. Retakes the ballast once there is room again. `inside` are bytes of the store's
    /// file that stand empty, asked for only where the disk itself is short.
    pub fn open_to_intake(&mut self, inside: impl FnOnce() -> u64) -> bool {
        let Some(free) = self.free() else { return true };
        if !self.holds_ballast && free >= 2 * self.ballast_bytes {
            self.retake();
        }
        self.holds_ballast && (free >= self.free_bytes || free.saturating_add(inside()) >= self.free_bytes)
    }

    /// Gives the ballast to whoever writes next; false if it was given before.
    pub fn give_up(&mut self) -> bool {
        let gave = self.holds_ballast && self.ballast_bytes > 0;
        self.holds_ballast = false;
        gave && std::fs::remove_file(&self.ballast).is_ok()
    }

    fn free(&self) -> Option<u64> {
        let told = statvfs(&self.folder).ok()?;
        Some(told.f_bavail.saturating_mul(told.f_frsize))
    }

    fn retake(&mut self) {
        self.holds_ballast = self.ballast_bytes == 0 || self.allocate().is_ok();
        if !self.holds_ballast {
            let _ = std::fs::remove_file(&self.ballast);
        }
    }

    fn allocate(&self) -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.ballast)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.ballast_bytes) {
            Ok(()) => return Ok(()),
            // A file system without preallocation is filled by hand, where there is room: the last of it is not ours to take.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.free().is_none_or(|free| free > self.ballast_bytes) => {}
            Err(error) => return Err(error.into()),
        }
        let block = [0_u8; 64 << 10];
        let mut left = usize::try_from(self.ballast_bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let part = left.min(block.len());
            file.write_all(&block[..part])?;
            left -= part;
        }
        Ok(())
    }
}
