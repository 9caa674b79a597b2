//! What a long piece of work tells its caller, and how the caller stops it.

use crate::error::{Error, Result};
use std::ops::ControlFlow;

/// How far the work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes read so far: of files as they lie on disk in `prepare`, of text in `write_shards`.
    pub bytes: u64,
    /// How many there are; 0 where that is not known.
    pub total_bytes: u64,
    /// Documents read so far.
    pub documents: u64,
    /// Tokens written so far; 0 in `prepare`.
    pub tokens: u64,
}

/// Called some times a second; `ControlFlow::Break` stops the work, which then leaves nothing behind.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Tells the caller, and turns its wish to stop into an error.
pub(crate) fn report(on_progress: OnProgress<'_>, progress: Progress) -> Result<()> {
    match on_progress(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}
