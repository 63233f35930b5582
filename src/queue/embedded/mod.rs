//! One SQLite file that holds the queues and, in the same transactions, whatever the store keeps beside them.
//!
//! One thread writes: it takes operations from a bounded channel, commits them in groups and answers after the commit, so
//! one sync serves many. Readers work on WAL snapshots and never wait for it. Each queue is a table of its own, numbered
//! from 1: storing appends at one end, settling removes near the other, and no index is kept on the way. What must be found
//! by key or by time (order, retries) lives in the memory of the queue's consumer and is rebuilt by reading the table again.

mod consumer;
mod disk;
pub mod faults;
mod file;
mod read;
mod waiting;
mod writer;
mod writing;

pub use file::{File, FileSettings, Readers};
pub use writer::Work;
pub use writing::{Released, Writing, headers_text, nanoseconds, timestamp};

#[cfg(test)]
pub use writer::{Crash, Gap};

use crate::message::Text;
use crate::queue::EntryRef;

/// Numbers of one queue: 2^44, a thousand years at 500 a second. The bits above name the queue.
const NUMBER_BITS: u32 = 44;

/// Most operations in one commit.
pub const GROUP: usize = 256;

// The tests' bounds are small, so that they meet what lies past them.

/// Keys busy or held and entries waiting for a retry that one consumer keeps in memory; past it the lane pauses.
const PATIENCE: usize = if cfg!(test) { 400 } else { 100_000 };

/// Numbers of entries behind a busy key that one consumer keeps in memory; past it they are looked up in the file.
const BEHIND: usize = if cfg!(test) { 20 } else { 100_000 };

impl EntryRef {
    fn new(queue: i64, number: i64) -> EntryRef {
        EntryRef(queue << NUMBER_BITS | number)
    }

    fn queue(self) -> i64 {
        self.0 >> NUMBER_BITS
    }

    fn number(self) -> i64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }
}

/// What a commit means for the consumer of a queue.
#[derive(Debug)]
enum Change {
    /// Stored at the end; the entry itself where a consumer may want it.
    Stored {
        number: i64,
        entry: Option<Box<crate::queue::Entry>>,
    },
    /// Stored again at its old place, ahead of its key.
    Again {
        number: i64,
        key: Option<Text>,
    },
    Ended {
        number: i64,
    },
    Returned {
        number: i64,
        due: jiff::Timestamp,
    },
    Held {
        key: Text,
    },
    Released {
        key: Text,
    },
}

/// A folder of its own for one test, removed after it.
#[cfg(test)]
pub struct Scratch(pub std::path::PathBuf);

#[cfg(test)]
impl Scratch {
    pub fn make() -> Scratch {
        let name = format!("raccord-{}", crate::message::MessageId::draw());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("the temporary folder takes a folder");
        Scratch(folder)
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
