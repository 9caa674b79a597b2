//! `test`: sets up if needed, then every check that CI runs, stage by stage, up to the first that fails.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::libtorch::Libtorch;
use crate::{doctor, map, process, setup, tidy};

/// What `test` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run the tests of parity, training, generation and resume on this device instead
    #[arg(long, value_parser = ["cpu", "cuda"], default_value = "cpu")]
    device: String,
}

/// The variable by which tests learn their device.
const DEVICE: &str = "IDIOLECT_TEST_DEVICE";

/// The packages whose tests touch a device.
const ON_DEVICE: [&str; 4] = ["idiolect-torch", "idiolect-model", "idiolect-trainer", "idiolect"];

type Stage<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>);

/// Runs the checks.
pub fn test(root: &Path, arguments: &Arguments) -> Result<()> {
    match arguments.device.as_str() {
        "cuda" => on_cuda(root),
        _ => run(&stages(root)),
    }
}

fn stages(root: &Path) -> Vec<Stage<'_>> {
    let cargo = |arguments: &'static [&'static str]| -> Box<dyn Fn() -> Result<()>> {
        Box::new(move || process::run(process::cargo(root).args(arguments)))
    };
    vec![
        ("setup", Box::new(|| setup::ensure(root).map(drop))),
        ("format", cargo(&["fmt", "--all", "--check"])),
        ("tidy", Box::new(|| tidy::tidy(root))),
        ("without libtorch", Box::new(|| map::check_without_tch(root))),
        ("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        ("tests", cargo(&["test", "--workspace"])),
    ]
}

/// The stages in order; the first failure ends the run, and a summary says how far it came.
fn run(stages: &[Stage]) -> Result<()> {
    let mut summary = Vec::new();
    for (index, (name, stage)) in stages.iter().enumerate() {
        eprintln!("[{}/{}] {name}", index + 1, stages.len());
        let started = Instant::now();
        let result = stage();
        let word = if result.is_ok() { "ok" } else { "failed" };
        summary.push(format!("  {word:7} {:6.1} s  {name}", started.elapsed().as_secs_f64()));
        if result.is_err() {
            let rest =
                stages[index + 1..].iter().map(|(name, _)| format!("  not run          {name}"));
            summary.extend(rest);
            eprintln!("\n{}", summary.join("\n"));
            return result;
        }
    }
    eprintln!("\n{}\nAll checks passed.", summary.join("\n"));
    Ok(())
}

/// The tests that touch a device, on the GPU.
fn on_cuda(root: &Path) -> Result<()> {
    let Some(gpu) = doctor::gpu() else {
        bail!("there is no NVIDIA GPU here (nvidia-smi names none), so nothing was run");
    };
    eprintln!("GPU: {gpu}");
    let found = setup::ensure(root)?;
    if !found.has_cuda() {
        bail!(
            "the libtorch in {} has no CUDA half: type `cargo xtask setup --cuda`",
            found.folder.display()
        );
    }
    let run_tests = || process::run(&mut device_tests(root, &found));
    run(&[("tests on CUDA", Box::new(run_tests))])
}

fn device_tests(root: &Path, found: &Libtorch) -> std::process::Command {
    let mut command = process::cargo(root);
    command.arg("test").args(ON_DEVICE.iter().flat_map(|package| ["-p", package]));
    // One GPU: tests in turn, so that none runs out of memory for another's sake.
    command.args(["--", "--test-threads=1"]).env(DEVICE, "cuda");
    crate::libtorch::on_library_path(&mut command, found);
    command
}
