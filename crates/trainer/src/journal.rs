//! Reports come in; lines of `metrics.jsonl` and points of the TensorBoard file `events.*` go out, cut back to a checkpoint's place on resume.

use crate::tensorboard;
use crate::{Error, Result, StepMetrics, ValidationMetrics};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The two files of a run's figures, open for appending.
#[derive(Debug)]
pub struct Journal {
    metrics: Appender,
    events: Appender,
}

/// How long the files were when a checkpoint was made: what lies beyond is cut on resume, since training writes it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    metrics_bytes: u64,
    events_file: String,
    events_bytes: u64,
}

/// Every figure of a run, read back for its report.
#[derive(Debug, Default)]
pub struct History {
    /// The reports, in order.
    pub steps: Vec<StepMetrics>,
    /// The evaluations, in order.
    pub validations: Vec<ValidationMetrics>,
}

impl Journal {
    /// Opens the files of a run folder, cut back to `position`, or empty ones; the flag is true when they were shorter than that.
    pub fn open(run_dir: &Path, position: Option<&Position>) -> Result<(Self, bool)> {
        let new_name = || format!("events.out.tfevents.{:010}.idiolect", wall_time() as u64);
        let events_file = position.map_or_else(new_name, |p| p.events_file.clone());
        let (metrics_bytes, events_bytes) =
            position.map_or((0, 0), |p| (p.metrics_bytes, p.events_bytes));
        let metrics = Appender::open(metrics_path(run_dir), metrics_bytes)?;
        let mut events = Appender::open(run_dir.join(events_file), events_bytes)?;
        let shorter = metrics.bytes < metrics_bytes || events.bytes < events_bytes;
        if events.bytes == 0 {
            events.record(&tensorboard::file_version(wall_time()))?;
        }
        Ok((Self { metrics, events }, shorter))
    }

    /// Appends a report.
    pub fn step(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.metrics.line(metrics)?;
        let values = [
            ("loss/train", metrics.loss),
            ("learning_rate", metrics.learning_rate),
            ("grad_norm", metrics.grad_norm),
            ("tokens_per_second", metrics.tokens_per_second),
        ];
        self.events.record(&tensorboard::scalars(wall_time(), metrics.step, &values))
    }

    /// Appends an evaluation.
    pub fn validation(&mut self, metrics: &ValidationMetrics) -> Result<()> {
        self.metrics.line(metrics)?;
        let mut values = vec![
            ("loss/validation", metrics.validation_loss),
            ("perplexity/validation", metrics.perplexity),
        ];
        values.extend(metrics.bits_per_byte.map(|bits| ("bits_per_byte/validation", bits)));
        values.extend(metrics.accuracy.map(|accuracy| ("accuracy/validation", accuracy)));
        values.extend(metrics.macro_f1.map(|f1| ("macro_f1/validation", f1)));
        self.events.record(&tensorboard::scalars(wall_time(), metrics.step, &values))
    }

    /// The place a checkpoint remembers; all before it is on disk when this returns.
    pub fn position(&mut self) -> Result<Position> {
        self.metrics.sync()?;
        self.events.sync()?;
        let name = self.events.path.file_name().unwrap_or_default();
        Ok(Position {
            metrics_bytes: self.metrics.bytes,
            events_file: name.to_string_lossy().into_owned(),
            events_bytes: self.events.bytes,
        })
    }
}

impl History {
    /// Reads a run folder's `metrics.jsonl`.
    pub fn read(run_dir: &Path) -> Result<Self> {
        let path = metrics_path(run_dir);
        let failed = |source| Error::Io { action: "read", path: path.clone(), source };
        let mut history = Self::default();
        for line in BufReader::new(File::open(&path).map_err(failed)?).lines() {
            let line = line.map_err(failed)?;
            if let Ok(metrics) = serde_json::from_str(&line) {
                history.steps.push(metrics);
            } else if let Ok(metrics) = serde_json::from_str(&line) {
                history.validations.push(metrics);
            }
        }
        Ok(history)
    }
}

fn metrics_path(run_dir: &Path) -> PathBuf {
    run_dir.join("metrics.jsonl")
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[derive(Debug)]
struct Appender {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Appender {
    // Opens or makes the file and keeps its first `keep` bytes, or all of them if it is shorter.
    fn open(path: PathBuf, keep: u64) -> Result<Self> {
        let open = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            let bytes = file.metadata()?.len().min(keep);
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, bytes))
        };
        match open() {
            Ok((file, bytes)) => Ok(Self { path, file, bytes }),
            Err(source) => Err(Error::Io { action: "open", path, source }),
        }
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)
            .map_err(|source| self.failed("write", std::io::Error::from(source)))?;
        line.push(b'\n');
        self.write(&line)
    }

    fn record(&mut self, event: &[u8]) -> Result<()> {
        let mut record = Vec::with_capacity(event.len() + 16);
        tensorboard::write_record(&mut record, event).map_err(|e| self.failed("write", e))?;
        self.write(&record)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| self.failed("write", source))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|source| self.failed("sync", source))
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }
}
