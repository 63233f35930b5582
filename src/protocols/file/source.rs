//! A watched folder: finds whole files, hands them over, puts them away.
//!
//! Nothing is taken twice unless a person puts a file back. The cursor (`file:<pipeline>`) says which file is in hand and how many of its records are stored;
//! it commits with them, so after a kill the next run skips exactly those. Each arrival's position (`prices.csv@<identity>#12`)
//! is the same on a repeat, should commit and move ever be torn. A batch that could not be stored is read again, not kept:
//! while the hub has no room, a source holds nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::disk::{self, blocking};
use super::finder::{Finder, Found};
use super::progress::{Progress, identity};
use super::reading::{Batch, Reading, open};
use super::settings::{After, Complete, FileSourceSettings};
use crate::clock::Clock;
use crate::codecs::Codec;
use crate::message::{Fault, Next, Text};
use crate::protocols::{ReceiptOutcome, Receiver, Source, SourceSettings, Surroundings};

/// Batches read ahead while others are being stored; then all of them are one commit.
const AHEAD: usize = 6;
/// Waits after a refused batch grow from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl SourceSettings for FileSourceSettings {
    fn open(&self, pipeline: &str, codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        let folder = around.folder.join(&self.folder);
        if self.folder.is_relative() {
            std::fs::create_dir_all(&folder).map_err(|error| disk::fault(error, "create", &folder))?;
        }
        Ok(Box::new(FileSource {
            settings: self.clone(),
            folder,
            cursor: Text::from(format!("file:{pipeline}")),
            codec,
            clock: around.clock.clone(),
        }))
    }

    fn resumes(&self) -> bool {
        true
    }

    fn alone(&self) -> bool {
        true
    }
}

struct FileSource {
    settings: FileSourceSettings,
    folder: PathBuf,
    cursor: Text,
    codec: Arc<dyn Codec>,
    clock: Clock,
}

/// How reading a file went.
enum End {
    Complete,
    /// The receiver has no room: go on from the last commit, after this long if it said so.
    Again(Option<Duration>),
    /// This file will never be read.
    Failed(Fault),
    Stopped,
}

#[async_trait]
impl Source for FileSource {
    async fn run(&mut self, receiver: Arc<dyn Receiver>, stop: CancellationToken) -> Result<(), Fault> {
        let changed = Arc::new(Notify::new());
        let _watcher = watch(&self.folder, changed.clone());
        let mut progress = receiver.cursor(&self.cursor).await?.as_ref().and_then(Progress::read);
        let FileSourceSettings { r#match, complete, quiet_for, poll, .. } = self.settings.clone();
        let mut finder = Finder::new(self.folder.clone(), r#match, complete, quiet_for);
        self.put_away_last(&mut progress, &receiver, &stop).await?;
        while !stop.is_cancelled() {
            let now = self.clock.now();
            let look;
            (finder, look) = blocking(move || {
                let look = finder.look(now);
                (finder, look)
            })
            .await?;
            let look = look.map_err(|error| disk::fault(error, "look into", &self.folder))?;
            let crowded = !look.whole.is_empty();
            for found in look.whole {
                if stop.is_cancelled() {
                    return Ok(());
                }
                self.take(found, &mut progress, &receiver, &stop).await?;
            }
            if crowded {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = changed.notified() => {}
                () = self.clock.sleep(look.again.map_or(poll, |again| again.min(poll))) => {}
            }
        }
        Ok(())
    }
}

impl FileSource {
    /// Takes one file, from its first record or from where a former run stopped, and puts it away.
    async fn take(
        &self,
        found: Found,
        progress: &mut Option<Progress>,
        receiver: &Arc<dyn Receiver>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let identity = match self.identity(&found).await? {
            Ok(Some(identity)) => identity,
            // Somebody took it away.
            Ok(None) => return Ok(()),
            // One file that may not be read does not stop the others.
            Err(fault) => return self.put_away(&found, Some(fault), receiver, stop).await,
        };
        let at = match progress {
            Some(at) if at.identity == identity => at,
            _ => progress.insert(Progress::start(&found.name, identity)),
        };
        let mut wait = FIRST_WAIT;
        while !at.complete {
            let before = at.row;
            match self.hand_over(&found, at, receiver, stop).await? {
                End::Complete => {}
                End::Failed(fault) => {
                    let fault = if at.row > 0 { fault.at(format!("after record {}", at.row)) } else { fault };
                    return self.put_away(&found, Some(fault), receiver, stop).await;
                }
                End::Again(after) => {
                    wait = if at.row > before { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
                    if self.rest(after.unwrap_or(wait), stop).await {
                        return Ok(());
                    }
                }
                End::Stopped => return Ok(()),
            }
        }
        tracing::info!(file = %found.path.display(), records = at.row, unreadable = at.dead, "file taken");
        self.put_away(&found, verdict(at), receiver, stop).await?;
        // Should it come back, somebody wants it read again.
        *progress = None;
        Ok(())
    }

    /// Reads on from `at` and stores batch after batch, each with its cursor.
    async fn hand_over(
        &self,
        found: &Found,
        at: &mut Progress,
        receiver: &Arc<dyn Receiver>,
        stop: &CancellationToken,
    ) -> Result<End, Fault> {
        let (sender, mut batches) = mpsc::channel(AHEAD);
        let reading = self.reading(found, at);
        let reader = tokio::task::spawn_blocking(move || reading.run(&sender));
        let mut last = None;
        let end = loop {
            let batch = match last.take() {
                Some(fault) => Some(Err(fault)),
                None => tokio::select! {
                    biased;
                    () = stop.cancelled() => break Ok(End::Stopped),
                    batch = batches.recv() => batch,
                },
            };
            match batch.map(|batch| batch.map(|batch| gather(batch, &mut batches, &mut last))) {
                Some(Ok(batch)) => match self.store(batch, at, receiver).await {
                    Ok(()) if at.complete => break Ok(End::Complete),
                    Ok(()) => {}
                    Err(fault) => match fault.next() {
                        Next::Retry { after } => break Ok(End::Again(after)),
                        Next::Reconnect => break Ok(End::Again(None)),
                        Next::Refuse | Next::Misconfigured => break Err(fault),
                    },
                },
                // The disk fails, not the file; a right missing on one file stops only that file.
                Some(Err(fault)) => match fault.next() {
                    Next::Retry { .. } | Next::Reconnect => break Err(fault),
                    Next::Refuse | Next::Misconfigured => break Ok(End::Failed(fault)),
                },
                None => break Err(Fault::retry("FILE-IO", format!("reading {} was cut short", found.name))),
            }
        };
        // Unblocks the reader, which waits to send its next batch.
        drop(batches);
        let _ = reader.await;
        end
    }

    async fn store(&self, batch: Batch, at: &mut Progress, receiver: &Arc<dyn Receiver>) -> Result<(), Fault> {
        let mut next = Progress { complete: batch.complete, ..at.clone() };
        (next.row, next.position, next.line) = (batch.row, batch.position, batch.line);
        next.dead += batch.arrivals.iter().filter(|arrival| arrival.fault.is_some()).count() as u64;
        let faulty: Vec<bool> = batch.arrivals.iter().map(|arrival| arrival.fault.is_some()).collect();
        let receipts = receiver.receive(batch.arrivals, Some((self.cursor.clone(), next.to_value()))).await?;
        // Those the hub found unreadable; known only now, so a kill forgets them: the dead letters are there all the same.
        let found_dead =
            receipts.iter().zip(faulty).filter(|(receipt, faulty)| !faulty && receipt.outcome == ReceiptOutcome::Dead);
        next.dead += found_dead.count() as u64;
        *at = next;
        Ok(())
    }

    fn reading(&self, found: &Found, at: &Progress) -> Reading {
        Reading {
            found: found.clone(),
            at: at.clone(),
            folder: self.settings.folder.display().to_string(),
            max_file: self.settings.max_file.0,
            codec: self.codec.clone(),
        }
    }

    /// `Ok(None)` where the file is gone, an inner `Err` where this file cannot be read.
    async fn identity(&self, found: &Found) -> Result<Result<Option<String>, Fault>, Fault> {
        let found = found.clone();
        let read = blocking(move || {
            let read = open(&found).and_then(|mut file| identity(&found, &mut file));
            read.map_err(|error| (error.kind(), disk::fault(error, "read", &found.path)))
        })
        .await?;
        match read {
            Ok(identity) => Ok(Ok(Some(identity))),
            Err((std::io::ErrorKind::NotFound, _)) => Ok(Ok(None)),
            Err((std::io::ErrorKind::PermissionDenied, fault)) => Ok(Err(fault)),
            Err((_, fault)) => Err(fault),
        }
    }

    /// Sleeps; true where the source is to stop.
    async fn rest(&self, duration: Duration, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = stop.cancelled() => true,
            () = self.clock.sleep(duration) => false,
        }
    }

    /// A former run stored all of a file and was ended before it put it away.
    async fn put_away_last(
        &self,
        progress: &mut Option<Progress>,
        receiver: &Arc<dyn Receiver>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let Some(last) = progress.take_if(|last| last.complete) else { return Ok(()) };
        let path = self.folder.join(&last.file);
        let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
        let marker =
            (self.settings.complete == Complete::Marker).then(|| self.folder.join(format!("{}.done", last.file)));
        let state = super::finder::State::of(&metadata);
        let found = Found { path, name: last.file.clone(), state, marker };
        if metadata.is_file() && self.identity(&found).await?.is_ok_and(|is| is.as_ref() == Some(&last.identity)) {
            self.put_away(&found, verdict(&last), receiver, stop).await?;
        }
        Ok(())
    }

    /// Tells the receiver that the file is over, then moves or deletes it, or moves it to `failed` with a note that says why.
    async fn put_away(
        &self,
        found: &Found,
        fault: Option<Fault>,
        receiver: &Arc<dyn Receiver>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let mut wait = FIRST_WAIT;
        while let Err(fault) = receiver.finished(&found.name).await {
            let after = match fault.next() {
                Next::Retry { after } => after.unwrap_or(wait),
                Next::Reconnect => wait,
                Next::Refuse | Next::Misconfigured => return Err(fault),
            };
            wait = (wait * 2).min(LONGEST_WAIT);
            if self.rest(after, stop).await {
                return Ok(());
            }
        }
        let done = self.folder.join(&self.settings.done);
        let failed = self.folder.join(&self.settings.failed);
        let (found, after) = (found.clone(), self.settings.after);
        blocking(move || match fault {
            Some(fault) => fail(&found, &failed, &fault),
            None => finish(&found, &done, after),
        })
        .await?
    }
}

/// Adds what was read meanwhile; a fault, the last thing a reader sends, is left in `last`.
fn gather(mut batch: Batch, more: &mut mpsc::Receiver<Result<Batch, Fault>>, last: &mut Option<Fault>) -> Batch {
    for _ in 0..AHEAD {
        match more.try_recv() {
            Ok(Ok(next)) => batch.join(next),
            Ok(Err(fault)) => {
                *last = Some(fault);
                break;
            }
            Err(_) => break,
        }
    }
    batch
}

/// A file none of whose records could be read has failed, though each is a dead letter.
fn verdict(at: &Progress) -> Option<Fault> {
    (at.row > 0 && at.dead >= at.row).then(|| {
        let said = format!("nothing in {} could be read: see the dead letters; is it another format?", at.file);
        Fault::refuse("FILE-UNREADABLE", said)
    })
}

fn finish(found: &Found, done: &Path, after: After) -> Result<(), Fault> {
    remove_marker(found)?;
    match after {
        After::Move => {
            disk::move_into(&found.path, done).map(drop).map_err(|error| disk::fault(error, "move a file into", done))
        }
        After::Delete => std::fs::remove_file(&found.path)
            .and_then(|()| disk::sync_folder(disk::parent(&found.path)))
            .map_err(|error| disk::fault(error, "delete", &found.path)),
    }
}

fn fail(found: &Found, failed: &Path, fault: &Fault) -> Result<(), Fault> {
    tracing::warn!(file = %found.path.display(), code = fault.code(), "file failed: {fault}");
    let moved = disk::move_into(&found.path, failed).map_err(|error| disk::fault(error, "move a file into", failed))?;
    remove_marker(found)?;
    let mut note = moved.into_os_string();
    note.push(".error.txt");
    let note = PathBuf::from(note);
    disk::write_synced(&note, format!("{fault}\n").as_bytes()).map_err(|error| disk::fault(error, "write", &note))
}

fn remove_marker(found: &Found) -> Result<(), Fault> {
    let Some(marker) = &found.marker else { return Ok(()) };
    match std::fs::remove_file(marker) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk::fault(error, "delete", marker)),
        _ => Ok(()),
    }
}

/// The system's own notice of new files; where it gives none, `poll` finds them.
fn watch(folder: &Path, changed: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let notice = move |event: Result<notify::Event, notify::Error>| {
        let kind = event.map_or(EventKind::Any, |event| event.kind);
        let worth_a_look = matches!(
            kind,
            EventKind::Any
                | EventKind::Create(_)
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Access(AccessKind::Close(AccessMode::Write))
        );
        if worth_a_look {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| tracing::warn!(folder = %folder.display(), "no notice of new files, only `poll`: {error}"))
        .ok()
}
