//! Ids `[..]` to rows `[.., D]` of a table.

use crate::Result;
use crate::init::Init;
use crate::layers::Weight;
use crate::parameter::{ParameterKind, Path};
use tch::Tensor;

/// Ids `[..]` to rows `[.., D]`.
#[derive(Debug)]
pub(crate) struct Embedding {
    /// `[V, D]`.
    pub(crate) weight: Weight,
}

impl Embedding {
    pub(crate) fn new(mut path: Path<'_>, rows: i64, columns: i64, init: Init) -> Result<Self> {
        let weight = path.parameter("weight", &[rows, columns], ParameterKind::Embedding, init)?;
        Ok(Self { weight: weight.into() })
    }

    /// The rows of these ids.
    pub(crate) fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.weight.rows(ids)
    }

    /// The rows `start..start + length`, `[length, D]`, without a look-up.
    pub(crate) fn rows(&self, start: i64, length: i64) -> Tensor {
        let table = &self.weight.dense;
        if start == 0 && length == table.size()[0] {
            table.shallow_clone()
        } else {
            table.narrow(0, start, length)
        }
    }
}
