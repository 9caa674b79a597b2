//! What holds for the whole process: threads, determinism, versions, and what the processor is good at.

use crate::error::{Result, TorchError};
use crate::glue;

/// How many threads one operator may use.
pub fn set_threads(n: i32) {
    tch::set_num_threads(n.max(1));
}

/// How many threads one operator uses.
pub fn threads() -> i32 {
    tch::get_num_threads()
}

/// How many operators may run at once in libtorch's own pool; only possible before the pool is first used.
pub fn set_interop_threads(n: i32) -> Result<()> {
    if n < 1 {
        return Err(TorchError::Argument(format!("{n} threads cannot run anything")));
    }
    crate::catch(|| tch::set_num_interop_threads(n))
}

/// Makes operators choose only algorithms that give the same bits every time, or fail. On the CPU everything this
/// workspace uses does so anyway; on CUDA it costs speed and needs `CUBLAS_WORKSPACE_CONFIG=:4096:8` set beforehand.
pub fn deterministic(deterministic: bool) {
    // Only flags are set; there is nothing in it that can fail.
    let _ = glue::deterministic(deterministic);
}

/// The version of libtorch this was compiled against, such as `2.13.0`.
pub fn libtorch_version() -> String {
    glue::version()
}

/// Whether this processor multiplies bf16 in hardware (AVX-512 BF16 or AMX on x86, BF16 on Arm): where it does not,
/// bf16 is emulated and slower than f32.
pub fn bf16_is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        x86_bf16()
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("bf16")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

#[cfg(target_arch = "x86_64")]
fn x86_bf16() -> bool {
    use std::arch::is_x86_feature_detected;
    (is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f")) || amx_bf16()
}

/// AMX-BF16, which stable Rust cannot ask for: Linux lists it.
#[cfg(target_arch = "x86_64")]
fn amx_bf16() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        text.lines()
            .find(|line| line.starts_with("flags"))
            .is_some_and(|line| line.contains("amx_bf16"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_one_that_pairs() {
        let version = libtorch_version();
        assert!(
            ["2.11", "2.12", "2.13"].iter().any(|known| version.starts_with(known)),
            "{version}"
        );
    }

    #[test]
    fn no_threads_is_refused() {
        assert!(set_interop_threads(0).is_err());
    }
}
