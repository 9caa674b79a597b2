//! Files, folders and globs as configured go in; the files they name come out, in an order that does not vary.

use crate::error::{Error, IoContext, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A file to read and its size on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes as they lie on disk.
    pub bytes: u64,
}

/// The files that [`crate::prepare`] reads for the paths of a [`crate::DataConfig`], of every path in turn: those below a folder
/// and those of a glob sorted by path.
///
/// A file that two paths name is read twice, as asked; its documents then count as repeated.
pub fn find_files(paths: &[String]) -> Result<Vec<InputFile>> {
    let mut files = Vec::new();
    for pattern in paths {
        let before = files.len();
        let path = Path::new(pattern);
        // A name that exists is meant as it stands, even if it holds a bracket.
        if path.exists() {
            add(path, &mut files)?;
        } else if pattern.contains(['*', '?', '[']) {
            add_glob(pattern, &mut files)?;
        } else {
            return Err(no_input("no such file or folder", pattern));
        }
        if files.len() == before {
            return Err(no_input("no file in", pattern));
        }
    }
    Ok(files)
}

fn add(path: &Path, files: &mut Vec<InputFile>) -> Result<()> {
    let metadata = fs::metadata(path).on("look at", path)?;
    if metadata.is_dir() {
        return add_folder(path, files);
    }
    files.push(InputFile { path: path.to_path_buf(), bytes: metadata.len() });
    Ok(())
}

/// Adds what lies below a folder. Links to files are followed, links to folders are not: they may lead back up.
fn add_folder(folder: &Path, files: &mut Vec<InputFile>) -> Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).on("list", folder)? {
        let entry = entry.on("list", folder)?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let kind = entry.file_type().on("look at", &entry.path())?;
        let link_to_folder = kind.is_symlink() && entry.path().is_dir();
        if !hidden && !link_to_folder {
            entries.push(entry.path());
        }
    }
    entries.sort();
    entries.iter().try_for_each(|path| add(path, files))
}

fn add_glob(pattern: &str, files: &mut Vec<InputFile>) -> Result<()> {
    let matches = glob::glob(pattern).map_err(|error| Error::Config {
        key: "data.paths",
        what: format!("`{pattern}` is no glob: {}", error.msg),
    })?;
    let mut found = false;
    for path in matches {
        let path = path.map_err(|error| Error::Io {
            action: "list",
            path: error.path().to_path_buf(),
            source: error.into(),
        })?;
        found = true;
        add(&path, files)?;
    }
    if found { Ok(()) } else { Err(no_input("no file matches", pattern)) }
}

fn no_input(what: &'static str, pattern: &str) -> Error {
    Error::NoInput { what, pattern: pattern.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(paths: &[&str], expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a.txt", "sub/c.txt", ".hidden", "odd[1].txt"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::create_dir(folder.path().join("empty")).unwrap();
        let full = |path: &&str| folder.path().join(path).to_str().unwrap().to_string();
        let found = match find_files(&paths.iter().map(full).collect::<Vec<_>>()) {
            Ok(files) => files.iter().map(|file| file.path.display().to_string()).collect(),
            Err(Error::NoInput { what, .. }) => vec![full(&what)],
            Err(other) => vec![full(&other.to_string().as_str())],
        };
        assert_eq!(found, expected.iter().map(full).collect::<Vec<_>>());
    }

    #[test]
    fn finds() {
        check(&["b.txt", "a.txt"], &["b.txt", "a.txt"]);
        check(&["*.txt"], &["a.txt", "b.txt", "odd[1].txt"]);
        check(&["**/*.txt"], &["a.txt", "b.txt", "odd[1].txt", "sub/c.txt"]);
        check(&["."], &["./a.txt", "./b.txt", "./odd[1].txt", "./sub/c.txt"]);
        check(&["odd[1].txt"], &["odd[1].txt"]);
        check(&["empty"], &["no file in"]);
        check(&["*.csv"], &["no file matches"]);
        check(&["none"], &["no such file or folder"]);
    }
}
