//! Samples for next-token prediction: windows over the ids of all documents, with the labels shifted by one.

use crate::batch::{Batch, IGNORE_LABEL, Samples, check_samples};
use crate::error::{Error, Result};
use crate::random;
use crate::tokens::{Tokens, pieces, shared_bytes, table_bytes};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// How windows are cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CausalConfig {
    /// The length of a window.
    pub context_length: usize,
    /// Whether documents in a window are kept apart: they get numbers, positions start anew, and the last id of a document
    /// is not asked to predict the first of the next.
    #[serde(default)]
    pub isolate_documents: bool,
    /// Whether the last window may be shorter (padded, without labels there), so that every id but the first is predicted:
    /// for validation.
    #[serde(default)]
    pub keep_remainder: bool,
    /// Whether the windows of each epoch begin at another offset, drawn from the seed.
    #[serde(default)]
    pub shift_windows: bool,
    /// The seed of the offsets.
    #[serde(default)]
    pub seed: u64,
}

impl CausalConfig {
    /// Windows of a length, over documents that see each other, without the remainder.
    pub fn new(context_length: usize) -> CausalConfig {
        CausalConfig {
            context_length,
            isolate_documents: false,
            keep_remainder: false,
            shift_windows: false,
            seed: 0,
        }
    }

    /// The same windows for validation: fixed, and with the remainder.
    pub fn for_validation(self) -> CausalConfig {
        CausalConfig { keep_remainder: true, shift_windows: false, ..self }
    }
}

/// Windows of `context_length` ids, one after the other: sample `i` reads ids from `i * context_length` on.
///
/// ```
/// use idiolect_dataset::{CausalConfig, CausalSamples, Samples, TokenStore};
/// use std::sync::Arc;
///
/// let store = Arc::new(TokenStore::new(vec![1, 2, 3, 4, 5, 6]));
/// let samples = CausalSamples::new(store, CausalConfig::new(2))?;
/// assert_eq!((samples.len(), samples.remainder()), (2, 1));
/// let batch = samples.batch(0, &[1])?;
/// assert_eq!(batch.ids, [3, 4]);
/// assert_eq!(batch.labels, [4, 5]);
/// # Ok::<(), idiolect_dataset::Error>(())
/// ```
#[derive(Clone)]
pub struct CausalSamples {
    tokens: Arc<dyn Tokens>,
    config: CausalConfig,
    count: u64,
}

impl CausalSamples {
    /// Windows over `tokens`, which must fill at least one.
    pub fn new(tokens: Arc<dyn Tokens>, config: CausalConfig) -> Result<CausalSamples> {
        let context = config.context_length as u64;
        if context == 0 {
            let what = "must be at least 1".to_string();
            return Err(Error::Config { key: "context_length", what });
        }
        let labels = tokens.token_count().saturating_sub(1);
        let count = match (config.keep_remainder, config.shift_windows) {
            (true, _) => labels.div_ceil(context),
            // One window is given up, so that every offset below the context leaves the same number.
            (false, true) if labels >= 2 * context => (labels - (context - 1)) / context,
            (false, _) => labels / context,
        };
        if count == 0 {
            let needed = if config.keep_remainder { 2 } else { context + 1 };
            return Err(Error::TooFewTokens { tokens: tokens.token_count(), needed });
        }
        Ok(CausalSamples { tokens, config, count })
    }

    /// How many labels an epoch leaves out, beside the first id, which nothing predicts.
    pub fn remainder(&self) -> u64 {
        let labels = self.tokens.token_count() - 1;
        labels.saturating_sub(self.count * self.config.context_length as u64)
    }

    /// Where the first window of an epoch begins.
    fn offset(&self, epoch: u64) -> u64 {
        if !self.config.shift_windows || self.config.keep_remainder {
            return 0;
        }
        let bound = self.remainder().min(self.config.context_length as u64 - 1) + 1;
        let mut generator = random::generator(self.config.seed, "window offset", [epoch, 0]);
        u64::from(random::below(&mut generator, u32::try_from(bound).unwrap_or(u32::MAX)))
    }

    /// Fills one row; `ids` is one longer than the row's labels.
    fn fill_labels(&self, inputs: &Range<u64>, ids: &[i64], labels: &mut [i64]) -> u64 {
        labels.fill(IGNORE_LABEL);
        let given = (inputs.end - inputs.start) as usize;
        labels[..given].copy_from_slice(&ids[1..=given]);
        let predicted = inputs.start + 1..inputs.end + 1;
        let table = self.tokens.token_bytes();
        let mut bytes = 0;
        if self.config.isolate_documents || table.is_none() {
            for mut piece in pieces(&*self.tokens, predicted.clone()) {
                if self.config.isolate_documents && piece.part.start == piece.whole.start {
                    labels[(piece.part.start - predicted.start) as usize] = IGNORE_LABEL;
                    piece.part.start += 1;
                }
                bytes += shared_bytes(&*self.tokens, &piece);
            }
        }
        table.map_or(bytes, |table| table_bytes(table, labels))
    }

    /// Numbers the documents of one row, and the positions in each of them from 0.
    fn fill_documents(&self, inputs: &Range<u64>, documents: &mut [i64], positions: &mut [i64]) {
        let mut column = 0;
        let mut number = 0;
        for piece in pieces(&*self.tokens, inputs.clone()) {
            for position in 0..(piece.part.end - piece.part.start) as i64 {
                documents[column] = number;
                positions[column] = position;
                column += 1;
            }
            number += 1;
        }
        // Padding is a document of its own.
        documents[column..].fill(number);
    }
}

impl Samples for CausalSamples {
    fn len(&self) -> u64 {
        self.count
    }

    fn columns(&self) -> usize {
        self.config.context_length
    }

    fn batch(&self, epoch: u64, samples: &[u64]) -> Result<Batch> {
        check_samples(samples, self.count)?;
        let columns = self.config.context_length;
        let size = samples.len() * columns;
        let isolated = || self.config.isolate_documents.then(|| vec![0; size]);
        let mut batch = Batch {
            rows: samples.len(),
            columns,
            ids: vec![0; size],
            labels: vec![0; size],
            document_ids: isolated(),
            position_ids: isolated(),
            ..Batch::default()
        };
        let offset = self.offset(epoch);
        let last = self.tokens.token_count() - 1;
        let mut ids = vec![0; columns + 1];
        for (row, &sample) in samples.iter().enumerate() {
            let start = offset + sample * columns as u64;
            let inputs = start..(start + columns as u64).min(last);
            let given = (inputs.end - inputs.start) as usize;
            let cells = row * columns..(row + 1) * columns;
            self.tokens.read(start, &mut ids[..=given]);
            batch.ids[cells.start..cells.start + given].copy_from_slice(&ids[..given]);
            batch.label_bytes += self.fill_labels(&inputs, &ids, &mut batch.labels[cells.clone()]);
            if let (Some(documents), Some(positions)) =
                (&mut batch.document_ids, &mut batch.position_ids)
            {
                let (documents, positions) = (&mut documents[cells.clone()], &mut positions[cells]);
                self.fill_documents(&inputs, documents, positions);
            }
        }
        Ok(batch)
    }
}
