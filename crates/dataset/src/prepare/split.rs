//! The split: documents come in order, and go to the training or the validation side.

use super::rows::Kept;
use super::side::SideWriter;
use crate::config::{Split, SplitConfig};
use crate::document::{documents, write_line};
use crate::error::{Error, IoContext, Result};
use crate::progress::{OnProgress, Progress, report};
use crate::report::{Report, Side};
use std::path::{Path, PathBuf};

const TRAIN_FILE: &str = "train.jsonl.zst";
const VALIDATION_FILE: &str = "validation.jsonl.zst";
const SPOOL_FILE: &str = "spool.jsonl.zst";

/// Between two reports of progress while the tail is cut.
const DOCUMENTS_A_REPORT: u64 = 4096;

/// Writes both sides.
pub(crate) struct Splitter {
    config: SplitConfig,
    folder: PathBuf,
    out: PathBuf,
    /// All documents in the case of a tail, whose beginning is known only at the end.
    train: SideWriter,
    validation: Option<SideWriter>,
}

impl Splitter {
    /// Opens the files in `folder`, which is to become `out`.
    pub(crate) fn create(config: SplitConfig, folder: &Path, out: &Path) -> Result<Splitter> {
        let first = if config.split == Split::Tail { SPOOL_FILE } else { TRAIN_FILE };
        let train = SideWriter::create(folder, out, first)?;
        let validation = match config.split {
            Split::Hash => Some(SideWriter::create(folder, out, VALIDATION_FILE)?),
            Split::Tail | Split::None => None,
        };
        Ok(Splitter {
            config,
            folder: folder.to_path_buf(),
            out: out.to_path_buf(),
            train,
            validation,
        })
    }

    pub(crate) fn write(&mut self, kept: &Kept, line: &[u8]) -> Result<()> {
        let side = match &mut self.validation {
            Some(validation) if kept.place < self.config.share() => validation,
            _ => &mut self.train,
        };
        side.write(line, kept.bytes, kept.characters)
    }

    /// Ends both sides. Neither may be empty, but for a validation side that is not wanted.
    pub(crate) fn finish(
        self,
        so_far: &Report,
        on_progress: OnProgress<'_>,
    ) -> Result<(Side, Side)> {
        let split = self.config.split;
        let documents = so_far.documents - so_far.dropped_documents();
        let (train, validation) = match split {
            Split::Tail => self.cut_tail(so_far, on_progress)?,
            Split::Hash | Split::None => {
                let validation = self.validation.map(SideWriter::finish).transpose()?;
                (self.train.finish()?, validation.unwrap_or_default())
            }
        };
        if train.documents == 0 {
            return Err(empty("training", split, documents, so_far));
        }
        if validation.documents == 0 && split != Split::None {
            return Err(empty("validation", split, documents, so_far));
        }
        Ok((train, validation))
    }

    /// Copies the spool to both sides, now that the number of documents is known.
    fn cut_tail(self, so_far: &Report, on_progress: OnProgress<'_>) -> Result<(Side, Side)> {
        let total = self.train.finish()?.documents;
        let mut train = SideWriter::create(&self.folder, &self.out, TRAIN_FILE)?;
        let mut validation = SideWriter::create(&self.folder, &self.out, VALIDATION_FILE)?;
        let spool = self.folder.join(SPOOL_FILE);
        let held_out = (self.config.share() * total as f64).round() as u64;
        let first_held_out = total - held_out.clamp(1, total.saturating_sub(1).max(1)).min(total);
        let mut line = Vec::new();
        let mut put = |side: &mut SideWriter, text: &str| {
            line.clear();
            write_line(text, &mut line);
            side.write(&line, text.len() as u64, text.chars().count() as u64)
        };
        for (index, document) in (0..).zip(documents(&spool)?) {
            let text = document?.text;
            if total == 1 {
                let (head, tail) = cut_characters(&text, self.config.share());
                let parts = [(&mut train, head), (&mut validation, tail)];
                parts
                    .into_iter()
                    .filter(|(_, text)| !text.is_empty())
                    .try_for_each(|(side, text)| put(side, text))?;
            } else if index < first_held_out {
                put(&mut train, &text)?;
            } else {
                put(&mut validation, &text)?;
            }
            if index % DOCUMENTS_A_REPORT == 0 {
                let (bytes, documents) = (so_far.bytes, so_far.documents);
                report(on_progress, Progress { bytes, total_bytes: bytes, documents, tokens: 0 })?;
            }
        }
        std::fs::remove_file(&spool).on("remove", &spool)?;
        Ok((train.finish()?, validation.finish()?))
    }
}

/// A text as its first characters and the last `share` of them: cut at `floor((1 - share) * n)`.
fn cut_characters(text: &str, share: f64) -> (&str, &str) {
    let characters = text.chars().count();
    let cut = ((1.0 - share) * characters as f64) as usize;
    let at = text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}

fn empty(side: &'static str, split: Split, documents: u64, report: &Report) -> Error {
    let help = match split {
        _ if documents == 0 => "check what was dropped, and why",
        Split::Hash => "take validation.split = \"tail\" or another share",
        Split::Tail | Split::None => "take another validation.share",
    };
    let dropped: Vec<_> =
        report.dropped.iter().map(|(reason, count)| format!(", {count} {reason}")).collect();
    let read = report.documents;
    let what = format!("{read} read, {documents} kept{}; {help}", dropped.concat());
    Error::EmptySide { side, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut_characters("äöüß", 0.5), ("äö", "üß"));
        assert_eq!(cut_characters("äöü", 0.5), ("ä", "öü"));
        assert_eq!(cut_characters("", 0.5), ("", ""));
        assert_eq!(cut_characters(&"a".repeat(1_115_394), 0.1).0.len(), 1_003_854);
    }
}
