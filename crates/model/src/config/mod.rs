//! What a model is made of: plain data, presets as functions, checked by `validate`.

mod bert;
mod gpt;
mod huggingface;
pub(crate) mod keys;
mod rope;
mod size;
mod typed;
mod validate;

pub use bert::{BertConfig, Pooling};
pub use gpt::{GptConfig, Mlp, Norm, Positions};
pub(crate) use huggingface::{read, write};
pub use rope::{LayerType, RopeScaling, Yarn};

use crate::Result;
use serde::{Deserialize, Serialize};

/// The `[model]` section of a run file: `type = "gpt"` or `type = "bert"`, a start (`preset` or
/// `depth`), and keys that override the start's.
///
/// ```
/// use idiolect_model::{GptConfig, ModelConfig};
/// let typed = r#"{"type": "gpt", "depth": 3, "vocab_size": 65, "tie_embeddings": true}"#;
/// let config: ModelConfig = serde_json::from_str(typed)?;
/// assert_eq!(config.vocab_size(), 65);
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelConfig {
    /// A decoder that predicts the next id.
    Gpt(GptConfig),
    /// An encoder that fills in masked ids.
    Bert(BertConfig),
}

/// What a configuration may start from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dial<'a> {
    Depth(usize),
    Preset(&'a str),
}

impl ModelConfig {
    /// Learned numbers, a tied table counted once.
    pub fn parameter_count(&self) -> u64 {
        match self {
            Self::Gpt(config) => config.parameter_count(),
            Self::Bert(config) => config.parameter_count(),
        }
    }

    /// Floating-point operations of one forward pass for an id, in windows of `context`: two for
    /// every weight that is multiplied (tables that are only looked up are not), and
    /// `4 * layers * heads * head width * context` for attention, causal or not (Chowdhery et al.
    /// 2022, appendix B, which counts the backward pass as well: three times this).
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

    /// What the outputs of a classification head mean; empty where the model has none.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Gpt(config) => &config.labels,
            Self::Bert(config) => &config.labels,
        }
    }

    /// What Transformers calls the model with the head that pre-training needs, or an error that names
    /// the keys which keep it from being of the nearest family.
    pub fn architecture(&self) -> Result<&'static str> {
        Ok(self.family()?.classes().head)
    }

    /// Fills in what only the tokenizer knows.
    pub fn set_vocab_size(&mut self, vocab_size: usize) {
        match self {
            Self::Gpt(config) => config.vocab_size = vocab_size,
            Self::Bert(config) => config.vocab_size = vocab_size,
        }
    }
}
