//! `bundle`: a version of libtorch in, a small folder out that runs beside any Python with that PyTorch: program, tests, fixtures.
//!
//! Built in a clone of HEAD under `target/`, since another `tch` needs another lock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::changelog::git;
use crate::map::Metadata;
use crate::pip::{self, Pip, Request, size};
use crate::{process, release, setup};

/// What `bundle` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The PyTorch to run beside
    #[arg(long, value_parser = ["2.11", "2.12", "2.13"], default_value = "2.11")]
    libtorch: String,
}

/// The packages whose tests go along.
const TESTED: [&str; 3] = ["torch", "model", "trainer"];

/// It is meant to be carried.
const LARGEST: u64 = 60_000_000;

/// Makes `bundle/`.
pub fn bundle(root: &Path, arguments: &Arguments) -> Result<()> {
    let minor = arguments.libtorch.as_str();
    let target = Metadata::of(root)?.target_directory.join(format!("bundle-{minor}"));
    if !git(root, &["status", "--porcelain"])?.trim().is_empty() {
        eprintln!("Changes that are not committed stay behind: the bundle is made of HEAD.");
    }
    let tree = release::clone(root, &target)?;
    let libtorch = headers(&target, minor)?;
    let tch = match minor {
        "2.11" => "0.24.0",
        "2.12" => "0.25.0",
        _ => "0.26.0",
    };
    process::run(process::cargo(&tree).args(["update", "--package", "tch", "--precise", tch]))?;

    let cargo = |words: &[&str]| build(&tree, &target, &libtorch, words);
    eprintln!("Building idiolect against libtorch {minor}");
    process::run(&mut cargo(&["build", "--release", "--package", "idiolect"]))?;
    let part = target.join("part");
    fs::remove_dir_all(&part).ok();
    process::made(&part)?;
    fs::copy(target.join("build/release/idiolect"), part.join("idiolect"))?;
    for name in TESTED {
        eprintln!("Building the tests of {name}");
        let package = format!("idiolect-{name}");
        let mut command = cargo(&[
            "test",
            "--release",
            "--no-run",
            "--message-format=json",
            "--package",
            &package,
        ]);
        let binaries = executables(&mut command, &target)?;
        take(&tree, &part, name, &binaries)?;
    }
    finish(root, &part, minor)
}

/// Cargo in the clone. The libraries of CUDA that libtorch's own ask for are not there when linking, only when running.
fn build(tree: &Path, target: &Path, libtorch: &Path, words: &[&str]) -> Command {
    let mut command = process::cargo(tree);
    command.args(words).env("CARGO_TARGET_DIR", target.join("build")).env("LIBTORCH", libtorch);
    command
        .env("RUSTFLAGS", "-C link-arg=-Wl,--allow-shlib-undefined -C link-arg=-Wl,--gc-sections");
    command.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    command
}

/// The headers of that PyTorch and the libraries to link with, from its wheel.
fn headers(target: &Path, minor: &str) -> Result<PathBuf> {
    let place = target.join("libtorch");
    if place.join("torch/version.py").exists() {
        return Ok(place.join("torch"));
    }
    let Some(pip) = Pip::find() else { bail!("{}. Type: {}", pip::MISSING, pip::REMEDY) };
    let request = Request {
        packages: vec![format!("torch=={minor}.0")],
        dependencies: false,
        bytes: 540_000_000,
    };
    eprintln!("Getting the headers of libtorch {minor}.0 with pip: about {}", size(request.bytes));
    let folder = target.join("download");
    fs::remove_dir_all(&folder).ok();
    process::made(&folder)?;
    pip::fetch(&pip, &request, &folder)?;
    let unpacked = folder.join("libtorch");
    setup::unpack_wheels(&folder.join("wheels"), &unpacked, false)?;
    fs::remove_dir_all(&place).ok();
    fs::rename(&unpacked, &place)?;
    fs::remove_dir_all(&folder)?;
    Ok(place.join("torch"))
}

/// The test binaries that a build names.
fn executables(command: &mut Command, target: &Path) -> Result<Vec<(String, PathBuf)>> {
    let messages = target.join("messages.jsonl");
    command.stdout(Stdio::from(fs::File::create(&messages)?));
    process::run(command)?;
    let text = fs::read_to_string(&messages)?;
    let binaries: Vec<_> = text.lines().filter_map(executable).collect();
    if binaries.is_empty() {
        bail!("the build made no test binary");
    }
    Ok(binaries)
}

/// The name and path of a test binary, from a line of cargo's messages.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    message["profile"]["test"].as_bool()?.then_some(())?;
    Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
}

/// Copies a package's test binaries, and the fixtures they read relative to it.
fn take(tree: &Path, part: &Path, name: &str, binaries: &[(String, PathBuf)]) -> Result<()> {
    let folder = part.join("crates").join(name);
    let bin = process::made(&folder.join("bin"))?;
    for (test, path) in binaries {
        fs::copy(path, bin.join(test))
            .with_context(|| format!("cannot copy {}", path.display()))?;
    }
    let fixtures = tree.join("crates").join(name).join("tests/fixtures");
    if fixtures.exists() {
        process::made(&folder.join("tests"))?;
        process::run(Command::new("cp").arg("-R").arg(&fixtures).arg(folder.join("tests")))?;
    }
    Ok(())
}

fn finish(root: &Path, part: &Path, minor: &str) -> Result<()> {
    let script = part.join("run.sh");
    fs::write(&script, include_str!("bundle-run.sh").replace("MINOR", minor))?;
    process::run(Command::new("chmod").arg("+x").arg(&script))?;
    let bytes = weight(part)?;
    if bytes > LARGEST {
        bail!("the bundle weighs {}, more than {}", size(bytes), size(LARGEST));
    }
    let place = root.join("bundle");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(part, &place)?;
    eprintln!(
        "bundle/ ({}) runs beside a PyTorch {minor}: bundle/run.sh test cuda, bundle/run.sh --help",
        size(bytes)
    );
    Ok(())
}

/// The bytes of all files under a folder.
fn weight(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            weight(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_binaries_are_found_in_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"laws"},"profile":{"test":true},"executable":"/t/laws-1"}"#;
        assert_eq!(executable(line), Some(("laws".into(), "/t/laws-1".into())));
        assert_eq!(executable(&line.replace("\"test\":true", "\"test\":false")), None);
        assert_eq!(executable(&line.replace("\"/t/laws-1\"", "null")), None);
        assert_eq!(executable("warning: not JSON"), None);
    }
}
