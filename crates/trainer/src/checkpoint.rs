//! A run's whole state comes in; a folder `step-N/` goes out, and comes back only if every byte of it is as it was written.
//!
//! ```text
//! step-N/  config.json, model.safetensors     the model, as Transformers reads it
//!          optimizer-1-of-1.safetensors       entries PARAMETER.STATE, with global shape and offset in the metadata
//!          state.json                         what is no tensor
//!          manifest.json                      size and blake3 of each file above
//! ```

use crate::journal::Position;
use crate::machine::Environment;
use crate::optimizers::{NamedState, Optimizers};
use crate::{BestBy, Error, Result, spike};
use idiolect_files::safetensors::{Dtype, SafetensorsFile, SafetensorsWriter};
use idiolect_files::{AtomicFolder, hash_file};
use idiolect_model::Model;
use idiolect_torch::NoGrad;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const OPTIMIZER: &str = "optimizer-1-of-1.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";

/// What a run is besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Of this layout.
    pub version: u32,
    /// How far the run is.
    pub progress: Progress,
    /// What the spike guard remembers.
    pub spike: spike::Memory,
    /// Every evaluation so far: which checkpoints are best.
    pub scores: Vec<Score>,
    /// Where the run's figures end.
    pub journal: Position,
    /// What a resume is compared with.
    pub identity: Identity,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    /// Rows taken since the first epoch began, whatever the number of ranks.
    pub cursor: u64,
    /// Positions trained on.
    pub tokens: u64,
    /// Steps skipped.
    pub skipped: u64,
    /// Seconds of training, evaluations and checkpoints not counted.
    pub seconds: f64,
}

/// An evaluation's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// After this many steps.
    pub step: u64,
    /// Nats per label.
    pub loss: f64,
    /// The share of rows that got their own class, where the model classifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The mean of F1 over the classes, where the model classifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
}

/// What decides a run's numbers, to the bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The section `[trainer]`, seed included.
    pub trainer: serde_json::Value,
    /// The model's configuration.
    pub model: serde_json::Value,
    /// The caller's facts, and the size of the training samples.
    pub data: BTreeMap<String, String>,
    /// The machine and the libraries.
    pub environment: Environment,
}

/// The layout this code writes and reads.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    files: BTreeMap<String, FileFacts>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FileFacts {
    bytes: u64,
    blake3: String,
}

/// Where a piece of a state lies in the whole: with one process, all of it at 0.
#[derive(Debug, Serialize, Deserialize)]
struct Piece {
    parameter: String,
    state: String,
    global_shape: Vec<i64>,
    offset: Vec<i64>,
}

/// Writes the checkpoint of `state.progress.step` into `folder`; it is there whole or not at all.
pub fn save(
    folder: &Path,
    model: &Model,
    optimizers: &Optimizers,
    state: &State,
) -> Result<PathBuf> {
    let path = path_of(folder, state.progress.step);
    let temporary = AtomicFolder::create(&path)?;
    model.save(temporary.path())?;
    save_optimizers(&temporary.path().join(OPTIMIZER), optimizers)?;
    write_json(&temporary.path().join(STATE), state)?;
    let files = facts_of_files(temporary.path())?;
    write_json(&temporary.path().join(MANIFEST), &Manifest { version: VERSION, files })?;
    temporary.commit()?;
    Ok(path)
}

/// What a folder of checkpoints holds.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest checkpoint that is whole, and what it says.
    pub newest_whole: Option<(PathBuf, State)>,
    /// The steps of newer ones, each with what is wrong with it.
    pub broken: Vec<(u64, Error)>,
}

/// Looks for a checkpoint to go on from. One that is there but cannot be read, or that another version wrote, is an error: it may
/// well be whole.
pub fn find(folder: &Path) -> Result<Found> {
    let mut found = Found::default();
    for step in steps(folder)?.into_iter().rev() {
        let path = path_of(folder, step);
        match read_state(&path, step) {
            Ok(state) => {
                found.newest_whole = Some((path, state));
                break;
            }
            Err(error) if is_damage(&error) => found.broken.push((step, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn is_damage(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } | Error::Files(idiolect_files::Error::Io { source, .. }) => {
            source.kind() == std::io::ErrorKind::NotFound
        }
        Error::Version { .. } => false,
        _ => true,
    }
}

/// Copies weights and optimizer state of a whole checkpoint into memory that libtorch allocated, since sums depend on alignment.
pub fn load(path: &Path, model: &Model, optimizers: &mut Optimizers) -> Result<()> {
    load_model(path, model)?;
    let states = load_states(&path.join(OPTIMIZER), model.device())?;
    optimizers.load_state(&states)
}

/// Copies the weights alone.
fn load_model(path: &Path, model: &Model) -> Result<()> {
    let saved = Model::load(path, model.device(), Some(Kind::Float))?;
    let _no_grad = NoGrad::new();
    for (to, from) in model.parameters().iter().zip(saved.parameters()) {
        if to.name != from.name || to.tensor.size() != from.tensor.size() {
            return Err(broken(path, format!("has no tensor for the parameter {}", to.name)));
        }
        to.tensor.shallow_clone().f_copy_(&from.tensor)?;
    }
    Ok(())
}

/// Copies the weights of the checkpoint of a step, if it is there and whole.
pub fn restore(folder: &Path, step: u64, model: &Model) -> Result<()> {
    let path = path_of(folder, step);
    read_state(&path, step)?;
    load_model(&path, model)
}

/// Whether there is a checkpoint of a step.
pub fn is_there(folder: &Path, step: u64) -> bool {
    path_of(folder, step).exists()
}

/// Renames a checkpoint that is not whole, so that it counts as none.
pub fn put_by(folder: &Path, step: u64) -> Result<()> {
    let from = path_of(folder, step);
    let name = |count: u32| match count {
        1 => folder.join(format!("broken-step-{step}")),
        _ => folder.join(format!("broken-step-{step}-{count}")),
    };
    let to = (1..).map(name).find(|path| !path.exists()).unwrap_or_default();
    fs::rename(&from, &to).map_err(|source| Error::Io { action: "rename", path: from, source })
}

/// Removes all checkpoints but the newest `last` and the `best` that score best.
pub fn prune(folder: &Path, scores: &[Score], last: usize, best: (usize, BestBy)) -> Result<()> {
    let steps = steps(folder)?;
    for step in superfluous(&steps, scores, last, best) {
        let path = path_of(folder, step);
        fs::remove_dir_all(&path).map_err(|source| Error::Io { action: "remove", path, source })?;
    }
    Ok(())
}

/// The steps of the checkpoints in a folder, ascending, whole or not.
fn steps(folder: &Path) -> Result<Vec<u64>> {
    let failed = |source| Error::Io { action: "list", path: folder.into(), source };
    let mut steps = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let step = name.to_str().and_then(|name| name.strip_prefix("step-"));
        steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
}

fn path_of(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step}"))
}

fn superfluous(
    steps: &[u64],
    scores: &[Score],
    last: usize,
    (best, by): (usize, BestBy),
) -> Vec<u64> {
    let mut scored: Vec<&Score> = scores.iter().filter(|s| steps.contains(&s.step)).collect();
    scored.sort_by(|a, b| by.rank(a).total_cmp(&by.rank(b)));
    let is_best = |step: u64| scored.iter().take(best).any(|score| score.step == step);
    let older = &steps[..steps.len().saturating_sub(last)];
    older.iter().copied().filter(|step| !is_best(*step)).collect()
}

fn read_state(path: &Path, step: u64) -> Result<State> {
    let manifest: Manifest = read_json(&path.join(MANIFEST))?;
    if manifest.version != VERSION {
        let (path, version) = (path.into(), manifest.version);
        return Err(Error::Version { path, version, expected: VERSION });
    }
    for (name, facts) in &manifest.files {
        let file = path.join(name);
        if facts_of(&file)? != *facts {
            return Err(broken(&file, "is not as it was written".into()));
        }
    }
    let has = |name: &str| manifest.files.contains_key(name);
    if !(has(STATE) && has(OPTIMIZER) && manifest.files.keys().any(|name| is_weights(name))) {
        return Err(broken(path, "lacks a file".into()));
    }
    let state: State = read_json(&path.join(STATE))?;
    if state.progress.step != step {
        return Err(broken(path, format!("holds step {}", state.progress.step)));
    }
    Ok(state)
}

fn is_weights(name: &str) -> bool {
    name.starts_with("model") && name.ends_with(".safetensors")
}

fn facts_of_files(folder: &Path) -> Result<BTreeMap<String, FileFacts>> {
    let failed = |source| Error::Io { action: "list", path: folder.into(), source };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            files.insert(name.to_owned(), facts_of(&path)?);
        }
    }
    Ok(files)
}

fn facts_of(path: &Path) -> Result<FileFacts> {
    let metadata = fs::metadata(path);
    let bytes =
        metadata.map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    Ok(FileFacts { bytes: bytes.len(), blake3: hash_file(path)? })
}

fn save_optimizers(path: &Path, optimizers: &Optimizers) -> Result<()> {
    let states = optimizers.state();
    let (mut layout, mut metadata) = (Vec::new(), BTreeMap::new());
    for NamedState { parameter, state, tensor } in &states {
        let name = format!("{parameter}.{state}");
        let global_shape = tensor.size();
        let shape = global_shape.iter().map(|n| *n as usize).collect();
        let dtype = dtype_of(tensor.kind())
            .ok_or_else(|| broken(path, format!("cannot hold {:?}", tensor.kind())))?;
        let offset = vec![0; global_shape.len()];
        let (parameter, state) = (parameter.clone(), state.clone());
        let piece = Piece { parameter, state, global_shape, offset };
        metadata.insert(name.clone(), json_text(path, &piece)?);
        layout.push((name, dtype, shape));
    }
    let mut writer = SafetensorsWriter::create(path, &layout, &metadata)?;
    for (NamedState { tensor, .. }, (_, dtype, _)) in states.iter().zip(&layout) {
        let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * dtype.size()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        writer.write_tensor(&bytes)?;
    }
    Ok(writer.finish()?)
}

fn load_states(path: &Path, device: tch::Device) -> Result<Vec<NamedState>> {
    let file = SafetensorsFile::open(path)?;
    let mut states = Vec::with_capacity(file.metadata().len());
    for (name, piece) in file.metadata() {
        let piece: Piece = serde_json::from_str(piece)
            .map_err(|error| broken(path, format!("{name}: {error}")))?;
        let (info, bytes) =
            file.get(name).ok_or_else(|| broken(path, format!("lacks the tensor {name}")))?;
        let kind = kind_of(info.dtype)
            .ok_or_else(|| broken(path, format!("{name} is of type {:?}", info.dtype)))?;
        if info.shape.iter().map(|n| *n as i64).ne(piece.global_shape.iter().copied()) {
            return Err(broken(path, format!("holds only a part of {name}")));
        }
        let tensor = Tensor::f_from_data_size(bytes, &piece.global_shape, kind)?;
        let tensor = tensor.f_to_device(device)?;
        states.push(NamedState { parameter: piece.parameter, state: piece.state, tensor });
    }
    Ok(states)
}

const DTYPES: [(Kind, Dtype); 3] =
    [(Kind::Float, Dtype::F32), (Kind::BFloat16, Dtype::Bf16), (Kind::Int64, Dtype::I64)];

fn dtype_of(kind: Kind) -> Option<Dtype> {
    DTYPES.iter().find(|pair| pair.0 == kind).map(|pair| pair.1)
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    DTYPES.iter().find(|pair| pair.1 == dtype).map(|pair| pair.0)
}

fn broken(path: &Path, what: String) -> Error {
    Error::Checkpoint { path: path.into(), what }
}

fn json_text(path: &Path, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| broken(path, error.to_string()))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| broken(path, e.to_string()))?;
    Ok(idiolect_files::write_atomic(path, &text)?)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes =
        fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    serde_json::from_slice(&bytes).map_err(|error| broken(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(last: usize, best: usize, expected: &[u64]) {
        let scores = [(10, 3.0), (20, 1.0), (30, 2.0), (35, 0.5), (40, 2.5)];
        let scores =
            scores.map(|(step, loss)| Score { step, loss, accuracy: None, macro_f1: None });
        assert_eq!(
            superfluous(&[10, 20, 30, 40, 50], &scores, last, (best, BestBy::Loss)),
            expected
        );
    }

    #[test]
    fn best_and_last_are_kept() {
        check(2, 1, &[10, 30]);
        check(1, 2, &[10, 40]);
        check(1, 0, &[10, 20, 30, 40]);
        check(9, 0, &[]);
    }
}
