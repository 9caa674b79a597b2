//! What a model is made of: plain data, presets as functions, checked by `validate`.

mod bert;
mod gpt;

pub use bert::BertConfig;
pub use gpt::{GptConfig, Mlp, Norm, Positions};

use crate::Result;
use serde::{Deserialize, Serialize};

/// The `[model]` section of a run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelConfig {
    /// A decoder that predicts the next id.
    Gpt(GptConfig),
    /// An encoder that fills in masked ids.
    Bert(BertConfig),
}

impl ModelConfig {
    /// Checks that the model can be built, and saved as an architecture that Transformers has.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Gpt(config) => config.validate(),
            Self::Bert(config) => config.validate(),
        }
    }

    /// Learned numbers, tied tables counted once.
    pub fn parameter_count(&self) -> u64 {
        match self {
            Self::Gpt(config) => config.parameter_count(),
            Self::Bert(config) => config.parameter_count(),
        }
    }

    /// Floating-point operations of one forward pass for a token, in windows of `context`.
    pub fn flops_per_token(&self, context: usize) -> f64 {
        match self {
            Self::Gpt(config) => config.flops_per_token(context),
            Self::Bert(config) => config.flops_per_token(context),
        }
    }

    /// The longest window the model takes.
    pub fn context_length(&self) -> usize {
        match self {
            Self::Gpt(config) => config.context_length,
            Self::Bert(config) => config.context_length,
        }
    }

    /// Ids are below this.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Gpt(config) => config.vocab_size,
            Self::Bert(config) => config.vocab_size,
        }
    }

    /// Fills in what only the tokenizer knows.
    pub fn set_vocab_size(&mut self, vocab_size: usize) {
        match self {
            Self::Gpt(config) => config.vocab_size = vocab_size,
            Self::Bert(config) => config.vocab_size = vocab_size,
        }
    }
}
