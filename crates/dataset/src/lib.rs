//! Documents go in, batches for a trainer come out: clean text, token shards, samples. Plain integers, no libtorch.
//!
//! ```text
//! files, folders, globs ──> prepare ──> train.jsonl.zst, validation.jsonl.zst, report.json
//! documents(path) ──> write_shards ──> ShardSet ──┐
//! ids in memory ──> TokenStore ───────────────────┴──> CausalSamples / MaskedSamples ──> Batch
//! Order ──> which sample comes when
//! ```

mod batch;
mod causal;
mod clean;
mod config;
mod document;
mod error;
mod folder;
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
pub use document::{Document, documents};
pub use error::{Error, Result};
pub use masked::{MaskVocab, MaskedConfig, MaskedSamples};
pub use order::Order;
pub use prepare::prepare;
pub use progress::{OnProgress, Progress};
pub use report::{Reason, Report, Side};
pub use shard::{ShardConfig, ShardSet, ShardWriter, write_shards};
pub use tokens::{TokenStore, Tokens};
