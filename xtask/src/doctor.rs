//! `doctor`: this machine in, what it has and lacks for building out, with what to type.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::libtorch::Libtorch;
use crate::pip::{self, Pip, size};
use crate::process;

/// What `doctor` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One thing looked at.
#[derive(Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    /// What to type when it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Missing,
    /// Not there, and not needed.
    Absent,
}

/// Looks, prints, and fails when something needed is missing.
pub fn doctor(root: &Path, arguments: &Arguments) -> Result<()> {
    let findings = vec![
        cargo(root),
        compiler(),
        python_pip(),
        libtorch(root),
        graphics(),
        disk(root)?,
        memory(),
        cores(),
    ];
    let missing = findings.iter().filter(|finding| finding.state == State::Missing).count();
    if arguments.json {
        println!("{}", serde_json::json!({ "ok": missing == 0, "checks": findings }));
    } else {
        findings.iter().for_each(print);
    }
    if missing > 0 {
        anyhow::bail!("{missing} missing");
    }
    Ok(())
}

fn print(finding: &Finding) {
    let state = match finding.state {
        State::Ok => "ok",
        State::Missing => "MISSING",
        State::Absent => "-",
    };
    println!("{state:8} {:10} {}", finding.name, finding.found);
    if let Some(remedy) = &finding.remedy {
        println!("{:19} type: {remedy}", "");
    }
}

fn ok(name: &'static str, found: String) -> Finding {
    Finding { name, state: State::Ok, found, remedy: None }
}

fn missing(name: &'static str, found: String, remedy: &str) -> Finding {
    Finding { name, state: State::Missing, found, remedy: Some(remedy.to_owned()) }
}

fn absent(name: &'static str, found: &str) -> Finding {
    Finding { name, state: State::Absent, found: found.to_owned(), remedy: None }
}

fn cargo(root: &Path) -> Finding {
    let cargo = process::probe("cargo", &["--version"]).unwrap_or_default();
    let rustc = process::probe("rustc", &["--version"]).unwrap_or_default();
    let found = format!("{cargo}; {rustc}");
    let needed = std::fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    let needed: Option<toml::Table> = toml::from_str(&needed).ok();
    let needed = needed
        .as_ref()
        .and_then(|table| table["workspace"]["package"]["rust-version"].as_str())
        .unwrap_or("1.95");
    match (release(&rustc), release(needed)) {
        (Some(have), Some(need)) if have < need => {
            missing("rust", format!("{found}, older than {needed}"), "rustup update stable")
        }
        _ => ok("rust", found),
    }
}

/// The first `1.95` in a text, as numbers.
fn release(text: &str) -> Option<(u32, u32)> {
    let word =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut numbers = word.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn compiler() -> Finding {
    let named = std::env::var("CXX").ok();
    let tried: Vec<&str> = named.as_deref().into_iter().chain(["c++", "g++", "clang++"]).collect();
    let found = tried.iter().find_map(|program| process::probe(program, &["--version"]));
    match found.as_deref().and_then(|said| said.lines().next()) {
        Some(line) => ok("compiler", line.to_owned()),
        None => missing(
            "compiler",
            format!("no C++ compiler: tried {}", tried.join(", ")),
            "sudo apt install g++ (or: sudo dnf install gcc-c++, xcode-select --install)",
        ),
    }
}

fn python_pip() -> Finding {
    match Pip::find().and_then(|pip| pip.version()) {
        Some(said) => ok("pip", said.split(" from ").next().unwrap_or(&said).to_owned()),
        None => missing("pip", pip::MISSING.to_owned(), pip::REMEDY),
    }
}

fn libtorch(root: &Path) -> Finding {
    let Some(found) = Libtorch::find(root) else {
        return missing("libtorch", "none in .libtorch/".to_owned(), "cargo xtask setup");
    };
    let version = found.version.as_deref().unwrap_or("of unknown version");
    let cuda = if found.has_cuda() { "with CUDA" } else { "for the processor" };
    match found.check(root) {
        Ok(()) => ok("libtorch", format!("{version}, {cuda}, in {}", found.folder.display())),
        Err(error) => missing("libtorch", error.to_string(), "cargo xtask setup"),
    }
}

fn graphics() -> Finding {
    match gpu() {
        Some(said) => ok("gpu", said),
        None => absent(
            "gpu",
            "no NVIDIA driver (nvidia-smi names no GPU); not needed, the processor does it",
        ),
    }
}

/// The first GPU and its driver, as nvidia-smi names them.
pub fn gpu() -> Option<String> {
    let said = process::probe(
        "nvidia-smi",
        &["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
    )?;
    said.lines().next().map(str::to_owned)
}

fn disk(root: &Path) -> Result<Finding> {
    let disk = rustix::fs::statvfs(root)?;
    let free = disk.f_bavail * disk.f_frsize;
    let found = format!("{} free", size(free));
    // libtorch, and the debug and release builds beside it.
    Ok(match free {
        0..6_000_000_000 => {
            missing("disk", format!("{found}; libtorch and the builds take about 6 GB"), "df -h .")
        }
        _ => ok("disk", found),
    })
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match kibibytes(&text, "MemTotal:") {
        Some(total) => {
            let available = kibibytes(&text, "MemAvailable:").unwrap_or(0);
            ok(
                "memory",
                format!("{}, {} of it available", size(total * 1024), size(available * 1024)),
            )
        }
        None => absent("memory", "not known on this system"),
    }
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn cores() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let fast = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];
    let has: Vec<&str> = fast
        .into_iter()
        .filter(|flag| flags.split_whitespace().any(|word| word == *flag))
        .collect();
    ok("cores", format!("{count} {}", has.join(" ")).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_as_numbers() {
        assert!(release("rustc 1.100.0 (abc 2026-01-01)") > release("1.95"));
        assert_eq!(release("rustc"), None);
    }

    #[test]
    fn memory_is_read_by_key() {
        assert_eq!(
            kibibytes("MemTotal:  24000 kB\nMemAvailable: 12 kB\n", "MemAvailable:"),
            Some(12)
        );
    }
}
