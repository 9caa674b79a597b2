//! The library underneath: a checked file goes in, ids and text come out. The only place that knows its encoder.

use crate::align::Alignment;
use serde_json::Value;
use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokenizers::pipeline::{
    EncodeOptions, Model, Normalizer, Override, PipelineNormalizer, PipelinePatternMatcher,
    PipelineToken, PipelineTokenizer, PreTokenizer, PreTokenizerScratch,
};

/// A loaded tokenizer of the library.
#[derive(Clone)]
pub(crate) struct Engine {
    pipeline: PipelineTokenizer,
    /// Ids from here on are not the file's: they stand for bytes that its vocabulary lacks.
    end: u32,
    /// What such a byte becomes; nothing without it, as in Python's `tokenizers`.
    unknown: Option<u32>,
}

/// A stretch of text between special tokens, or a special token.
pub(crate) enum Segment {
    Special {
        id: u32,
        range: Range<usize>,
    },
    /// The text after normalisation, and where it came from.
    Text {
        text: String,
        alignment: Alignment,
    },
}

impl Engine {
    /// Loads a file of version 1.0 or 2.0 and tries it once, since some errors only show then.
    /// Ids from `end` on become `unknown`, or nothing.
    pub fn load(mut file: Value, end: u32, unknown: Option<u32>) -> Result<Engine, String> {
        tokenizers::convert::canonicalize_value(&mut file).map_err(|error| error.to_string())?;
        let text = file.to_string();
        // Every way to a panic that is known is checked before; this is for those that are not.
        let loaded = catch_unwind(|| tokenizers::from_json(&text));
        let pipeline = loaded
            .map_err(|_| "the library cannot take it".to_string())?
            .map_err(|error| error.to_string())?;
        let engine = Engine { pipeline, end, unknown };
        engine.try_encode(" A1 b\n!", false).map_err(|error| error.to_string())?;
        Ok(engine)
    }

    /// Ids of a text, without those of the post-processor. `matched` says whether special tokens in it are found.
    pub fn encode(&self, text: &str, matched: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        for part in parts(text) {
            // Loading has excluded what can fail here: unknown tokens without an id, patterns without an engine, length.
            let part_ids = self.try_encode(part, matched);
            debug_assert!(part_ids.is_ok(), "{part:?} cannot be encoded: {part_ids:?}");
            let part_ids = part_ids.unwrap_or_default();
            if ids.is_empty() { ids = part_ids } else { ids.extend(part_ids) }
        }
        ids
    }

    fn try_encode(&self, text: &str, matched: bool) -> tokenizers::Result<Vec<u32>> {
        let options = EncodeOptions {
            add_special_tokens: false,
            encode_special_tokens: !matched,
            padding: Override::Off,
            truncation: Override::Off,
        };
        let mut tokens: Vec<PipelineToken> = Vec::with_capacity(text.len() / 4 + 4);
        self.pipeline.encode_into(text, &options, &mut tokens)?;
        // The same size, so this collects in place.
        Ok(tokens.into_iter().filter_map(|token| self.known(token)).collect())
    }

    fn known(&self, token: PipelineToken) -> Option<u32> {
        let id = token.id();
        if id < self.end { Some(id) } else { self.unknown }
    }

    /// The ids that the post-processor puts before and after a single text.
    pub fn frame(&self) -> (Vec<u32>, Vec<u32>) {
        let template = &self.pipeline.get_post_processor().single;
        let ids = |run: &[(PipelineToken, u8)]| run.iter().map(|(token, _)| token.id()).collect();
        (ids(&template.prefix), ids(&template.suffix))
    }

    /// The ids of the added tokens. The library gives them itself, in order, whatever the file says.
    pub fn added_ids(&self) -> HashSet<u32> {
        self.pipeline.get_added_vocabulary().get_added_tokens_decoder().into_keys().collect()
    }

    /// The text of ids that are known to be in the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, String> {
        catch_unwind(AssertUnwindSafe(|| self.pipeline.decode(ids, skip_special)))
            .map_err(|_| "decoding panicked".to_string())?
            .map_err(|error| error.to_string())
    }

    /// Cuts a text at its special tokens and normalises what is between them, as the library does before it encodes.
    pub fn segments(&self, text: &str, matched: bool) -> Vec<Segment> {
        let mut segments = Vec::new();
        for (id, range) in self.cut(text, false, matched) {
            match id {
                Some(id) => segments.push(Segment::Special { id, range }),
                None => self.normalized_segments(text, range, matched, &mut segments),
            }
        }
        segments
    }

    /// The second pass: special tokens that are looked for in normalised text.
    fn normalized_segments(
        &self,
        text: &str,
        range: Range<usize>,
        matched: bool,
        segments: &mut Vec<Segment>,
    ) {
        let (normalized, alignment) = self.normalize(&text[range.clone()], range.start);
        for (id, part) in self.cut(&normalized, true, matched) {
            segments.push(match id {
                Some(id) => Segment::Special { id, range: alignment.original(part) },
                None => Segment::Text {
                    text: normalized[part.clone()].to_string(),
                    alignment: alignment.slice(part),
                },
            });
        }
    }

    /// A text in parts: special tokens with their id, and the stretches between them without.
    fn cut(&self, text: &str, normalized: bool, matched: bool) -> Vec<(Option<u32>, Range<usize>)> {
        let vocabulary = self.pipeline.get_added_vocabulary();
        let mut parts = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let found = vocabulary.extract_next(text.as_bytes(), at, normalized, !matched);
            let ((start, end), id) = match found {
                Some((range, id)) => (range, Some(id)),
                None => ((text.len(), text.len()), None),
            };
            if start > at {
                parts.push((None, at..start));
            }
            if id.is_some() {
                parts.push((id, start..end));
            }
            at = end;
        }
        parts
    }

    /// Normalises a stretch of text that begins at `start`, keeping track of where everything came from.
    fn normalize(&self, text: &str, start: usize) -> (String, Alignment) {
        let mut current = text.to_string();
        let mut alignment = Alignment::identity(start, text.len());
        for normalizer in self.pipeline.get_normalizers() {
            let next = run(normalizer, &current, start);
            if next != current {
                let step =
                    Alignment::between(&current, &next, |unit| normalize_unit(normalizer, unit));
                alignment = alignment.then(&step);
                current = next;
            }
        }
        (current, alignment)
    }

    /// The words of a normalised text, as ranges.
    pub fn words(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        let mut scratch = PreTokenizerScratch::default();
        // Loading has tried the pre-tokenizer, and it fails for every text or for none.
        let done = self.pipeline.get_pre_tokenizer().pre_tokenize(text, &mut scratch, &mut spans);
        if done.is_err() { Vec::new() } else { spans.iter().map(|span| span.range()).collect() }
    }

    /// The ids of each of these words of a normalised text.
    pub fn word_ids(&self, text: &str, words: &[Range<usize>]) -> Vec<Vec<u32>> {
        let model = self.pipeline.get_model();
        let mut scratch = model.init_scratch();
        words
            .iter()
            .map(|word| {
                let mut tokens = Vec::new();
                let done = model.tokenize_pipeline(&text[word.clone()], &mut scratch, &mut tokens);
                let known = tokens.into_iter().filter_map(|token| self.known(token));
                if done.is_err() { Vec::new() } else { known.collect() }
            })
            .collect()
    }

    /// The text after all normalisers.
    pub fn normalized(&self, text: &str) -> String {
        let chain = self.pipeline.get_normalizers();
        match tokenizers::pipeline::normalize_all(chain, text, 0) {
            Ok(normalized) => normalized.into_owned(),
            Err(_) => text.to_string(),
        }
    }
}

fn run(normalizer: &PipelineNormalizer, text: &str, start: usize) -> String {
    match normalizer.normalize(text, start) {
        Ok(normalized) => normalized.into_owned(),
        Err(_) => text.to_string(),
    }
}

/// What a normaliser makes of a small unit inside a text: without what it only puts before the text as a whole.
fn normalize_unit(normalizer: &PipelineNormalizer, unit: &str) -> String {
    match normalizer {
        PipelineNormalizer::Prepend(_) => unit.to_string(),
        PipelineNormalizer::Metaspace(metaspace) if !metaspace.drop_whitespace() => {
            unit.replace(' ', metaspace.delimiter().encode_utf8(&mut [0; 4]))
        }
        _ => run(normalizer, unit, 1),
    }
}

/// The library counts in 32 bits, and normalisation makes some texts eleven times as long: so long texts are encoded in
/// parts, cut behind a line.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    const LIMIT: usize = 1 << 28;
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        if text.len() <= LIMIT {
            return Some(text);
        }
        let limit = text.floor_char_boundary(LIMIT);
        let end = text[..limit].rfind('\n').map_or(limit, |newline| newline + 1);
        let (part, after) = text.split_at(end);
        rest = Some(after);
        Some(part)
    })
}
