//! The folder behind `--model`: a model's own or its run's in, a loaded backend out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use idiolect_prompting::LocalBackend;

use crate::arguments::Common;
use crate::machine;

/// The model folder that `dir` is or holds: a run folder stands for the model it made.
pub fn find(dir: &Path) -> Result<PathBuf> {
    let candidates = [dir.to_owned(), dir.join("model")];
    if let Some(found) = candidates.iter().find(|folder| folder.join("config.json").is_file()) {
        return Ok(found.clone());
    }
    if !dir.is_dir() {
        bail!("{}: no such folder", dir.display());
    }
    if dir.join("checkpoints").is_dir() {
        bail!(
            "{}: this run has no model yet; `idiolect train` its run file to the end",
            dir.display()
        );
    }
    bail!("{}: no model folder (it has no config.json)", dir.display())
}

/// Loads the model behind `--model` onto the device of the command line.
pub fn load(dir: &Path, common: &Common) -> Result<LocalBackend> {
    let folder = find(dir)?;
    let device = machine::prepare(common)?;
    LocalBackend::load(&folder, device, common.dtype.map(machine::kind))
        .with_context(|| format!("cannot load the model in {}", folder.display()))
}
