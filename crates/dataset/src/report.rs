//! What preparing did: documents in, documents out, and why the others were dropped.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Why a document was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Bad row: it is not UTF-8.
    InvalidUtf8,
    /// Bad row: it holds NUL bytes, so it is no text.
    Binary,
    /// Bad row: it is larger than `max_document_bytes`.
    TooLarge,
    /// Bad row: it is not a JSON object.
    NotJson,
    /// Bad row: the object has no such field, or it is no string.
    NoField,
    /// It holds nothing but white space.
    Blank,
    /// It equals an earlier one.
    Repeated,
    /// It has fewer than `min_characters`.
    TooShort,
    /// It has more than `max_characters`.
    TooLong,
}

impl Reason {
    /// Whether the row is no document at all, which stops a run unless `on_bad_row = "drop"`.
    pub fn is_bad_row(self) -> bool {
        use Reason::*;
        matches!(self, InvalidUtf8 | Binary | TooLarge | NotJson | NoField)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::InvalidUtf8 => "not UTF-8",
            Reason::Binary => "binary",
            Reason::TooLarge => "too large",
            Reason::NotJson => "not a JSON object",
            Reason::NoField => "without the field",
            Reason::Blank => "blank",
            Reason::Repeated => "repeated",
            Reason::TooShort => "too short",
            Reason::TooLong => "too long",
        })
    }
}

/// What preparing did; `report.json` beside the documents. Equal inputs give equal reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The version of this file.
    pub version: u32,
    /// The number of files read.
    pub files: u64,
    /// Their bytes, as they lie on disk.
    pub bytes: u64,
    /// Rows read: documents and those dropped.
    pub documents: u64,
    /// Documents dropped, by reason.
    pub dropped: BTreeMap<Reason, u64>,
    /// Documents kept whose text cleaning changed.
    pub changed: u64,
    /// What is in `train.jsonl.zst`.
    pub train: Side,
    /// What is in `validation.jsonl.zst`.
    pub validation: Side,
}

impl Report {
    /// The number of documents dropped, for whatever reason.
    pub fn dropped_documents(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// One side of a split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// The number of documents.
    pub documents: u64,
    /// Their bytes of text.
    pub bytes: u64,
    /// Their characters.
    pub characters: u64,
    /// The blake3 hash, in hex, of the JSONL before it is compressed.
    pub hash: String,
}
