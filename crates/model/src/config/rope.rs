//! Which layers see a window, and how rotary frequencies are stretched: what `layer_types` and `rope_parameters` say.

use serde::{Deserialize, Serialize};

/// What the attention of a layer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// The whole sequence.
    FullAttention,
    /// A window around each position (Beltagy et al. 2020, section 3.1).
    SlidingAttention,
}

/// How rotary frequencies are stretched beyond the context a model was first trained on. The names are
/// Transformers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RopeScaling {
    /// All of them divided by a factor (Chen et al. 2023, section 2.3).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// A larger base the longer the sequence is ("NTK-aware", Peng et al. 2023, section 3.3).
    Dynamic {
        /// How many times longer sequences may become.
        factor: f64,
        /// The context that needs no stretching.
        original_max_position_embeddings: usize,
    },
    /// High frequencies kept, low ones divided, a ramp between (Peng et al. 2023, section 3.4).
    Yarn(Yarn),
    /// High frequencies kept, low ones divided, a ramp between (Llama 3.1, Grattafiori et al. 2024).
    Llama3 {
        /// What the low ones are divided by.
        factor: f64,
        /// The original context over the longest wave of the ramp.
        low_freq_factor: f64,
        /// The original context over the shortest wave of the ramp.
        high_freq_factor: f64,
        /// The original context.
        original_max_position_embeddings: usize,
    },
}

/// The numbers of YaRN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yarn {
    /// What low frequencies are divided by.
    pub factor: f64,
    /// The original context.
    pub original_max_position_embeddings: usize,
    /// Multiplies cosines and sines; `0.1 * ln(factor) + 1` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
    /// Turns within the original context above which a frequency is kept.
    #[serde(default = "beta_fast")]
    pub beta_fast: f64,
    /// Turns below which it is divided.
    #[serde(default = "beta_slow")]
    pub beta_slow: f64,
    /// Takes the place of 1 in the numerator of the attention factor; only with the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale: Option<f64>,
    /// The same in a denominator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale_all_dim: Option<f64>,
    /// Whether the ramp begins and ends at whole dimensions.
    #[serde(default = "truncate")]
    pub truncate: bool,
}

fn beta_fast() -> f64 {
    32.0
}

fn beta_slow() -> f64 {
    1.0
}

fn truncate() -> bool {
    true
}

impl RopeScaling {
    /// The names that a `rope_type` may have.
    pub(crate) const KNOWN: &[&str] = &["default", "linear", "dynamic", "yarn", "llama3"];

    /// Every number that must be above 0, with its key.
    pub(crate) fn positive(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Linear { factor } => vec![("factor", *factor)],
            Self::Dynamic { factor, original_max_position_embeddings: original } => {
                vec![("factor", *factor), ("original_max_position_embeddings", *original as f64)]
            }
            Self::Yarn(yarn) => vec![
                ("factor", yarn.factor),
                ("original_max_position_embeddings", yarn.original_max_position_embeddings as f64),
                ("attention_factor", yarn.attention_factor.unwrap_or(1.0)),
                ("beta_fast", yarn.beta_fast),
                ("beta_slow", yarn.beta_slow),
            ],
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => vec![
                ("factor", *factor),
                ("low_freq_factor", *low_freq_factor),
                ("high_freq_factor", high_freq_factor - low_freq_factor),
            ],
        }
    }
}
