//! A GGUF file in; a configuration as Transformers writes it, and tensors under Hugging Face's names, out.

mod config;
mod dequantize;
mod names;

use crate::{Error, Result};
use idiolect_files::gguf::{GgufFile, GgufTensor};
use names::{Names, Order};
use serde_json::Value;
use std::path::Path;
use tch::{Kind, Tensor};

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
        let architecture = config::architecture(&file)?;
        let config = config::read(&file, architecture)?;
        let names = Names::new(&file, architecture).map_err(|(name, problem)| Error::Weights {
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

    /// A tensor by Hugging Face's name, dequantised to f32.
    pub(crate) fn tensor(&self, name: &str) -> Option<Result<Tensor>> {
        let place = self.names.get(name)?;
        let (info, bytes) = self.file.get(&place.name)?;
        let count = info.shape.iter().product();
        let shape: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
        Some(
            idiolect_torch::catch(|| {
                let mut numbers = vec![0f32; count];
                dequantize::dequantize(info.dtype, bytes, &mut numbers);
                let tensor = Tensor::from_slice(&numbers).view(shape.as_slice());
                match place.order {
                    Order::Same => tensor,
                    Order::Interleaved { heads } => apart(&tensor, heads),
                }
            })
            .map_err(Error::from),
        )
    }
}

/// Undoes what llama.cpp does to queries and keys: it turns neighbouring numbers of a head against each other, where
/// Transformers turns halves, so that its rows alternate between the halves.
fn apart(rows: &Tensor, heads: i64) -> Tensor {
    let size = rows.size();
    let mut split = vec![heads, size[0] / heads / 2, 2];
    split.extend(&size[1..]);
    rows.view(split.as_slice()).transpose(1, 2).reshape(size.as_slice()).to_kind(Kind::Float)
}
