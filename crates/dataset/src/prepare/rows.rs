//! The parallel part of preparing: a block of rows goes in; its documents, cleaned, hashed and as JSON, come out.

use super::seen::Key;
use crate::clean::clean;
use crate::config::{DataConfig, Format};
use crate::document::write_line;
use crate::read::{BadRow, Block, Row, from_bytes, from_json, from_owned_bytes};
use crate::report::Reason;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The documents of a block, in order.
pub(crate) struct Cleaned {
    pub path: Arc<Path>,
    /// JSON lines, one after the other.
    pub json: Vec<u8>,
    pub outcomes: Vec<Outcome>,
}

/// What became of a row.
pub(crate) enum Outcome {
    Kept(Kept),
    Dropped(Reason),
    Bad { line: u64, bad: BadRow },
}

/// A document that may be kept, if it is not repeated.
pub(crate) struct Kept {
    /// Its line in [`Cleaned::json`].
    pub line: Range<usize>,
    pub key: Key,
    /// The hash of the text as a number in [0, 1), by which the sides are split.
    pub place: f64,
    pub bytes: u64,
    pub characters: u64,
    pub changed: bool,
}

/// Cleans the documents of a block.
pub(crate) fn clean_block(mut block: Block, config: &DataConfig) -> Cleaned {
    let mut json = Vec::with_capacity(block.bytes.len() + block.rows.len() * 12);
    let mut outcomes = Vec::with_capacity(block.rows.len());
    if let [row] = &block.rows[..] {
        // A row of its own may be large: it is taken, so that every copy can be dropped as soon as there is the next.
        let row = row.clone();
        let text = alone(std::mem::take(&mut block.bytes), &row, config);
        outcomes.push(outcome(text, &row, config, &mut json));
    } else {
        for row in &block.rows {
            let text = text_of(&block.bytes, row, config);
            outcomes.push(outcome(text, row, config, &mut json));
        }
    }
    Cleaned { path: block.path, json, outcomes }
}

fn text_of<'a>(bytes: &'a [u8], row: &Row, config: &DataConfig) -> Result<Cow<'a, str>, BadRow> {
    let Some(range) = row.range.clone() else {
        return Err(BadRow::too_large(config.max_document_bytes));
    };
    match config.format {
        Some(Format::Jsonl) => from_json(&bytes[range], &config.field),
        _ => from_bytes(&bytes[range]),
    }
}

fn alone(mut bytes: Vec<u8>, row: &Row, config: &DataConfig) -> Result<Cow<'static, str>, BadRow> {
    match (&row.range, config.format) {
        (Some(range), None | Some(Format::Text)) => {
            bytes.truncate(range.end);
            bytes.drain(..range.start);
            from_owned_bytes(bytes)
        }
        _ => text_of(&bytes, row, config).map(|text| Cow::Owned(text.into_owned())),
    }
}

fn outcome(
    text: Result<Cow<'_, str>, BadRow>,
    row: &Row,
    config: &DataConfig,
    json: &mut Vec<u8>,
) -> Outcome {
    let raw = match text {
        Ok(text) => text,
        Err(bad) => return Outcome::Bad { line: row.line + bad.line_offset, bad },
    };
    let cleaned = if config.clean { clean(&raw) } else { None };
    let changed = cleaned.is_some();
    let text = cleaned.map_or(raw, Cow::Owned);
    let characters = text.chars().count() as u64;
    if text.trim().is_empty() {
        return Outcome::Dropped(Reason::Blank);
    }
    if config.min_characters.is_some_and(|min| characters < min) {
        return Outcome::Dropped(Reason::TooShort);
    }
    if config.max_characters.is_some_and(|max| characters > max) {
        return Outcome::Dropped(Reason::TooLong);
    }
    let hash = Hash::of(&text);
    let start = json.len();
    write_line(&text, json);
    Outcome::Kept(Kept {
        line: start..json.len(),
        key: hash.key(),
        place: hash.place(),
        bytes: text.len() as u64,
        characters,
        changed,
    })
}

/// What a text is known by, after cleaning.
struct Hash(blake3::Hash);

impl Hash {
    fn of(text: &str) -> Hash {
        Hash(blake3::hash(text.as_bytes()))
    }

    fn key(&self) -> Key {
        std::array::from_fn(|index| self.0.as_bytes()[index])
    }

    fn place(&self) -> f64 {
        let last: [u8; 8] = std::array::from_fn(|index| self.0.as_bytes()[24 + index]);
        // The 53 bits that a fraction holds, so that the place stays below 1.
        (u64::from_le_bytes(last) >> 11) as f64 / (1u64 << 53) as f64
    }
}
