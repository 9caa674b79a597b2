//! What training tells its caller ([`Event`]) and asks of it ([`Callbacks`]).

use crate::{CallbackError, Confusion};
use idiolect_model::Model;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::{Path, PathBuf};

/// What happened, in the order it happens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Training begins or goes on.
    Started {
        /// Steps done before.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Trained numbers.
        parameters: u64,
        /// Positions of one optimizer step.
        tokens_per_step: u64,
        /// The checkpoint that training goes on from.
        resumed_from: Option<PathBuf>,
    },
    /// Something a person should know that stops nothing.
    Warning {
        /// What it is, as a sentence.
        message: String,
    },
    /// A report, every `log_every` steps and after the last.
    Step {
        /// The line of `metrics.jsonl`.
        #[serde(flatten)]
        metrics: StepMetrics,
        /// Steps in all.
        steps: u64,
        /// Seconds to the last step at the present speed.
        eta_seconds: f64,
    },
    /// A step was skipped: a spike, or not finite.
    Skipped {
        /// The step, counted from 1.
        step: u64,
        /// Its loss in nats per label; `null` in JSON if not finite.
        loss: f64,
        /// The norm of its gradient before clipping.
        grad_norm: f64,
    },
    /// An evaluation on the validation samples.
    Validated(ValidationMetrics),
    /// A checkpoint is whole on disk.
    Saved {
        /// Steps it holds.
        step: u64,
        /// Its folder.
        path: PathBuf,
    },
}

/// One report of training, a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Steps done.
    pub step: u64,
    /// This step's loss in nats per label.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// The peak-rate group's rate in this step.
    pub learning_rate: f64,
    /// The norm of this step's gradient before clipping.
    #[serde(deserialize_with = "null_is_nan")]
    pub grad_norm: f64,
    /// Positions trained on so far.
    pub tokens: u64,
    /// Steps skipped so far.
    pub skipped: u64,
    /// Positions a second since the last report, evaluations and checkpoints not counted.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
    /// Seconds of training so far, evaluations and checkpoints not counted.
    pub seconds: f64,
}

/// One evaluation, a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// Steps done.
    pub step: u64,
    /// Nats per label.
    #[serde(deserialize_with = "null_is_nan")]
    pub validation_loss: f64,
    /// Standard error of the loss over the micro-batches; absent with fewer than two.
    pub validation_stderr: Option<f64>,
    /// e to the loss.
    #[serde(deserialize_with = "null_is_nan")]
    pub perplexity: f64,
    /// Bits per byte of text; absent where the loss covers only a part of it (masked training).
    pub bits_per_byte: Option<f64>,
    /// Labels scored.
    pub labels: u64,
    /// The share of rows that got their own class, where the model classifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The mean of F1 over the classes, where the model classifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    /// How often rows of each class were given each class, where the model classifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
}

// JSON has neither infinity nor NaN, and gets a null for both.
fn null_is_nan<'de, D: Deserializer<'de>>(number: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(number)?.unwrap_or(f64::NAN))
}

/// What the caller may listen to, decide and add. Every method has a default; `()` is the caller that does nothing.
pub trait Callbacks {
    /// Something happened.
    fn on_event(&mut self, _event: Event) {}

    /// Polled before every micro-batch: `true` saves a checkpoint and ends in [`crate::Outcome::Stopped`].
    fn should_stop(&mut self) -> bool {
        false
    }

    /// Called after every evaluation with the model in inference mode, for instance to write a sample.
    fn on_validation(&mut self, _step: u64, _model: &mut Model) -> Result<(), CallbackError> {
        Ok(())
    }

    /// Called for the report: lines of the caller's own for its table of scores, such as intervals, by name.
    fn scores(&mut self, _validation: &ValidationMetrics) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Called while `model/` is written, before it gets its name: put tokenizer files beside the weights here.
    fn complete_model(&mut self, _folder: &Path) -> Result<(), CallbackError> {
        Ok(())
    }
}

impl Callbacks for () {}
