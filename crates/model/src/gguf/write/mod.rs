//! A model in, a GGUF file that llama.cpp runs out: named, typed and quantised tensor by tensor.

mod metadata;
pub(super) mod names;

use super::quantize::{WRITTEN, quantize};
use crate::config::ModelConfig;
use crate::families::Family;
use crate::parameter::{Parameter, Stored};
use crate::{Error, Model, Result};
use idiolect_files::gguf::{GgmlType, GgufWriter, MetadataValue};
use idiolect_torch::NoGrad;
use metadata::Metadata;
use names::Layout;
use std::ops::ControlFlow;
use std::path::Path;
use tch::{Kind, Tensor};

/// The types that a GGUF file can be written in, as its matrices have them.
pub const GGUF_TYPES: [GgmlType; 6] =
    [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q4_K];

/// What became of a model in a GGUF file.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GgufSaved {
    /// Matrices that have another type than was asked for, because its blocks do not divide their rows or it cannot hold
    /// their numbers: their names in the file, and the type.
    pub fallbacks: Vec<(String, GgmlType)>,
    /// Parameters that such a file has no place for, by their names in the model.
    pub left_out: Vec<String>,
    /// Numbers written.
    pub numbers: u64,
    /// Bytes that they take.
    pub bytes: u64,
}

/// A tensor of the file to be.
struct Entry {
    name: String,
    tensor: Tensor,
    dtype: GgmlType,
    change: Change,
}

/// What becomes of the numbers of a tensor.
#[derive(Clone, Copy)]
enum Change {
    None,
    /// The halves of each head alternate from now on.
    Interleave {
        heads: i64,
    },
    AddOne,
}

impl Model {
    /// Writes a GGUF file, atomically: matrices as `dtype` (one of [`GGUF_TYPES`]), vectors as F32, and the table that
    /// makes logits as Q8_0 where `dtype` has four bits. `texts` is the metadata of the tokenizer; `on_tensor` hears
    /// how many tensors of all are written, and may break off: then there is no file, and `None` comes back.
    ///
    /// # Errors
    /// If such files do not know this family or one of its settings, the model has a classification head or no
    /// parameters, a number is not finite, or the file cannot be written.
    pub fn save_gguf(
        &self,
        path: &Path,
        dtype: GgmlType,
        texts: &[(String, MetadataValue)],
        on_tensor: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<GgufSaved>> {
        self.expect_whole("be saved")?;
        let refuse = |problem: String| Error::Gguf { problem };
        if !GGUF_TYPES.contains(&dtype) {
            let known: Vec<_> = GGUF_TYPES.iter().map(|known| known.as_str()).collect();
            let (known, name) = (known.join(", "), dtype.as_str());
            return Err(refuse(format!("{name} is not a type that is written, known are {known}")));
        }
        let config = self.config();
        let layout = layout(&config).map_err(refuse)?;
        let mut metadata = general(layout.name, dtype);
        metadata.extend(metadata::of(&config, layout).map_err(refuse)?);
        metadata.extend_from_slice(texts);
        let _guard = NoGrad::new();
        let mut saved = GgufSaved::default();
        let mut entries = entries(self.parameters(), &config, layout, &mut saved)?;
        idiolect_torch::catch(|| {
            entries.iter_mut().try_for_each(|entry| choose_type(entry, dtype, &config, &mut saved))
        })??;
        write(path, &metadata, &entries, &mut saved, on_tensor)
    }
}

/// The layout of the family, or why there is none.
fn layout(config: &ModelConfig) -> std::result::Result<&'static Layout, String> {
    let model_type = match config.family().map_err(|error| error.to_string())? {
        Family::Decoder(family) => family.model_type,
        Family::Encoder(family) => family.model_type,
    };
    if !config.labels().is_empty() {
        return Err("it has a classification head".into());
    }
    Layout::of(model_type).map_err(|known| {
        format!("it is of the family {model_type}, and written are {}", known.join(", "))
    })
}

/// What the file says of itself.
fn general(architecture: &str, dtype: GgmlType) -> Metadata {
    // llama.cpp's `LLAMA_FTYPE_MOSTLY_*`.
    let file_type = match dtype {
        GgmlType::F32 => 0,
        GgmlType::F16 => 1,
        GgmlType::Q4_0 => 2,
        GgmlType::Q8_0 => 7,
        GgmlType::Q4_K => 14,
        _ => 32, // BF16
    };
    let text = |value: &str| MetadataValue::Text(value.into());
    let entries = [
        ("general.architecture", text(architecture)),
        ("general.type", text("model")),
        ("general.file_type", MetadataValue::U32(file_type)),
        ("general.quantization_version", MetadataValue::U32(2)),
    ];
    entries.map(|(key, value)| (key.to_string(), value)).into()
}

/// The tensors under their names in the file, all as F32 still.
fn entries(
    parameters: &[Parameter],
    config: &ModelConfig,
    layout: &Layout,
    saved: &mut GgufSaved,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if let Some(divisors) = metadata::frequency_divisors(config) {
        let (name, tensor) = ("rope_freqs.weight".to_string(), Tensor::from_slice(&divisors));
        entries.push(Entry { name, tensor, dtype: GgmlType::F32, change: Change::None });
    }
    for (name, tensor) in parameters.iter().flat_map(parts) {
        if layout.leaves_out(name) {
            saved.left_out.push(name.to_string());
            continue;
        }
        let renamed = layout.rename(name).ok_or_else(|| Error::Gguf {
            problem: format!("{} has no place for its tensor `{name}`", layout.name),
        })?;
        let change = change(name, config, layout);
        entries.push(Entry { name: renamed, tensor, dtype: GgmlType::F32, change });
    }
    Ok(entries)
}

/// The matrices and vectors of a parameter, `[out, in]`, under the names that Hugging Face has for them.
fn parts(parameter: &Parameter) -> Vec<(&str, Tensor)> {
    let Stored::Sections(names) = &parameter.stored else {
        return vec![(&parameter.name, parameter.tensor.detach())];
    };
    let mut start = 0;
    let part = |&rows: &i64| {
        start += rows;
        parameter.tensor.detach().narrow(0, start - rows, rows)
    };
    let tensors = parameter.sections.iter().map(part);
    names.iter().map(String::as_str).zip(tensors).collect()
}

fn change(name: &str, config: &ModelConfig, layout: &Layout) -> Change {
    let ModelConfig::Gpt(config) = config else { return Change::None };
    let part = name.rsplit('.').nth(1).unwrap_or("");
    match part {
        "q_proj" if layout.is_interleaved => Change::Interleave { heads: config.n_heads as i64 },
        "k_proj" if layout.is_interleaved => {
            Change::Interleave { heads: config.n_kv_heads() as i64 }
        }
        _ if layout.adds_one_to_norms && part.contains("norm") => Change::AddOne,
        _ => Change::None,
    }
}

/// Gives a matrix the type that was asked for, or the nearest that can hold it.
fn choose_type(
    entry: &mut Entry,
    asked: GgmlType,
    config: &ModelConfig,
    saved: &mut GgufSaved,
) -> Result<()> {
    let size = entry.tensor.size();
    let most = entry.tensor.abs().max().double_value(&[]);
    if !most.is_finite() {
        let name = &entry.name;
        return Err(Error::Gguf { problem: format!("`{name}` has a number that is not finite") });
    }
    // As the converter has it: tables of positions and segments are small.
    if size.len() < 2 || ["position_embd.weight", "token_types.weight"].contains(&&*entry.name) {
        return Ok(());
    }
    let makes_logits = match config {
        ModelConfig::Gpt(gpt) if gpt.tie_embeddings => entry.name == "token_embd.weight",
        _ => entry.name == "output.weight",
    };
    let wanted = match asked {
        GgmlType::Q4_0 | GgmlType::Q4_K if makes_logits => GgmlType::Q8_0,
        other => other,
    };
    let columns = size[1] as usize;
    let mut dtype = wanted;
    while !columns.is_multiple_of(dtype.block_size()) {
        dtype = match dtype {
            GgmlType::Q4_K => GgmlType::Q5_0,
            _ => GgmlType::F16,
        };
    }
    if most > f64::from(half::f16::MAX) && dtype != GgmlType::BF16 {
        dtype = GgmlType::F32;
    }
    if dtype != wanted {
        saved.fallbacks.push((entry.name.clone(), dtype));
    }
    entry.dtype = dtype;
    Ok(())
}

fn write(
    path: &Path,
    metadata: &Metadata,
    entries: &[Entry],
    saved: &mut GgufSaved,
    on_tensor: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<GgufSaved>> {
    debug_assert!(entries.iter().all(|entry| WRITTEN.contains(&entry.dtype)));
    let shape = |entry: &Entry| entry.tensor.size().iter().map(|&size| size as usize).collect();
    let layout: Vec<(String, GgmlType, Vec<usize>)> =
        entries.iter().map(|entry| (entry.name.clone(), entry.dtype, shape(entry))).collect();
    let mut writer = GgufWriter::create(path, metadata, &layout)?;
    let (mut numbers, mut bytes) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        if on_tensor(index, entries.len()).is_break() {
            return Ok(None);
        }
        let count = entry.tensor.numel();
        numbers.resize(count, 0f32);
        idiolect_torch::catch(|| changed(entry).copy_data(&mut numbers, count))?;
        bytes.resize(count / entry.dtype.block_size() * entry.dtype.block_bytes(), 0);
        quantize(entry.dtype, &numbers, &mut bytes);
        writer.write_tensor(&bytes)?;
        saved.numbers += count as u64;
        saved.bytes += bytes.len() as u64;
    }
    if on_tensor(entries.len(), entries.len()).is_break() {
        return Ok(None);
    }
    writer.finish()?;
    Ok(Some(std::mem::take(saved)))
}

/// The numbers as the file has them, f32 on the CPU, in a row.
fn changed(entry: &Entry) -> Tensor {
    let tensor = entry.tensor.to_device(tch::Device::Cpu).to_kind(Kind::Float);
    let size = tensor.size();
    match entry.change {
        Change::None => tensor,
        Change::AddOne => tensor + 1.0,
        Change::Interleave { heads } => {
            let mut halves = vec![heads, 2, size[0] / heads / 2];
            halves.extend(&size[1..]);
            tensor.view(halves.as_slice()).transpose(1, 2).reshape(size.as_slice())
        }
    }
    .contiguous()
}
