//! What the caller says of the run ([`RunContext`]) and what training hands back ([`Outcome`]).

use crate::{StepMetrics, ValidationMetrics};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the trainer cannot know and the report and the model card should say. All of it may stay empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunContext {
    /// The run's name, the title of the report and the model card.
    pub name: String,
    /// The run file as validated, TOML; written to `run.toml`.
    pub run_file: String,
    /// The commit the program was built from.
    pub commit: Option<String>,
    /// Facts that belong to the numbers, such as hashes of data and tokenizer, by name. A resume under others warns.
    pub lineage: BTreeMap<String, String>,
    /// The machine's measured peak of matrix products, FLOP/s, for the share that was used.
    pub peak_flops: Option<f64>,
}

/// How training ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Every step is done; `model/` and `report.md` are written.
    Finished(Box<Summary>),
    /// The caller asked to stop; a checkpoint holds everything.
    Stopped {
        /// Steps done.
        step: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// The figures of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Steps done.
    pub steps: u64,
    /// The last report.
    pub last: Option<StepMetrics>,
    /// The last evaluation.
    pub validation: Option<ValidationMetrics>,
    /// Steps skipped.
    pub skipped: u64,
    /// Seconds of training, evaluations and checkpoints not counted.
    pub seconds: f64,
    /// Positions a second over the whole run.
    pub tokens_per_second: f64,
    /// Peak memory of the process (on CUDA: of the device), bytes.
    pub peak_memory: u64,
    /// Share of the machine's measured peak, if the caller gave one.
    pub flops_utilisation: Option<f64>,
    /// The model's folder.
    pub model: PathBuf,
    /// The report.
    pub report: PathBuf,
}
