//! Where tokens come from: a text goes in, ids with byte ranges of that very text come out.

use crate::align::Alignment;
use crate::engine::Segment;
use crate::tokenizer::{Special, Tokenizer};
use std::ops::Range;

/// The ids of a text and where each came from. All lists are equally long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids.
    pub ids: Vec<u32>,
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// The bytes of the original text. Empty for a token that stands for none of it, such as an added `[CLS]`. Only
    /// tokens of a byte-level vocabulary may begin or end inside a character.
    pub offsets: Vec<Range<usize>>,
    /// The number of the word (as pre-tokenised) a token belongs to; `None` for a special token.
    pub words: Vec<Option<u32>>,
}

/// Collects tokens as they come.
struct Collector<'a> {
    tokenizer: &'a Tokenizer,
    encoding: Encoding,
    n_words: u32,
}

pub(crate) fn encode(tokenizer: &Tokenizer, text: &str, special: Special) -> Encoding {
    let mut collector = Collector { tokenizer, encoding: Encoding::default(), n_words: 0 };
    let (before, after) = tokenizer.frame(special);
    before.iter().for_each(|&id| collector.push(id, 0..0, None));
    for segment in tokenizer.engine().segments(text, special != Special::Ordinary) {
        match segment {
            Segment::Special { id, range } => collector.push(id, range, None),
            Segment::Text { text, alignment } => collector.push_text(&text, &alignment),
        }
    }
    after.iter().for_each(|&id| collector.push(id, text.len()..text.len(), None));
    collector.encoding
}

impl Collector<'_> {
    fn push(&mut self, id: u32, range: Range<usize>, word: Option<u32>) {
        self.encoding.ids.push(id);
        self.encoding.tokens.push(self.tokenizer.id_to_token(id).unwrap_or_default());
        self.encoding.offsets.push(range);
        self.encoding.words.push(word);
    }

    fn push_text(&mut self, text: &str, alignment: &Alignment) {
        let engine = self.tokenizer.engine();
        let words = engine.words(text);
        for (word, ids) in words.iter().zip(engine.word_ids(text, &words)) {
            let ranges = tile(self.tokenizer, &text[word.clone()], &ids);
            for (id, range) in ids.into_iter().zip(ranges) {
                let range = range.start + word.start..range.end + word.start;
                self.push(id, alignment.original(range), Some(self.n_words));
            }
            self.n_words += 1;
        }
    }
}

/// The range of each id of a word. Tokens spell out their text, but for the unknown token and byte fallback.
fn tile(tokenizer: &Tokenizer, word: &str, ids: &[u32]) -> Vec<Range<usize>> {
    let bytes = word.as_bytes();
    let mut at = 0;
    let mut ranges = Vec::with_capacity(ids.len());
    for (index, &id) in ids.iter().enumerate() {
        let (start, end) = if tokenizer.unk_id() == Some(id) {
            let next = ids.get(index + 1).copied();
            (at, unknown_end(tokenizer, word, at, next))
        } else {
            let piece = tokenizer.piece(id);
            // Without an unknown token, characters are passed over.
            let start = if piece.is_empty() { at } else { find(bytes, at, piece).unwrap_or(at) };
            (start, (start + piece.len()).min(bytes.len()))
        };
        ranges.push(start..end);
        at = end;
    }
    ranges
}

/// Where the unknown token that starts at `at` ends: where the next known token begins, else one character on, and for
/// a last token at the end of the word.
fn unknown_end(tokenizer: &Tokenizer, word: &str, at: usize, next: Option<u32>) -> usize {
    let Some(next) = next else {
        return word.len();
    };
    let one_on = word[word.ceil_char_boundary(at)..].chars().next().map_or(0, char::len_utf8);
    let one_on = (word.ceil_char_boundary(at) + one_on).min(word.len());
    if tokenizer.unk_id() == Some(next) {
        return one_on;
    }
    find(word.as_bytes(), one_on, tokenizer.piece(next)).unwrap_or(one_on)
}

fn find(bytes: &[u8], from: usize, piece: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    if rest.starts_with(piece) {
        return Some(from);
    }
    rest.windows(piece.len().max(1)).position(|window| window == piece).map(|n| from + n)
}
