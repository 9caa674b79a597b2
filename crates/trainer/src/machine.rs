//! Nothing comes in; what this machine is, as far as it bears on the numbers and the speed, goes out.

use serde::{Deserialize, Serialize};

/// What results to the bit depend on besides seed and configuration; a resume under another one warns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// This library.
    pub idiolect: String,
    /// libtorch.
    pub libtorch: String,
    /// The device trained on.
    pub device: String,
    /// libtorch's threads.
    pub threads: i32,
    /// Processor features that choose among kernels.
    pub processor_features: Vec<String>,
}

impl Environment {
    /// This process, training on `device`.
    pub fn of(device: tch::Device) -> Self {
        Self {
            idiolect: env!("CARGO_PKG_VERSION").into(),
            libtorch: idiolect_torch::libtorch_version(),
            device: format!("{device:?}"),
            threads: idiolect_torch::threads(),
            processor_features: processor_features(),
        }
    }
}

/// The processor's name, or the architecture's where it is not told.
pub fn processor() -> String {
    cpuinfo_line("model name").unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// Cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

// The vector extensions that libtorch, oneDNN and MKL choose kernels by.
fn processor_features() -> Vec<String> {
    let listed = cpuinfo_line("flags").or_else(|| cpuinfo_line("Features")).unwrap_or_default();
    let prefixes = ["avx", "fma", "amx", "asimd", "sve", "bf16", "i8mm"];
    let matters = |flag: &&str| prefixes.iter().any(|prefix| flag.starts_with(prefix));
    listed.split_whitespace().filter(matters).map(str::to_owned).collect()
}

// Linux only; elsewhere there is no such file and nothing is known.
fn cpuinfo_line(key: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.split(':').next().map(str::trim) == Some(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
