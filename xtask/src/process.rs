//! Commands in, exit states out: runs other programs so that Ctrl-C reaches each once and is passed on as 130.
//!
//! A child gets a process group of its own, so a Ctrl-C on the terminal comes here only and is forwarded, to the whole
//! group, exactly once; what a first Ctrl-C means (save a checkpoint, say) is the child's business.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Why the work ended early; `main` turns it into the exit status.
#[derive(Debug)]
pub enum Ended {
    /// A signal asked this program to stop.
    Signal(i32),
    /// A program that ran in the foreground failed, and has said why itself.
    Status { program: String, code: i32 },
}

impl Ended {
    pub fn code(&self) -> i32 {
        match self {
            Ended::Signal(signal) => 128 + signal,
            Ended::Status { code, .. } => *code,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Signal(_) => write!(f, "stopped"),
            Ended::Status { program, code } => write!(f, "`{program}` ended with status {code}"),
        }
    }
}

impl std::error::Error for Ended {}

static ARRIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
static STOPPED_BY: AtomicUsize = AtomicUsize::new(0);

/// From here on the signals that ask to stop are noted instead of ending the process.
pub fn note_signals() -> Result<()> {
    let arrived = ARRIVED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(arrived), signal as usize)?;
    }
    Ok(())
}

/// The signal that arrived since the last call, if any.
fn take_signal() -> Option<i32> {
    match ARRIVED.get().map_or(0, |arrived| arrived.swap(0, Ordering::Relaxed)) {
        0 => None,
        signal => {
            STOPPED_BY.store(signal, Ordering::Relaxed);
            Some(signal as i32)
        }
    }
}

/// An error once a signal has asked to stop; long loops call it between their steps.
pub fn check_stop() -> Result<()> {
    take_signal();
    match STOPPED_BY.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Ended::Signal(signal as i32).into()),
    }
}

/// Runs a command in the foreground and gives its exit code (128 + n when a signal ended it).
pub fn status(command: &mut Command) -> Result<i32> {
    watch(command, &mut || ())
}

/// Like [`status`], calling `tick` some times a second.
pub fn watch(command: &mut Command, tick: &mut dyn FnMut()) -> Result<i32> {
    check_stop()?;
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let mut child = child.with_context(|| format!("cannot start `{program}`"))?;
    let ended = wait(&mut child, tick)?;
    check_stop()?;
    Ok(ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0)))
}

/// Runs a command in the foreground; a failure is an error that carries the exit status.
pub fn run(command: &mut Command) -> Result<()> {
    match status(command)? {
        0 => Ok(()),
        code => Err(Ended::Status { program: name(command), code }.into()),
    }
}

/// Runs a command and gives what it printed; its standard error is kept for the error message.
pub fn output(command: &mut Command) -> Result<String> {
    check_stop()?;
    let program = name(command);
    let done = command.stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("cannot start `{program}`"))?;
    check_stop()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::bail!("`{program}` failed ({}): {}", done.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// What a program says of its version, or `None` when there is no such program or it fails.
pub fn probe(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    (done.status.success() && !said.is_empty()).then_some(said)
}

/// The cargo that runs us, in the root of the tree.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// The root of this workspace.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    here.parent().unwrap_or(Path::new(".")).to_owned()
}

/// A folder, made if need be.
pub fn made(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// A word quoted for the shell where it needs it.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%[]".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned()
}

fn wait(child: &mut Child, tick: &mut dyn FnMut()) -> Result<ExitStatus> {
    loop {
        if let Some(signal) = take_signal().and_then(Signal::from_named_raw) {
            // The child may be gone already; then there is nobody to tell.
            rustix::process::kill_process_group(Pid::from_child(child), signal).ok();
        }
        if let Some(ended) = child.try_wait()? {
            return Ok(ended);
        }
        tick();
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("idiolect");
        command.args(["generate", "--prompt", "ROMEO: it's", ""]);
        assert_eq!(shown(&command), r"idiolect generate --prompt 'ROMEO: it'\''s' ''");
    }

    #[test]
    fn exit_states_are_passed_on() {
        assert_eq!(status(Command::new("sh").args(["-c", "exit 7"])).unwrap(), 7);
        let failed = run(Command::new("sh").args(["-c", "kill -TERM $$"])).unwrap_err();
        assert_eq!(failed.downcast_ref::<Ended>().map(Ended::code), Some(143));
        assert_eq!(Ended::Signal(2).code(), 130);
    }

    #[test]
    fn output_keeps_what_was_said() {
        assert_eq!(output(Command::new("echo").arg("hello")).unwrap(), "hello\n");
        let failed = output(Command::new("sh").args(["-c", "echo no room >&2; exit 1"]));
        assert!(failed.unwrap_err().to_string().contains("no room"));
    }
}
