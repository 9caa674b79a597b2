//! Answers and scores go in, figures that carry their uncertainty come out.
//!
//! ```text
//! confusion matrix ──accuracy, macro_f1──▶ estimates with intervals
//! texts ─tokenizer─▶ windows of ids ─Backend::score_ids─▶ nats a window ─▶ Figures with intervals
//! ```
//!
//! No libtorch here: whatever implements [`idiolect_prompting::Backend`] is scored. A backend that
//! finds each of two tokens equally likely has a perplexity of 2, without any doubt:
//!
//! ```
//! use std::ops::ControlFlow;
//! use idiolect_evaluation::{PerplexityConfig, perplexity};
//! use idiolect_prompting::{Answer, Backend, Capabilities, Error, Request, Result};
//! use idiolect_tokenizer::{TrainConfig, train};
//!
//! struct Coin;
//!
//! impl Backend for Coin {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::default().with_score().with_context_length(8)
//!     }
//!     fn generate(&self, _: &Request, _: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<Answer> {
//!         Err(Error::Unsupported { what: "generate" })
//!     }
//!     fn score_ids(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
//!         Ok(rows.iter().map(|row| vec![0.5f32.ln(); row.len() - 1]).collect())
//!     }
//! }
//!
//! let text = "abba".repeat(16);
//! let tokenizer = train([&text].into_iter(), &TrainConfig::character(), &mut |_| ()).unwrap();
//! let report = perplexity(&Coin, &tokenizer, [&text], &PerplexityConfig::default(), &mut |_| ()).unwrap();
//! assert!((report.perplexity.value - 2.0).abs() < 1e-6);
//! assert!((report.bits_per_byte.value - 1.0).abs() < 1e-6);
//! ```

mod classification;
mod error;
mod figure;
mod interval;
mod perplexity;

pub use classification::{accuracy, macro_f1};
pub use error::{Error, Result};
pub use figure::Figure;
pub use interval::{Estimate, ratio};
pub use perplexity::{Perplexity, PerplexityConfig, Progress, perplexity};
