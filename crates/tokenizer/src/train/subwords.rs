//! Merging: words and their counts go in, a vocabulary and its merges come out, by the library's trainer.

use super::TrainConfig;
use super::config::config_error;
use super::count::Words;
use crate::byte_alphabet;
use crate::error::{Error, Result};
use ahash::AHashMap;
use compact_str::CompactString;
use std::collections::{HashMap, HashSet};
use tokenizers::trainers::{BpeTrainer, BpeTrainerBuilder};
use tokenizers::vocab::bucket_added_vocabulary::AddedToken;

/// A trained vocabulary.
pub(super) struct Trained {
    /// Tokens by id.
    pub tokens: Vec<String>,
    /// In order of their rank.
    pub merges: Vec<(String, String)>,
}

/// Byte-level BPE.
pub(super) fn bpe(
    words: Words,
    vocab_size: usize,
    min_frequency: u64,
    special_tokens: &[String],
) -> Result<Trained> {
    let alphabet = byte_alphabet::all();
    let spelled = words.into_iter().map(|(word, count)| {
        (word.bytes().map(|byte| alphabet[usize::from(byte)]).collect(), count)
    });
    let trainer = trainer(vocab_size, min_frequency)
        .special_tokens(as_special(special_tokens.iter().cloned()))
        .initial_alphabet(alphabet.into_iter().collect())
        .build();
    run(&trainer, spelled.collect())
}

/// WordPiece as the Python library trains it: BPE with a mark on pieces inside a word, of which the vocabulary is kept.
pub(super) fn wordpiece(words: Words, config: &TrainConfig) -> Result<Trained> {
    let TrainConfig::Wordpiece {
        vocab_size, min_frequency, alphabet_limit, special_tokens, ..
    } = config
    else {
        return config_error("type", "not a WordPiece".to_string());
    };
    let alphabet = frequent_characters(&words, *alphabet_limit);
    let known: Words =
        words.into_iter().filter(|(word, _)| word.chars().all(|c| alphabet.contains(&c))).collect();
    let inside: HashSet<char> = known.iter().flat_map(|(word, _)| word.chars().skip(1)).collect();
    // The trainer numbers marked characters as it meets them, in an order that changes from run to run, and ties between
    // pairs go by number. So all characters are handed over as if they were special: first, and sorted.
    let fixed: Vec<String> = special_tokens
        .iter()
        .cloned()
        .chain(marked(&alphabet, ""))
        .chain(marked(&inside, "##"))
        .collect();
    if fixed.len() > *vocab_size {
        let (least, n) = (fixed.len(), alphabet.len());
        return config_error(
            "vocab_size",
            format!("{vocab_size} is too small for {n} characters, {least} is the least"),
        );
    }
    let trainer = trainer(*vocab_size, *min_frequency)
        .special_tokens(as_special(fixed.into_iter()))
        .continuing_subword_prefix("##".to_string())
        .build();
    run(&trainer, known)
}

fn trainer(vocab_size: usize, min_frequency: u64) -> BpeTrainerBuilder {
    BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(min_frequency)
}

fn run(trainer: &BpeTrainer, words: Words) -> Result<Trained> {
    let words: AHashMap<CompactString, u64> = fit(words).into_iter().collect();
    let (vocab, merges, _) =
        trainer.do_train(&words).map_err(|error| Error::Library(error.to_string()))?;
    let mut by_id: Vec<(u32, String)> = vocab.into_iter().map(|(token, id)| (id, token)).collect();
    by_id.sort_unstable();
    Ok(Trained { tokens: by_id.into_iter().map(|(_, token)| token).collect(), merges })
}

/// Scales counts down where pairs could occur more often than the trainer's 31 bits can count.
fn fit(mut words: Words) -> Words {
    let pairs =
        |(word, count): &(CompactString, u64)| *count as u128 * word.chars().count() as u128;
    let all: u128 = words.iter().map(pairs).sum();
    let divisor = all.div_ceil(i32::MAX as u128).max(1) as u64;
    if divisor > 1 {
        words.iter_mut().for_each(|(_, count)| *count /= divisor);
        words.retain(|(_, count)| *count > 0);
    }
    words
}

/// The characters that occur most often; of equally frequent ones, the first in Unicode.
fn frequent_characters(words: &Words, limit: usize) -> HashSet<char> {
    let mut counts: HashMap<char, u64> = HashMap::new();
    for (word, count) in words {
        word.chars().for_each(|c| *counts.entry(c).or_default() += count);
    }
    let mut counts: Vec<(char, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|&(c, count)| (std::cmp::Reverse(count), c));
    counts.into_iter().take(limit).map(|(c, _)| c).collect()
}

/// Tokens of single characters, sorted.
fn marked(characters: &HashSet<char>, mark: &str) -> Vec<String> {
    let mut all: Vec<&char> = characters.iter().collect();
    all.sort_unstable();
    all.into_iter().map(|character| format!("{mark}{character}")).collect()
}

fn as_special(tokens: impl Iterator<Item = String>) -> Vec<AddedToken> {
    tokens.map(|token| AddedToken::from(token, true)).collect()
}

#[test]
fn counts_fit_the_trainer() {
    let words = vec![("ab".into(), u64::from(u32::MAX)), ("rare".into(), 1)];
    let fitted = fit(words);
    assert_eq!(fitted.len(), 1);
    assert!(fitted[0].1 * 2 <= i32::MAX as u64);
    assert_eq!(fit(vec![("ab".into(), 7)]), [("ab".into(), 7)]);
}
