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

// The vector extensions that libtorch, oneDNN and MKL choose kernels by.
fn processor_features() -> Vec<String> {
    let prefixes = ["avx", "fma", "amx", "asimd", "sve", "bf16", "i8mm"];
    let mut features = idiolect_torch::processor_features();
    features.retain(|feature| prefixes.iter().any(|prefix| feature.starts_with(prefix)));
    features
}
