//! Modes of libtorch that last as long as a value lives: no gradient, autocast. Restored also after a panic.

use std::marker::PhantomData;

use crate::error::Result;
use crate::glue;
use tch::{Device, Kind};

/// While this lives, operators on this thread record no gradient.
///
/// ```
/// use idiolect_torch::{NoGrad, tch::{Device, Kind, Tensor}};
/// let weight = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let guard = NoGrad::new();
/// assert!(!(&weight * 2).requires_grad());
/// drop(guard);
/// assert!((&weight * 2).requires_grad());
/// ```
#[must_use = "gradients are recorded again when the guard is dropped"]
#[derive(Debug)]
pub struct NoGrad {
    before: bool,
    /// The mode is the thread's own, so the guard stays on it.
    thread: PhantomData<*const ()>,
}

impl NoGrad {
    /// Stops recording on this thread.
    #[allow(clippy::new_without_default)]
    pub fn new() -> NoGrad {
        NoGrad { before: glue::set_grad_enabled(false), thread: PhantomData }
    }
}

impl Drop for NoGrad {
    fn drop(&mut self) {
        glue::set_grad_enabled(self.before);
    }
}

/// While this lives, operators on this thread run in a narrower type where that is safe (matrix products), and in f32
/// where it is not (softmax, losses), as in PyTorch. Works on the CPU, where `tch::autocast` has no effect, and on CUDA.
/// Guards nest; casts of weights are cached until the outermost guard is dropped.
#[must_use = "autocast ends when the guard is dropped"]
#[derive(Debug)]
pub struct Autocast {
    device: Device,
    before: glue::AutocastState,
    thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Begins autocast to `dtype` (`Kind::BFloat16` or `Kind::Half`; `Kind::Float` switches it off for the inner part).
    pub fn new(device: Device, dtype: Kind) -> Result<Autocast> {
        let before = glue::autocast_begin(device, dtype)?;
        Ok(Autocast { device, before, thread: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        glue::autocast_end(self.device, self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    fn product_kind() -> Kind {
        let a = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        a.matmul(&a).kind()
    }

    #[test]
    fn autocast_nests_and_ends() {
        assert_eq!(product_kind(), Kind::Float);
        {
            let _outer = Autocast::new(Device::Cpu, Kind::BFloat16).unwrap();
            assert_eq!(product_kind(), Kind::BFloat16);
            {
                let _inner = Autocast::new(Device::Cpu, Kind::Float).unwrap();
                assert_eq!(product_kind(), Kind::Float);
            }
            assert_eq!(product_kind(), Kind::BFloat16);
        }
        assert_eq!(product_kind(), Kind::Float);
    }

    #[test]
    fn autocast_refuses_a_type_without_a_meaning() {
        assert!(Autocast::new(Device::Cpu, Kind::Int64).is_err());
    }

    #[test]
    fn no_grad_ends_after_a_panic() {
        let weight = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let result = crate::catch(|| {
            let _guard = NoGrad::new();
            panic!("in between")
        });
        assert!(result.is_err());
        assert!((&weight * 2).requires_grad());
    }
}
