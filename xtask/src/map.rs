//! The map in `docs/architecture.md` and the workspace's manifests in, the arrows that point the wrong way out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// The document whose table is the map: a row each package, what it may use in the last column.
pub const MAP: &str = "docs/architecture.md";

/// What each package may depend on, of this workspace: `name`, `name?` when it must be optional, `*` for all.
pub struct Arrows(BTreeMap<String, Vec<String>>);

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
    pub dependencies: Vec<Dependency>,
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

impl Arrows {
    /// Reads the rows that begin with a folder in backquotes.
    pub fn read(text: &str) -> Arrows {
        let rows = text.lines().filter_map(|line| {
            let cells: Vec<&str> =
                line.trim().strip_prefix("| `")?.trim_end_matches('|').split('|').collect();
            let folder = cells.first()?.trim().trim_end_matches('`');
            Some((package(folder), allowed(cells.last()?)))
        });
        Arrows(rows.collect())
    }

    /// The dependencies that are not allowed, a line each.
    pub fn wrong(&self, packages: &[Package]) -> Vec<String> {
        let mut wrong = Vec::new();
        for package in packages {
            let Some(allowed) = self.0.get(&package.name) else {
                wrong.push(format!("{MAP}: package {} is not on the map", package.name));
                continue;
            };
            for dependency in
                package.dependencies.iter().filter(|dependency| dependency.path.is_some())
            {
                if !is_allowed(allowed, dependency) {
                    wrong.push(format!(
                        "{} -> {}: {MAP} does not allow it",
                        package.name, dependency.name
                    ));
                }
            }
        }
        for name in
            self.0.keys().filter(|name| packages.iter().all(|package| package.name != **name))
        {
            wrong.push(format!("{MAP}: package {name} is on the map and not in the tree"));
        }
        wrong
    }
}

/// The name of the package in a folder.
fn package(folder: &str) -> String {
    match folder.strip_prefix("crates/").unwrap_or(folder) {
        "cli" => "idiolect".to_owned(),
        "xtask" => "xtask".to_owned(),
        name => format!("idiolect-{name}"),
    }
}

/// `files, model (`local`)` as names; a remark in brackets on a crate means an optional dependency.
fn allowed(cell: &str) -> Vec<String> {
    let names = cell.split(',').filter_map(|word| {
        let (name, remark) = word.trim().split_once(' ').map_or((word.trim(), ""), |parts| parts);
        match name {
            "nothing" | "" => None,
            "all" => Some("*".to_owned()),
            name if remark.starts_with('(') => Some(package(name) + "?"),
            name => Some(package(name)),
        }
    });
    names.collect()
}

/// Nothing may depend on xtask or on the program, not even what may use all.
fn is_allowed(allowed: &[String], dependency: &Dependency) -> bool {
    allowed.iter().any(|word| match word.strip_suffix('?') {
        Some(name) => name == dependency.name && dependency.optional,
        None if word == "*" => dependency.name != "xtask" && dependency.name != "idiolect",
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

    const TABLE: &str = "
| crate | what | libtorch | may use |
| --- | --- | --- | --- |
| `crates/files` | bytes | no | nothing |
| `crates/tokenizer` | text to ids | no | files |
| `crates/prompting` | words | only `local` | files, tokenizer, model (`local`) |
| `crates/cli` | the binary | yes | all |
| `xtask` | verbs | no | nothing (spawns cargo) |
";

    fn check(name: &str, dependency: &str, optional: bool, expected: usize) {
        let dependency =
            Dependency { name: dependency.into(), optional, path: Some("here".into()) };
        let package = |name: &str, dependencies| Package { name: name.into(), dependencies };
        let mut packages: Vec<Package> =
            ["idiolect-files", "idiolect-tokenizer", "idiolect-prompting", "idiolect", "xtask"]
                .into_iter()
                .filter(|other| *other != name)
                .map(|name| package(name, Vec::new()))
                .collect();
        packages.push(package(name, vec![dependency]));
        let wrong = Arrows::read(TABLE).wrong(&packages);
        assert_eq!(wrong.len(), expected, "{wrong:?}");
    }

    #[test]
    fn arrows_follow_the_map() {
        check("idiolect-tokenizer", "idiolect-files", false, 0);
        check("idiolect-files", "idiolect-tokenizer", false, 1);
        check("idiolect-prompting", "idiolect-model", true, 0);
        check("idiolect-prompting", "idiolect-model", false, 1);
        check("idiolect", "idiolect-prompting", false, 0);
        check("idiolect", "xtask", false, 1);
        check("xtask", "idiolect-files", false, 1);
        check("idiolect-feedback", "idiolect-files", false, 1);
    }

    #[test]
    fn a_package_that_is_gone_is_named() {
        assert_eq!(Arrows::read(TABLE).wrong(&[]).len(), 5);
    }
}
