//! The hash of a file: a path goes in, blake3 in hexadecimal comes out.

use crate::error::{IoContext, Result};
use std::fs::File;
use std::path::Path;

/// The blake3 hash of a file's bytes, in hexadecimal, read in bounded memory.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("empty");
/// std::fs::write(&path, "").unwrap();
/// assert!(idiolect_files::hash_file(&path)?.starts_with("af1349b9"));
/// # Ok::<(), idiolect_files::Error>(())
/// ```
pub fn hash_file(path: &Path) -> Result<String> {
    let file = File::open(path).on("open", path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).on("read", path)?;
    Ok(hasher.finalize().to_hex().to_string())
}
