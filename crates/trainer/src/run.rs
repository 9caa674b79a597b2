//! A run folder comes in, locked and gone on from its newest whole checkpoint; the state that the loop advances goes out.

use crate::checkpoint::{self, Identity, Progress, Score, State};
use crate::journal::{Journal, Position};
use crate::machine::Environment;
use crate::objective::Objective;
use crate::optimizers::Optimizers;
use crate::spike::SpikeGuard;
use crate::{Callbacks, Error, Event, Plan, Result, RunContext, TrainerConfig, resume, validation};
use idiolect_dataset::Samples;
use idiolect_files::{FolderLock, remove_temporaries, write_atomic};
use idiolect_model::Model;
use std::fs;
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
        if let Some((path, state)) = &found {
            resume::compare(path, state, &identity, &plan)?.into_iter().for_each(&mut warn);
            checkpoint::load(path, model, &mut optimizers)?;
        }
        let journal = open_journal(run_dir, found.as_ref().map(|(_, state)| &state.journal), warn)?;
        write_atomic(&run_dir.join("run.toml"), setup.context.run_file.as_bytes())?;
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
            _lock: lock,
        })
    }

    /// Where the checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        checkpoints(self.setup.run_dir)
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

fn checkpoints(run_dir: &Path) -> PathBuf {
    run_dir.join("checkpoints")
}

fn lock(run_dir: &Path) -> Result<FolderLock> {
    make_folder(&checkpoints(run_dir))?;
    let lock = FolderLock::acquire(run_dir)?;
    remove_temporaries(run_dir)?;
    remove_temporaries(&checkpoints(run_dir))?;
    Ok(lock)
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

// Without a whole checkpoint the run begins anew, and what an earlier one left is set aside, not lost.
fn find_checkpoint(
    run_dir: &Path,
    resume: bool,
    warn: &mut impl FnMut(String),
) -> Result<Option<(PathBuf, State)>> {
    if resume {
        let found = checkpoint::find(&checkpoints(run_dir))?;
        for (step, error) in &found.broken {
            checkpoint::put_by(&checkpoints(run_dir), *step)?;
            warn(format!("the checkpoint of step {step} is not whole: {}", chain(error)));
        }
        if found.newest_whole.is_some() {
            return Ok(found.newest_whole);
        }
    }
    if let Some(aside) = set_aside(run_dir)? {
        warn(format!("an earlier run's files were moved to {}", aside.display()));
    }
    Ok(None)
}

fn set_aside(run_dir: &Path) -> Result<Option<PathBuf>> {
    let failed = |source| Error::Io { action: "set aside files of", path: run_dir.into(), source };
    if fs::read_dir(checkpoints(run_dir)).map_err(failed)?.next().is_none() {
        return remove_figures(run_dir).map(|()| None).map_err(failed);
    }
    let free = |count: &u32| !run_dir.join(format!("previous-{count}")).exists();
    let aside = run_dir.join(format!("previous-{}", (1..).find(free).unwrap_or_default()));
    make_folder(&aside)?;
    for entry in fs::read_dir(run_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_ours(&entry.file_name().to_string_lossy()) {
            fs::rename(entry.path(), aside.join(entry.file_name())).map_err(failed)?;
        }
    }
    make_folder(&checkpoints(run_dir))?;
    Ok(Some(aside))
}

// A run that died before its first checkpoint left nothing but figures, which are written again.
fn remove_figures(run_dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(run_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("events.out.tfevents.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    ["checkpoints", "curves", "metrics.jsonl", "model", "report.md", "run.toml"].contains(&name)
        || name.starts_with("events.out.tfevents.")
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

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::Io {
        action: "create the folder",
        path: path.into(),
        source,
    })
}

// An error and its causes in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
