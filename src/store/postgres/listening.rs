//! Hears of what other processes store in the queues: a notification with their commit, and a slow poll where one was missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::Connector;
use super::writer::Command;

/// A notification lost with a connection is made up for after so long.
const POLL: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Notifications of one schema: names of channels are short, those of schemas any.
pub fn channel(schema: &str) -> String {
    let id = crate::message::MessageId::derive(&[b"raccord", schema.as_bytes()]).to_string();
    format!("raccord_{}", id.replace('-', ""))
}

pub struct Listener {
    pub connector: Arc<Connector>,
    pub commands: mpsc::WeakSender<Command>,
    pub looking: Arc<AtomicBool>,
    pub process: String,
}

impl Listener {
    pub async fn run(self) {
        let listen = format!("LISTEN {}", channel(&self.connector.schema));
        loop {
            let (heard, mut notices) = mpsc::channel(64);
            if let Ok(connection) = self.connector.connect_and_hear(Some(heard)).await
                && connection.batch(&listen).await.is_ok()
            {
                // What came while nobody listened.
                self.look().await;
                loop {
                    match tokio::time::timeout(POLL, notices.recv()).await {
                        Ok(Some(process)) if process == self.process => {}
                        Ok(Some(_)) => self.look().await,
                        Ok(None) => break,
                        Err(_) if connection.batch("SELECT").await.is_err() => break,
                        Err(_) => self.look().await,
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One look at a time: it sees all there is.
    async fn look(&self) {
        if !self.looking.swap(true, Ordering::AcqRel)
            && let Some(commands) = self.commands.upgrade()
            && commands.send(Command::Look).await.is_err()
        {
            self.looking.store(false, Ordering::Release);
        }
    }
}
