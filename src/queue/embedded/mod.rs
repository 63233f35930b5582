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
mod writer;
mod writing;

pub use file::{File, FileSettings, Readers};
pub use writer::Work;
pub use writing::{Released, Writing, headers_text, nanoseconds, timestamp};

#[cfg(test)]
pub use writer::{Crash, Gap};

/// Most operations in one commit.
pub const GROUP: usize = 256;

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
