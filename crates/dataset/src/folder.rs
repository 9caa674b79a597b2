//! A folder of ours that is made whole or not at all, and that never replaces a folder of somebody else's.

use crate::error::{Error, IoContext, Result};
use idiolect_files::AtomicFolder;
use std::fs;
use std::path::Path;

/// A folder in the making.
pub(crate) struct OutFolder(AtomicFolder);

impl OutFolder {
    /// Begins the folder `out`, which may exist if it is empty or holds a file named `ours`.
    pub(crate) fn create(out: &Path, ours: &str) -> Result<OutFolder> {
        if out.exists() && !out.join(ours).exists() {
            let mut entries = fs::read_dir(out).on("list", out)?;
            if entries.next().is_some() {
                let what = format!("there is something else here (no {ours}): name another folder");
                return Err(Error::Mismatch { path: out.to_path_buf(), what });
            }
        }
        if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).on("create", parent)?;
        }
        Ok(OutFolder(AtomicFolder::create(out)?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts the folder in its place.
    pub(crate) fn commit(self) -> Result<()> {
        Ok(self.0.commit()?)
    }
}
