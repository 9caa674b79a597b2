//! Labelled rows as samples: texts become ids, batches hold rows of about one length, padded to the longest of them.

use super::read::LabelledRows;
use super::vocab::LabelVocab;
use crate::batch::{Batch, Samples, check_samples};
use crate::error::{Error, Result};
use crate::order::Order;
use idiolect_tokenizer::{Special, Tokenizer};
use std::sync::{Arc, Mutex, PoisonError};

/// Batches whose rows are sorted by length together, in training. More save padding, fewer leave more to chance.
const WINDOW: usize = 50;

/// How labelled rows become samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelledSamplesConfig {
    /// Ids a row at most; what is longer loses its end, but not the token that closes it.
    pub max_length: usize,
    /// The id that fills up shorter rows.
    pub pad_id: u32,
    /// Rows of an optimizer step: those that an epoch's order keeps to one length.
    pub batch_rows: usize,
}

/// Rows of ids with a class each.
///
/// The order of an epoch is a random one ([`Order`]), of which 50 batches at a time are sorted by length and cut into
/// batches, and these shuffled. The cuts lie where steps begin, also where an epoch does not fill its last step.
#[derive(Debug)]
pub struct LabelledSamples {
    ids: Vec<u32>,
    /// Where each row ends in `ids`.
    ends: Vec<usize>,
    bytes: Vec<u64>,
    classes: Vec<i64>,
    config: LabelledSamplesConfig,
    longest: usize,
    cut: usize,
    /// Of the last epoch asked for.
    order: Mutex<Option<EpochOrder>>,
}

/// All samples in the order of an epoch.
#[derive(Debug)]
struct EpochOrder {
    seed: u64,
    epoch: u64,
    order: Arc<Vec<u64>>,
}

impl LabelledSamples {
    /// Encodes rows with the special tokens that the tokenizer adds.
    pub fn new(
        rows: &LabelledRows,
        vocab: &LabelVocab,
        tokenizer: &Tokenizer,
        config: LabelledSamplesConfig,
    ) -> Result<LabelledSamples> {
        if config.max_length == 0 || config.batch_rows == 0 {
            let key = if config.max_length == 0 { "max_length" } else { "batch_rows" };
            return Err(Error::Config { key, what: "must be at least 1".to_string() });
        }
        let classes = vocab.numbers_of(rows)?;
        let texts: Vec<&str> = rows.rows.iter().map(|row| row.text.as_str()).collect();
        let mut samples = LabelledSamples {
            ids: Vec::new(),
            ends: Vec::with_capacity(texts.len()),
            bytes: texts.iter().map(|text| text.len() as u64).collect(),
            classes,
            config,
            longest: 0,
            cut: 0,
            order: Mutex::new(None),
        };
        for (row, mut ids) in rows.rows.iter().zip(tokenizer.encode_batch(&texts, Special::Add)) {
            let Some(&last) = ids.last() else {
                let what = format!("line {}: the tokenizer makes no id of the text", row.line);
                return Err(Error::Mismatch { path: rows.path.clone(), what });
            };
            if ids.len() > config.max_length {
                samples.cut += 1;
                ids.truncate(config.max_length);
                if let Some(end) = ids.last_mut().filter(|_| tokenizer.is_special(last)) {
                    *end = last;
                }
            }
            samples.longest = samples.longest.max(ids.len());
            samples.ids.extend(ids);
            samples.ends.push(samples.ids.len());
        }
        Ok(samples)
    }

    /// The same rows by length, so that neighbours need little padding: for validation, which takes them as they lie.
    pub fn sorted_by_length(self) -> LabelledSamples {
        let mut by_length: Vec<usize> = (0..self.ends.len()).collect();
        by_length.sort_by_key(|&row| self.row(row).len());
        let mut sorted = LabelledSamples {
            ids: Vec::with_capacity(self.ids.len()),
            ends: Vec::with_capacity(self.ends.len()),
            bytes: by_length.iter().map(|&row| self.bytes[row]).collect(),
            classes: by_length.iter().map(|&row| self.classes[row]).collect(),
            order: Mutex::new(None),
            ..self
        };
        for row in by_length {
            let start = if row == 0 { 0 } else { self.ends[row - 1] };
            sorted.ids.extend_from_slice(&self.ids[start..self.ends[row]]);
            sorted.ends.push(sorted.ids.len());
        }
        sorted
    }

    /// How many rows were too long and lost their end.
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// How many rows each class has.
    pub fn class_counts(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        for &class in &self.classes {
            if let Some(count) = counts.get_mut(class as usize) {
                *count += 1;
            }
        }
        counts
    }

    fn row(&self, row: usize) -> &[u32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.ids[start..self.ends[row]]
    }

    /// All samples in the order of an epoch.
    fn order_of(&self, seed: u64, epoch: u64) -> Arc<Vec<u64>> {
        let mut last = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(last) if (last.seed, last.epoch) == (seed, epoch) => last.order.clone(),
            _ => {
                let order = Arc::new(self.make_order(seed, epoch));
                *last = Some(EpochOrder { seed, epoch, order: order.clone() });
                order
            }
        }
    }

    fn make_order(&self, seed: u64, epoch: u64) -> Vec<u64> {
        let (count, rows) = (self.len(), self.config.batch_rows as u64);
        let order = Order::new(seed, epoch, count);
        let mut drawn: Vec<u64> = (0..count).map(|index| order.at(index)).collect();
        // Rows before the first whole step of this epoch, and what is left after its last.
        let taken = (u128::from(epoch) * u128::from(count) % u128::from(rows)) as u64;
        let first = ((rows - taken) % rows).min(count) as usize;
        let rows = rows as usize;
        let batches = (drawn.len() - first) / rows;
        let whole = first..first + batches * rows;
        for window in drawn[whole.clone()].chunks_mut(WINDOW * rows) {
            window.sort_by_key(|&sample| self.row(sample as usize).len());
        }
        let shuffled = Order::new(seed, epoch, batches as u64);
        let sorted = drawn[whole.clone()].to_vec();
        for (index, batch) in drawn[whole].chunks_mut(rows).enumerate() {
            let from = shuffled.at(index as u64) as usize * rows;
            batch.copy_from_slice(&sorted[from..from + rows]);
        }
        drawn
    }
}

impl Samples for LabelledSamples {
    fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    fn columns(&self) -> usize {
        self.longest
    }

    fn sample_at(&self, seed: u64, epoch: u64, index: u64) -> u64 {
        let order = self.order_of(seed, epoch);
        order.get(index as usize).copied().unwrap_or_default()
    }

    fn batch(&self, _epoch: u64, samples: &[u64]) -> Result<Batch> {
        check_samples(samples, self.len())?;
        let rows: Vec<&[u32]> = samples.iter().map(|&sample| self.row(sample as usize)).collect();
        let columns = rows.iter().map(|row| row.len()).max().unwrap_or_default();
        let is_padded = rows.iter().any(|row| row.len() < columns);
        let mut ids = vec![i64::from(self.config.pad_id); rows.len() * columns];
        let mut real = vec![0; if is_padded { ids.len() } else { 0 }];
        for (index, row) in rows.iter().enumerate() {
            let start = index * columns;
            for (cell, &id) in ids[start..].iter_mut().zip(*row) {
                *cell = i64::from(id);
            }
            if is_padded {
                real[start..start + row.len()].fill(1);
            }
        }
        let of = |values: &[i64]| samples.iter().map(|&s| values[s as usize]).collect();
        Ok(Batch {
            rows: rows.len(),
            columns,
            ids,
            classes: Some(of(&self.classes)),
            attention_mask: is_padded.then_some(real),
            label_bytes: samples.iter().map(|&sample| self.bytes[sample as usize]).sum(),
            ..Batch::default()
        })
    }
}
