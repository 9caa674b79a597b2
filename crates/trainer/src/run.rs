//! A run folder comes in, locked and gone on from its newest whole checkpoint; the state that the loop advances goes out.

use crate::checkpoint::{self, Identity, Progress, Score, State};
use crate::journal::{Journal, Position};
use crate::machine::Environment;
use crate::objective::Objective;
use crate::optimizers::Optimizers;
use crate::run_folder::{self, find_checkpoint, lock, write_record};
use crate::spike::SpikeGuard;
use crate::{Callbacks, Error, Event, Plan, Result, RunContext, TrainerConfig, resume, validation};
use idiolect_dataset::Samples;
use idiolect_files::FolderLock;
use idiolect_model::Model;
use std::path::{Path, PathBuf};

/// What [`crate::train`] was given besides model and callbacks.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub train: &'a dyn Samples,
    pub validation: Option<&'a dyn Samples>,
    pub config: &'a TrainerConfig,
    pub run_dir: &'a Path,
    pub context: &'a RunContext,
}

/// A run in progress.
pub struct Run<'a> {
    pub setup: Setup<'a>,
    pub plan: Plan,
    pub optimizers: Optimizers,
    pub objective: Objective,
    pub progress: Progress,
    pub guard: SpikeGuard,
    pub journal: Journal,
    pub scores: Vec<Score>,
    pub identity: Identity,
    /// The validation samples that every evaluation scores.
    pub chosen: Vec<u64>,
    /// How far the run was at its last report.
    pub reported: Progress,
    /// Whether the run was finished before, and what it left is there.
    pub was_finished: bool,
    _lock: FolderLock,
}

impl<'a> Run<'a> {
    /// Locks the folder, then goes on from its newest whole checkpoint or begins anew.
    pub fn open(
        setup: Setup<'a>,
        model: &mut Model,
        callbacks: &mut dyn Callbacks,
    ) -> Result<Self> {
        let Setup { train, config, run_dir, .. } = setup;
        let plan = config.plan(train.len(), train.columns())?;
        let objective = Objective::of(model, config)?;
        let lock = lock(run_dir)?;
        prepare_libtorch(config);
        let mut optimizers = Optimizers::new(model.parameters(), config)?;
        let identity = identity(&setup, model)?;
        let mut warn = |message| callbacks.on_event(Event::Warning { message });
        let found = find_checkpoint(run_dir, config.resume, &mut warn)?;
        let mut was_finished = false;
        if let Some((path, state)) = &found {
            let is_done = is_done(&plan, config, state);
            was_finished = is_done && run_folder::is_finished(run_dir);
            let changed = resume::compare(path, state, &identity, (&plan, is_done))?;
            changed.into_iter().for_each(&mut warn);
            checkpoint::load(path, model, &mut optimizers)?;
        }
        if !was_finished {
            write_record(run_dir, &setup.context.run_file)?;
        }
        let journal = open_journal(run_dir, found.as_ref().map(|(_, state)| &state.journal), warn)?;
        model.train(true);
        let (resumed_from, state) = found.unzip();
        let progress = state.as_ref().map_or(Progress::default(), |state| state.progress);
        let (memory, scores) = state.map_or_else(Default::default, |s| (s.spike, s.scores));
        callbacks.on_event(Event::Started {
            step: progress.step,
            steps: plan.steps,
            parameters: model.parameters().iter().map(|p| p.tensor.numel() as u64).sum(),
            tokens_per_step: (plan.rows * train.columns()) as u64,
            resumed_from,
        });
        Ok(Self {
            setup,
            chosen: setup.validation.map_or_else(Vec::new, |samples| {
                validation::choose(samples, config, plan.micro_rows)
            }),
            plan,
            optimizers,
            objective,
            progress,
            guard: SpikeGuard::new(config.spike, memory),
            journal,
            scores,
            identity,
            reported: progress,
            was_finished,
            _lock: lock,
        })
    }

    /// Where the checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        run_folder::checkpoints(self.setup.run_dir)
    }

    /// All that a checkpoint needs besides tensors; what was reported so far is on disk when this returns.
    pub fn state(&mut self) -> Result<State> {
        Ok(State {
            version: checkpoint::VERSION,
            progress: self.progress,
            spike: self.guard.memory().clone(),
            scores: self.scores.clone(),
            journal: self.journal.position()?,
            identity: self.identity.clone(),
        })
    }
}

/// Whether a checkpoint leaves nothing to train.
fn is_done(plan: &Plan, config: &TrainerConfig, state: &State) -> bool {
    let by = config.best_by.unwrap_or_default();
    let is_out =
        config.patience.is_some_and(|patience| by.is_out_of_patience(&state.scores, patience));
    state.progress.step == plan.steps || is_out
}

fn prepare_libtorch(config: &TrainerConfig) {
    idiolect_torch::reuse_memory();
    idiolect_torch::deterministic(config.deterministic);
    if let Some(threads) = config.threads {
        idiolect_torch::set_threads(threads as i32);
    }
}

fn identity(setup: &Setup, model: &Model) -> Result<Identity> {
    let json = |key: &str, value: serde_json::Result<serde_json::Value>| {
        value.map_err(|error| Error::Config { key: key.into(), message: error.to_string() })
    };
    let mut data = setup.context.lineage.clone();
    data.insert("samples".into(), setup.train.len().to_string());
    data.insert("columns".into(), setup.train.columns().to_string());
    Ok(Identity {
        trainer: json("trainer", serde_json::to_value(setup.config))?,
        model: json("model", serde_json::to_value(model.config()))?,
        data,
        environment: Environment::of(model.device()),
    })
}

fn open_journal(
    run_dir: &Path,
    position: Option<&Position>,
    mut warn: impl FnMut(String),
) -> Result<Journal> {
    let (journal, is_shorter) = Journal::open(run_dir, position)?;
    if is_shorter {
        warn("metrics.jsonl or the TensorBoard file is shorter than the checkpoint says".into());
    }
    Ok(journal)
}
