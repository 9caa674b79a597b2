//! Bytes in, a file or a folder with them out, for readers that take paths.

use std::path::Path;

/// Gives `read` a file of this name with these bytes; it is gone afterwards.
pub fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    with_folder(&[(name, bytes)], |folder| read(&folder.join(name)));
}

/// The same with a folder of files.
pub fn with_folder(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("the folder can be written");
    }
    read(folder.path());
}
