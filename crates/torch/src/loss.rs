//! The language-model head: hidden states and the output table go in, the summed loss comes out with its gradients.

use crate::error::Result;
use crate::glue;
use tch::Tensor;

/// How many logits may exist at once: 64 MiB of f32.
const LOGITS_AT_ONCE: i64 = 1 << 24;

/// `cross_entropy(hidden · weightᵀ, labels)` in nats, summed over the labels that are not -100, as an f32 scalar with a
/// gradient. `hidden` is `[N, D]`, `weight` `[V, D]`, `labels` `[N]` (i64); `softcap` c bends logits to `c·tanh(x/c)`.
///
/// The logits are made, used and dropped a chunk of rows at a time, and both gradients are computed on the way, so that
/// `[N, V]` never exists whole. During `backward()` the gradient of a leaf `weight` is added straight into its `.grad`.
/// Under [`Autocast`](crate::Autocast) the products are narrow; softmax and loss are always f32. Backward works once.
///
/// ```
/// use idiolect_torch::{linear_cross_entropy, tch::{Device, Kind, Tensor}};
/// let hidden = Tensor::randn([6, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let weight = Tensor::zeros([10, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let labels = Tensor::from_slice(&[1i64, 2, 3, -100, 5, 6]);
/// let loss = linear_cross_entropy(&hidden, &weight, &labels, None)?;
/// loss.backward();
/// assert!((loss.double_value(&[]) - 5.0 * 10f64.ln()).abs() < 1e-5);
/// assert_eq!(weight.grad().size(), [10, 8]);
/// # Ok::<(), idiolect_torch::TorchError>(())
/// ```
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    labels: &Tensor,
    softcap: Option<f64>,
) -> Result<Tensor> {
    let vocabulary = weight.size().first().copied().unwrap_or(1).max(1);
    let chunk = (LOGITS_AT_ONCE / vocabulary / 32 * 32).max(32);
    chunked(hidden, weight, labels, softcap, chunk)
}

fn chunked(
    hidden: &Tensor,
    weight: &Tensor,
    labels: &Tensor,
    softcap: Option<f64>,
    chunk: i64,
) -> Result<Tensor> {
    glue::linear_cross_entropy(hidden, weight, labels, softcap.unwrap_or(0.0), chunk)
}
