//! The linear layer and the embedding, with gradients, by the kernels that are fastest on this processor.

use crate::error::Result;
use crate::glue;
use tch::Tensor;

/// `input · weightᵀ + bias`: `input` is `[.., in]`, `weight` `[out, in]`, `bias` `[out]`, as libtorch's `linear`.
///
/// In f32 on AMD processors with AVX-512 it multiplies with oneDNN, forward and backward, in about half the time that
/// libtorch's own choice takes there. Everywhere else, under autocast and for small products, it is libtorch's `linear`.
pub fn linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    glue::linear(input, weight, bias)
}

/// Rows of the table `weight` `[V, D]` by `ids`, as libtorch's `embedding`.
///
/// During `backward()` the gradient is added row by row straight into the `.grad` of a leaf `weight`: where the table is
/// also the output head and [`linear_cross_entropy`](crate::linear_cross_entropy) left its gradient there, no second
/// table of gradients is made.
pub fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    glue::embedding(weight, ids)
}

/// GELU in its tanh form, as libtorch's `gelu` with `approximate = "tanh"`, each way in one visit to memory.
pub fn gelu(input: &Tensor) -> Result<Tensor> {
    glue::gelu(input)
}

/// `a · b` of two matrices without a gradient, by the faster library.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    glue::product(a, b)
}

/// Whether f32 products go to oneDNN on this machine; part of what makes two runs the same to the bit.
pub fn onednn_is_preferred() -> bool {
    glue::onednn_is_preferred()
}
