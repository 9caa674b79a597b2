//! The labels of the training rows in, a number for each out.

use super::read::LabelledRows;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The most labels: more are rather numbers to be predicted, or names, than classes.
const MOST: usize = 10_000;

/// Labels, numbered from 0: whole numbers in their order, all else by its bytes.
///
/// ```
/// use idiolect_dataset::LabelVocab;
///
/// let vocab = LabelVocab::new(["10", "9", "9"])?;
/// assert_eq!(vocab.names(), ["9", "10"]);
/// assert_eq!(vocab.number("10"), Some(1));
/// # Ok::<(), idiolect_dataset::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelVocab {
    names: Vec<String>,
    numbers: BTreeMap<String, i64>,
}

impl LabelVocab {
    /// The labels that are there, each once.
    pub fn new(labels: impl IntoIterator<Item = impl Into<String>>) -> Result<LabelVocab> {
        let unique: BTreeSet<String> = labels.into_iter().map(Into::into).collect();
        let refuse = |what: String| Err(Error::Config { key: "data.label", what });
        match unique.len() {
            0 | 1 => return refuse(format!("has {} labels, two are needed", unique.len())),
            count if count > MOST => return refuse(format!("has {count} labels, most {MOST}")),
            _ => {}
        }
        let mut names: Vec<String> = unique.into_iter().collect();
        if names.iter().all(|name| name.parse::<i64>().is_ok()) {
            names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
        }
        let numbers = names.iter().cloned().zip(0..).collect();
        Ok(LabelVocab { names, numbers })
    }

    /// The labels of these rows.
    pub fn of(rows: &LabelledRows) -> Result<LabelVocab> {
        LabelVocab::new(rows.rows.iter().map(|row| row.label.as_str()))
    }

    /// All labels, in the order of their numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of a label.
    pub fn number(&self, label: &str) -> Option<i64> {
        self.numbers.get(label).copied()
    }

    /// The number of each row's label; one that is not known is an error with file and line.
    pub fn numbers_of(&self, rows: &LabelledRows) -> Result<Vec<i64>> {
        let number = |row: &super::LabelledRow| {
            self.number(&row.label).ok_or_else(|| Error::Mismatch {
                path: rows.path.clone(),
                what: format!("line {}: the training rows have no label `{}`", row.line, row.label),
            })
        };
        rows.rows.iter().map(number).collect()
    }
}
