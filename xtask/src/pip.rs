//! A requirement in, wheels in a folder out: finds a pip, whatever way it is installed, and shows how far it is.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{self, Ended};

/// How to call pip here: the program and the words before its own arguments.
pub struct Pip(Vec<&'static str>);

/// `uv pip` cannot download, but uv can run pip itself.
const WAYS: [&[&str]; 5] = [
    &["python3", "-m", "pip"],
    &["pip3"],
    &["pip"],
    &["python", "-m", "pip"],
    &["uv", "tool", "run", "pip"],
];

pub const MISSING: &str = "no pip: tried python3 -m pip, pip3, pip, python -m pip and uv";
pub const REMEDY: &str =
    "sudo apt install python3-pip (or: sudo dnf install python3-pip, brew install python, uv)";

impl Pip {
    /// The first way that works.
    pub fn find() -> Option<Pip> {
        let works = |way: &&&[&str]| {
            let arguments: Vec<&str> = way[1..].iter().copied().chain(["--version"]).collect();
            process::probe(way[0], &arguments).is_some_and(|said| said.starts_with("pip "))
        };
        WAYS.iter().find(works).map(|way| Pip(way.to_vec()))
    }

    /// What it says of itself.
    pub fn version(&self) -> Option<String> {
        let arguments: Vec<&str> = self.0[1..].iter().copied().chain(["--version"]).collect();
        process::probe(self.0[0], &arguments)
    }

    /// `pip download` into `folder`, for this machine's platform but any Python.
    pub fn download(&self, request: &Request, folder: &Path) -> Command {
        let mut command = Command::new(self.0[0]);
        command.args(&self.0[1..]).args(["download", "--no-input", "--disable-pip-version-check"]);
        command.args(["--progress-bar", "off", "--only-binary=:all:"]);
        if !request.dependencies {
            command.arg("--no-deps");
        }
        command.args(["--python-version", "3.11", "--implementation", "cp"]);
        for platform in platforms() {
            command.args(["--platform", &platform]);
        }
        command.arg("--dest").arg(folder).args(&request.packages);
        command
    }
}

/// What to download.
pub struct Request {
    pub packages: Vec<String>,
    pub dependencies: bool,
    /// What the wheels weigh together, about, for the progress line.
    pub bytes: u64,
}

/// The platforms whose wheels run here, newest first. Pip takes each of them literally.
fn platforms() -> Vec<String> {
    if cfg!(target_os = "macos") {
        return (11..=15).rev().map(|version| format!("macosx_{version}_0_arm64")).collect();
    }
    let said = process::probe("getconf", &["GNU_LIBC_VERSION"]);
    linux_platforms(said.as_deref().and_then(glibc).unwrap_or(28))
}

/// The 36 of `glibc 2.36`.
fn glibc(said: &str) -> Option<u32> {
    said.strip_prefix("glibc 2.")?.split('.').next()?.parse().ok()
}

fn linux_platforms(glibc: u32) -> Vec<String> {
    let named = (17..=glibc).rev().map(|minor| format!("manylinux_2_{minor}_x86_64"));
    named.chain(["manylinux2014_x86_64".to_owned()]).collect()
}

/// Downloads the wheels into `folder`/wheels, with everything temporary inside `folder` too.
pub fn fetch(pip: &Pip, request: &Request, folder: &Path) -> Result<()> {
    let wheels = folder.join("wheels");
    let temporary = folder.join("temporary");
    for made in [&wheels, &temporary] {
        std::fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let log = folder.join("pip.log");
    let file = File::create(&log)?;
    let mut command = pip.download(request, &wheels);
    command
        .env("TMPDIR", &temporary)
        .stdout(Stdio::from(file.try_clone()?))
        .stderr(Stdio::from(file));
    let mut progress = Progress::new(request.bytes);
    let code = process::watch(&mut command, &mut || progress.show(downloaded(folder)));
    progress.end();
    match code? {
        0 => Ok(()),
        code => bail!("{}", explain(&std::fs::read_to_string(&log).unwrap_or_default(), code)),
    }
}

/// Bytes of the wheels under a folder so far, whole or under way.
fn downloaded(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => downloaded(&entry.path()),
        Ok(data) if entry.file_name().to_string_lossy().ends_with(".whl") => data.len(),
        _ => 0,
    };
    entries.flatten().map(size).sum()
}

/// What a failed download means, for a person; pip's last words kept.
fn explain(log: &str, code: i32) -> String {
    let has = |words: &[&str]| words.iter().any(|word| log.contains(word));
    let meaning = if has(&["No space left on device", "Errno 28"]) {
        "the disk is full: free some space and try again"
    } else if has(&[
        "NewConnectionError",
        "Temporary failure in name resolution",
        "Network is unreachable",
        "ProxyError",
    ]) {
        "the package index cannot be reached: check the network (or pip's own settings for a mirror or a proxy) and try again"
    } else if has(&["SSLError", "CERTIFICATE_VERIFY_FAILED"]) {
        "the package index's certificate is not accepted: check pip's `cert` setting"
    } else if has(&["Read timed out", "IncompleteRead", "ConnectionResetError"]) {
        "the download broke off: try again"
    } else if has(&["No matching distribution found"]) {
        "the package index has no such wheel for this platform (libtorch needs glibc 2.28), or cannot be reached; if pip is older than 21, upgrade it: python3 -m pip install --upgrade pip"
    } else if has(&["no such option"]) {
        "this pip is too old: python3 -m pip install --upgrade pip"
    } else {
        "pip could not download it"
    };
    let tail: Vec<&str> =
        log.lines().rev().filter(|line| !line.trim().is_empty()).take(6).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    format!("{meaning} ({})\n{}", Ended::Status { program: "pip".into(), code }, tail.join("\n"))
}

/// A line that says how many bytes have come.
struct Progress {
    total: u64,
    started: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    fn new(total: u64) -> Progress {
        Progress {
            total,
            started: Instant::now(),
            shown: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Often on a terminal, in place; now and then elsewhere, a line each.
    fn show(&mut self, bytes: u64) {
        let pause = Duration::from_millis(if self.terminal { 150 } else { 5000 });
        if bytes == 0 || self.shown.is_some_and(|shown| shown.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        // Pip copies a finished wheel out of its temporary folder: both count for a moment.
        let bytes = bytes.min(self.total);
        let rate = bytes as f64 / self.started.elapsed().as_secs_f64();
        let share = 100 * bytes / self.total.max(1);
        let line = format!(
            "  {} of about {} ({share} %), {}/s",
            size(bytes),
            size(self.total),
            size(rate as u64)
        );
        if self.terminal {
            eprint!("\r\x1b[K{line}")
        } else {
            eprintln!("{line}")
        }
        std::io::stderr().flush().ok();
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// Bytes in words: `527 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..10_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_asks_for_any_python_and_several_platforms() {
        let request =
            Request { packages: vec!["torch==2.13.0".into()], dependencies: false, bytes: 1 };
        let command = Pip(vec!["python3", "-m", "pip"]).download(&request, Path::new("wheels"));
        let shown = process::shown(&command);
        assert!(shown.starts_with("python3 -m pip download "), "{shown}");
        assert!(
            shown.contains("--no-deps --python-version 3.11 --implementation cp --platform "),
            "{shown}"
        );
        assert!(shown.ends_with("--dest wheels torch==2.13.0"), "{shown}");
    }

    #[test]
    fn platforms_follow_the_c_library() {
        assert_eq!(glibc("glibc 2.36"), Some(36));
        assert_eq!(glibc("musl"), None);
        let names = linux_platforms(19);
        let named = [
            "manylinux_2_19_x86_64",
            "manylinux_2_18_x86_64",
            "manylinux_2_17_x86_64",
            "manylinux2014_x86_64",
        ];
        assert_eq!(names, named);
    }

    #[test]
    fn failures_are_explained() {
        let check =
            |log, expected| assert!(explain(log, 1).starts_with(expected), "{}", explain(log, 1));
        check("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full");
        check(
            "NewConnectionError(...)\nERROR: No matching distribution found",
            "the package index cannot be reached",
        );
        check(
            "ERROR: No matching distribution found for torch==2.13.0",
            "the package index has no such wheel",
        );
        check("usage:\nno such option: --platform", "this pip is too old");
        check("", "pip could not download it");
    }

    #[test]
    fn sizes_are_in_words() {
        assert_eq!(size(6_250_000), "6.2 MB");
        assert_eq!(size(527_000_000), "527 MB");
        assert_eq!(size(13_000_000_000), "13.0 GB");
    }
}
