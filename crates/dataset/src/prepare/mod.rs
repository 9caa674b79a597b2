//! From a configuration to clean documents: files are read, cleaned, filtered and split; a folder with a report comes out.
//!
//! One thread reads and unpacks, rayon's threads clean blocks of rows, and the caller's thread takes these in order, drops
//! what is repeated and writes: so the output does not depend on the number of threads.

mod rows;
mod seen;
mod side;
mod split;

use crate::config::{DataConfig, OnBadRow};
use crate::error::{Error, IoContext, Result};
use crate::progress::{OnProgress, Progress, report};
use crate::read::{Block, BlockReader, InputFile, Source, Unit, find_files};
use crate::report::{Reason, Report};
use idiolect_files::AtomicFolder;
use rayon::prelude::*;
use rows::{Cleaned, Kept, Outcome, clean_block};
use seen::Seen;
use split::Splitter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

const REPORT_FILE: &str = "report.json";
const REPORT_VERSION: u32 = 1;

/// How much is cleaned at once, which bounds the memory.
const BATCH_BYTES_A_THREAD: usize = 4 << 20;

/// How long the caller waits at most to be asked whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Reads, cleans, filters and splits documents into the folder `out`: `train.jsonl.zst`, `validation.jsonl.zst` (unless
/// nothing is held out) and `report.json`.
///
/// The folder appears when it is whole. One that is there is replaced if an earlier run made it, and is an error otherwise.
pub fn prepare(config: &DataConfig, out: &Path, on_progress: OnProgress<'_>) -> Result<Report> {
    config.validate()?;
    let files = find_files(&config.paths)?;
    let config = &config.with_format_of(&files)?;
    let folder = AtomicFolder::replacing_ours(out, REPORT_FILE)?;
    let splitter = Splitter::create(config.validation.clone(), folder.path(), out)?;
    let mut run = Run {
        config,
        report: Report { version: REPORT_VERSION, files: files.len() as u64, ..Report::default() },
        seen: Seen::new(),
        splitter,
    };
    run.read_all(files, on_progress)?;
    let Run { mut report, splitter, .. } = run;
    (report.train, report.validation) = splitter.finish(&report, on_progress)?;
    let mut json = serde_json::to_vec_pretty(&report)
        .map_err(std::io::Error::from)
        .on("write", &out.join(REPORT_FILE))?;
    json.push(b'\n');
    std::fs::write(folder.path().join(REPORT_FILE), json).on("write", &out.join(REPORT_FILE))?;
    folder.commit()?;
    Ok(report)
}

impl Report {
    /// Reads the report in a folder that [`prepare`] made.
    pub fn read(folder: &Path) -> Result<Report> {
        let path = folder.join(REPORT_FILE);
        let bytes = std::fs::read(&path).on("read", &path)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Corrupt { path, what: error.to_string() })
    }
}

struct Run<'c> {
    config: &'c DataConfig,
    report: Report,
    seen: Seen,
    splitter: Splitter,
}

impl Run<'_> {
    fn read_all(&mut self, files: Vec<InputFile>, on_progress: OnProgress<'_>) -> Result<()> {
        let total_bytes = files.iter().map(|file| file.bytes).sum();
        let read = Arc::new(AtomicU64::new(0));
        let config = self.config;
        std::thread::scope(|scope| {
            // Without room in it: one batch is read while the one before is worked on.
            let (sender, receiver) = sync_channel(0);
            let limit = rayon::current_num_threads() * BATCH_BYTES_A_THREAD;
            let reader = Reader { read: read.clone(), batch: Vec::new(), weight: 0, limit, sender };
            scope.spawn(move || reader.read_files(&files, config));
            loop {
                let (batch, more) = match receiver.recv_timeout(PATIENCE) {
                    Ok(batch) => (batch?, true),
                    Err(RecvTimeoutError::Timeout) => (Vec::new(), true),
                    Err(RecvTimeoutError::Disconnected) => (Vec::new(), false),
                };
                self.take(batch)?;
                self.report.bytes = read.load(Ordering::Relaxed);
                let (bytes, documents) = (self.report.bytes, self.report.documents);
                report(on_progress, Progress { bytes, total_bytes, documents, tokens: 0 })?;
                if !more {
                    return Ok(());
                }
            }
        })
    }

    /// Cleans blocks in parallel and takes their documents in order.
    fn take(&mut self, batch: Vec<Block>) -> Result<()> {
        let config = self.config;
        let cleaned: Vec<Cleaned> =
            batch.into_par_iter().map(|block| clean_block(block, config)).collect();
        cleaned.into_iter().try_for_each(|cleaned| self.admit(cleaned))
    }

    fn admit(&mut self, cleaned: Cleaned) -> Result<()> {
        for outcome in cleaned.outcomes {
            self.report.documents += 1;
            match outcome {
                Outcome::Kept(kept) => self.keep(&kept, &cleaned.json[kept.line.clone()])?,
                Outcome::Dropped(reason) => self.drop(reason),
                Outcome::Bad { bad, .. } if self.config.on_bad_row == OnBadRow::Drop => {
                    self.drop(bad.reason);
                }
                Outcome::Bad { line, bad } => {
                    let path = cleaned.path.to_path_buf();
                    return Err(Error::BadRow { path, line, what: bad.what });
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, kept: &Kept, line: &[u8]) -> Result<()> {
        if self.config.deduplicate && !self.seen.insert(kept.key) {
            self.drop(Reason::Repeated);
            return Ok(());
        }
        self.report.changed += u64::from(kept.changed);
        self.splitter.write(kept, line)
    }

    fn drop(&mut self, reason: Reason) {
        *self.report.dropped.entry(reason).or_default() += 1;
    }
}

/// Collects blocks into batches, each of which keeps every thread busy.
struct Reader {
    read: Arc<AtomicU64>,
    batch: Vec<Block>,
    /// The bytes of the batch, and some for what each block takes beside them.
    weight: usize,
    limit: usize,
    sender: SyncSender<Result<Vec<Block>>>,
}

impl Reader {
    /// Reads every file in turn. Ends early when nobody listens any more.
    fn read_files(mut self, files: &[InputFile], config: &DataConfig) {
        let read = files.iter().try_for_each(|file| self.read_file(file, config));
        // What was read before an error comes first, for it may hold an error of its own.
        let sent = self.send();
        if let (Ok(()), Err(error)) = (sent, read) {
            let _ = self.sender.send(Err(error));
        }
    }

    fn read_file(&mut self, file: &InputFile, config: &DataConfig) -> Result<()> {
        let source = Source::open(&file.path, self.read.clone())?;
        let mut blocks = BlockReader::new(source, Unit::of(config), config.max_document_bytes);
        while let Some(block) = blocks.next_block()? {
            self.weight += block.bytes.len() + (1 << 10);
            self.batch.push(block);
            if self.weight >= self.limit {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Hands the batch over. If the receiver is gone, somebody stopped the run or something failed.
    fn send(&mut self) -> Result<()> {
        self.weight = 0;
        self.sender.send(Ok(std::mem::take(&mut self.batch))).map_err(|_| Error::Stopped)
    }
}
