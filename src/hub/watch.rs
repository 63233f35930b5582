//! Reloading when files change.
//!
//! Folders are watched, not files: editors and mounted ConfigMaps replace files by renaming. A burst of notices is one reload,
//! [`QUIET`] after the last; a poll catches what the system does not tell.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::lobby::may_pass;
use super::{Hub, StartError};
use crate::config::render;
use crate::message::Fault;

const QUIET: Duration = Duration::from_millis(300);
const FOLDERS: [&str; 3] = ["config", "pipelines", "connectors"];
/// Folders within folders that are looked into.
const DEPTH: usize = 8;
const POLL: Duration = Duration::from_secs(30);

pub(super) fn watch(hub: Arc<Hub>, stop: CancellationToken) -> Result<JoinHandle<()>, StartError> {
    let (notice, mut notices) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading a file is no change; a full channel already holds a notice.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = notice.try_send(());
        }
    })
    .map_err(|error| Fault::misconfigured("HUB-WATCH", "cannot watch the configuration for changes").cause(error))?;
    for folder in FOLDERS {
        let path = hub.options.folder.join(folder);
        if path.is_dir()
            && let Err(error) = watcher.watch(&path, RecursiveMode::Recursive)
        {
            warn!("cannot watch {}, it is looked at every {POLL:?}: {error}", path.display());
        }
    }
    Ok(tokio::spawn(async move {
        let _watcher = watcher;
        let mut seen = state_of(&hub.options.folder);
        // An edit that could not run for something that passes (a broker away) is tried again.
        let mut again = false;
        loop {
            let noticed = tokio::select! {
                () = stop.cancelled() => return,
                _ = notices.recv() => true,
                () = tokio::time::sleep(POLL) => false,
            };
            // A mistake that stands is told once, not at every look.
            let now = state_of(&hub.options.folder);
            if std::mem::replace(&mut seen, now) == now && !noticed && !again {
                continue;
            }
            while tokio::time::timeout(QUIET, notices.recv()).await.is_ok() {}
            let reloaded = tokio::select! {
                () = stop.cancelled() => return,
                reloaded = hub.reload() => reloaded,
            };
            again = matches!(&reloaded, Err(StartError::Fault(fault)) if may_pass(fault));
            if let Err(StartError::Configuration(problems)) = reloaded {
                let said = render(&problems.0.files, &problems.0.problems, false);
                // As with logs: one that cannot be written is no reason to stop.
                let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
            }
        }
    }))
}

/// Names, sizes and times of the files, as one number.
fn state_of(folder: &Path) -> u64 {
    let mut hash = DefaultHasher::new();
    for name in FOLDERS {
        look(&folder.join(name), DEPTH, &mut hash);
    }
    hash.finish()
}

fn look(folder: &Path, depth: usize, hash: &mut DefaultHasher) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        entry.file_name().hash(hash);
        match std::fs::metadata(entry.path()) {
            Ok(about) if about.is_dir() && depth > 0 => look(&entry.path(), depth - 1, hash),
            Ok(about) => (about.len(), about.modified().ok()).hash(hash),
            Err(_) => {}
        }
    }
}
