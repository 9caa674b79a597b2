//! A run folder comes in; it goes out locked, with what an earlier run left there found, or set aside.
//!
//! The record `run.toml` tells a run's folder from others: where it is missing or another's, nothing is overwritten.

use crate::checkpoint::{self, State};
use crate::{Error, Result};
use idiolect_files::{FolderLock, remove_temporaries, write_atomic};
use std::fs;
use std::path::{Path, PathBuf};

const RECORD: &str = "run.toml";
const FIRST_LINE: &str = "# Idiolect wrote this: the run file as it was validated.";

/// What else a run writes into its folder.
const OURS: [&str; 5] = ["checkpoints", "curves", "metrics.jsonl", "model", "report.md"];

/// Refuses a folder that holds files of a run's names that no run wrote: they would be overwritten. One that is not there is fine.
pub fn check_run_folder(run_dir: &Path) -> Result<()> {
    let record = run_dir.join(RECORD);
    let is_ours = match fs::read(&record) {
        Ok(text) => text.starts_with(FIRST_LINE.as_bytes()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(source) => return Err(Error::Io { action: "read", path: record, source }),
    };
    if is_ours {
        return Ok(());
    }
    // A run that died early leaves an empty folder of checkpoints, without a record.
    let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut dir| dir.next().is_none());
    let theirs = [RECORD].iter().chain(&OURS).map(|name| run_dir.join(name));
    let mut theirs = theirs.filter(|path| path.symlink_metadata().is_ok() && !is_empty(path));
    theirs.next().map_or(Ok(()), |path| Err(Error::NotARun { path }))
}

/// Locks a folder that passes [`check_run_folder`], and makes it where it is missing.
pub fn lock(run_dir: &Path) -> Result<FolderLock> {
    check_run_folder(run_dir)?;
    make_folder(&checkpoints(run_dir))?;
    let lock = FolderLock::acquire(run_dir)?;
    remove_temporaries(run_dir)?;
    remove_temporaries(&checkpoints(run_dir))?;
    Ok(lock)
}

/// Whether a run left its model and its report.
pub fn is_finished(run_dir: &Path) -> bool {
    run_dir.join("model").is_dir() && run_dir.join("report.md").is_file()
}

/// Whether a text is the record that a run left in its folder.
pub fn is_record(text: &str) -> bool {
    text.starts_with(FIRST_LINE)
}

/// Writes the record: what runs, and that the folder is a run's.
pub fn write_record(run_dir: &Path, run_file: &str) -> Result<()> {
    let record = format!("{FIRST_LINE}\n{run_file}");
    Ok(write_atomic(&run_dir.join(RECORD), record.as_bytes())?)
}

/// Where the checkpoints are.
pub fn checkpoints(run_dir: &Path) -> PathBuf {
    run_dir.join("checkpoints")
}

/// The newest whole checkpoint, if the run is to go on from one. Without it the run begins anew, and what an earlier one left is
/// set aside, not lost.
pub fn find_checkpoint(
    run_dir: &Path,
    resume: bool,
    warn: &mut impl FnMut(String),
) -> Result<Option<(PathBuf, State)>> {
    if resume {
        let found = checkpoint::find(&checkpoints(run_dir))?;
        for (step, error) in &found.broken {
            checkpoint::put_by(&checkpoints(run_dir), *step)?;
            warn(format!("the checkpoint of step {step} is not whole: {}", chain(error)));
        }
        if found.newest_whole.is_some() {
            return Ok(found.newest_whole);
        }
    }
    if let Some(aside) = set_aside(run_dir)? {
        warn(format!("an earlier run's files were moved to {}", aside.display()));
    }
    Ok(None)
}

/// Moves what an earlier run left into a folder `previous-N`, and gives it, if there was one: for a caller that makes data or a
/// tokenizer anew before it trains.
pub fn set_run_aside(run_dir: &Path) -> Result<Option<PathBuf>> {
    let _lock = lock(run_dir)?;
    set_aside(run_dir)
}

fn set_aside(run_dir: &Path) -> Result<Option<PathBuf>> {
    let failed = |source| Error::Io { action: "set aside files of", path: run_dir.into(), source };
    let is_finished = run_dir.join("report.md").exists();
    if !is_finished && fs::read_dir(checkpoints(run_dir)).map_err(failed)?.next().is_none() {
        return remove_figures(run_dir).map(|()| None).map_err(failed);
    }
    let free = |count: &u32| !run_dir.join(format!("previous-{count}")).exists();
    let aside = run_dir.join(format!("previous-{}", (1..).find(free).unwrap_or_default()));
    make_folder(&aside)?;
    for entry in fs::read_dir(run_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == RECORD || OURS.contains(&name.as_ref()) || is_events(&name) {
            fs::rename(entry.path(), aside.join(entry.file_name())).map_err(failed)?;
        }
    }
    make_folder(&checkpoints(run_dir))?;
    Ok(Some(aside))
}

// A run that died before its first checkpoint left nothing but figures, which are written again.
fn remove_figures(run_dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(run_dir)? {
        let entry = entry?;
        if is_events(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_events(name: &str) -> bool {
    name.starts_with("events.out.tfevents.")
}

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::Io {
        action: "create the folder",
        path: path.into(),
        source,
    })
}

// An error and its causes in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
