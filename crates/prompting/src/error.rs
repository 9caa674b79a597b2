//! What can go wrong between a task in words and its answer.

use std::path::PathBuf;

/// Short for a result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why an answer could not be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The backend cannot do what was asked, whatever the input.
    #[error("this backend cannot {what}")]
    Unsupported {
        /// What was asked, as a verb: "score text".
        what: &'static str,
    },
    /// A template names a variable that has no value.
    #[error("the template has an unknown variable `{name}` (known: {known})")]
    UnknownVariable {
        /// The variable's name.
        name: String,
        /// The names that have values.
        known: String,
    },
    /// A template is not well formed.
    #[error("the template is not well formed at byte {at}: {what}")]
    Template {
        /// Where in the template, in bytes.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A request whose values make no sense.
    #[error("`{field}` {what}")]
    Request {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The text to fill has no mask in it.
    #[error("the text has no {mask} to fill in: {text:?}")]
    NoMask {
        /// How the model writes a mask.
        mask: String,
        /// The text that was given.
        text: String,
    },
    /// The tokenizer and the model of one folder do not fit together.
    #[error(
        "{}: the tokenizer has {ids} ids, the model only {vocab_size}",
        path.display()
    )]
    Mismatch {
        /// The model folder.
        path: PathBuf,
        /// How many ids the tokenizer has.
        ids: usize,
        /// How many the model has.
        vocab_size: usize,
    },
    /// The model broke off a job, which is a bug of this program.
    #[error("the model broke off without an answer")]
    WorkerGone,
    /// The model's thread could not be started.
    #[error("cannot start a thread for the model")]
    Thread(#[source] std::io::Error),
    /// A file is not the JSON it should be.
    #[error("{}: not as expected", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tokenizer refused.
    #[error(transparent)]
    Tokenizer(#[from] idiolect_tokenizer::Error),
    /// The model refused.
    #[cfg(feature = "local")]
    #[error(transparent)]
    Model(#[from] idiolect_model::Error),
    /// libtorch refused.
    #[cfg(feature = "local")]
    #[error("libtorch failed")]
    Torch(#[from] idiolect_model::tch::TchError),
}
