//! What can go wrong in this crate, with the values a person needs to mend it.

use std::path::PathBuf;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that cannot run; names the key.
    #[error("model configuration: `{key}` {problem}")]
    Config {
        /// The key to change.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A combination of settings that no architecture of Transformers has.
    #[error("no known architecture has this combination; the nearest, {architecture}, {problem}")]
    Combination {
        /// The architecture with the fewest differences.
        architecture: &'static str,
        /// The keys that differ and what they would have to be.
        problem: String,
    },
    /// A `config.json` that this crate cannot follow.
    #[error("{path}: {problem}")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A weights file that does not fit its configuration.
    #[error("{path}: tensor `{name}` {problem}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An id that the vocabulary does not have.
    #[error("id {id} is outside the vocabulary of {vocab_size}")]
    IdOutOfRange {
        /// The first such id.
        id: i64,
        /// The ids that exist are below this.
        vocab_size: usize,
    },
    /// More positions than the model has.
    #[error("sequence of {got} ids, model takes {max}")]
    TooLong {
        /// The length given.
        got: usize,
        /// The context length of the model.
        max: usize,
    },
    /// An input tensor of the wrong shape or kind, or a missing or superfluous one.
    #[error("input `{name}` {problem}")]
    Input {
        /// The field of the inputs.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Something this model has no part for.
    #[error("{model} cannot {what}")]
    Unsupported {
        /// The kind of model.
        model: &'static str,
        /// What was asked.
        what: &'static str,
    },
    /// A model that no GGUF file can hold.
    #[error("cannot be a GGUF file: {problem}")]
    Gguf {
        /// What stands in the way.
        problem: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] idiolect_files::Error),
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// libtorch refused, out of memory among its reasons.
    #[error(transparent)]
    Torch(#[from] idiolect_torch::TorchError),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
