//! Which endpoints does a file list, now that it has changed?
//!
//! The file is read again once a second and compared as a whole: a rename over it, a symbolic link turned (as
//! Kubernetes does with mounted maps) and an edit within one second are all seen. A file that cannot be used
//! changes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::Change;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::{file_format, resync};
use crate::PoolError;

const SOURCE: &str = "file";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file that is being written must have come to rest for this long.
const SETTLE: Duration = Duration::from_millis(50);
const MAX_FILE_BYTES: u64 = 1 << 20;

/// An endpoint file and what it last said.
pub(super) struct File {
    path: PathBuf,
    last: Result<String, String>,
}

impl File {
    /// Reads the file; the first membership.
    ///
    /// # Errors
    /// [`PoolError::File`] where it is missing or wrong.
    pub(super) async fn open(path: PathBuf) -> Result<(Change, Self), PoolError> {
        let read = async {
            let text = read(&path).await?;
            let change = membership(&path, &text)?;
            Ok((change, text))
        };
        match read.await {
            Ok((change, text)) => {
                let last = Ok(text);
                Ok((change, Self { path, last }))
            }
            Err(reason) => Err(PoolError::File { path, reason }),
        }
    }

    /// Sends each new membership until nobody listens.
    pub(super) async fn follow(mut self, changes: mpsc::Sender<Change>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(change) = self.look().await
                && changes.send(change).await.is_err()
            {
                return;
            }
        }
    }

    async fn look(&mut self) -> Option<Change> {
        let mut now = read(&self.path).await;
        while now != self.last {
            tokio::time::sleep(SETTLE).await;
            let again = read(&self.path).await;
            if again == now {
                break;
            }
            now = again;
        }
        if now == self.last {
            return None;
        }
        self.last = now;
        let read = self.last.as_ref().map_err(String::clone);
        match read.and_then(|text| membership(&self.path, text)) {
            Ok(change) => {
                tracing::info!(file = %self.path.display(), "endpoint file read again");
                Some(change)
            }
            Err(reason) => {
                tracing::warn!(
                    file = %self.path.display(), %reason,
                    "endpoint file not used; the endpoints stay as they were"
                );
                None
            }
        }
    }
}

fn membership(path: &Path, text: &str) -> Result<Change, String> {
    let json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    Ok(resync(SOURCE, file_format::parse(text, json)?))
}

async fn read(path: &Path) -> Result<String, String> {
    let file = tokio::fs::File::open(path).await;
    let mut bytes = Vec::new();
    file.map_err(|error| error.to_string())?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is longer than {} MiB", MAX_FILE_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

#[cfg(test)]
#[path = "file_test.rs"]
mod tests;
