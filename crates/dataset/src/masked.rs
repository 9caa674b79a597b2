//! Samples for masked-token prediction: rows of text go in; the same rows with some ids hidden, and these as labels, come out.

use crate::batch::{Batch, IGNORE_LABEL, Samples, check_samples};
use crate::error::{Error, Result};
use crate::random;
use crate::tokens::{Tokens, pieces, shared_bytes, table_bytes};
use idiolect_tokenizer::Tokenizer;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// How rows are cut and masked. The defaults are BERT's (Devlin et al., BERT, 2019, section 3.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskedConfig {
    /// The length of a row, `[CLS]` and `[SEP]` included.
    pub context_length: usize,
    /// The share of the ids that are not special to predict: of `n` in a row, `share * n` rounded, and at least 1.
    #[serde(default = "default_share")]
    pub share: f64,
    /// The share of these that is shown as `[MASK]`.
    #[serde(default = "default_mask_share")]
    pub mask_share: f64,
    /// The share of these that is shown as a random id; the rest is shown as it is.
    #[serde(default = "default_random_share")]
    pub random_share: f64,
    /// Whether words are masked whole. The share is then not exceeded, but by a first word that is longer than it.
    #[serde(default)]
    pub whole_words: bool,
    /// Whether a row holds text of one document only, padded where that ends.
    #[serde(default)]
    pub isolate_documents: bool,
    /// Whether the last row may be shorter, padded: for validation. With isolated documents nothing is left out anyway.
    #[serde(default)]
    pub keep_remainder: bool,
    /// Whether every epoch sees the mask of epoch 0: for validation.
    #[serde(default)]
    pub fixed_mask: bool,
    /// The seed of the masks.
    #[serde(default)]
    pub seed: u64,
}

impl MaskedConfig {
    /// BERT's masking in rows of a length.
    pub fn new(context_length: usize) -> MaskedConfig {
        MaskedConfig {
            context_length,
            share: default_share(),
            mask_share: default_mask_share(),
            random_share: default_random_share(),
            whole_words: false,
            isolate_documents: false,
            keep_remainder: false,
            fixed_mask: false,
            seed: 0,
        }
    }

    /// The same rows for validation: the mask fixed, and with the remainder.
    pub fn for_validation(self) -> MaskedConfig {
        MaskedConfig { keep_remainder: true, fixed_mask: true, ..self }
    }

    /// Refuses what cannot be carried out, naming the key.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key, what: &str| Err(Error::Config { key, what: what.to_string() });
        let unit = 0.0..=1.0;
        if self.context_length < 3 {
            return refuse("context_length", "must be at least 3: [CLS], a token, [SEP]");
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return refuse("share", "must lie above 0 and not above 1");
        }
        if !unit.contains(&self.mask_share) || !unit.contains(&self.random_share) {
            return refuse("mask_share", "and random_share must lie between 0 and 1");
        }
        // A little slack, since 0.9 + 0.1 may come out above 1.
        if self.mask_share + self.random_share > 1.0 + 1e-9 {
            return refuse("mask_share", "and random_share add up to more than 1");
        }
        Ok(())
    }
}

fn default_share() -> f64 {
    0.15
}

fn default_mask_share() -> f64 {
    0.8
}

fn default_random_share() -> f64 {
    0.1
}

/// What masking needs to know of a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskVocab {
    /// The id of `[MASK]`.
    pub mask: i64,
    /// The id of `[CLS]`.
    pub cls: i64,
    /// The id of `[SEP]`.
    pub sep: i64,
    /// The id of `[PAD]`.
    pub pad: i64,
    /// For every id of the vocabulary, whether it is special: never masked, and never a random replacement.
    pub special: Vec<bool>,
    /// For every id of the vocabulary, whether it continues the word before it.
    pub continues_word: Vec<bool>,
}

impl MaskVocab {
    /// What a tokenizer says; an error where it lacks one of the four ids.
    pub fn new(tokenizer: &Tokenizer) -> Result<MaskVocab> {
        let need = |name: &'static str, id: Option<u32>| {
            let what = format!("has no {name}, which masked samples need");
            id.map(i64::from).ok_or(Error::Config { key: "tokenizer", what })
        };
        let ids = 0..tokenizer.vocab_size() as u32;
        Ok(MaskVocab {
            mask: need("[MASK]", tokenizer.mask_id())?,
            cls: need("[CLS]", tokenizer.cls_id())?,
            sep: need("[SEP]", tokenizer.sep_id())?,
            pad: need("[PAD]", tokenizer.pad_id())?,
            special: ids.clone().map(|id| tokenizer.is_special(id)).collect(),
            continues_word: ids.map(|id| tokenizer.continues_word(id)).collect(),
        })
    }

    fn is_special(&self, id: i64) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    fn continues(&self, id: i64) -> bool {
        self.continues_word.get(id as usize).copied().unwrap_or(false)
    }

    fn random_id(&self, generator: &mut ChaCha8Rng) -> i64 {
        loop {
            let id = random::below(generator, self.special.len() as u32);
            if !self.special[id as usize] {
                return i64::from(id);
            }
        }
    }
}

/// Rows of `[CLS] text [SEP]` with a fresh mask each epoch, drawn from (seed, epoch, sample).
///
/// ```
/// use idiolect_dataset::{IGNORE_LABEL, MaskVocab, MaskedConfig, MaskedSamples, Samples, TokenStore};
/// use std::sync::Arc;
///
/// // Ids 0 to 3 are [PAD], [CLS], [SEP] and [MASK].
/// let special = (0..100).map(|id| id < 4).collect();
/// let vocab =
///     MaskVocab { pad: 0, cls: 1, sep: 2, mask: 3, special, continues_word: vec![false; 100] };
/// let store = Arc::new(TokenStore::new((4..44).collect()));
/// let samples = MaskedSamples::new(store, vocab, MaskedConfig::new(22))?;
/// let batch = samples.batch(0, &[0, 1])?;
/// assert_eq!((batch.ids[0], batch.ids[21]), (1, 2));
/// // 15 % of 20 ids, in each of two rows.
/// assert_eq!(batch.labels.iter().filter(|&&label| label != IGNORE_LABEL).count(), 6);
/// # Ok::<(), idiolect_dataset::Error>(())
/// ```
#[derive(Clone)]
pub struct MaskedSamples {
    tokens: Arc<dyn Tokens>,
    vocab: MaskVocab,
    config: MaskedConfig,
    rows: Rows,
}

/// Which positions a row holds.
#[derive(Clone)]
enum Rows {
    /// Rows follow each other without regard to documents.
    Windows { count: u64 },
    /// For every document, the number of rows up to its end.
    Documents { ends: Arc<[u64]> },
}

impl MaskedSamples {
    /// Rows over `tokens`, which must fill at least one.
    pub fn new(
        tokens: Arc<dyn Tokens>,
        vocab: MaskVocab,
        config: MaskedConfig,
    ) -> Result<MaskedSamples> {
        config.validate()?;
        if vocab.special.iter().all(|&special| special) {
            let what = "has no token that is not special".to_string();
            return Err(Error::Config { key: "tokenizer", what });
        }
        let width = config.context_length as u64 - 2;
        let rows = if config.isolate_documents {
            Rows::Documents { ends: document_rows(&*tokens, width) }
        } else if config.keep_remainder {
            Rows::Windows { count: tokens.token_count().div_ceil(width) }
        } else {
            Rows::Windows { count: tokens.token_count() / width }
        };
        let samples = MaskedSamples { tokens, vocab, config, rows };
        if samples.is_empty() {
            let needed = if samples.config.keep_remainder { 1 } else { width };
            return Err(Error::TooFewTokens { tokens: samples.tokens.token_count(), needed });
        }
        Ok(samples)
    }

    /// How many ids an epoch leaves out.
    pub fn remainder(&self) -> u64 {
        match &self.rows {
            Rows::Windows { count } => {
                self.tokens.token_count().saturating_sub(count * self.width())
            }
            Rows::Documents { .. } => 0,
        }
    }

    /// Ids of text in a row.
    fn width(&self) -> u64 {
        self.config.context_length as u64 - 2
    }

    /// The positions of a row's text.
    fn text_of(&self, sample: u64) -> Range<u64> {
        let width = self.width();
        let (start, end) = match &self.rows {
            Rows::Windows { .. } => (sample * width, self.tokens.token_count()),
            Rows::Documents { ends } => {
                let document = ends.partition_point(|&end| end <= sample) as u64;
                let (row, start) = match document.checked_sub(1) {
                    Some(last) => (sample - ends[last as usize], self.tokens.document_end(last)),
                    None => (sample, 0),
                };
                (start + row * width, self.tokens.document_end(document))
            }
        };
        start..(start + width).min(end)
    }

    fn text_bytes(&self, text: &Range<u64>, ids: &[i64]) -> u64 {
        match self.tokens.token_bytes() {
            Some(table) => table_bytes(table, ids),
            None => pieces(&*self.tokens, text.clone())
                .map(|piece| shared_bytes(&*self.tokens, &piece))
                .sum(),
        }
    }

    /// Hides ids of one row and puts them into the labels.
    fn mask(&self, seed: [u64; 2], ids: &mut [i64], labels: &mut [i64], scratch: &mut Scratch) {
        let mut generator = random::generator(self.config.seed, "mask", seed);
        scratch.find_words(ids, &self.vocab, self.config.whole_words);
        let maskable: usize = scratch.words.iter().map(|&(_, length)| length as usize).sum();
        let wanted = ((self.config.share * maskable as f64).round() as usize).max(1);
        let mut taken = 0;
        for index in 0..scratch.words.len() {
            if taken >= wanted {
                break;
            }
            // A Fisher-Yates shuffle, only as far as it is needed.
            let rest = (scratch.words.len() - index) as u32;
            let other = index + random::below(&mut generator, rest) as usize;
            scratch.words.swap(index, other);
            let (start, length) = scratch.words[index];
            if taken > 0 && taken + length as usize > wanted {
                continue;
            }
            taken += length as usize;
            for column in start as usize..(start + length) as usize {
                labels[column] = ids[column];
                ids[column] = self.shown(ids[column], &mut generator);
            }
        }
    }

    /// What is shown in place of an id that is to be predicted.
    fn shown(&self, id: i64, generator: &mut ChaCha8Rng) -> i64 {
        let draw = random::unit(generator);
        if draw < self.config.mask_share {
            self.vocab.mask
        } else if draw < self.config.mask_share + self.config.random_share {
            self.vocab.random_id(generator)
        } else {
            id
        }
    }
}

impl Samples for MaskedSamples {
    fn len(&self) -> u64 {
        match &self.rows {
            Rows::Windows { count } => *count,
            Rows::Documents { ends } => ends.last().copied().unwrap_or(0),
        }
    }

    fn columns(&self) -> usize {
        self.config.context_length
    }

    fn batch(&self, epoch: u64, samples: &[u64]) -> Result<Batch> {
        check_samples(samples, self.len())?;
        let epoch = if self.config.fixed_mask { 0 } else { epoch };
        let columns = self.config.context_length;
        let size = samples.len() * columns;
        let mut batch = Batch {
            rows: samples.len(),
            columns,
            ids: vec![self.vocab.pad; size],
            labels: vec![IGNORE_LABEL; size],
            ..Batch::default()
        };
        let mut scratch = Scratch::default();
        for (row, &sample) in samples.iter().enumerate() {
            let text = self.text_of(sample);
            let length = (text.end - text.start) as usize;
            let cells = row * columns..(row + 1) * columns;
            let (ids, labels) = (&mut batch.ids[cells.clone()], &mut batch.labels[cells.clone()]);
            self.tokens.read(text.start, &mut ids[1..=length]);
            batch.label_bytes += self.text_bytes(&text, &ids[1..=length]);
            (ids[0], ids[length + 1]) = (self.vocab.cls, self.vocab.sep);
            self.mask([epoch, sample], &mut ids[..length + 2], labels, &mut scratch);
            if length + 2 < columns {
                let mask = batch.attention_mask.get_or_insert_with(|| vec![1; size]);
                mask[cells][length + 2..].fill(0);
            }
        }
        Ok(batch)
    }
}

/// What can be masked in a row, as (first column, length); kept between rows to allocate once.
#[derive(Default)]
struct Scratch {
    words: Vec<(u32, u32)>,
}

impl Scratch {
    fn find_words(&mut self, ids: &[i64], vocab: &MaskVocab, whole: bool) {
        self.words.clear();
        let mut in_word = false;
        for (column, &id) in ids.iter().enumerate() {
            if vocab.is_special(id) {
                in_word = false;
                continue;
            }
            match self.words.last_mut() {
                Some((_, length)) if whole && in_word && vocab.continues(id) => *length += 1,
                _ => self.words.push((column as u32, 1)),
            }
            in_word = true;
        }
    }
}

/// For every document, the number of rows of `width` ids up to its end.
fn document_rows(tokens: &dyn Tokens, width: u64) -> Arc<[u64]> {
    let (mut rows, mut start) = (0, 0);
    (0..tokens.document_count())
        .map(|document| {
            let end = tokens.document_end(document);
            rows += (end - start).div_ceil(width);
            start = end;
            rows
        })
        .collect()
}
