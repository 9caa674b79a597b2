//! The workspace's manifests in, the arrows that point the wrong way out.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// What each package may depend on, of this workspace. `docs/architecture.md` says why.
const ARROWS: [(&str, &[&str]); 11] = [
    ("idiolect-files", &[]),
    ("idiolect-tokenizer", &["idiolect-files"]),
    ("idiolect-dataset", &["idiolect-files", "idiolect-tokenizer"]),
    ("idiolect-torch", &[]),
    ("idiolect-model", &["idiolect-files", "idiolect-torch"]),
    (
        "idiolect-trainer",
        &["idiolect-files", "idiolect-dataset", "idiolect-model", "idiolect-torch"],
    ),
    ("idiolect-prompting", &["idiolect-files", "idiolect-tokenizer", "idiolect-model?"]),
    (
        "idiolect-evaluation",
        &["idiolect-files", "idiolect-tokenizer", "idiolect-dataset", "idiolect-prompting"],
    ),
    ("idiolect", &["*"]),
    ("idiolect-benches", &["*"]),
    ("xtask", &[]),
];

/// The packages that build and pass their tests without libtorch.
const WITHOUT_TCH: [&str; 6] = [
    "idiolect-files",
    "idiolect-tokenizer",
    "idiolect-dataset",
    "idiolect-prompting",
    "idiolect-evaluation",
    "xtask",
];

/// What `cargo metadata` says, as far as it is of use here.
#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub target_directory: std::path::PathBuf,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub dependencies: Vec<Dependency>,
    /// Registries it may go to; an empty list means none.
    pub publish: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    pub optional: bool,
    /// Set when it lies in this tree.
    pub path: Option<String>,
}

impl Metadata {
    /// Of the packages in the tree, without what they depend on.
    pub fn of(root: &Path) -> Result<Metadata> {
        let mut command = process::cargo(root);
        let said =
            process::output(command.args(["metadata", "--no-deps", "--format-version", "1"]))?;
        serde_json::from_str(&said).context("cannot read what `cargo metadata` says")
    }
}

/// The dependencies that the map does not allow, a line each.
pub fn wrong_arrows(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("package {} is not on the map (xtask/src/map.rs)", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some())
        {
            if !is_allowed(allowed, dependency) {
                wrong.push(format!(
                    "{} -> {}: this arrow is not on the map",
                    package.name, dependency.name
                ));
            }
        }
    }
    wrong
}

/// `name` allows a dependency, `name?` an optional one, `*` every one but xtask and the program.
fn is_allowed(allowed: &[&str], dependency: &Dependency) -> bool {
    allowed.iter().any(|word| match word.strip_suffix('?') {
        Some(name) => name == dependency.name && dependency.optional,
        None if *word == "*" => dependency.name != "xtask" && dependency.name != "idiolect",
        None => *word == dependency.name,
    })
}

/// An error when a package that must do without libtorch would link it, by itself, with its default features and its tests.
pub fn check_without_tch(root: &Path) -> Result<()> {
    for package in WITHOUT_TCH {
        let mut command = process::cargo(root);
        command.args(["tree", "--package", package, "--edges", "normal,build,dev"]);
        let tree = process::output(command.args(["--prefix", "none", "--format", "{p}"]))?;
        if let Some(line) =
            tree.lines().find(|line| line.starts_with("tch ") || line.starts_with("torch-sys "))
        {
            bail!(
                "{package} depends on {line}; type `cargo tree -p {package} -e normal,build,dev -i tch` to see through whom"
            );
        }
    }
    eprintln!("  {} packages do without libtorch", WITHOUT_TCH.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(package: &str, dependency: &str, optional: bool, expected: usize) {
        let dependency =
            Dependency { name: dependency.into(), optional, path: Some("here".into()) };
        let (name, version) = (package.into(), "0.1.0".into());
        let package = Package { name, version, dependencies: vec![dependency], publish: None };
        assert_eq!(wrong_arrows(&[package]).len(), expected);
    }

    #[test]
    fn arrows_follow_the_map() {
        check("idiolect-dataset", "idiolect-tokenizer", false, 0);
        check("idiolect-tokenizer", "idiolect-dataset", false, 1);
        check("idiolect-model", "idiolect-tokenizer", false, 1);
        check("idiolect-trainer", "idiolect-tokenizer", false, 1);
        check("idiolect-prompting", "idiolect-model", true, 0);
        check("idiolect-prompting", "idiolect-model", false, 1);
        check("idiolect", "idiolect-trainer", false, 0);
        check("idiolect-benches", "idiolect", false, 1);
        check("idiolect-feedback", "idiolect-files", false, 1);
    }
}
