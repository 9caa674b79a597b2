//! A weight matrix `[out, in]`: a tensor that can be trained, or packed in few bits for inference on the CPU.

use crate::Result;
use idiolect_torch::{Matrix, PackedMatrix};
use tch::{Device, Kind, Tensor};

/// `[out, in]`.
#[derive(Debug)]
pub(crate) struct Weight {
    /// Without elements once it is packed.
    pub(crate) dense: Tensor,
    pub(crate) packed: Option<PackedMatrix>,
}

impl Weight {
    /// Another hold on the same memory.
    pub(crate) fn shallow_clone(&self) -> Self {
        let packed = self.packed.as_ref().map(PackedMatrix::shallow_clone);
        Self { dense: self.dense.shallow_clone(), packed }
    }

    /// `[.., in]` to `[.., out]`.
    pub(crate) fn linear(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(match &self.packed {
            Some(packed) => packed.linear(input, bias)?,
            None => idiolect_torch::linear(input, &self.dense, bias)?,
        })
    }

    /// The rows of these ids, `[..]` to `[.., in]`.
    pub(crate) fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(match &self.packed {
            Some(packed) => packed.rows(ids)?.to_kind(self.kind()),
            None => idiolect_torch::embedding(&self.dense, ids)?,
        })
    }

    /// What the layers of a decoder in one call take it as.
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        match &self.packed {
            Some(packed) => Matrix::Packed(packed),
            None => Matrix::Dense(&self.dense),
        }
    }

    /// The number type of what is computed with it.
    pub(crate) fn kind(&self) -> Kind {
        self.dense.kind()
    }

    pub(crate) fn device(&self) -> Device {
        self.dense.device()
    }
}

impl From<Tensor> for Weight {
    fn from(dense: Tensor) -> Self {
        Self { dense, packed: None }
    }
}
