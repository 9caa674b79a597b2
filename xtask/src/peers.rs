//! The names of Python packages in, a Python that has them out, inside `.peers/` and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The folder that holds peers, and all that they leave behind.
pub fn folder(root: &Path) -> PathBuf {
    root.join(".peers")
}

/// A virtual environment with these packages; made when it is not there whole.
pub fn python(root: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = folder(root).join(name);
    let python = place.join("bin/python");
    // Written last: without it the environment is of an installation that was stopped.
    let whole = place.join("installed.txt");
    let wanted = packages.join("\n");
    if fs::read_to_string(&whole).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    eprintln!("Installing the peer into .peers/{name}: {}", packages.join(" "));
    fs::remove_dir_all(&place).ok();
    fs::create_dir_all(folder(root)).context("cannot make .peers/")?;
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&place);
    contain(root, &mut make)?;
    if process::status(&mut make).is_ok_and(|code| code != 0) {
        bail!("python3 cannot make a virtual environment (type: sudo apt install python3-venv)");
    }
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--no-input",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--quiet",
    ]);
    install.args(packages);
    // What is built here is built for this processor, as a person who cares for speed would.
    install.env("CMAKE_ARGS", "-DGGML_NATIVE=ON");
    contain(root, &mut install)?;
    process::run(&mut install)?;
    fs::write(&whole, wanted).context("cannot finish the installation")?;
    Ok(python)
}

/// Sends what a Python program would leave elsewhere into `.peers/`.
pub fn contain(root: &Path, command: &mut Command) -> Result<()> {
    let folder = folder(root);
    for (variable, name) in [
        ("TMPDIR", "tmp"),
        ("XDG_CACHE_HOME", "cache"),
        ("PIP_CACHE_DIR", "cache/pip"),
        ("TORCHINDUCTOR_CACHE_DIR", "cache/inductor"),
        ("TRITON_CACHE_DIR", "cache/triton"),
        ("TIKTOKEN_CACHE_DIR", "cache/tiktoken"),
    ] {
        fs::create_dir_all(folder.join(name))
            .with_context(|| format!("cannot make .peers/{name}"))?;
        command.env(variable, folder.join(name));
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(())
}
