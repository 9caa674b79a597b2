//! What can go wrong between answers and figures.

/// Short for a result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a figure could not be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to score.
    #[error(
        "nothing to score: {tokens} tokens in {texts} texts, and the first of each needs one before it"
    )]
    NothingToScore {
        /// How many texts were read.
        texts: usize,
        /// How many tokens they had.
        tokens: usize,
    },
    /// A setting that makes no sense.
    #[error("`{field}` {what}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The backend answered with something other than what was asked.
    #[error("the backend gave {got} scores where {expected} were asked for")]
    Scores {
        /// How many came.
        got: usize,
        /// How many were asked for.
        expected: usize,
    },
    /// The backend gave a log-probability that is none, so that no figure would mean anything.
    #[error("the backend gave {value} as a log-probability; the model's weights may be broken")]
    NotANumber {
        /// What it gave.
        value: f32,
    },
    /// The backend refused.
    #[error(transparent)]
    Backend(#[from] idiolect_prompting::Error),
}
