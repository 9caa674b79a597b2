//! What can go wrong with a tokenizer, always with the file or setting it is about.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] idiolect_files::Error),
    /// The content of a tokenizer file is not one, or contradicts itself.
    #[error("{origin} is not a usable tokenizer: {what}")]
    Invalid {
        /// The file, or what stands for it.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
    /// An id that the tokenizer does not have.
    #[error("id {id} is outside the vocabulary of {vocab_size}")]
    UnknownId {
        /// The id.
        id: u32,
        /// One more than the largest id.
        vocab_size: usize,
    },
    /// A training setting that cannot be satisfied.
    #[error("tokenizer.{key}: {what}")]
    Config {
        /// The key in the section `[tokenizer]`.
        key: &'static str,
        /// What is wrong with its value.
        what: String,
    },
    /// A chat template that is not well formed, fails, refuses the chat, or would take too much time or memory.
    #[error("{origin}, line {line}: {what}")]
    Template {
        /// The file, or what stands for it.
        origin: String,
        /// The template's line.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// Messages and options that do not fit each other or the template.
    #[error("{what}")]
    Chat {
        /// What does not fit.
        what: String,
    },
    /// A model without a chat template.
    #[error("{}: no chat template", folder.display())]
    NoChatTemplate {
        /// Where it was looked for.
        folder: std::path::PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The library underneath failed on input that passed every check.
    #[error("the tokenizer library failed: {0}")]
    Library(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
