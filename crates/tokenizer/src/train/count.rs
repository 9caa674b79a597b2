//! Counting: texts go in, different words with their counts come out, in bounded memory and any number of threads.

use super::{Progress, TrainConfig, assemble};
use crate::engine::Engine;
use crate::error::{Error, Result};
use ahash::AHashMap;
use compact_str::CompactString;
use rayon::prelude::*;

/// Words and their counts, sorted by word.
pub(super) type Words = Vec<(CompactString, u64)>;

/// How many different words are kept.
const MAX_DISTINCT: usize = 4_000_000;

/// Texts are handed to the threads in batches of this size.
const BATCH_BYTES: usize = 16 << 20;

/// And each thread takes pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

pub(super) struct Counter {
    splitter: Splitter,
    counts: AHashMap<CompactString, u64>,
    max_distinct: usize,
}

/// How a text becomes words.
enum Splitter {
    /// As a tokenizer without a vocabulary normalises and cuts it.
    Engine(Engine),
    Characters,
}

impl Counter {
    pub fn new(config: &TrainConfig) -> Result<Counter> {
        let engine =
            |file| Engine::load(file, u32::MAX, None).map(Splitter::Engine).map_err(Error::Library);
        let splitter = match config {
            TrainConfig::Bpe { pattern, .. } => engine(assemble::bpe_splitter(*pattern))?,
            TrainConfig::Wordpiece { lowercase, .. } => {
                engine(assemble::wordpiece_splitter(*lowercase))?
            }
            TrainConfig::Character { .. } => Splitter::Characters,
        };
        Ok(Counter { splitter, counts: AHashMap::new(), max_distinct: MAX_DISTINCT })
    }

    pub fn count(
        &mut self,
        texts: impl Iterator<Item = impl AsRef<str> + Send>,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let (mut n_texts, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        let mut texts = texts.peekable();
        while let Some(text) = texts.next() {
            batch_bytes += text.as_ref().len();
            batch.push(text);
            if batch_bytes < BATCH_BYTES && texts.peek().is_some() {
                continue;
            }
            let pieces: Vec<&str> = batch.iter().flat_map(|text| pieces(text.as_ref())).collect();
            // Only lengths decide where batches and pieces end, so that forgetting is the same everywhere.
            pieces.chunks(BATCH_BYTES / PIECE_BYTES).for_each(|pieces| self.count_pieces(pieces));
            n_texts += batch.len() as u64;
            bytes += batch_bytes as u64;
            (batch, batch_bytes) = (Vec::new(), 0);
            let distinct = self.counts.len();
            on_progress(Progress::Counting { texts: n_texts, bytes, distinct });
        }
        Ok(())
    }

    fn count_pieces(&mut self, pieces: &[&str]) {
        let counted: Vec<_> = pieces.par_iter().map(|piece| self.splitter.count(piece)).collect();
        for (word, count) in counted.into_iter().flatten() {
            *self.counts.entry(word).or_default() += count;
        }
        self.forget_rare();
    }

    pub fn into_words(self) -> Words {
        let mut words: Words = self.counts.into_iter().collect();
        words.par_sort_unstable();
        words
    }

    /// Drops the rarest words until half of the room is free (lossy counting, Manku and Motwani 2002).
    fn forget_rare(&mut self) {
        if self.counts.len() <= self.max_distinct {
            return;
        }
        let mut least = 2;
        while self.counts.len() > self.max_distinct / 2 {
            self.counts.retain(|_, count| *count >= least);
            least *= 2;
        }
    }
}

impl Splitter {
    fn count(&self, text: &str) -> AHashMap<CompactString, u64> {
        let mut counts = AHashMap::new();
        match self {
            Splitter::Engine(engine) => {
                let text = engine.normalized(text);
                for word in engine.words(&text) {
                    add(&mut counts, &text[word]);
                }
            }
            Splitter::Characters => {
                let mut buffer = [0; 4];
                text.chars().for_each(|c| add(&mut counts, c.encode_utf8(&mut buffer)));
            }
        }
        counts
    }
}

fn add(counts: &mut AHashMap<CompactString, u64>, word: &str) {
    match counts.get_mut(word) {
        Some(count) => *count += 1,
        None => {
            counts.insert(CompactString::from(word), 1);
        }
    }
}

/// A text in pieces of about [`PIECE_BYTES`], cut behind a line where there is one.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let limit = rest.floor_char_boundary(PIECE_BYTES);
        let end = match rest.len() > limit {
            true => rest[..limit].rfind('\n').map_or(limit, |newline| newline + 1),
            false => rest.len(),
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_are_forgotten_when_there_is_no_room() {
        let mut counter = Counter::new(&TrainConfig::character()).unwrap();
        counter.max_distinct = 4;
        let texts = ["aaaaaaaabbbbbbbbcdefgh"];
        counter.count(texts.iter(), &mut |_| {}).unwrap();
        assert_eq!(counter.into_words(), [("a".into(), 8), ("b".into(), 8)]);
    }

    #[test]
    fn pieces_are_the_text() {
        let text = "häuser\n".repeat(100_000);
        assert_eq!(pieces(&text).collect::<String>(), text);
        assert!(pieces(&text).all(|piece| piece.len() <= PIECE_BYTES && piece.ends_with('\n')));
    }
}
