//! What stands behind `--model`: a model's folder, its run's or a GGUF file in, a loaded backend out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use idiolect_model::Quantize;
use idiolect_model::tch::Device;
use idiolect_prompting::LocalBackend;

use crate::arguments::{Common, Quantization};
use crate::machine;
use crate::output::usage;

/// The model folder that `dir` is or holds, or the GGUF file it is: a run folder stands for the model it made.
pub fn find(dir: &Path) -> Result<PathBuf> {
    if dir.is_file() {
        return Ok(dir.to_owned());
    }
    let candidates = [dir.to_owned(), dir.join("model")];
    if let Some(found) = candidates.iter().find(|folder| folder.join("config.json").is_file()) {
        return Ok(found.clone());
    }
    if !dir.is_dir() {
        bail!("{}: no such folder or file", dir.display());
    }
    if dir.join("checkpoints").is_dir() {
        bail!(
            "{}: this run has no model yet; `idiolect train` its run file to the end",
            dir.display()
        );
    }
    bail!("{}: no model folder (it has no config.json)", dir.display())
}

/// Loads the model behind `--model` onto the device of the command line, or in fewer bits onto the CPU.
pub fn load(dir: &Path, common: &Common, quantize: Option<Quantization>) -> Result<LocalBackend> {
    let folder = find(dir)?;
    let device = machine::prepare(common)?;
    if quantize.is_some() && (device != Device::Cpu || common.dtype.is_some()) {
        return Err(usage("--quantize is for the CPU, and sets the precision in place of --dtype"));
    }
    let loaded = match quantize {
        None => LocalBackend::load(&folder, device, common.dtype.map(machine::kind)),
        Some(Quantization::Int8) => LocalBackend::load_packed(&folder, Quantize::Int8),
        Some(Quantization::Int4) => LocalBackend::load_packed(&folder, Quantize::Int4),
    };
    loaded.with_context(|| format!("cannot load the model in {}", folder.display()))
}
