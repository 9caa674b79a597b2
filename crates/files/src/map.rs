//! Memory maps: a path goes in, its bytes come out without being read first.

use crate::error::{Error, IoContext, Result};
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

/// A file's bytes, read by the operating system when they are first touched.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("ids");
/// std::fs::write(&path, [1, 2, 3]).unwrap();
/// assert_eq!(idiolect_files::Map::open(&path)?[1..], [2, 3]);
/// # Ok::<(), idiolect_files::Error>(())
/// ```
#[derive(Debug)]
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps the whole file for reading.
    pub fn open(path: &Path) -> Result<Map> {
        let file = File::open(path).on("open", path)?;
        let metadata = file.metadata().on("look at", path)?;
        if !metadata.is_file() {
            let what = "it is not a plain file".to_string();
            return Err(Error::Corrupt { path: path.to_path_buf(), what });
        }
        // Sound as long as nobody changes the file under the map. Files of ours are only ever replaced by a rename, which
        // leaves the mapped one alone; a foreign program that truncates it ends this process with SIGBUS, as documented
        // for every reader of memory maps.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file) }.on("map", path)?;
        Ok(Map(map))
    }

    /// Gives the memory of a range back to the operating system, which reads it again when it is next touched.
    pub(crate) fn release(&self, range: Range<usize>) {
        // Sound because the map is of a file and never written to: what is dropped is what the file holds. That it may fail, or
        // not be there on a system, costs memory and nothing else.
        #[cfg(unix)]
        #[allow(unsafe_code)]
        let _ = unsafe {
            self.0.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                range.start,
                range.len(),
            )
        };
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
