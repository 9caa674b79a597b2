//! Files written whole: bytes go to a temporary beside the place, and a commit moves it there.

use crate::error::{Error, IoContext, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that appears at its path only when [`AtomicFile::commit`] succeeds.
///
/// Dropped without a commit, it leaves the old file untouched and removes its temporary. A process that is killed leaves
/// the temporary behind, under a name that [`remove_temporaries`] knows.
///
/// ```
/// use std::io::Write;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("notes.txt");
/// let mut file = idiolect_files::AtomicFile::create(&path)?;
/// file.write_all(b"all").unwrap();
/// file.write_all(b" or nothing").unwrap();
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"all or nothing");
/// # Ok::<(), idiolect_files::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    // `None` only while `commit` runs.
    writer: Option<BufWriter<File>>,
    temporary: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Opens a temporary beside `path`, whose folder must exist.
    pub fn create(path: &Path) -> Result<AtomicFile> {
        let temporary = temporary_path(path)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .on("create a file beside", path)?;
        let writer = Some(BufWriter::with_capacity(1 << 16, file));
        Ok(AtomicFile { writer, temporary, path: path.to_path_buf() })
    }

    /// The path the file will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes and syncs the bytes, renames the temporary to its place and syncs the folder.
    pub fn commit(mut self) -> Result<()> {
        self.flush().on("write", &self.path)?;
        if let Some(writer) = self.writer.take() {
            writer.get_ref().sync_all().on("sync", &self.path)?;
        }
        fs::rename(&self.temporary, &self.path).on("move a finished file to", &self.path)?;
        sync_folder(folder_of(&self.path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // Taken apart, so that dropping it does not write the rest of the buffer first.
            drop(writer.into_parts());
        }
        // After a commit the name is gone, and that is no error.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes a whole file: `path` holds either its old content or all of `bytes`, whatever happens.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("state.json");
/// idiolect_files::write_atomic(&path, b"{}")?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"{}");
/// # Ok::<(), idiolect_files::Error>(())
/// ```
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).on("write", path)?;
    file.commit()
}

/// Removes the temporaries that killed processes left in `folder` and says how many there were.
///
/// To be called by whoever holds the folder's lock: those of a living writer would go too.
pub fn remove_temporaries(folder: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder).on("list", folder)? {
        let entry = entry.on("list", folder)?;
        if !entry.file_name().to_str().is_some_and(is_temporary_name) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().on("look at", &path)?;
        let done = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        done.on("remove", &path)?;
        removed += 1;
    }
    Ok(removed)
}

/// A name beside `path` that no other thread or process uses: `.NAME.PID-COUNT.idiolect-tmp`.
pub(crate) fn temporary_path(path: &Path) -> Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::Refused {
            path: path.to_path_buf(),
            what: "the path does not end in a name".to_string(),
        });
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // A name may be as long as the file system allows, so the temporary only keeps its start.
    let start: String = name.to_string_lossy().chars().take(32).collect();
    let pid = std::process::id();
    Ok(folder_of(path).join(format!(".{start}.{pid}-{count}{TEMPORARY_SUFFIX}")))
}

const TEMPORARY_SUFFIX: &str = ".idiolect-tmp";

fn is_temporary_name(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX)
}

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).on("sync", folder)
}
