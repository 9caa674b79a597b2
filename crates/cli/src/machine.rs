//! What this machine is and can do: options of the command line in; a device, figures of speed and memory out.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use idiolect_torch::tch::{Device, Kind, Tensor};

use crate::arguments::{Common, Dtype};
use crate::output::usage;

/// Sets the thread count and finds the device that every command of this call works on.
pub fn prepare(common: &Common) -> Result<Device> {
    set_threads(common)?;
    idiolect_torch::reuse_memory();
    idiolect_torch::parse_device(&common.device)
        .map_err(|error| usage(format!("--device {}: {error}", common.device)))
}

/// Sets the thread count alone, for commands that use no tensor.
pub fn set_threads(common: &Common) -> Result<()> {
    let Some(threads) = common.threads else { return Ok(()) };
    idiolect_torch::set_threads(threads.into());
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.into())
        .build_global()
        .context("cannot set the number of threads")
}

/// libtorch's name of a precision.
pub fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::F16 => Kind::Half,
    }
}

/// Floating-point operations a second in the product of two square matrices, the best of several.
pub fn matrix_product_speed(device: Device, kind: Kind) -> Result<f64> {
    const SIDE: i64 = 1024;
    const HOW_LONG: Duration = Duration::from_millis(300);
    let measured = idiolect_torch::catch(|| {
        let matrix = Tensor::ones([SIDE, SIDE], (kind, device));
        let begun = Instant::now();
        let mut best = f64::INFINITY;
        while begun.elapsed() < HOW_LONG {
            let started = Instant::now();
            // Reading one number waits for the device.
            let product = idiolect_torch::product(&matrix, &matrix)?;
            product.get(0).get(0).double_value(&[]);
            best = best.min(started.elapsed().as_secs_f64());
        }
        Ok(2.0 * (SIDE as f64).powi(3) / best)
    });
    // Both what the closure returned and what it threw.
    let speed: Result<f64, idiolect_torch::TorchError> = measured.and_then(|speed| speed);
    speed.context("cannot measure the speed of matrix products")
}

/// A line of a file in /proc, in bytes: `MemTotal:  24 kB`. `None` where there is no such file.
pub fn memory(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Bytes that may be written to the disk of a folder.
pub fn disk_available(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}
