//! The configuration of a BERT: what a person types, and presets.

use crate::config::gpt::is_false;
use crate::config::{Dial, LayerType, Mlp, Norm, Positions};
use serde::{Deserialize, Serialize};

/// An encoder with segments, learned positions and a head for masked ids.
///
/// In a run file it starts from `preset = "small"` or `depth = 4`, or else from
/// [`BertConfig::tiny`], and every other key overrides one of that start's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "super::typed::TypedBert")]
pub struct BertConfig {
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
    /// Heads.
    pub n_heads: usize,
    /// Width inside the MLP; `4 * hidden_size` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    /// Segments; without any, 0.
    pub token_types: usize,
    /// How a position is told.
    #[serde(skip_serializing_if = "is_learned")]
    pub positions: Positions,
    /// Rows of the table of positions before the first; above 0, ids that equal the row before it
    /// are padding and take no position (RoBERTa).
    #[serde(skip_serializing_if = "is_zero")]
    pub position_offset: usize,
    /// Base of the rotary frequencies, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Their base in layers that see a window; as everywhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_rope_theta: Option<f64>,
    /// How far a layer with a window sees to both sides together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_attention: Option<usize>,
    /// Which layers see a window; none when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layer_types: Vec<LayerType>,
    /// Normalise before each half of a block and at the end, not after each half.
    #[serde(skip_serializing_if = "is_false")]
    pub pre_norm: bool,
    /// The normalisation.
    #[serde(skip_serializing_if = "is_layer_norm")]
    pub norm: Norm,
    /// Biases in the attention's projections.
    #[serde(skip_serializing_if = "is_true")]
    pub attention_bias: bool,
    /// Biases in the MLP's projections.
    #[serde(skip_serializing_if = "is_true")]
    pub mlp_bias: bool,
    /// A bias for each id's logit.
    #[serde(skip_serializing_if = "is_true")]
    pub decoder_bias: bool,
    /// A bias in the head's first layer.
    #[serde(skip_serializing_if = "is_true")]
    pub classifier_bias: bool,
    /// The other half of a block.
    pub mlp: Mlp,
    /// Added to the variance before its root.
    pub norm_epsilon: f64,
    /// Share of the numbers dropped in training after the embedding and each half block.
    pub hidden_dropout: f64,
    /// Share of attention weights dropped in training; slow on CPU.
    pub attention_dropout: f64,
    /// Share dropped before a classification head; as `hidden_dropout` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier_dropout: Option<f64>,
    /// What a classification head reads.
    #[serde(skip_serializing_if = "is_cls")]
    pub classifier_pooling: Pooling,
    /// What the outputs of a classification head mean; empty where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The id that fills up rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_token_id: Option<usize>,
}

/// What a classification head reads of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Its first position.
    Cls,
    /// The mean of its positions.
    Mean,
}

/// Every third layer sees all, the others a window.
fn modern_layers(n_layers: usize) -> Vec<LayerType> {
    let layer = |layer: usize| match layer.is_multiple_of(3) {
        true => LayerType::FullAttention,
        false => LayerType::SlidingAttention,
    };
    (0..n_layers).map(layer).collect()
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn is_learned(positions: &Positions) -> bool {
    *positions == Positions::Learned
}

fn is_layer_norm(norm: &Norm) -> bool {
    *norm == Norm::LayerNorm
}

fn is_cls(pooling: &Pooling) -> bool {
    *pooling == Pooling::Cls
}

impl BertConfig {
    /// BERT-base (Devlin et al. 2018): 12 layers of width 768.
    pub fn base() -> Self {
        Self {
            family: None,
            vocab_size: 30522,
            context_length: 512,
            hidden_size: 768,
            n_layers: 12,
            n_heads: 12,
            intermediate_size: None,
            token_types: 2,
            positions: Positions::Learned,
            position_offset: 0,
            rope_theta: None,
            local_rope_theta: None,
            local_attention: None,
            layer_types: Vec::new(),
            pre_norm: false,
            norm: Norm::LayerNorm,
            attention_bias: true,
            mlp_bias: true,
            decoder_bias: true,
            classifier_bias: true,
            mlp: Mlp::Gelu,
            norm_epsilon: 1e-12,
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
            classifier_dropout: None,
            classifier_pooling: Pooling::Cls,
            labels: Vec::new(),
            pad_token_id: None,
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

    /// ModernBERT-base (Warner et al. 2024, table 4): 22 layers of width 768, every third sees all.
    pub fn modern_base() -> Self {
        Self {
            vocab_size: 0,
            context_length: 8192,
            n_layers: 22,
            intermediate_size: Some(1152),
            token_types: 0,
            positions: Positions::Rotary,
            rope_theta: Some(160_000.0),
            local_rope_theta: Some(10_000.0),
            local_attention: Some(128),
            layer_types: modern_layers(22),
            pre_norm: true,
            norm: Norm::LayerNormUnbiased,
            attention_bias: false,
            mlp_bias: false,
            classifier_bias: false,
            mlp: Mlp::GatedGelu,
            norm_epsilon: 1e-5,
            classifier_dropout: Some(0.0),
            ..Self::base()
        }
    }

    /// A ModernBERT as small as BERT-mini: 4 layers of width 256.
    pub fn modern_mini() -> Self {
        Self {
            context_length: 512,
            hidden_size: 256,
            n_layers: 4,
            n_heads: 4,
            intermediate_size: Some(384),
            layer_types: modern_layers(4),
            ..Self::modern_base()
        }
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
            Dial::Preset("modern-base") => Some(Self::modern_base()),
            Dial::Preset("modern-mini") => Some(Self::modern_mini()),
            Dial::Preset(_) => None,
        }
    }

    /// Whether layer `layer` sees a window.
    pub fn is_local(&self, layer: usize) -> bool {
        self.layer_types.get(layer) == Some(&LayerType::SlidingAttention)
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
