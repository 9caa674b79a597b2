//! The tree and the environment in, the libtorch that a build will use out, with what is wrong with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// What libtorch each `tch` is built for, and what setup downloads for it.
const PAIRS: [(&str, &str); 3] = [("0.26", "2.13.0"), ("0.25", "2.12.0"), ("0.24", "2.11.0")];

/// A libtorch: a folder with `include/` and `lib/`.
pub struct Libtorch {
    pub folder: PathBuf,
    pub origin: Origin,
    /// As `version.py` or `build-version` says; `None` when neither is there.
    pub version: Option<String>,
}

/// Who said where libtorch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `.libtorch/` of this tree.
    Tree,
    /// The user's own `LIBTORCH`.
    Variable,
    /// `LIBTORCH_USE_PYTORCH`: the PyTorch of the Python on the path.
    Python,
}

impl Libtorch {
    /// The one that a build in this tree would use, whole or not; `None` when there is none.
    pub fn find(root: &Path) -> Option<Libtorch> {
        let (folder, origin) = place(root);
        folder.is_dir().then(|| Libtorch::at(folder, origin))
    }

    /// Looks at a folder.
    pub fn at(folder: PathBuf, origin: Origin) -> Libtorch {
        let version = version_of(&folder);
        Libtorch { folder, origin, version }
    }

    /// The folder of its shared libraries.
    pub fn libraries(&self) -> PathBuf {
        self.folder.join("lib")
    }

    /// Whether it has the CUDA half.
    pub fn has_cuda(&self) -> bool {
        self.libraries().join("libtorch_cuda.so").exists()
    }

    /// An error when parts are missing or the version is not the one that the locked `tch` is built for.
    pub fn check(&self, root: &Path) -> Result<()> {
        let library =
            if cfg!(target_os = "macos") { "libtorch_cpu.dylib" } else { "libtorch_cpu.so" };
        for part in [format!("lib/{library}"), "include/torch".to_owned()] {
            if !self.folder.join(&part).exists() {
                bail!(
                    "{} is no libtorch: {part} is missing. {}",
                    self.folder.display(),
                    self.remedy()
                );
            }
        }
        let expected = expected_version(root);
        let Some(found) = &self.version else { return Ok(()) };
        if minor(found) != minor(expected)
            && std::env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_none()
        {
            bail!(
                "{} is libtorch {found}; this tree's `tch` is built for {expected}. {} (`cargo update -p tch --precise 0.24.0` \
                 pairs with 2.11, 0.25.0 with 2.12; LIBTORCH_BYPASS_VERSION_CHECK=1 goes on regardless.)",
                self.folder.display(),
                self.remedy()
            );
        }
        Ok(())
    }

    fn remedy(&self) -> &'static str {
        match self.origin {
            Origin::Tree => "Type `cargo xtask setup`, which replaces it.",
            Origin::Variable => {
                "Unset LIBTORCH and type `cargo xtask setup`, or point it at another."
            }
            Origin::Python => "Unset LIBTORCH_USE_PYTORCH and type `cargo xtask setup`.",
        }
    }
}

/// The version that the `tch` in Cargo.lock is built for.
pub fn expected_version(root: &Path) -> &'static str {
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let tch = locked_version(&lock, "tch").unwrap_or_default();
    PAIRS.iter().find(|pair| minor(&tch) == minor(pair.0)).map_or(PAIRS[0].1, |pair| pair.1)
}

/// Puts libtorch's libraries on the library path of a command, for binaries whose rpath was lost.
pub fn on_library_path(command: &mut Command, libtorch: &Libtorch) {
    let name = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    let mut paths = vec![libtorch.libraries()];
    paths.extend(std::env::var_os(name).iter().flat_map(std::env::split_paths));
    if let Ok(joined) = std::env::join_paths(paths) {
        command.env(name, joined);
    }
}

/// `2.13` of `2.13.0+cu130`.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().split(['.', '+']).map(|part| part.parse::<u32>().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Where a build will look, in the order in which `torch-sys` looks. Cargo sets LIBTORCH itself, from `.cargo/config.toml`.
fn place(root: &Path) -> (PathBuf, Origin) {
    let own = root.join(".libtorch/torch");
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let said = process::probe("python3", &["-c", "import torch; print(torch.__path__[0])"]);
        return (
            PathBuf::from(said.unwrap_or_else(|| "the PyTorch of python3".into())),
            Origin::Python,
        );
    }
    match std::env::var_os("LIBTORCH").map(PathBuf::from) {
        Some(theirs) if theirs != own && !theirs.as_os_str().is_empty() => {
            (theirs, Origin::Variable)
        }
        _ => (own, Origin::Tree),
    }
}

fn version_of(folder: &Path) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(folder.join("version.py")) {
        return python_version(&text);
    }
    let text = std::fs::read_to_string(folder.join("build-version")).ok()?;
    Some(text.trim().to_owned())
}

/// The value of `__version__` in a wheel's `version.py`.
fn python_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    let value = line.split('=').nth(1)?.trim().trim_matches(['\'', '"']);
    Some(value.to_owned())
}

/// The version of a package in a Cargo.lock.
fn locked_version(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let after = lock.split_once(&format!("{name}\n"))?.1;
    let value = after.lines().next()?.strip_prefix("version = ")?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_wheel_says() {
        let text = "from typing import Optional\n__version__ = '2.13.0+cu130'\ndebug = False\n";
        assert_eq!(python_version(text).as_deref(), Some("2.13.0+cu130"));
        assert_eq!(python_version("debug = False"), None);
    }

    #[test]
    fn versions_pair_by_major_and_minor() {
        assert_eq!(minor("2.13.0+cu130"), minor("2.13.1"));
        assert_ne!(minor("2.13.0"), minor("2.11.0"));
        assert_eq!(minor("2.12"), Some((2, 12)));
        assert_eq!(minor("nightly"), None);
    }

    #[test]
    fn the_lock_says_which_tch() {
        let lock = "[[package]]\nname = \"tch\"\nversion = \"0.24.0\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, "tch").as_deref(), Some("0.24.0"));
        assert_eq!(locked_version(lock, "zip"), None);
    }

    #[test]
    fn a_folder_without_the_library_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let found = Libtorch::at(folder.path().to_owned(), Origin::Variable);
        let message = found.check(folder.path()).unwrap_err().to_string();
        assert!(message.contains("include/torch") || message.contains("libtorch_cpu"), "{message}");
        assert!(message.contains("LIBTORCH"), "{message}");
    }
}
