//! A folder for one process at a time: a path goes in, a guard comes out or the holder's process id.

use crate::error::{Error, IoContext, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Holds a folder until it is dropped or its process ends, however it ends.
///
/// The lock is on the file `.lock` inside, which holds the process id and stays behind: removing it would let two
/// processes lock two files of one name.
///
/// ```
/// use idiolect_files::{Error, FolderLock};
/// # let folder = tempfile::tempdir().unwrap();
/// let lock = FolderLock::acquire(folder.path())?;
/// match FolderLock::acquire(folder.path()) {
///     Err(Error::Locked { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
///     other => panic!("{other:?}"),
/// }
/// drop(lock);
/// FolderLock::acquire(folder.path())?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
    folder: PathBuf,
}

impl FolderLock {
    /// Takes the folder, which must exist, or says at once who has it.
    pub fn acquire(folder: &Path) -> Result<FolderLock> {
        let path = folder.join(".lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .on("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_pid(&mut file);
                return Err(Error::Locked { path: folder.to_path_buf(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(source).on("lock", &path),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .on("write", &path)?;
        Ok(FolderLock { _file: file, folder: folder.to_path_buf() })
    }

    /// The folder that is held.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The process id in a lock file. `None` in the instant before the holder has written it.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
