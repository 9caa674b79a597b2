//! libtorch's random generators: seeded, read and written back. Everything but dropout is drawn in Rust instead.

use crate::error::{Result, TorchError};
use crate::glue;
use tch::{Device, Tensor};

/// Seeds the default generator of a device.
pub fn seed(device: Device, seed: i64) -> Result<()> {
    glue::generator_seed(device, seed)
}

/// The state of the default generator of a device, bytes on the CPU.
pub fn generator_state(device: Device) -> Result<Tensor> {
    glue::generator_state(device)
}

/// Puts back a state that [`generator_state`] gave: what is drawn next repeats exactly.
pub fn set_generator_state(device: Device, state: &Tensor) -> Result<()> {
    if state.kind() != tch::Kind::Uint8 {
        return Err(TorchError::Argument(format!(
            "a generator state is a tensor of bytes, not {:?}",
            state.kind()
        )));
    }
    glue::set_generator_state(device, state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    /// The generator is the process's: one test, so that no other draws in between.
    #[test]
    fn draws_repeat_after_seed_and_after_state() {
        let draw = || Tensor::randn([100], (Kind::Float, Device::Cpu));
        seed(Device::Cpu, 7).unwrap();
        let first = draw();
        let state = generator_state(Device::Cpu).unwrap();
        let second = draw();
        set_generator_state(Device::Cpu, &state).unwrap();
        assert_eq!(second, draw());
        seed(Device::Cpu, 7).unwrap();
        assert_eq!(first, draw());
        let short = state.slice(0, 0, 10, 1);
        assert!(set_generator_state(Device::Cpu, &short).is_err());
    }
}
