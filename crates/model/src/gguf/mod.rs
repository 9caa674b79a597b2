//! A GGUF file in; a configuration as Transformers writes it, and tensors under Hugging Face's names, out.

mod config;
mod dequantize;
mod frequencies;
mod names;
mod quantize;
mod quantize_k;
mod write;

pub use write::{GGUF_TYPES, GgufSaved};

use crate::{Error, Result};
use idiolect_files::gguf::{GgmlType, GgufFile, GgufTensor};
use idiolect_torch::{BlockFormat, PackedMatrix};
use names::{Names, Order};
use serde_json::Value;
use std::path::Path;
use tch::Tensor;

/// An opened file whose architecture is known.
#[derive(Debug)]
pub(crate) struct Gguf {
    file: GgufFile,
    /// What Transformers' `config.json` would say.
    pub(crate) config: Value,
    names: Names,
}

impl Gguf {
    /// Opens and checks a file; its tensors are read later.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = GgufFile::open(path)?;
        let layout = config::architecture(&file)?;
        let config = config::read(&file, layout)?;
        let names = Names::new(&file, layout).map_err(|(name, problem)| Error::Weights {
            path: path.to_path_buf(),
            name,
            problem,
        })?;
        Ok(Self { file, config, names })
    }

    /// The tensors with the names that Hugging Face gives them.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &GgufTensor)> {
        self.names.iter().filter_map(|(name, place)| Some((name, self.file.get(&place.name)?.0)))
    }

    /// The size of a tensor by Hugging Face's name.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let place = self.names.get(name)?;
        let (info, _) = self.file.get(&place.name)?;
        let mut shape: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
        if place.is_transposed {
            shape.reverse();
        }
        Some(shape)
    }

    /// Copies a tensor into `target`, which has its size, dequantised, some rows at a time: it is never there twice in full.
    pub(crate) fn copy_to(&self, name: &str, target: &mut Tensor) -> Option<Result<()>> {
        let place = self.names.get(name)?;
        let (info, bytes) = self.file.get(&place.name)?;
        let rows = info.shape.first().copied().unwrap_or(1).max(1);
        let (row_bytes, numbers) =
            (bytes.len() / rows, info.shape.iter().product::<usize>() / rows);
        // Whole heads, so that their halves are together.
        let step = match place.order {
            Order::Interleaved { heads } => rows / heads as usize,
            Order::Thirds { .. } => rows,
            Order::Same => (ROWS_AT_ONCE / numbers.max(1)).clamp(1, rows),
        };
        let target = match place.is_transposed {
            true => target.transpose(0, 1),
            false => target.shallow_clone(),
        };
        let mut values = vec![0f32; step * numbers];
        let mut copy = |first: usize| -> Result<()> {
            let count = step.min(rows - first);
            let (bytes, values) =
                (&bytes[first * row_bytes..][..count * row_bytes], &mut values[..count * numbers]);
            dequantize::dequantize(info.dtype, bytes, values);
            if place.has_one_added {
                values.iter_mut().for_each(|value| *value -= 1.0);
            }
            Ok(idiolect_torch::catch(|| {
                let tensor = Tensor::from_slice(values);
                let tensor = match place.order {
                    Order::Same => tensor,
                    Order::Interleaved { .. } => tensor
                        .view([count as i64 / 2, 2, numbers as i64])
                        .transpose(0, 1)
                        .contiguous(),
                    Order::Thirds { heads } => tensor
                        .view([3, heads, count as i64 / heads / 3, numbers as i64])
                        .transpose(0, 1)
                        .contiguous(),
                };
                let mut part = match target.dim() {
                    0 => target.shallow_clone(),
                    _ => target.narrow(0, first as i64, count as i64),
                };
                part.copy_(&tensor.view(part.size().as_slice()));
            })?)
        };
        let copied = (0..rows).step_by(step).try_for_each(&mut copy);
        self.file.release(&place.name);
        Some(copied)
    }

    /// Takes the blocks of a tensor `[rows, columns]` as they are into the rows of `matrix` from `first` on; false where the
    /// file has another format.
    pub(crate) fn pack_to(
        &self,
        name: &str,
        matrix: &mut PackedMatrix,
        first: i64,
    ) -> Option<Result<bool>> {
        let place = self.names.get(name)?;
        let (info, bytes) = self.file.get(&place.name)?;
        if block_format(info.dtype) != Some(matrix.format()) || info.shape.len() != 2 {
            return Some(Ok(false));
        }
        let row_bytes = bytes.len() / info.shape[0].max(1);
        let packed = match place.order {
            Order::Same => matrix.set_blocks(first, bytes),
            Order::Thirds { .. } => return Some(Ok(false)),
            Order::Interleaved { heads } => {
                matrix.set_blocks(first, &apart(bytes, row_bytes, info.shape[0] / heads as usize))
            }
        };
        self.file.release(&place.name);
        Some(packed.map(|()| true).map_err(Error::from))
    }

    /// The format that a tensor's blocks have, where there are products for it.
    pub(crate) fn format(&self, name: &str) -> Option<BlockFormat> {
        block_format(self.file.get(&self.names.get(name)?.name)?.0.dtype)
    }
}

/// Numbers that are dequantised at once.
const ROWS_AT_ONCE: usize = 1 << 21;

fn block_format(dtype: GgmlType) -> Option<BlockFormat> {
    match dtype {
        GgmlType::Q8_0 => Some(BlockFormat::Q8_0),
        GgmlType::Q4_0 => Some(BlockFormat::Q4_0),
        GgmlType::Q4_1 => Some(BlockFormat::Q4_1),
        _ => None,
    }
}

/// Undoes what llama.cpp does to queries and keys: it turns neighbouring numbers of a head against each other, where
/// Transformers turns halves, so that its rows alternate between the halves.
fn apart(rows: &[u8], row_bytes: usize, head_dim: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len());
    for head in rows.chunks(row_bytes * head_dim) {
        for half in 0..2 {
            let of_half = head.chunks(row_bytes).skip(half).step_by(2);
            of_half.for_each(|row| out.extend_from_slice(row));
        }
    }
    out
}

#[test]
fn the_halves_of_a_head_are_put_apart() {
    assert_eq!(apart(b"a1b2c3d4A1B2C3D4", 2, 4), b"a1c3b2d4A1C3B2D4");
}
