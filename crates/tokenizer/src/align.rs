//! Where normalised text came from: two texts go in, byte ranges of the first for ranges of the second come out.
//!
//! The library gives normalised text without a trace of its origin. A normaliser is therefore run on small units by
//! itself; if their results joined together are what it made of the whole, the units tell the origin of every byte.

use std::ops::Range;

/// A map from the bytes of a normalised text to those of the original.
#[derive(Debug, Clone)]
pub(crate) enum Alignment {
    /// The same text, from this byte on.
    Shift { start: usize, length: usize },
    /// Units, ascending in both texts, tiling the normalised one.
    Units(Vec<Unit>),
}

/// A piece of the original and what became of it. Nothing inside a unit can be told apart.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    normalized: Range<usize>,
    original: Range<usize>,
}

impl Alignment {
    pub fn identity(start: usize, length: usize) -> Alignment {
        Alignment::Shift { start, length }
    }

    /// Aligns `before` with what became of it, given how a unit by itself is normalised. What stands before all units is
    /// counted to the first, as the Python library does.
    pub fn between(before: &str, after: &str, normalize: impl Fn(&str) -> String) -> Alignment {
        [clusters(before, &normalize), words(before)]
            .into_iter()
            .find_map(|units| join(before, after, &units, &normalize))
            .unwrap_or_else(|| {
                let (normalized, original) = (0..after.len(), 0..before.len());
                Alignment::Units(vec![Unit { normalized, original }])
            })
    }

    /// The original range of a range of the normalised text.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        match self {
            Alignment::Shift { start, .. } => range.start + start..range.end + start,
            Alignment::Units(units) => {
                let first = units.partition_point(|unit| unit.normalized.end <= range.start);
                let after = units.partition_point(|unit| unit.normalized.start < range.end);
                let last = after.saturating_sub(1).max(first);
                match (units.get(first), units.get(last)) {
                    (Some(first), Some(last)) => first.original.start..last.original.end,
                    _ => {
                        let end = units.last().map_or(0, |unit| unit.original.end);
                        end..end
                    }
                }
            }
        }
    }

    /// The alignment of a part of the normalised text.
    pub fn slice(&self, part: Range<usize>) -> Alignment {
        match self {
            Alignment::Shift { start, .. } => {
                Alignment::Shift { start: start + part.start, length: part.len() }
            }
            Alignment::Units(units) => {
                let inside = units.iter().filter(|unit| {
                    unit.normalized.start < part.end && unit.normalized.end > part.start
                });
                let shifted = inside.map(|unit| Unit {
                    normalized: unit.normalized.start.max(part.start) - part.start
                        ..unit.normalized.end.min(part.end) - part.start,
                    original: unit.original.clone(),
                });
                Alignment::Units(shifted.collect())
            }
        }
    }

    /// This alignment, and after it the one of a further step.
    pub fn then(&self, step: &Alignment) -> Alignment {
        match step {
            Alignment::Shift { start, length } => self.slice(*start..start + length),
            Alignment::Units(units) => {
                let through = units.iter().map(|unit| Unit {
                    normalized: unit.normalized.clone(),
                    original: self.original(unit.original.clone()),
                });
                Alignment::Units(through.collect())
            }
        }
    }
}

/// Normalises each unit; `None` if the results together are not the whole text's.
fn join(
    before: &str,
    after: &str,
    units: &[Range<usize>],
    normalize: &impl Fn(&str) -> String,
) -> Option<Alignment> {
    let mut joined = String::with_capacity(after.len());
    let mut lengths = Vec::with_capacity(units.len());
    for unit in units {
        let text = normalize(&before[unit.clone()]);
        joined.push_str(&text);
        lengths.push(text.len());
    }
    let prefix = after.strip_suffix(&joined)?;
    let first = units.first()?.clone();
    let mut aligned = vec![Unit { normalized: 0..prefix.len(), original: first }];
    let mut at = prefix.len();
    for (unit, length) in units.iter().zip(lengths) {
        aligned.push(Unit { normalized: at..at + length, original: unit.clone() });
        at += length;
    }
    aligned.retain(|unit| !unit.normalized.is_empty());
    Some(Alignment::Units(aligned))
}

/// Characters, taken together where the normaliser makes something else of them than of each.
fn clusters(text: &str, normalize: &impl Fn(&str) -> String) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    for (start, character) in text.char_indices() {
        let end = start + character.len_utf8();
        match units.last_mut() {
            Some(last) if !character.is_ascii() && belongs(text, last, start..end, normalize) => {
                last.end = end;
            }
            _ => units.push(start..end),
        }
    }
    units
}

fn belongs(
    text: &str,
    unit: &Range<usize>,
    next: Range<usize>,
    normalize: &impl Fn(&str) -> String,
) -> bool {
    // A unit grows by a few marks; anything longer is not a cluster and would make this quadratic.
    if unit.len() > 64 {
        return false;
    }
    let together = normalize(&text[unit.start..next.end]);
    let alone = normalize(&text[unit.clone()]);
    together.strip_prefix(alone.as_str()) != Some(normalize(&text[next]).as_str())
}

/// Stretches without white space, and each white space by itself.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut in_word = false;
    for (start, character) in text.char_indices() {
        let end = start + character.len_utf8();
        let space = character.is_whitespace();
        match units.last_mut() {
            Some(last) if in_word && !space => last.end = end,
            _ => units.push(start..end),
        }
        in_word = !space;
    }
    units
}
