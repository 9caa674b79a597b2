//! What a person types in `[model]`, every key optional, becomes a whole configuration.

use super::{BertConfig, Dial, GptConfig, LayerType, Mlp, Norm, Pooling, Positions, RopeScaling};
use serde::Deserialize;

/// A number, or `false` for none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Cap {
    Off(bool),
    At(f64),
}

/// Declares the typed form: each key optional, and a function that lays it over a start.
macro_rules! typed {
    ($name:ident => $config:ident, plain { $($plain:ident: $kind:ty),* $(,)? }, optional { $($option:ident: $inner:ty),* $(,)? }, $($cap:ident)?) => {
        /// The keys as typed.
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            preset: Option<String>,
            depth: Option<usize>,
            $($plain: Option<$kind>,)*
            $($option: Option<$inner>,)*
            $($cap: Option<Cap>,)?
        }

        impl TryFrom<$name> for $config {
            type Error = String;

            fn try_from(typed: $name) -> Result<Self, String> {
                let mut config = match (&typed.preset, typed.depth) {
                    (None, None) => Self::default(),
                    (Some(_), Some(_)) => return Err("`preset` and `depth` exclude each other".into()),
                    (None, Some(depth)) => start(Self::preset(Dial::Depth(depth)), "")?,
                    (Some(name), None) => start(Self::preset(Dial::Preset(name)), name)?,
                };
                $(if let Some(value) = typed.$plain { config.$plain = value; })*
                $(config.$option = typed.$option.or(config.$option);)*
                $(match typed.$cap {
                    None => {}
                    Some(Cap::At(value)) => config.$cap = Some(value),
                    Some(Cap::Off(false)) => config.$cap = None,
                    Some(Cap::Off(true)) => return Err(format!("`{}` takes a number, or false", stringify!($cap))),
                })?
                Ok(config)
            }
        }
    };
}

fn start<T>(preset: Option<T>, name: &str) -> Result<T, String> {
    preset.ok_or_else(|| format!("no preset is named `{name}`"))
}

typed!(TypedGpt => GptConfig,
    plain {
        vocab_size: usize, context_length: usize, hidden_size: usize, n_layers: usize,
        n_heads: usize, positions: Positions, rope_theta: f64, partial_rotary_factor: f64,
        norm: Norm, norm_epsilon: f64, mlp: Mlp, post_norm: bool, parallel_residual: bool,
        attention_bias: bool, mlp_bias: bool, qk_norm: bool, embedding_norm: bool,
        scale_embeddings: bool, tie_embeddings: bool, embedding_dropout: f64,
        residual_dropout: f64, attention_dropout: f64, layer_types: Vec<LayerType>,
        labels: Vec<String>,
    },
    optional {
        family: String, n_kv_heads: usize, head_dim: usize, intermediate_size: usize,
        local_rope_theta: f64, rope_scaling: RopeScaling, attention_output_bias: bool,
        query_pre_attn_scalar: f64, attention_softcap: f64, sliding_window: usize,
        pad_token_id: usize,
    },
    logit_softcap
);

typed!(TypedBert => BertConfig,
    plain {
        vocab_size: usize, context_length: usize, hidden_size: usize, n_layers: usize,
        n_heads: usize, token_types: usize, positions: Positions, position_offset: usize,
        layer_types: Vec<LayerType>, pre_norm: bool, norm: Norm, attention_bias: bool,
        mlp_bias: bool, decoder_bias: bool, classifier_bias: bool, mlp: Mlp, norm_epsilon: f64,
        hidden_dropout: f64, attention_dropout: f64, classifier_pooling: Pooling,
        labels: Vec<String>,
    },
    optional {
        family: String, intermediate_size: usize, rope_theta: f64, local_rope_theta: f64,
        local_attention: usize, classifier_dropout: f64, pad_token_id: usize,
    },
);
