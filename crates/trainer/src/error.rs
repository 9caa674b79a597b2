//! Everything that can go wrong in training, with the values a person needs.

use std::path::PathBuf;

/// What a [`crate::Callbacks`] hook may return.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// This crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why training did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key of the section `[trainer]` has a value that cannot run.
    #[error("trainer.{key} {message}")]
    Config {
        /// The key.
        key: String,
        /// What is wrong with its value.
        message: String,
    },
    /// There is nothing to train on.
    #[error("there are no training samples")]
    NoSamples,
    /// No position of a whole global batch bears a label.
    #[error("step {step}: no position of the batch has a label, so there is no loss")]
    NoLabels {
        /// The step, counted from 1.
        step: u64,
    },
    /// A row is of a class that the model does not have.
    #[error("a row is of class {class}, the model has {count}")]
    NoSuchClass {
        /// The class.
        class: i64,
        /// How many there are.
        count: usize,
    },
    /// The samples and the model's head are for different tasks.
    #[error("the samples' labels are {samples}, the model predicts {model}")]
    Objective {
        /// What the samples give.
        samples: &'static str,
        /// What the model has a head for.
        model: &'static str,
    },
    /// The validation samples bear no label.
    #[error("no position of the validation samples has a label, so there is no loss")]
    NoValidationLabels,
    /// The loss or the gradient was not finite for too many steps in a row.
    #[error(
        "step {step}: loss {loss} and gradient norm {grad_norm} after {count} such steps in a row"
    )]
    NonFinite {
        /// The step, counted from 1.
        step: u64,
        /// Its loss.
        loss: f64,
        /// The norm of its gradient.
        grad_norm: f64,
        /// Steps in a row that were skipped for this.
        count: u64,
    },
    /// The run folder's checkpoint belongs to another run.
    #[error("{path}: cannot be resumed, since {key} was {was} and is now {now}", path = path.display())]
    Resume {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        key: String,
        /// What the checkpoint says.
        was: String,
        /// What this run says.
        now: String,
    },
    /// The run is done, and what this one asks for would have given other weights.
    #[error(
        "{path}: the run is finished, with {key} {was}; under {now} its report would not be true",
        path = path.display()
    )]
    Finished {
        /// The last checkpoint.
        path: PathBuf,
        /// What differs.
        key: String,
        /// What the checkpoint says.
        was: String,
        /// What this run says.
        now: String,
    },
    /// A file where a run would write its own, which no run wrote.
    #[error(
        "{path} is no run's, and a run would overwrite it: move it, or name another folder for the run",
        path = path.display()
    )]
    NotARun {
        /// The file or folder.
        path: PathBuf,
    },
    /// A checkpoint that is whole by its hashes does not hold what it should.
    #[error("{path}: {what}", path = path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A checkpoint of another version of this crate.
    #[error("{path} is of version {version}, this program reads {expected}", path = path.display())]
    Version {
        /// The checkpoint.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The version that is read.
        expected: u32,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of ours could not be read or written.
    #[error(transparent)]
    Files(#[from] idiolect_files::Error),
    /// A batch could not be made.
    #[error(transparent)]
    Dataset(#[from] idiolect_dataset::Error),
    /// The model refused its input or could not be saved.
    #[error(transparent)]
    Model(#[from] idiolect_model::Error),
    /// libtorch failed, for instance for want of memory.
    #[error(transparent)]
    Torch(#[from] idiolect_torch::TorchError),
    /// A hook of the caller failed.
    #[error("a hook failed")]
    Callback(#[source] CallbackError),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}
