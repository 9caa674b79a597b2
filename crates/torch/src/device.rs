//! Devices by name, and CUDA made visible: the linker drops libtorch_cuda, so it is loaded by hand, once, on demand.

use std::sync::OnceLock;

use crate::error::{Result, TorchError};
use crate::glue;
use tch::Device;

/// Whether libtorch can use a GPU of NVIDIA's. The first call loads `libtorch_cuda` where there is one, which must be
/// before anything asks for CUDA; later calls only answer. On a CPU-only libtorch it says no, and harms nothing.
pub fn cuda_is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        load_cuda();
        glue::has_cuda()
    })
}

/// Reads `cpu`, `cuda`, `cuda:1` or `mps`, and checks that the machine has it.
pub fn parse_device(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, Some(index)),
        None => (name, None),
    };
    match (kind, index) {
        ("cpu", None) => Ok(Device::Cpu),
        ("mps", None) if tch::utils::has_mps() => Ok(Device::Mps),
        ("mps", None) => Err(missing(name, "this libtorch has no MPS")),
        ("cuda", index) => cuda(name, index),
        _ => {
            Err(TorchError::Argument(format!("device {name:?} is none of cpu, cuda, cuda:N, mps")))
        }
    }
}

fn cuda(name: &str, index: Option<&str>) -> Result<Device> {
    let index = index.unwrap_or("0").parse::<usize>().map_err(|_| {
        TorchError::Argument(format!("device {name:?}: what follows the colon is a number"))
    })?;
    if !cuda_is_available() {
        return Err(missing(
            name,
            "libtorch sees no CUDA device: `idiolect doctor` says what is there",
        ));
    }
    let count = tch::Cuda::device_count();
    if (index as i64) < count {
        Ok(Device::Cuda(index))
    } else {
        Err(missing(name, &format!("this machine has {count}")))
    }
}

fn missing(name: &str, why: &str) -> TorchError {
    TorchError::Argument(format!("device {name:?} is not available: {why}"))
}

#[cfg(target_os = "linux")]
fn load_cuda() {
    // SAFETY: a NUL-terminated name; loading runs libtorch_cuda's constructors, which register its operators, and it is
    // never closed. Where the library is not there, dlopen gives null and nothing has happened.
    unsafe {
        libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
    }
}

#[cfg(not(target_os = "linux"))]
fn load_cuda() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(parse_device("cpu").unwrap(), Device::Cpu);
        for name in ["", "gpu", "cpu:0", "cuda:x", "cuda:4096", "CPU"] {
            assert!(parse_device(name).is_err(), "{name}");
        }
    }
}
