//! Text to ids and back: byte-level BPE, WordPiece and character tokenizers, trained or loaded.
//!
//! ```text
//! texts ──train──> Tokenizer <──load── tokenizer.json (1.0 or 2.0)
//!                      │ └──save──> tokenizer.json (1.0), tokenizer_config.json
//!   text ──encode──> ids, byte offsets into the text ──decode, decode_stream──> text
//! ```
//!
//! ```
//! use idiolect_tokenizer::{Special, Tokenizer, TrainConfig, train};
//!
//! # fn main() -> idiolect_tokenizer::Result<()> {
//! let texts = ["the cat sat on the mat", "the dog sat on the log"];
//! let tokenizer = train(texts.iter(), &TrainConfig::bpe(280), &mut |_| {})?;
//! let ids = tokenizer.encode_ordinary("the cat 🐈");
//! assert_eq!(tokenizer.decode(&ids, false)?, "the cat 🐈");
//!
//! let encoding = tokenizer.encode_with_offsets("the cat", Special::Ordinary);
//! assert_eq!(encoding.offsets.last().map(|range| range.end), Some(7));
//!
//! let again = Tokenizer::from_json(&tokenizer.to_json())?;
//! assert_eq!(again.hash(), tokenizer.hash());
//! # Ok(())
//! # }
//! ```
//!
//! The work is done by `tokenizers` 1.0.0-rc.3, whose types stay inside (`engine.rs` and `train/` are the only files that
//! name them).

mod align;
mod byte_alphabet;
#[cfg(feature = "chat")]
pub mod chat;
mod downgrade;
mod engine;
mod error;
mod format;
mod gguf;
mod gguf_spm;
mod gguf_write;
mod offsets;
mod roles;
mod stream;
mod tokenizer;
mod train;

pub use error::{Error, Result};
pub use gguf::{GgufText, gguf_text};
pub use gguf_write::GgufExtras;
pub use offsets::Encoding;
pub use stream::DecodeStream;
pub use tokenizer::{Special, Tokenizer};
pub use train::{Pattern, Progress, TrainConfig, train};
