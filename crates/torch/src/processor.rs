//! Nothing comes in; what this processor is, as far as it bears on numbers and speed, goes out.

/// The processor's name, or the architecture's where the system does not tell it.
pub fn processor_name() -> String {
    cpuinfo("model name").unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// The features that the system lists of the processor, such as `avx2`; none where it lists none (it does on Linux).
pub fn processor_features() -> Vec<String> {
    let listed = cpuinfo("flags").or_else(|| cpuinfo("Features")).unwrap_or_default();
    listed.split_whitespace().map(str::to_owned).collect()
}

/// Processor cores that this process may use.
pub fn processor_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether this processor multiplies bf16 in hardware (AVX-512 BF16 or AMX on x86, BF16 on Arm): where it does not,
/// bf16 is emulated and slower than f32.
pub fn bf16_is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected;
        let avx512 = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f");
        // AMX is what stable Rust cannot ask for.
        avx512 || processor_features().iter().any(|feature| feature == "amx_bf16")
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

fn cpuinfo(key: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.split(':').next().map(str::trim) == Some(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_found() {
        assert!(!processor_name().is_empty() && processor_cores() > 0);
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        assert!(processor_features().iter().any(|feature| feature == "sse2"));
    }
}
