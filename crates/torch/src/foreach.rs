//! The gradients of many parameters at once: their norm, and scaling by it.

use crate::error::Result;
use crate::glue;
use tch::Tensor;

/// The 2-norm of all gradients together, as a 0-d f32 tensor; parameters without a gradient are passed over.
pub fn grad_norm(parameters: &[Tensor]) -> Result<Tensor> {
    glue::grad_norm(parameters)
}

/// Multiplies every gradient by `factor`, a 0-d tensor on the same device, in place.
pub fn scale_grads(parameters: &[Tensor], factor: &Tensor) -> Result<()> {
    glue::scale_grads(parameters, factor)
}

/// Scales the gradients so that their norm is at most `max_norm`, as `torch.nn.utils.clip_grad_norm_` does; gives the
/// norm before, as a 0-d tensor (reading it is what waits for the device).
pub fn clip_grad_norm(parameters: &[Tensor], max_norm: f64) -> Result<Tensor> {
    let norm = grad_norm(parameters)?;
    scale_grads(parameters, &clip_factor(&norm, max_norm))?;
    Ok(norm)
}

/// max_norm / norm, but at most 1.
pub(crate) fn clip_factor(norm: &Tensor, max_norm: f64) -> Tensor {
    ((norm + 1e-6).reciprocal() * max_norm).clamp_max(1.0)
}
