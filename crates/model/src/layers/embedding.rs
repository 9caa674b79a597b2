//! Ids `[..]` to rows `[.., D]` of a table.

use crate::Result;
use crate::init::Init;
use crate::parameter::{ParameterKind, Path};
use tch::Tensor;

/// Ids `[..]` to rows `[.., D]`.
#[derive(Debug)]
pub(crate) struct Embedding {
    /// `[V, D]`.
    pub(crate) weight: Tensor,
}

impl Embedding {
    pub(crate) fn new(mut path: Path<'_>, rows: i64, columns: i64, init: Init) -> Result<Self> {
        let weight = path.parameter("weight", &[rows, columns], ParameterKind::Embedding, init)?;
        Ok(Self { weight })
    }

    /// The rows of these ids.
    pub(crate) fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(idiolect_torch::embedding(&self.weight, ids)?)
    }

    /// The rows `start..start + length`, `[length, D]`, without a look-up.
    pub(crate) fn rows(&self, start: i64, length: i64) -> Tensor {
        if start == 0 && length == self.weight.size()[0] {
            self.weight.shallow_clone()
        } else {
            self.weight.narrow(0, start, length)
        }
    }
}
