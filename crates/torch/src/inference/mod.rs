//! Kernels of our own for inference on the CPU: weights in few bits, and the layers of a decoder in one call.
//!
//! They exist because decoding one token is hundreds of products too small for libtorch: what counts is how fast the
//! weights stream through the processor, and how little happens between two products.

mod decoder;
mod glue;
mod matrix;

pub use decoder::{CallCache, Decoder, DecoderLayer, DecoderSizes, Gate, Matrix};
pub use matrix::{BlockFormat, PackedMatrix, packable};

/// The index of the largest of `logits`, the first of equals, and the natural logarithm of the sum of all exponentials;
/// `None` without logits.
///
/// ```
/// let (index, log_sum) = idiolect_torch::largest(&[1.0, 3.0, 3.0]).unwrap();
/// assert_eq!(index, 1);
/// assert!((log_sum - (1f64.exp() + 2.0 * 3f64.exp()).ln()).abs() < 1e-6);
/// ```
pub fn largest(logits: &[f32]) -> Option<(usize, f64)> {
    (!logits.is_empty()).then(|| glue::largest(logits))
}

/// The instruction set that products with packed matrices use here: `avx512vnni`, `avx2` or `portable`.
pub fn products_use() -> String {
    glue::products_use()
}

/// Chooses another one, for tests and comparisons; whether the processor has it.
pub fn use_products(name: &str) -> bool {
    glue::use_products(name)
}
