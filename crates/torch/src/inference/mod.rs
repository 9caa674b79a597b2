//! Kernels of our own for inference on the CPU: weights in few bits, and the layers of a decoder in one call.
//!
//! They exist because decoding one token is hundreds of products too small for libtorch: what counts is how fast the
//! weights stream through the processor, and how little happens between two products.

mod decoder;
mod glue;
mod matrix;

use crate::error::{Result, TorchError};
use tch::{Device, Kind, Tensor};

pub use decoder::{CallCache, Decoder, DecoderLayer, DecoderSizes, Gate, Matrix};
pub use matrix::{BlockFormat, PackedMatrix, packable};

/// For each row of logits `[N, V]` the index of the largest, the first of equals, and the natural logarithm of the sum of
/// all exponentials, in one visit.
///
/// ```
/// use idiolect_torch::tch::Tensor;
/// let rows = idiolect_torch::largest(&Tensor::from_slice(&[1f32, 3.0, 3.0]).unsqueeze(0))?;
/// let (index, log_sum) = rows[0];
/// assert_eq!(index, 1);
/// assert!((log_sum - (1f64.exp() + 2.0 * 3f64.exp()).ln()).abs() < 1e-6);
/// # Ok::<(), idiolect_torch::TorchError>(())
/// ```
pub fn largest(logits: &Tensor) -> Result<Vec<(usize, f64)>> {
    let size = logits.size();
    if size.len() != 2 || size[1] < 1 {
        return Err(TorchError::Argument(format!("largest: {size:?} are no rows of logits")));
    }
    let logits = logits.f_detach()?.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?;
    Ok(glue::largest(&logits.f_contiguous()?))
}

/// The instruction set that products with packed matrices use here: `avx512vnni`, `avx2` or `portable`.
pub fn products_use() -> String {
    glue::products_use()
}

/// Chooses another one, for tests and comparisons; whether the processor has it.
pub fn use_products(name: &str) -> bool {
    glue::use_products(name)
}
