//! The parts of a transformer with their gradients, by the kernels that are fastest on this processor.

use crate::error::{Result, TorchError};
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

/// The square of ReLU, each way in one visit to memory.
pub fn squared_relu(input: &Tensor) -> Result<Tensor> {
    glue::squared_relu(input)
}

/// `input` `[.., D]` over the root of its mean square, times `weight` `[D]`, as libtorch's `rms_norm` over the last
/// dimension; each way in one visit to memory where it is f32 on the CPU.
pub fn rms_norm(input: &Tensor, weight: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    glue::rms_norm(input, weight, epsilon)
}

/// What [`split_heads`] does to each head of queries and keys, in this order.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadSteps<'a> {
    /// Divides by the root of the mean square, to which this is added.
    pub norm_epsilon: Option<f64>,
    /// Multiplies queries by the first and keys by the second, `[d]` each.
    pub weights: Option<[&'a Tensor; 2]>,
    /// Turns `x` to `x · cos + roll(x, d / 2) · sin`: cosines and sines (the first half of them with its sign changed),
    /// `[T, 1, d]` or `[B, T, 1, d]`.
    pub angles: Option<[&'a Tensor; 2]>,
}

/// `[B, T, (H + 2K) d]`, queries first, to queries `[B, T, H, d]`, keys and values `[B, T, K, d]`; the steps leave the
/// values alone. In one visit to memory each way where all is f32 on the CPU, by plain operators elsewhere.
///
/// ```
/// use idiolect_torch::{HeadSteps, split_heads, tch::{Device, Kind, Tensor}};
/// let input = Tensor::randn([2, 5, 4 * 8], (Kind::Float, Device::Cpu)); // H = 2, K = 1, d = 8
/// let [queries, keys, values] = split_heads(&input, (2, 1), HeadSteps::default())?;
/// assert_eq!((queries.size(), keys.size()), (vec![2, 5, 2, 8], vec![2, 5, 1, 8]));
/// assert!(values.equal(&input.narrow(2, 24, 8).unsqueeze(2)));
/// # Ok::<(), idiolect_torch::TorchError>(())
/// ```
pub fn split_heads(
    input: &Tensor,
    (n_queries, n_keys): (i64, i64),
    steps: HeadSteps,
) -> Result<[Tensor; 3]> {
    let [of_queries, of_keys] = steps.weights.map_or([None, None], |pair| pair.map(Some));
    let [cos, sin] = steps.angles.map_or([None, None], |pair| pair.map(Some));
    let epsilon = steps.norm_epsilon.unwrap_or(-1.0);
    if epsilon < 0.0 && of_queries.is_some() {
        let text = "split_heads: weights belong to a norm, and there is none";
        return Err(TorchError::Argument(text.to_owned()));
    }
    glue::split_heads(input, [of_queries, of_keys, cos, sin], (n_queries, n_keys), epsilon)
}

/// `a · b` of two matrices without a gradient, by the faster library.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    glue::product(a, b)
}

/// Whether f32 products go to oneDNN on this machine; part of what makes two runs the same to the bit.
pub fn onednn_is_preferred() -> bool {
    glue::onednn_is_preferred()
}
