//! Rows with a label each: CSV, TSV or JSONL in; texts and class numbers, then samples in buckets of length, out.

mod columns;
mod read;
mod samples;
mod vocab;

pub use columns::{Column, LabelledConfig, LabelledFormat};
pub use read::{LabelledRow, LabelledRows, read_labelled};
pub use samples::{LabelledSamples, LabelledSamplesConfig};
pub use vocab::LabelVocab;
