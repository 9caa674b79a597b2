//! The training loop: batch, forward, backward, step, report; everything else is a function called every n steps.

use crate::{Callbacks, Outcome, Result, RunContext, TrainerConfig};
use idiolect_dataset::Samples;
use idiolect_model::Model;
use std::path::Path;

/// Trains `model` on `train` in `run_dir`, going on from its newest whole checkpoint if there is one.
#[allow(clippy::too_many_arguments)]
pub fn train(
    _model: &mut Model,
    _train: &dyn Samples,
    _validation: Option<&dyn Samples>,
    _config: &TrainerConfig,
    _run_dir: &Path,
    _context: &RunContext,
    _callbacks: &mut dyn Callbacks,
) -> Result<Outcome> {
    Err(crate::Error::NoSamples)
}
