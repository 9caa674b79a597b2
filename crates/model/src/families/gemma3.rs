//! Gemma 3, text: Gemma 2 with normalised queries and keys, and rotary positions of their own in layers with a window (Gemma Team 2025, section 2).

use super::{Classes, DecoderFamily, Family, gemma2, modern};
use crate::config::GptConfig;
use crate::config::keys::{Keys, rope_value, stretched, unstretched};
use crate::layers::Turn;
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "gemma3_text",
    classes: Classes {
        head: "Gemma3ForCausalLM",
        base: "Gemma3TextModel",
        classifier: Some("Gemma3TextForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: gemma2::NAMES,
    inits: modern::inits,
    turn: Turn::Forward,
});

/// Bases of the rotary frequencies by their keys before Transformers 5, with their defaults.
const BASES: [(&str, f64); 2] = [("rope_theta", 1e6), ("rope_local_base_freq", 1e4)];

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let context = keys.or("max_position_embeddings", 131_072)?;
    let (whole, local) = keys.two_ropes(BASES, context)?;
    let start = GptConfig {
        context_length: stretched(context, whole.scaling.as_ref()),
        rope_theta: whole.theta,
        rope_scaling: whole.scaling,
        local_rope_theta: Some(local),
        qk_norm: true,
        ..gemma2::start()
    };
    let start = gemma2::read_own(keys, start)?;
    let mut config = modern::sizes(keys, start)?;
    let pattern: usize = keys.or("sliding_window_pattern", 6)?;
    let is_local = |layer: usize| pattern == 0 || !(layer + 1).is_multiple_of(pattern);
    let window = keys.or_null("sliding_window", Some(4096))?;
    let types = modern::layer_types(keys, config.n_layers, is_local)?;
    modern::set_windows(&mut config, window, types)?;
    config.logit_softcap = keys.or_null("final_logit_softcapping", None)?;
    Ok(config)
}

fn write(config: &GptConfig) -> Value {
    let local = config.local_rope_theta.unwrap_or(BASES[1].1);
    let own = json!({
        "max_position_embeddings": unstretched(config.context_length, config.rope_scaling.as_ref()),
        "rope_local_base_freq": local,
        "rope_parameters": {
            "full_attention": rope_value(config.rope_theta, 1.0, config.rope_scaling.as_ref()),
            "sliding_attention": rope_value(local, 1.0, None),
        },
    });
    gemma2::write_own(config, own)
}
