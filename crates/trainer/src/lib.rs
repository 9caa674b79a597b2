//! A model and samples come in; a trained model, its checkpoints, figures and report go out. Text never does.
//!
//! ```text
//! Samples ── batch ──> Model ── loss, gradient ──> AdamW / Muon ──┐      every n steps:
//!    ^                                                            │        metrics.jsonl, events.*   (report)
//!    └──────── the next step, at the schedule's rate <────────────┘        checkpoints/step-N/       (save)
//!                                                                          loss on validation        (evaluate)
//! at the end: model/, report.md, curves/
//! ```
//!
//! A model with a classification head learns the classes of rows instead, where samples give them.
//!
//! Everything a run needs is in its folder: call [`train`] again and it goes on from the newest whole checkpoint, to the bit.
//!
//! ```
//! use idiolect_dataset::{Batch, Samples};
//! use idiolect_model::{GptConfig, Model, ModelConfig};
//! use idiolect_trainer::{Outcome, RunContext, TrainerConfig, train};
//!
//! /// Rows that count: 0 1 2 3 4 0 1 2 ...
//! struct Counting;
//!
//! impl Samples for Counting {
//!     fn len(&self) -> u64 {
//!         5
//!     }
//!     fn columns(&self) -> usize {
//!         4
//!     }
//!     fn batch(&self, _epoch: u64, samples: &[u64]) -> idiolect_dataset::Result<Batch> {
//!         let rows = |shift: i64| {
//!             samples.iter().flat_map(move |s| (0..4).map(move |t| (*s as i64 + t + shift) % 5)).collect()
//!         };
//!         Ok(Batch { rows: samples.len(), columns: 4, ids: rows(0), labels: rows(1), ..Batch::default() })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gpt = GptConfig {
//!     vocab_size: 5,
//!     context_length: 4,
//!     hidden_size: 16,
//!     n_layers: 1,
//!     n_heads: 2,
//!     ..GptConfig::tiny()
//! };
//! let mut model = Model::new(&ModelConfig::Gpt(gpt), 1, tch::Device::Cpu)?;
//! let config = TrainerConfig {
//!     steps: Some(30),
//!     global_batch_size: Some(5),
//!     learning_rate: 1e-2,
//!     ..TrainerConfig::default()
//! };
//! let folder = tempfile::tempdir()?;
//! let context = RunContext::default();
//! let outcome = train(&mut model, &Counting, None, &config, folder.path(), &context, &mut ())?;
//! match outcome {
//!     Outcome::Finished(summary) => assert!(summary.last.unwrap().loss < 0.5),
//!     other => panic!("{other:?}"),
//! }
//! assert!(folder.path().join("model/model.safetensors").exists());
//! # Ok(())
//! # }
//! ```

mod train;

mod config;
mod plan;
mod schedule;

mod batches;
mod best;
mod confusion;
mod extras;
mod objective;
mod optimizers;
mod run;
mod run_folder;
mod spike;
mod validation;

mod checkpoint;
mod resume;

mod journal;
mod machine;
mod report;
mod svg;
mod tensorboard;

mod error;
mod event;
mod outcome;

pub use best::BestBy;
pub use config::{
    AdamwConfig, DEFAULT_GLOBAL_BATCH_SIZE, Dtype, MuonConfig, OptimizerConfig, Spike, SpikeConfig,
    TrainerConfig,
};
pub use confusion::Confusion;
pub use error::{CallbackError, Error, Result};
pub use event::{Callbacks, Event, StepMetrics, ValidationMetrics};
pub use outcome::{Outcome, RunContext, Summary};
pub use plan::Plan;
pub use run_folder::{check_run_folder, is_record, set_run_aside};
pub use schedule::{Schedule, ScheduleKind};
pub use train::train;
