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
