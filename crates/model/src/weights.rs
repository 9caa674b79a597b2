//! Parameters to and from files under Hugging Face's names: safetensors (one file, or shards and an index), and from GGUF.

use crate::gguf::Gguf;
use crate::parameter::{Parameter, Stored};
use crate::{Error, Result};
use idiolect_files::safetensors::{Dtype, SafetensorsFile, SafetensorsWriter};
use idiolect_torch::{BlockFormat, NoGrad, PackedMatrix, packable};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Tensors of known models that are no parameters: buffers, copies of tied tables, and the head
/// of BERT's other task. Matched at the end of a name.
const INERT: &[&str] = &[
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
    "embeddings.position_ids",
    "rotary_emb.inv_freq",
    "decoder.weight",
    "cls.predictions.decoder.bias",
    "lm_head.decoder.bias",
    "vocab_projector.weight",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
];

/// What Transformers may leave out or put before every name.
const PREFIXES: &[&str] =
    &["transformer.", "model.", "bert.", "roberta.", "distilbert.", "gpt_neox."];

/// What early files call the ends of names, and what later ones do.
const RENAMED: &[(&str, &str)] = &[
    ("LayerNorm.gamma", "LayerNorm.weight"),
    ("LayerNorm.beta", "LayerNorm.bias"),
    ("embed_out.weight", "lm_head.weight"),
];

/// The files of a model, mapped into memory.
#[derive(Debug)]
pub(crate) struct Weights {
    files: Vec<(PathBuf, Source)>,
    /// Name without prefix to (file, name as stored).
    places: BTreeMap<String, (usize, String)>,
}

/// Where tensors lie.
#[derive(Debug)]
enum Source {
    Safetensors(SafetensorsFile),
    Gguf(Box<Gguf>),
}

impl Source {
    /// The names of its tensors.
    fn names(&self) -> Vec<String> {
        match self {
            Self::Safetensors(file) => file.tensors().iter().map(|one| one.name.clone()).collect(),
            Self::Gguf(file) => file.tensors().map(|(name, _)| name.to_string()).collect(),
        }
    }

    /// The number type of the largest tensor, with its size in bytes, or the name of one that has none. What is
    /// quantised becomes f32.
    fn kind(&self) -> std::result::Result<(usize, Kind), String> {
        match self {
            Self::Safetensors(file) => {
                let largest = file.tensors().iter().max_by_key(|tensor| tensor.range.len());
                largest.map_or(Ok((0, Kind::Float)), |tensor| {
                    let kind = kind_of(tensor.dtype).ok_or_else(|| tensor.name.clone())?;
                    Ok((tensor.range.len(), kind))
                })
            }
            Self::Gguf(_) => Ok((0, Kind::Float)),
        }
    }

    /// The size of a tensor.
    fn shape(&self, name: &str) -> Option<Vec<i64>> {
        match self {
            Self::Gguf(file) => file.shape(name),
            Self::Safetensors(file) => {
                let (info, _) = file.get(name)?;
                Some(info.shape.iter().map(|&size| size as i64).collect())
            }
        }
    }

    /// Copies a tensor into `target` of its size, by memory of its own: a map's alignment would change sums.
    fn copy_to(&self, name: &str, target: &mut Tensor) -> std::result::Result<(), Problem> {
        match self {
            Self::Gguf(file) => {
                file.copy_to(name, target).ok_or("is missing")?.map_err(Problem::Error)
            }
            Self::Safetensors(file) => {
                let (info, bytes) = file.get(name).ok_or("is missing")?;
                let kind = kind_of(info.dtype).ok_or("is not of f32, f16 or bf16")?;
                let shape = target.size();
                idiolect_torch::catch(|| {
                    target.copy_(&Tensor::from_data_size(bytes, &shape, kind));
                })
                .map_err(|error| Problem::Error(error.into()))
            }
        }
    }
}

/// What is wrong with a tensor: a word on it, or an error of its own.
enum Problem {
    What(&'static str),
    Error(Error),
}

impl From<&'static str> for Problem {
    fn from(what: &'static str) -> Self {
        Self::What(what)
    }
}

impl Weights {
    /// The tensors of a GGUF file.
    pub(crate) fn of_gguf(path: &Path, gguf: Gguf) -> Result<Self> {
        Self::of(vec![(path.to_path_buf(), Source::Gguf(Box::new(gguf)))])
    }

    /// Opens `model.safetensors`, or the shards that the index names.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        let paths = match !single.exists() && index.exists() {
            true => shards(dir, &index)?,
            false => vec![single],
        };
        let open = |path: PathBuf| {
            let file = SafetensorsFile::open(&path)?;
            Ok((path, Source::Safetensors(file)))
        };
        Self::of(paths.into_iter().map(open).collect::<Result<_>>()?)
    }

    fn of(files: Vec<(PathBuf, Source)>) -> Result<Self> {
        let mut places = BTreeMap::new();
        for (index, (path, source)) in files.iter().enumerate() {
            for name in source.names() {
                if places.insert(bare(&name), (index, name.clone())).is_some() {
                    return Err(problem(path, &name, "is there twice"));
                }
            }
        }
        Ok(Self { files, places })
    }

    /// How many tensors there are.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// Whether a tensor of this name is there, with or without a prefix.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(&bare(name))
    }

    /// The number type of the largest tensor.
    pub(crate) fn kind(&self) -> Result<Kind> {
        let mut largest = (0, Kind::Float);
        for (path, source) in &self.files {
            let refuse = |name: String| problem(path, &name, "is not of f32, f16 or bf16");
            let own = source.kind().map_err(refuse)?;
            if own.0 >= largest.0 {
                largest = own;
            }
        }
        Ok(largest.1)
    }

    /// Copies every parameter in, converting, and checks that nothing is missing, misshapen or left.
    pub(crate) fn copy_to(&self, parameters: &[Parameter], tied_head: bool) -> Result<()> {
        parameters.iter().try_for_each(|parameter| self.fill(parameter))?;
        self.check_left(parameters, tied_head)
    }

    /// Copies one parameter in, converting.
    pub(crate) fn fill(&self, parameter: &Parameter) -> Result<()> {
        let _guard = NoGrad::new();
        let mut start = 0;
        for (name, rows) in stored_parts(parameter) {
            let target = match &parameter.stored {
                Stored::Same => parameter.tensor.shallow_clone(),
                Stored::Transposed => parameter.tensor.transpose(0, 1),
                Stored::Sections(_) => parameter.tensor.narrow(0, start, rows),
            };
            self.copy_one(name, target)?;
            start += rows;
        }
        Ok(())
    }

    /// A parameter packed as the file has it, where its blocks are of a format that `takes` accepts for all its parts.
    pub(crate) fn packed(
        &self,
        parameter: &Parameter,
        takes: &dyn Fn(BlockFormat) -> bool,
    ) -> Result<Option<PackedMatrix>> {
        let parts = stored_parts(parameter);
        let place = |name: &str| match self.places.get(&bare(name)) {
            Some((file, full)) => match &self.files[*file].1 {
                Source::Gguf(gguf) => Some((gguf, full.as_str())),
                Source::Safetensors(_) => None,
            },
            None => None,
        };
        let format = parts
            .first()
            .and_then(|(name, _)| place(name))
            .and_then(|(gguf, name)| gguf.format(name));
        let [rows, columns] = parameter.tensor.size()[..] else { return Ok(None) };
        let fits = |(name, rows): &(&str, i64)| {
            place(name).and_then(|(gguf, name)| gguf.shape(name)) == Some(vec![*rows, columns])
        };
        let is_plain = !matches!(parameter.stored, Stored::Transposed);
        let Some(format) = format.filter(|&format| takes(format) && is_plain) else {
            return Ok(None);
        };
        if !packable(columns) || !parts.iter().all(fits) {
            return Ok(None);
        }
        let mut matrix = PackedMatrix::zeros(format, rows, columns)?;
        let mut first = 0;
        for (name, rows) in parts {
            // A part that begins inside of a strip of rows is left to the other way.
            let Some((gguf, name)) = place(name).filter(|_| first % PackedMatrix::STRIP == 0)
            else {
                return Ok(None);
            };
            match gguf.pack_to(name, &mut matrix, first) {
                Some(done) => {
                    if !done? {
                        return Ok(None);
                    }
                }
                None => return Ok(None),
            }
            first += rows;
        }
        Ok(Some(matrix))
    }

    /// Checks that no tensor of the files is left over.
    pub(crate) fn check_left(&self, parameters: &[Parameter], tied_head: bool) -> Result<()> {
        let mut left: BTreeSet<&str> = self.places.keys().map(String::as_str).collect();
        for (name, _) in parameters.iter().flat_map(stored_parts) {
            left.remove(bare(name).as_str());
        }
        let inert = |name: &str| {
            INERT.iter().any(|end| name.ends_with(end)) || (tied_head && name == "lm_head.weight")
        };
        match left.into_iter().find(|name| !inert(name)) {
            None => Ok(()),
            Some(name) => {
                let (file, full) = &self.places[name];
                Err(problem(&self.files[*file].0, full, "belongs to no layer of this model"))
            }
        }
    }

    /// Checks that no tensor below one of the `layers` is left over; others may be.
    pub(crate) fn check_left_in(&self, parameters: &[Parameter], layers: &[&str]) -> Result<()> {
        let taken: BTreeSet<String> =
            parameters.iter().flat_map(stored_parts).map(|(name, _)| bare(name)).collect();
        let below = |name: &str| {
            let of = |layer: &&str| {
                name.strip_prefix(bare(layer).as_str()).is_some_and(|rest| rest.starts_with('.'))
            };
            layers.iter().filter(|layer| !layer.is_empty()).any(of)
        };
        let inert = |name: &str| INERT.iter().any(|end| name.ends_with(end));
        let left = self
            .places
            .iter()
            .find(|(name, _)| below(name) && !taken.contains(name.as_str()) && !inert(name));
        match left {
            None => Ok(()),
            Some((_, (file, full))) => {
                Err(problem(&self.files[*file].0, full, "belongs to no layer of this model"))
            }
        }
    }

    fn copy_one(&self, name: &str, mut target: Tensor) -> Result<()> {
        let Some((file, full)) = self.places.get(&bare(name)) else {
            return Err(problem(&self.files[0].0, name, "is missing"));
        };
        let (path, source) = &self.files[*file];
        let shape = source.shape(full).ok_or_else(|| problem(path, full, "is missing"))?;
        if shape != target.size() {
            let what = format!("is of shape {shape:?}, the model needs {:?}", target.size());
            return Err(problem(path, full, what));
        }
        source.copy_to(full, &mut target).map_err(|wrong| match wrong {
            Problem::What(what) => problem(path, full, what),
            Problem::Error(error) => error,
        })
    }
}

/// Writes `model.safetensors` into `dir`, atomically.
pub(crate) fn save(parameters: &[Parameter], dir: &Path) -> Result<()> {
    let path = dir.join(SINGLE);
    let _guard = NoGrad::new();
    let mut entries = Vec::new();
    for parameter in parameters {
        let mut start = 0;
        for (name, rows) in stored_parts(parameter) {
            let tensor = match &parameter.stored {
                Stored::Same => parameter.tensor.shallow_clone(),
                Stored::Transposed => parameter.tensor.transpose(0, 1),
                Stored::Sections(_) => parameter.tensor.narrow(0, start, rows),
            };
            entries.push((name, tensor));
            start += rows;
        }
    }
    entries.sort_by_key(|entry| entry.0);
    let mut layout = Vec::new();
    for (name, tensor) in &entries {
        let dtype = dtype_of(tensor.kind())
            .ok_or_else(|| problem(&path, name, "is not of f32, f16 or bf16"))?;
        let shape = tensor.size().into_iter().map(|size| size as usize).collect();
        layout.push((name.to_string(), dtype, shape));
    }
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    let mut writer = SafetensorsWriter::create(&path, &layout, &metadata)?;
    let mut bytes = Vec::new();
    for (_, tensor) in entries {
        let count = tensor.numel();
        bytes.resize(count * tensor.kind().elt_size_in_bytes(), 0);
        idiolect_torch::catch(|| tensor.contiguous().copy_data_u8(&mut bytes, count))?;
        writer.write_tensor(&bytes)?;
    }
    Ok(writer.finish()?)
}

/// The names a parameter has in files, with their rows.
fn stored_parts(parameter: &Parameter) -> Vec<(&str, i64)> {
    match &parameter.stored {
        Stored::Sections(names) => {
            names.iter().map(String::as_str).zip(parameter.sections.iter().copied()).collect()
        }
        Stored::Same | Stored::Transposed => {
            vec![(parameter.name.as_str(), parameter.sections.iter().sum())]
        }
    }
}

fn shards(dir: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let fail = |what: String| Error::ConfigFile { path: index.to_path_buf(), problem: what };
    let text = std::fs::read_to_string(index)
        .map_err(|source| Error::Read { path: index.to_path_buf(), source })?;
    let index: Index = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    match names.iter().find(|name| Path::new(name).components().count() != 1 || name.contains(".."))
    {
        Some(name) => Err(fail(format!("names the file {name:?}, which is not in the folder"))),
        None => Ok(names.iter().map(|name| dir.join(name)).collect()),
    }
}

/// The name without prefixes, as later files have it.
fn bare(mut name: &str) -> String {
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    let renamed =
        |(old, new): &(&str, &str)| name.strip_suffix(old).map(|start| format!("{start}{new}"));
    RENAMED.iter().find_map(renamed).unwrap_or_else(|| name.to_string())
}

fn problem(path: &Path, name: &str, problem: impl Into<String>) -> Error {
    Error::Weights { path: path.to_path_buf(), name: name.to_string(), problem: problem.into() }
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::Bf16 => Some(Kind::BFloat16),
        _ => None,
    }
}

fn dtype_of(kind: Kind) -> Option<Dtype> {
    match kind {
        Kind::Float => Some(Dtype::F32),
        Kind::Half => Some(Dtype::F16),
        Kind::BFloat16 => Some(Dtype::Bf16),
        _ => None,
    }
}
