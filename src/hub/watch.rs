//! Reloading when files change.
//!
//! Folders are watched, not files: editors and mounted ConfigMaps replace files by renaming. A burst of notices is one reload,
//! [`QUIET`] after the last; a poll catches what the system does not tell.

use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Hub, StartError};
use crate::config::render;
use crate::message::Fault;

const QUIET: Duration = Duration::from_millis(300);
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
    for folder in ["config", "pipelines", "connectors"] {
        let path = hub.options.folder.join(folder);
        if path.is_dir()
            && let Err(error) = watcher.watch(&path, RecursiveMode::Recursive)
        {
            warn!("cannot watch {}, it is looked at every {POLL:?}: {error}", path.display());
        }
    }
    Ok(tokio::spawn(async move {
        let _watcher = watcher;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = notices.recv() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            while tokio::time::timeout(QUIET, notices.recv()).await.is_ok() {}
            let reloaded = tokio::select! {
                () = stop.cancelled() => return,
                reloaded = hub.reload() => reloaded,
            };
            if let Err(StartError::Configuration(problems)) = reloaded {
                eprint!("{}", render(&problems.0.files, &problems.0.problems, false));
            }
        }
    }))
}
