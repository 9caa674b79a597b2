//! The configuration of a GPT and its presets.

use crate::Result;
use serde::{Deserialize, Serialize};

/// A decoder-only transformer. A run file may start from `preset = "gpt2"` or `depth = 4` and
/// override single keys; without either it starts from [`GptConfig::tiny`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GptConfig {
    /// Ids are below this; 0 until the tokenizer is known.
    pub vocab_size: usize,
    /// The longest window.
    pub context_length: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; as many as query heads when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_kv_heads: Option<usize>,
    /// Width of a head; `hidden_size / n_heads` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Width inside the MLP; see [`GptConfig::intermediate_size`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    /// How a position is told.
    pub positions: Positions,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// The normalisation before each half of a block and at the end.
    pub norm: Norm,
    /// Added to the variance before its root.
    pub norm_epsilon: f64,
    /// The other half of a block.
    pub mlp: Mlp,
    /// Biases in the attention's projections.
    pub attention_bias: bool,
    /// Biases in the MLP's projections.
    pub mlp_bias: bool,
    /// Normalise each head's queries and keys.
    pub qk_norm: bool,
    /// Normalise right after the embedding.
    pub embedding_norm: bool,
    /// One table for ids and logits.
    pub tie_embeddings: bool,
    /// Logits become `softcap * tanh(logits / softcap)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logit_softcap: Option<f64>,
    /// Share of the embedding's numbers dropped in training.
    pub embedding_dropout: f64,
    /// Share of each half block's output dropped in training.
    pub residual_dropout: f64,
    /// Share of attention weights dropped in training; slow on CPU.
    pub attention_dropout: f64,
}

/// How a position is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// A table with a row a position, added to the embedding.
    Learned,
    /// Queries and keys are rotated (RoFormer, section 3.2).
    Rotary,
}

/// A normalisation over the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Mean and variance, weight and bias.
    LayerNorm,
    /// Root of the mean square, with a weight.
    RmsNorm,
    /// Root of the mean square, nothing learned.
    RmsNormPlain,
}

/// The MLP of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// GELU by the error function.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// The square of ReLU (Primer).
    SquaredRelu,
    /// `silu(gate) * up` (SwiGLU).
    GatedSilu,
    /// `gelu(gate) * up`.
    GatedGelu,
    /// `gelu(gate) * up`, the tanh approximation.
    GatedGeluTanh,
}

impl GptConfig {
    /// GPT-2 of 124 M parameters.
    pub fn gpt2() -> Self {
        Self {
            vocab_size: 50257,
            context_length: 1024,
            hidden_size: 768,
            n_layers: 12,
            n_heads: 12,
            n_kv_heads: None,
            head_dim: None,
            intermediate_size: None,
            positions: Positions::Learned,
            rope_theta: 10_000.0,
            norm: Norm::LayerNorm,
            norm_epsilon: 1e-5,
            mlp: Mlp::GeluTanh,
            attention_bias: true,
            mlp_bias: true,
            qk_norm: false,
            embedding_norm: false,
            tie_embeddings: true,
            logit_softcap: None,
            embedding_dropout: 0.0,
            residual_dropout: 0.0,
            attention_dropout: 0.0,
        }
    }

    /// The GPT-2 layout at nanoGPT's CPU size: 4 layers of width 128, context 64.
    pub fn tiny() -> Self {
        Self {
            vocab_size: 0,
            context_length: 64,
            hidden_size: 128,
            n_layers: 4,
            n_heads: 4,
            ..Self::gpt2()
        }
    }

    /// Checks that the model can be built, and saved as an architecture that Transformers has.
    pub fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Learned numbers, a tied table counted once.
    pub fn parameter_count(&self) -> u64 {
        0
    }

    /// Floating-point operations of one forward pass for a token, in windows of `context`.
    pub fn flops_per_token(&self, _context: usize) -> f64 {
        0.0
    }
}
