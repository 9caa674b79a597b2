//! A model and samples come in; a trained model, its checkpoints, metrics and report go out. Text never does.

mod train;

mod config;
mod schedule;

mod batches;
mod extras;
mod optimizers;
mod run;
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

pub use config::{
    AdamwConfig, DEFAULT_GLOBAL_BATCH_SIZE, Dtype, MuonConfig, OptimizerConfig, Plan, Spike,
    SpikeConfig, TrainerConfig,
};
pub use error::{CallbackError, Error, Result};
pub use event::{Callbacks, Event, StepMetrics, ValidationMetrics};
pub use outcome::{Outcome, RunContext, Summary};
pub use schedule::{Schedule, ScheduleKind};
pub use train::train;
