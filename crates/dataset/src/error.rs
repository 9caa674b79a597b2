//! What can go wrong between a text file and a batch, always with the file and, where there is one, the line.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; a full disk and missing permissions end up here.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file could not be written safely.
    #[error(transparent)]
    Files(#[from] idiolect_files::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] idiolect_tokenizer::Error),
    /// A path, folder or glob leads to no file.
    #[error("{what}: {pattern}")]
    NoInput {
        /// What is the matter: `no file matches`, `no such file or folder`.
        what: &'static str,
        /// The path or glob as configured.
        pattern: String,
    },
    /// A row is not a document; `on_bad_row = "drop"` would count it and go on.
    #[error("{}, line {line}: {what}; on_bad_row = \"drop\" counts such rows and goes on", path.display())]
    BadRow {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A file is no text.
    #[error("{}, line {line}: {what}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A compressed file ends early or is damaged.
    #[error("{} is damaged after {read} bytes: {}", path.display(), source)]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How many bytes of it, compressed, were read.
        read: u64,
        /// What the decompressor said.
        source: std::io::Error,
    },
    /// A file of ours contradicts itself or the one beside it.
    #[error("{} is damaged or not a file of ours: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Token shards that this program or this tokenizer must not read.
    #[error("{}: {what}", path.display())]
    Mismatch {
        /// The file or folder.
        path: PathBuf,
        /// What differs and what to do about it.
        what: String,
    },
    /// A configuration that cannot be carried out.
    #[error("`{key}`: {what}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        what: String,
    },
    /// The split left one side without documents.
    #[error("no document is left for the {side} side: {what}")]
    EmptySide {
        /// `training` or `validation`.
        side: &'static str,
        /// How many there were, and what to do about it.
        what: String,
    },
    /// A sample was asked for that does not exist.
    #[error("sample {sample} of {count}")]
    NoSuchSample {
        /// The sample asked for.
        sample: u64,
        /// How many there are.
        count: u64,
    },
    /// The data does not fill one sample.
    #[error("{tokens} tokens do not fill one sample, which needs {needed}")]
    TooFewTokens {
        /// How many there are.
        tokens: u64,
        /// How many one sample needs.
        needed: u64,
    },
    /// An id does not fit the vocabulary.
    #[error("id {id} does not fit a vocabulary of {vocab_size}")]
    IdOutOfRange {
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        vocab_size: usize,
    },
    /// The caller's progress function asked to stop. Nothing was written.
    #[error("stopped on request; nothing was written")]
    Stopped,
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
