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
    /// The library underneath failed on input that passed every check.
    #[error("the tokenizer library failed: {0}")]
    Library(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
