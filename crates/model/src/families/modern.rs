//! What the families after Llama share: keys, names and starting values.

use super::{DecoderInits, DecoderNames};
use crate::config::keys::{Keys, activation_name, rope_value, stretched, unstretched};
use crate::config::{GptConfig, LayerType, Norm, Positions};
use crate::init::Init;
use crate::layers::{AttentionNames, BlockInits, BlockNames, Form, MlpNames};
use serde_json::{Value, json};

/// The keys that all of them have, over what a family starts from: rotary positions, RMSNorm, a gated MLP
/// and no biases unless it says otherwise. Its `head_dim` is the default;
/// `activation` that of `hidden_act`, where it has that key.
pub(super) fn read(
    keys: &mut Keys,
    start: GptConfig,
    activation: Option<&str>,
) -> Result<GptConfig, String> {
    let context = keys.or("max_position_embeddings", start.context_length)?;
    let rope = keys.rope(start.rope_theta, 1.0, context)?;
    if rope.share != 1.0 {
        return Err(format!("`partial_rotary_factor` is {}, not supported", rope.share));
    }
    Ok(GptConfig {
        context_length: stretched(context, rope.scaling.as_ref()),
        rope_theta: rope.theta,
        rope_scaling: rope.scaling,
        mlp: match activation {
            Some(usual) => keys.activation("hidden_act", usual, start.mlp.is_gated())?,
            None => start.mlp,
        },
        ..sizes(keys, start)?
    })
}

/// The same without positions and activation.
pub(super) fn sizes(keys: &mut Keys, start: GptConfig) -> Result<GptConfig, String> {
    Ok(GptConfig {
        vocab_size: keys.need("vocab_size")?,
        hidden_size: keys.need("hidden_size")?,
        n_layers: keys.layers("num_hidden_layers", None)?,
        n_heads: keys.need("num_attention_heads")?,
        n_kv_heads: keys.or("num_key_value_heads", None)?,
        head_dim: keys.or("head_dim", start.head_dim)?,
        intermediate_size: Some(keys.need("intermediate_size")?),
        norm_epsilon: keys.or("rms_norm_eps", start.norm_epsilon)?,
        attention_bias: keys.or("attention_bias", start.attention_bias)?,
        tie_embeddings: keys.or("tie_word_embeddings", start.tie_embeddings)?,
        attention_dropout: keys.or("attention_dropout", 0.0)?,
        ..start
    })
}

/// What they start from.
pub(super) fn start() -> GptConfig {
    GptConfig {
        context_length: 2048,
        norm_epsilon: 1e-6,
        tie_embeddings: false,
        positions: Positions::Rotary,
        norm: Norm::RmsNorm,
        ..GptConfig::llama_small()
    }
}

/// A window in the layers that `is_local` names, unless `layer_types` says otherwise.
pub(super) fn layer_types(
    keys: &mut Keys,
    n_layers: usize,
    is_local: impl Fn(usize) -> bool,
) -> Result<Vec<LayerType>, String> {
    let usual = |layer| match is_local(layer) {
        true => LayerType::SlidingAttention,
        false => LayerType::FullAttention,
    };
    keys.layer_types((0..n_layers).map(usual).collect())
}

/// The windows of Qwen: in the layers from `max_window_layers` on, where `use_sliding_window` says so.
pub(super) fn read_windows(keys: &mut Keys, mut config: GptConfig) -> Result<GptConfig, String> {
    let used: bool = keys.or("use_sliding_window", false)?;
    let window = keys.or_null("sliding_window", Some(4096))?.filter(|_| used);
    let first: usize = keys.or("max_window_layers", 28)?;
    let is_local = |layer| window.is_some() && layer >= first;
    let types = layer_types(keys, config.n_layers, is_local)?;
    set_windows(&mut config, window, types)?;
    Ok(config)
}

/// Windows of this width in the layers that see one.
pub(super) fn set_windows(
    config: &mut GptConfig,
    window: Option<usize>,
    types: Vec<LayerType>,
) -> Result<(), String> {
    if types.contains(&LayerType::SlidingAttention) {
        if window.is_none() {
            return Err("`layer_types` has windows, and there is no `sliding_window`".into());
        }
        (config.sliding_window, config.layer_types) = (window, types);
    }
    Ok(())
}

/// The keys that all of them have, and a family's `own`.
pub(super) fn write(config: &GptConfig, own: Value) -> Value {
    let scaling = config.rope_scaling.as_ref();
    let mut value = json!({
        "vocab_size": config.vocab_size,
        "max_position_embeddings": unstretched(config.context_length, scaling),
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads(),
        "intermediate_size": config.intermediate_size(),
        "hidden_act": activation_name(config.mlp),
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "rope_parameters": rope_value(config.rope_theta, 1.0, scaling),
        "attention_bias": config.attention_bias,
        "attention_dropout": config.attention_dropout,
        "tie_word_embeddings": config.tie_embeddings,
    });
    if let (Value::Object(map), Value::Object(own)) = (&mut value, own) {
        map.extend(own);
        map.retain(|key, value| key != "hidden_act" || *value != json!(""));
    }
    value
}

/// What a layer sees, one entry a layer.
pub(super) fn written_types(config: &GptConfig) -> Vec<LayerType> {
    let of = |layer| match config.is_local(layer) {
        true => LayerType::SlidingAttention,
        false => LayerType::FullAttention,
    };
    (0..config.n_layers).map(of).collect()
}

/// The keys of Qwen's windows.
pub(super) fn windows(config: &GptConfig) -> Value {
    json!({
        "use_sliding_window": config.sliding_window.is_some(),
        "sliding_window": config.sliding_window,
        "layer_types": written_types(config),
    })
}

/// Llama's names.
pub(super) const NAMES: DecoderNames = DecoderNames {
    body: "model",
    token: "embed_tokens",
    position: "",
    blocks: "layers",
    block: BlockNames {
        norm_attention: "input_layernorm",
        norm_attention_after: "",
        attention: "self_attn",
        projections: AttentionNames {
            qkv: "qkv_proj",
            parts: ["q_proj", "k_proj", "v_proj"],
            out: "o_proj",
        },
        norm_mlp: "post_attention_layernorm",
        norm_mlp_after: "",
        mlp: "mlp",
        layers: MlpNames {
            gate: "gate_proj",
            gate_up: "gate_up_proj",
            up: "up_proj",
            down: "down_proj",
        },
        form: Form::Rows,
    },
    norm: "norm",
    head: "lm_head",
};

/// Normal 0.02, and `0.02 / sqrt(2 L)` where a layer ends in the residual stream (Radford et al. 2019,
/// section 2.3).
pub(super) fn inits(config: &GptConfig) -> DecoderInits {
    let base = Init::Normal(0.02);
    let out = Init::Normal(0.02 / (2.0 * config.n_layers as f64).sqrt());
    DecoderInits {
        token: base,
        head: base,
        block: BlockInits { attention_in: base, mlp_in: base, out },
    }
}
