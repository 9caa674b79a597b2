//! Documents go in, batches for a trainer come out: clean text, token shards, samples. Plain integers, no libtorch.
//!
//! ```text
//! files, folders, globs ──> prepare ──> train.jsonl.zst, validation.jsonl.zst, report.json
//! documents(path) ──> write_shards ──> ShardSet ──┐
//! ids in memory ──> TokenStore ───────────────────┴──> CausalSamples / MaskedSamples ──> Batch
//! Order ──> which sample comes when
//! read_labelled(csv, tsv, jsonl) ──> LabelVocab ──> LabelledSamples ──> Batch with classes
//! ```
//!
//! ```
//! use idiolect_dataset::{
//!     CausalConfig, CausalSamples, DataConfig, DocumentKind, Order, Samples, documents, prepare, write_shards,
//! };
//! use idiolect_tokenizer::{TrainConfig, train};
//! use std::{ops::ControlFlow, sync::Arc};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let poem = "Tyger Tyger, burning bright,\r\nIn the forests of the night;\r\n\r\nTyger Tyger, burning bright,\r\n";
//! std::fs::write(folder.join("poem.txt"), poem)?;
//!
//! let paths = [folder.join("*.txt").display().to_string()];
//! let mut config = DataConfig { document: DocumentKind::Line, ..DataConfig::new(paths) };
//! config.validation = toml::from_str("split = 'tail'\nshare = 0.5")?;
//! let report = prepare(&config, &folder.join("data"), &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!((report.documents, report.dropped_documents()), (4, 2)); // one is blank, one repeated
//! assert_eq!((report.train.documents, report.validation.documents), (1, 1));
//!
//! let path = folder.join("data/train.jsonl.zst");
//! let texts = documents(&path)?.filter_map(Result::ok).map(|document| document.text);
//! let tokenizer = train(texts, &TrainConfig::bpe(260), &mut |_| {})?;
//! let end = tokenizer.eos_id();
//! let out = folder.join("shards");
//! let shards = write_shards(documents(&path)?, &tokenizer, end, &out, &mut |_| ControlFlow::Continue(()))?;
//!
//! let samples = CausalSamples::new(Arc::new(shards), CausalConfig::new(8))?;
//! let order = Order::new(42, 0, samples.len());
//! let batch = samples.batch(0, &[order.at(0), order.at(1)])?;
//! assert_eq!((batch.rows, batch.columns), (2, 8));
//! assert_eq!(batch.ids[1], batch.labels[0]);
//! # Ok(())
//! # }
//! ```

mod batch;
mod causal;
mod clean;
mod config;
mod document;
mod error;
mod labelled;
mod masked;
mod order;
mod prepare;
mod progress;
mod random;
mod read;
mod report;
mod shard;
mod tokens;

pub use batch::{Batch, IGNORE_LABEL, Samples};
pub use causal::{CausalConfig, CausalSamples};
pub use config::{DataConfig, DocumentKind, Format, OnBadRow, Split, SplitConfig};
pub use document::{Document, documents, read_text};
pub use error::{Error, Result};
pub use labelled::{
    Column, LabelVocab, LabelledConfig, LabelledFormat, LabelledRow, LabelledRows, LabelledSamples,
    LabelledSamplesConfig, read_labelled,
};
pub use masked::{MaskVocab, MaskedConfig, MaskedSamples};
pub use order::Order;
pub use prepare::prepare;
pub use progress::{OnProgress, Progress};
pub use read::{InputFile, find_files};
pub use report::{Reason, Report, Side};
pub use shard::{ShardConfig, ShardSet, ShardWriter, write_shards};
pub use tokens::{TokenStore, Tokens};
