//! `release`: the tree at HEAD in, a verified release out: version, changelog, packages, and an archive of the binary.
//!
//! All of it happens in a clone under `target/`; only a release that went through reaches the tree, as one commit and a tag.
//! Nothing is ever published or pushed from here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::changelog::{self, git};
use crate::libtorch::{self, Libtorch};
use crate::map::Metadata;
use crate::{pip, process, setup};

/// What `release` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Do everything but change the tree
    #[arg(long)]
    dry_run: bool,
    /// Which part of the version goes up
    #[arg(long, value_enum, default_value_t = Bump::Minor)]
    bump: Bump,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Bump {
    Major,
    Minor,
    Patch,
    /// The version stays as it is: a first release
    None,
}

/// Makes a release ready, and says what to type to publish it.
pub fn release(root: &Path, arguments: &Arguments) -> Result<()> {
    let found = setup::ensure(root)?;
    let dirty = git(root, &["status", "--porcelain"])?;
    if !dirty.trim().is_empty() && !arguments.dry_run {
        bail!("there are changes that are not committed:\n{dirty}");
    }
    let target = Metadata::of(root)?.target_directory.join("release-check");
    let tree = clone(root, &target)?;
    let version = raise_version(&tree, arguments.bump)?;
    let section = changelog::update(&tree, &version)?;
    eprintln!("[1/4] version {version}; the changelog gains:\n\n{section}");
    // The lock follows the new versions.
    process::run(process::cargo(&tree).args(["update", "--workspace", "--quiet"]))?;
    commit(&tree, &version)?;

    eprintln!("[2/4] verifying the package of every crate");
    let mut command = cargo(&tree, &target, &found);
    process::run(command.args(["publish", "--workspace", "--dry-run"]))?;

    eprintln!("[3/4] building the binary");
    let mut command = cargo(&tree, &target, &found);
    command.args(["rustc", "--release", "--package", "idiolect", "--bin", "idiolect", "--"]);
    process::run(command.args([
        "-C",
        "link-arg=-Wl,-rpath,$ORIGIN/libtorch/torch/lib",
        "-C",
        "strip=symbols",
    ]))?;

    eprintln!("[4/4] the archive");
    let archive = archive(root, &tree, &target.join("build/release/idiolect"), &found, &version)?;
    eprintln!("      {} ({})", archive.display(), pip::size(fs::metadata(&archive)?.len()));
    finish(root, &tree, &version, arguments.dry_run)
}

/// A clone of HEAD, without the objects of its own.
pub fn clone(root: &Path, target: &Path) -> Result<PathBuf> {
    let tree = process::made(target)?.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("cannot remove the last clone")?;
    }
    let mut command = Command::new("git");
    command.args(["clone", "--quiet", "--shared"]).arg(root).arg(&tree);
    process::run(&mut command)?;
    Ok(tree)
}

/// Cargo in the clone, with the libtorch of the tree. RUSTFLAGS keeps the tree's rpath out of it.
fn cargo(tree: &Path, target: &Path, found: &Libtorch) -> Command {
    let mut command = process::cargo(tree);
    command
        .env("CARGO_TARGET_DIR", target.join("build"))
        .env("LIBTORCH", &found.folder)
        .env("RUSTFLAGS", "");
    command
}

/// Raises the version in the root manifest; gives the new one.
fn raise_version(tree: &Path, bump: Bump) -> Result<String> {
    let file = tree.join("Cargo.toml");
    let text = fs::read_to_string(&file)?;
    let table: toml::Table = toml::from_str(&text)?;
    let old = table["workspace"]["package"]["version"]
        .as_str()
        .context("the workspace has no version")?;
    let new = raised(old, bump).with_context(|| format!("{old} is no version"))?;
    fs::write(&file, with_version(&text, old, &new))?;
    Ok(new)
}

fn raised(version: &str, bump: Bump) -> Option<String> {
    let numbers: Vec<u64> =
        version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [major, minor, patch] = numbers[..] else { return None };
    let (major, minor, patch) = match bump {
        Bump::Major => (major + 1, 0, 0),
        Bump::Minor => (major, minor + 1, 0),
        Bump::Patch => (major, minor, patch + 1),
        Bump::None => (major, minor, patch),
    };
    Some(format!("{major}.{minor}.{patch}"))
}

/// The manifest with the new version: the workspace's own, and what its crates ask of each other.
fn with_version(text: &str, old: &str, new: &str) -> String {
    let (old, new) = (format!("version = \"{old}\""), format!("version = \"{new}\""));
    let ours = |line: &str| line.starts_with(&old) || line.starts_with("idiolect");
    let line = |line: &str| if ours(line) { line.replace(&old, &new) } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn commit(tree: &Path, version: &str) -> Result<()> {
    git(tree, &["add", "Cargo.toml", "Cargo.lock", "CHANGELOG.md"])?;
    git(tree, &["commit", "--quiet", "--message", &format!("workspace: release {version}")])?;
    Ok(())
}

/// `dist/idiolect-VERSION-ARCH-OS.tar.gz`: the binary, the licences, and where to get libtorch.
fn archive(
    root: &Path,
    tree: &Path,
    program: &Path,
    found: &Libtorch,
    version: &str,
) -> Result<PathBuf> {
    let name = format!("idiolect-{version}-{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let dist = process::made(&root.join("dist"))?;
    let folder = dist.join(&name);
    fs::remove_dir_all(&folder).ok();
    process::made(&folder)?;
    fs::copy(program, folder.join("idiolect")).context("cannot copy the binary")?;
    for file in ["LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md"] {
        fs::copy(tree.join(file), folder.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    let notice =
        include_str!("libtorch-notice.md").replace("VERSION", libtorch::expected_version(tree));
    fs::write(folder.join("LIBTORCH.md"), notice)?;
    let licence = licence_of(found)
        .context("the libtorch here has no licence beside it: type `cargo xtask setup`")?;
    fs::copy(licence, folder.join("LICENSE-libtorch"))?;
    let mut command = Command::new(folder.join("idiolect"));
    libtorch::on_library_path(&mut command, found);
    let said = process::output(command.arg("--version")).context("the binary does not start")?;
    if !said.contains(version) {
        bail!("the binary says it is {}, not {version}", said.trim());
    }
    let archive = dist.join(format!("{name}.tar.gz"));
    process::run(Command::new("tar").current_dir(&dist).arg("-czf").arg(&archive).arg(&name))?;
    fs::remove_dir_all(&folder)?;
    Ok(archive)
}

/// `torch-*.dist-info/licenses/LICENSE` beside a wheel's torch folder.
fn licence_of(found: &Libtorch) -> Option<PathBuf> {
    let beside = fs::read_dir(fs::canonicalize(&found.folder).ok()?.parent()?).ok()?;
    let wheel = |name: &str| name.starts_with("torch-") && name.ends_with(".dist-info");
    let folder = beside.flatten().find(|entry| wheel(&entry.file_name().to_string_lossy()))?;
    let places = ["licenses/LICENSE", "LICENSE"].map(|name| folder.path().join(name));
    places.into_iter().find(|place| place.is_file())
}

/// Brings the commit of the release into the tree, unless nothing may change.
fn finish(root: &Path, tree: &Path, version: &str, dry_run: bool) -> Result<()> {
    if dry_run {
        eprintln!(
            "\nDry run: {version} could be released; nothing was published and the tree is as it was."
        );
        return Ok(());
    }
    let tree = tree.to_string_lossy();
    git(root, &["fetch", "--quiet", &tree, "HEAD"])?;
    git(root, &["merge", "--quiet", "--ff-only", "FETCH_HEAD"])?;
    git(
        root,
        &["tag", "--annotate", &format!("v{version}"), "--message", &format!("Idiolect {version}")],
    )?;
    eprintln!(
        "\n{version} is committed and tagged. To publish it: git push --follow-tags && cargo publish --workspace"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise() {
        let check =
            |bump, expected: &str| assert_eq!(raised("1.2.3", bump).as_deref(), Some(expected));
        check(Bump::Major, "2.0.0");
        check(Bump::Minor, "1.3.0");
        check(Bump::Patch, "1.2.4");
        check(Bump::None, "1.2.3");
        assert!(raised("1.2", Bump::Minor).is_none());
    }

    #[test]
    fn only_our_own_versions_change() {
        let text = "[workspace.package]\nversion = \"0.1.0\"\nidiolect-files = { path = \"crates/files\", version = \"0.1.0\" }\nzip = { version = \"0.1.0\" }\n";
        let changed = with_version(text, "0.1.0", "0.2.0");
        assert_eq!(changed.matches("0.2.0").count(), 2, "{changed}");
        assert!(changed.contains("zip = { version = \"0.1.0\" }"), "{changed}");
    }
}
