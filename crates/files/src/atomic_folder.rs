//! Folders written whole: files go into a temporary folder, and a commit moves it to its place.

use crate::atomic_file::{folder_of, sync_folder, temporary_path};
use crate::error::{Error, IoContext, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A folder that appears at its path, with everything in it, only when [`AtomicFolder::commit`] succeeds.
///
/// An existing folder there is replaced: on Linux the two are exchanged in one step, elsewhere there is a moment with
/// neither. Dropped without a commit, the temporary folder is removed.
///
/// ```
/// # let parent = tempfile::tempdir().unwrap();
/// # let path = parent.path().join("step-100");
/// let folder = idiolect_files::AtomicFolder::create(&path)?;
/// std::fs::write(folder.path().join("state.json"), "{}").unwrap();
/// assert!(!path.exists());
/// folder.commit()?;
/// assert!(path.join("state.json").exists());
/// # Ok::<(), idiolect_files::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFolder {
    temporary: PathBuf,
    place: PathBuf,
}

impl AtomicFolder {
    /// Makes a temporary folder beside `path`, whose parent must exist.
    pub fn create(path: &Path) -> Result<AtomicFolder> {
        let temporary = temporary_path(path)?;
        fs::create_dir(&temporary).on("create a folder beside", path)?;
        Ok(AtomicFolder { temporary, place: path.to_path_buf() })
    }

    /// The same, but what is there is only replaced if it is one of ours: an empty folder, or one that holds a file named
    /// `ours`, as the new one then must too. The folders above it are made where they are missing.
    ///
    /// ```
    /// # let parent = tempfile::tempdir().unwrap();
    /// # let path = parent.path().join("tokenizer");
    /// std::fs::create_dir(&path).unwrap();
    /// std::fs::write(path.join("by-hand.txt"), "").unwrap();
    /// assert!(idiolect_files::AtomicFolder::replacing_ours(&path, "made-from.txt").is_err());
    /// # Ok::<(), idiolect_files::Error>(())
    /// ```
    pub fn replacing_ours(path: &Path, ours: &str) -> Result<AtomicFolder> {
        if path.symlink_metadata().is_ok() && !path.join(ours).exists() {
            let is_empty = fs::read_dir(path).on("list", path)?.next().is_none();
            if !is_empty {
                let what = format!(
                    "there is something else here (no {ours}): move it away, or name another folder"
                );
                return Err(Error::Refused { path: path.to_path_buf(), what });
            }
        }
        let parent = folder_of(path);
        fs::create_dir_all(parent).on("create", parent)?;
        AtomicFolder::create(path)
    }

    /// The temporary folder, to write into.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Syncs every file and folder inside, then moves the folder to its place, replacing what is there.
    pub fn commit(self) -> Result<()> {
        sync_tree(&self.temporary)?;
        if self.place.symlink_metadata().is_ok() {
            // The old content is now under the temporary name, which `drop` removes.
            exchange(&self.temporary, &self.place)?;
        } else {
            fs::rename(&self.temporary, &self.place)
                .on("move a finished folder to", &self.place)?;
        }
        sync_folder(folder_of(&self.place))
    }
}

impl Drop for AtomicFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.temporary).or_else(|_| fs::remove_file(&self.temporary));
    }
}

/// Swaps two names in one step where the system can.
fn exchange(new: &Path, old: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    // Not every file system can exchange; in three steps then.
    let aside = temporary_path(old)?;
    fs::rename(old, &aside).on("move aside", old)?;
    if let Err(error) = fs::rename(new, old).on("move a finished folder to", old) {
        let _ = fs::rename(&aside, old);
        return Err(error);
    }
    fs::rename(&aside, new).on("move aside", old)
}

/// Syncs every file and folder under `folder`, deepest first. Links are not followed.
fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).on("list", folder)? {
        let entry = entry.on("list", folder)?;
        let path = entry.path();
        let kind = entry.file_type().on("look at", &path)?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).on("sync", &path)?;
        }
    }
    sync_folder(folder)
}
