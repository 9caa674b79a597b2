//! `idiolect doctor`: nothing in; what this machine has, and what to do about what it lacks, out.

use std::path::Path;

use anyhow::Result;
use idiolect_torch::tch::{Device, Kind};
use serde::Serialize;

use super::DONE;
use crate::arguments::Common;
use crate::machine;
use crate::output::Output;

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    system: String,
    processor: String,
    processor_features: Vec<String>,
    cores: usize,
    threads: i32,
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    disk_available_bytes: Option<u64>,
    libtorch: String,
    devices: Vec<String>,
    /// The device that was measured.
    device: String,
    /// Floating-point operations a second in matrix products.
    matmul_f32_flops: Option<f64>,
    matmul_bf16_flops: Option<f64>,
    /// What lacks, and what to do about it.
    advice: Vec<String>,
}

/// Looks, measures, and tells.
pub fn run(common: &Common, output: Output) -> Result<u8> {
    let device = machine::prepare(common)?;
    let mut findings = look(device);
    findings.advice = advice(&findings);
    output.result(&findings, for_people)?;
    Ok(DONE)
}

fn look(device: Device) -> Findings {
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processor: idiolect_torch::processor_name(),
        processor_features: processor_features(),
        cores: idiolect_torch::processor_cores(),
        threads: idiolect_torch::threads(),
        memory_bytes: machine::memory("MemTotal"),
        memory_available_bytes: machine::memory("MemAvailable"),
        disk_available_bytes: machine::disk_available(Path::new(".")),
        libtorch: idiolect_torch::libtorch_version(),
        devices: devices(),
        device: format!("{device:?}").to_lowercase(),
        matmul_f32_flops: machine::matrix_product_speed(device, Kind::Float).ok(),
        matmul_bf16_flops: machine::matrix_product_speed(device, Kind::BFloat16).ok(),
        advice: Vec::new(),
    }
}

fn devices() -> Vec<String> {
    let gpus = if idiolect_torch::cuda_is_available() {
        idiolect_torch::tch::Cuda::device_count()
    } else {
        0
    };
    let mut devices = vec!["cpu".to_owned()];
    devices.extend((0..gpus).map(|gpu| format!("cuda:{gpu}")));
    devices
}

/// What matters for the speed of matrix products, of what this processor has.
fn processor_features() -> Vec<String> {
    let matters = [
        "avx2",
        "fma",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_bf16",
        "asimd",
        "bf16",
        "i8mm",
    ];
    let mut features = idiolect_torch::processor_features();
    features.retain(|feature| matters.contains(&feature.as_str()));
    features
}

fn advice(found: &Findings) -> Vec<String> {
    const GIB: u64 = 1 << 30;
    let mut advice = Vec::new();
    if !found.libtorch.starts_with("2.13") {
        advice.push(format!("libtorch is {}, this program is tested with 2.13", found.libtorch));
    }
    if !idiolect_torch::bf16_is_fast() && found.device == "cpu" {
        advice.push("the processor has no bf16 arithmetic: train with dtype = \"f32\"".to_owned());
    }
    if found.devices.len() == 1 {
        advice.push(
            "no CUDA GPU was found: for one, install its driver and the CUDA build of libtorch \
             (`cargo xtask setup --cuda`)"
                .to_owned(),
        );
    }
    if found.memory_available_bytes.is_some_and(|bytes| bytes < 2 * GIB) {
        advice
            .push("less than 2 GiB of memory is free: take a smaller micro_batch_size".to_owned());
    }
    if found.disk_available_bytes.is_some_and(|bytes| bytes < 2 * GIB) {
        advice.push("less than 2 GiB of disk is free here: checkpoints may not fit".to_owned());
    }
    advice
}

fn for_people(found: &Findings) -> String {
    let gib = |bytes: Option<u64>| {
        bytes.map_or("unknown".to_owned(), |b| format!("{:.1} GiB", b as f64 / (1u64 << 30) as f64))
    };
    let speed = |flops: Option<f64>| {
        flops.map_or("not possible".to_owned(), |flops| format!("{:.1} GFLOP/s", flops / 1e9))
    };
    let rows = [
        ("idiolect", format!("{} on {}", found.version, found.system)),
        ("processor", found.processor.clone()),
        ("features", found.processor_features.join(" ")),
        ("cores", format!("{}, {} threads in use", found.cores, found.threads)),
        (
            "memory",
            format!("{}, {} free", gib(found.memory_bytes), gib(found.memory_available_bytes)),
        ),
        ("disk", format!("{} free here", gib(found.disk_available_bytes))),
        ("libtorch", found.libtorch.clone()),
        ("devices", found.devices.join(" ")),
        ("products f32", format!("{} on {}", speed(found.matmul_f32_flops), found.device)),
        ("products bf16", format!("{} on {}", speed(found.matmul_bf16_flops), found.device)),
    ];
    let rows = rows.iter().map(|(name, value)| format!("{name:14} {value}"));
    let advice = found.advice.iter().map(|line| format!("* {line}"));
    rows.chain(advice).collect::<Vec<_>>().join("\n")
}
