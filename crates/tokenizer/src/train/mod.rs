//! Training: texts and a configuration go in, a tokenizer comes out. The same texts give the same tokenizer.

mod assemble;
mod config;
mod count;
mod subwords;

pub(crate) use assemble::GPT4_PATTERN;
pub use config::{Pattern, TrainConfig};

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use count::Counter;

/// How far training has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Texts are read and their words counted.
    Counting {
        /// Texts so far.
        texts: u64,
        /// Their bytes.
        bytes: u64,
        /// Different words (or characters) so far.
        distinct: usize,
    },
    /// All texts are counted; the vocabulary is being built.
    Merging {
        /// Different words.
        distinct: usize,
        /// The size to reach.
        vocab_size: usize,
    },
    /// The tokenizer is ready.
    Done {
        /// Its size.
        vocab_size: usize,
    },
}

/// Trains a tokenizer.
///
/// Memory is bounded by the number of different words that are kept (four million), not by the texts: when there are
/// more, the rarest are forgotten.
///
/// ```
/// use idiolect_tokenizer::{TrainConfig, train};
/// let tokenizer = train(["to be or not to be"].iter(), &TrainConfig::character(), &mut |_| {})?;
/// let ids = tokenizer.encode("not to");
/// assert_eq!(ids.len(), 6);
/// assert_eq!(tokenizer.decode(&ids, false)?, "not to");
/// assert_eq!(tokenizer.encode("?"), [tokenizer.unk_id().unwrap()]);
/// # Ok::<(), idiolect_tokenizer::Error>(())
/// ```
pub fn train(
    texts: impl Iterator<Item = impl AsRef<str> + Send>,
    config: &TrainConfig,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Tokenizer> {
    config.validate()?;
    let mut counter = Counter::new(config)?;
    counter.count(texts, on_progress)?;
    let words = counter.into_words();
    if words.is_empty() {
        return Err(Error::Config { key: "type", what: "there is no text to train on".into() });
    }
    let (distinct, vocab_size) = (words.len(), config.vocab_size().unwrap_or(words.len()));
    on_progress(Progress::Merging { distinct, vocab_size });
    let file = match config {
        TrainConfig::Bpe { vocab_size, min_frequency, special_tokens, pattern } => {
            let trained = subwords::bpe(words, *vocab_size, *min_frequency, special_tokens)?;
            assemble::bpe(&trained, special_tokens, *pattern)
        }
        TrainConfig::Wordpiece { special_tokens, lowercase, .. } => {
            let trained = subwords::wordpiece(words, config)?;
            assemble::wordpiece(&trained, special_tokens, *lowercase)
        }
        TrainConfig::Character { special_tokens } => assemble::character(&words, special_tokens),
    };
    let tokenizer = Tokenizer::from_json(&file.to_string())?;
    on_progress(Progress::Done { vocab_size: tokenizer.vocab_size() });
    Ok(tokenizer)
}
