//! What can go wrong with a file, always with its path.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; a full disk and missing permissions end up here.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: `write`, `open`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process (or another part of this one) holds the folder.
    #[error("{} is in use by {}", path.display(), holder_name(*.holder))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process id of the holder, if it had written it yet.
        holder: Option<u32>,
    },
    /// The file's content contradicts itself or its format.
    #[error("{} is damaged or not of this format: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The caller asked for a file that cannot be written as described.
    #[error("cannot write {}: {what}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with the request.
        what: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds the action and the path to an [`std::io::Error`].
pub(crate) trait IoContext<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_path_buf(), source })
    }
}

fn holder_name(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_string(),
    }
}
