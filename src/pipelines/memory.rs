//! The bytes of messages in memory, bounded over all pipelines: half for bodies on their way to the store, half shared by the
//! read-ahead windows of the stages and lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::message::Fault;
use crate::queue::Window;

/// How long a source may wait for room before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(2);
/// A window never shrinks below this: one message of usual size must fit.
const SMALLEST_WINDOW: usize = 256 << 10;
const LARGEST_WINDOW: usize = 16 << 20;

/// A budget of bytes.
#[derive(Debug)]
pub struct Memory {
    /// One permit a kilobyte.
    bodies: Arc<Semaphore>,
    kilobytes: u32,
    windows: usize,
    readers: AtomicUsize,
}

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        let kilobytes = u32::try_from(bytes / 2 / 1024).unwrap_or(u32::MAX).clamp(1024, 1 << 22);
        let bodies = Arc::new(Semaphore::new(kilobytes as usize));
        Memory { bodies, kilobytes, windows: bytes / 2, readers: AtomicUsize::new(1) }
    }

    /// Room for `bytes` of bodies, held until it is dropped. Bodies larger than all of the room get all of it.
    ///
    /// # Errors
    /// `HUB-BUSY` (retry) where there is none for a while.
    pub async fn room(&self, bytes: usize, clock: &Clock) -> Result<OwnedSemaphorePermit, Fault> {
        let wanted = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.kilobytes);
        let busy = || Fault::retry("HUB-BUSY", "more arrives than can be stored").after(Duration::from_secs(1));
        tokio::select! {
            permit = self.bodies.clone().acquire_many_owned(wanted) => permit.map_err(|_| busy()),
            () = clock.sleep(PATIENCE) => Err(busy()),
        }
    }

    /// Says how many queues are read at once.
    pub fn share(&self, readers: usize) {
        self.readers.store(readers.max(1), Ordering::Relaxed);
    }

    /// The window of one reader.
    pub fn window(&self, entries: usize) -> Window {
        let share = self.windows / self.readers.load(Ordering::Relaxed);
        Window { entries, bytes: share.clamp(SMALLEST_WINDOW, LARGEST_WINDOW) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_runs_out_and_comes_back() {
        let (memory, clock) = (Memory::new(4 << 20), Clock::simulated(jiff::Timestamp::UNIX_EPOCH));
        let held = memory.room(1 << 30, &clock).await.expect("a body larger than all gets all");
        let waiting = memory.room(1, &clock);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        clock.advance(PATIENCE);
        assert_eq!(waiting.await.expect_err("there is no room").code(), "HUB-BUSY");
        drop(held);
        assert!(memory.room(1, &clock).await.is_ok());
    }

    #[test]
    fn readers_share_the_windows() {
        let memory = Memory::new(64 << 20);
        memory.share(8);
        assert_eq!(memory.window(10).bytes, 4 << 20);
        memory.share(10_000);
        assert_eq!(memory.window(10).bytes, SMALLEST_WINDOW);
    }
}
