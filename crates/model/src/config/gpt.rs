//! The configuration of a GPT: what a person types, presets, and the sizes that follow from it.

use crate::config::{Dial, LayerType, RopeScaling};
use serde::{Deserialize, Serialize};

/// A decoder-only transformer.
///
/// In a run file it starts from `preset = "gpt2"` or `depth = 4`, or else from
/// [`GptConfig::tiny`], and every other key overrides one of that start's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "super::typed::TypedGpt")]
pub struct GptConfig {
    /// The family it is saved as, by Transformers' `model_type`; when absent the first that has this
    /// combination of keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_kv_heads: Option<usize>,
    /// Width of a head; `hidden_size / n_heads` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Width inside the MLP; when absent `4 * hidden_size`, or where the MLP is gated two thirds
    /// of that, rounded up to a multiple of 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    /// How a position is told.
    pub positions: Positions,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Their base in layers that see a window; as everywhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_rope_theta: Option<f64>,
    /// How they are stretched; not in layers with a base of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// The share of each head that is rotated.
    #[serde(skip_serializing_if = "is_one")]
    pub partial_rotary_factor: f64,
    /// The normalisation before each half of a block and at the end.
    pub norm: Norm,
    /// Added to the variance before its root.
    pub norm_epsilon: f64,
    /// The other half of a block.
    pub mlp: Mlp,
    /// Each half of a block is normalised once more before it joins the residual stream.
    #[serde(skip_serializing_if = "is_false")]
    pub post_norm: bool,
    /// Both halves of a block read the same input (Wang, Komatsuzaki 2021).
    #[serde(skip_serializing_if = "is_false")]
    pub parallel_residual: bool,
    /// Biases in the attention's projections.
    pub attention_bias: bool,
    /// A bias in the last of them; as in the others when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_output_bias: Option<bool>,
    /// Attention scores are divided by the root of this; `head_dim` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_pre_attn_scalar: Option<f64>,
    /// Attention scores become `softcap * tanh(scores / softcap)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_softcap: Option<f64>,
    /// How many positions a layer with a window sees, its own among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<usize>,
    /// Which layers see a window; none when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layer_types: Vec<LayerType>,
    /// Biases in the MLP's projections.
    pub mlp_bias: bool,
    /// Normalise each head's queries and keys.
    pub qk_norm: bool,
    /// Normalise right after the embedding.
    pub embedding_norm: bool,
    /// Multiply the embedding by the root of its width.
    #[serde(skip_serializing_if = "is_false")]
    pub scale_embeddings: bool,
    /// One table for ids and logits.
    pub tie_embeddings: bool,
    /// Logits become `softcap * tanh(logits / softcap)`. `false` in a run file switches it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_softcap: Option<f64>,
    /// Share of the embedding's numbers dropped in training.
    pub embedding_dropout: f64,
    /// Share of each half block's output dropped in training.
    pub residual_dropout: f64,
    /// Share of attention weights dropped in training; slow on CPU.
    pub attention_dropout: f64,
    /// What the outputs of a classification head mean; empty where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The id that fills up rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_token_id: Option<usize>,
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

/// How a position is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// A table with a row a position, added to the embedding.
    Learned,
    /// Queries and keys are rotated (Su et al. 2021, section 3.2).
    Rotary,
}

/// A normalisation over the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Mean and variance, weight and bias.
    LayerNorm,
    /// Mean and variance, a weight but no bias.
    LayerNormUnbiased,
    /// Root of the mean square, with a weight.
    RmsNorm,
    /// The same, multiplied by one more than the weight.
    RmsNormOffset,
    /// Root of the mean square, nothing learned.
    RmsNormPlain,
}

/// The MLP of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// GELU by the error function (Hendrycks, Gimpel 2016).
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// The square of ReLU (So et al. 2021).
    SquaredRelu,
    /// `silu(gate) * up` (Shazeer 2020).
    GatedSilu,
    /// `gelu(gate) * up`.
    GatedGelu,
    /// `gelu(gate) * up` with the tanh approximation.
    GatedGeluTanh,
}

impl Mlp {
    /// Whether one of two products gates the other.
    pub fn is_gated(self) -> bool {
        matches!(self, Self::GatedSilu | Self::GatedGelu | Self::GatedGeluTanh)
    }

    /// The plain one with the same activation, where there is one.
    pub(crate) fn ungated(self) -> Self {
        match self {
            Self::GatedGelu => Self::Gelu,
            Self::GatedGeluTanh => Self::GeluTanh,
            other => other,
        }
    }
}

impl GptConfig {
    /// GPT-2 of 124 M parameters.
    pub fn gpt2() -> Self {
        Self {
            family: None,
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
            local_rope_theta: None,
            rope_scaling: None,
            partial_rotary_factor: 1.0,
            norm: Norm::LayerNorm,
            norm_epsilon: 1e-5,
            mlp: Mlp::GeluTanh,
            post_norm: false,
            parallel_residual: false,
            attention_bias: true,
            attention_output_bias: None,
            query_pre_attn_scalar: None,
            attention_softcap: None,
            sliding_window: None,
            layer_types: Vec::new(),
            mlp_bias: true,
            qk_norm: false,
            embedding_norm: false,
            scale_embeddings: false,
            tie_embeddings: true,
            logit_softcap: None,
            embedding_dropout: 0.0,
            residual_dropout: 0.0,
            attention_dropout: 0.0,
            labels: Vec::new(),
            pad_token_id: None,
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

    /// The Llama layout at a small size: rotary positions, RMSNorm, a gated MLP, two query heads
    /// for each key-value head.
    pub fn llama_small() -> Self {
        Self {
            vocab_size: 0,
            hidden_size: 512,
            n_layers: 8,
            n_heads: 8,
            n_kv_heads: Some(4),
            positions: Positions::Rotary,
            norm: Norm::RmsNorm,
            mlp: Mlp::GatedSilu,
            attention_bias: false,
            mlp_bias: false,
            ..Self::gpt2()
        }
    }

    /// The Qwen3 layout at a small size: the Llama layout with normalised queries and keys.
    pub fn qwen3_small() -> Self {
        Self { qk_norm: true, norm_epsilon: 1e-6, ..Self::llama_small() }
    }

    /// One dial for everything, after nanochat: `64 * depth` wide, heads of 64, NanoChat's layout
    /// (rotary positions, squared ReLU, nothing learned in the norms, capped logits).
    pub fn depth(depth: usize) -> Self {
        Self {
            vocab_size: 0,
            context_length: 1024,
            hidden_size: depth.saturating_mul(64),
            n_layers: depth,
            n_heads: depth,
            positions: Positions::Rotary,
            norm: Norm::RmsNormPlain,
            norm_epsilon: 1e-6,
            mlp: Mlp::SquaredRelu,
            attention_bias: false,
            mlp_bias: false,
            qk_norm: true,
            embedding_norm: true,
            tie_embeddings: false,
            logit_softcap: Some(15.0),
            ..Self::gpt2()
        }
    }

    /// The preset of this name in a run file.
    pub(crate) fn preset(dial: Dial<'_>) -> Option<Self> {
        match dial {
            Dial::Depth(depth) => Some(Self::depth(depth)),
            Dial::Preset("tiny") => Some(Self::tiny()),
            Dial::Preset("gpt2") => Some(Self::gpt2()),
            Dial::Preset("llama_small") => Some(Self::llama_small()),
            Dial::Preset("qwen3_small") => Some(Self::qwen3_small()),
            Dial::Preset(_) => None,
        }
    }

    /// Key-value heads.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads.unwrap_or(self.n_heads)
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or_else(|| self.hidden_size / self.n_heads.max(1))
    }

    /// How many numbers of a head are rotated.
    pub fn rotary_width(&self) -> usize {
        (self.head_dim() as f64 * self.partial_rotary_factor) as usize
    }

    /// Whether layer `layer` sees a window.
    pub fn is_local(&self, layer: usize) -> bool {
        self.layer_types.get(layer) == Some(&LayerType::SlidingAttention)
    }

    /// Width inside the MLP.
    pub fn intermediate_size(&self) -> usize {
        let wide = self.hidden_size.saturating_mul(4);
        let usual = match self.mlp.is_gated() {
            true => (wide / 3 * 2).checked_next_multiple_of(32).unwrap_or(usize::MAX),
            false => wide,
        };
        self.intermediate_size.unwrap_or(usual)
    }
}

impl Default for GptConfig {
    fn default() -> Self {
        Self::tiny()
    }
}
