//! The configuration of a BERT: what a person types, and presets.

use crate::config::{Dial, Mlp};
use serde::{Deserialize, Serialize};

/// An encoder with segments, learned positions and a head for masked ids.
///
/// In a run file it starts from `preset = "small"` or `depth = 4`, or else from
/// [`BertConfig::tiny`], and every other key overrides one of that start's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "super::typed::TypedBert")]
pub struct BertConfig {
    /// Ids are below this; 0 until the tokenizer is known.
    pub vocab_size: usize,
    /// The longest window.
    pub context_length: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Heads.
    pub n_heads: usize,
    /// Width inside the MLP; `4 * hidden_size` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    /// Segments.
    pub token_types: usize,
    /// The other half of a block; not a gated one.
    pub mlp: Mlp,
    /// Added to the variance before its root.
    pub norm_epsilon: f64,
    /// Share of the numbers dropped in training after the embedding and each half block.
    pub hidden_dropout: f64,
    /// Share of attention weights dropped in training; slow on CPU.
    pub attention_dropout: f64,
}

impl BertConfig {
    /// BERT-base (Devlin et al. 2018): 12 layers of width 768.
    pub fn base() -> Self {
        Self {
            vocab_size: 30522,
            context_length: 512,
            hidden_size: 768,
            n_layers: 12,
            n_heads: 12,
            intermediate_size: None,
            token_types: 2,
            mlp: Mlp::Gelu,
            norm_epsilon: 1e-12,
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
        }
    }

    /// BERT-large: 24 layers of width 1024.
    pub fn large() -> Self {
        Self { hidden_size: 1024, n_layers: 24, n_heads: 16, ..Self::base() }
    }

    /// BERT-tiny (Turc et al. 2019, table 1): 2 layers of width 128.
    pub fn tiny() -> Self {
        Self { vocab_size: 0, hidden_size: 128, n_layers: 2, n_heads: 2, ..Self::base() }
    }

    /// BERT-mini: 4 layers of width 256.
    pub fn mini() -> Self {
        Self { vocab_size: 0, hidden_size: 256, n_layers: 4, n_heads: 4, ..Self::base() }
    }

    /// BERT-small: 4 layers of width 512.
    pub fn small() -> Self {
        Self { hidden_size: 512, n_heads: 8, ..Self::mini() }
    }

    /// BERT-medium: 8 layers of width 512.
    pub fn medium() -> Self {
        Self { n_layers: 8, ..Self::small() }
    }

    /// One dial for everything: `64 * depth` wide, heads of 64. 12 is BERT-base.
    pub fn depth(depth: usize) -> Self {
        Self {
            vocab_size: 0,
            hidden_size: depth.saturating_mul(64),
            n_layers: depth,
            n_heads: depth,
            ..Self::base()
        }
    }

    /// The preset of this name in a run file.
    pub(crate) fn preset(dial: Dial<'_>) -> Option<Self> {
        match dial {
            Dial::Depth(depth) => Some(Self::depth(depth)),
            Dial::Preset("tiny") => Some(Self::tiny()),
            Dial::Preset("mini") => Some(Self::mini()),
            Dial::Preset("small") => Some(Self::small()),
            Dial::Preset("medium") => Some(Self::medium()),
            Dial::Preset("base") => Some(Self::base()),
            Dial::Preset("large") => Some(Self::large()),
            Dial::Preset(_) => None,
        }
    }

    /// Width inside the MLP.
    pub fn intermediate_size(&self) -> usize {
        self.intermediate_size.unwrap_or(self.hidden_size.saturating_mul(4))
    }
}

impl Default for BertConfig {
    fn default() -> Self {
        Self::tiny()
    }
}
