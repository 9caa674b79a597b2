//! Gemma 2: norms around each half, windows in every other layer, bent scores and logits (Gemma Team 2024, section 2).

use super::{Classes, DecoderFamily, DecoderNames, Family, modern};
use crate::config::keys::{Keys, activation_name};
use crate::config::{GptConfig, Mlp, Norm};
use crate::layers::{BlockNames, Turn};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "gemma2",
    classes: Classes {
        head: "Gemma2ForCausalLM",
        base: "Gemma2Model",
        classifier: Some("Gemma2ForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: NAMES,
    inits: modern::inits,
    turn: Turn::Forward,
});

/// Llama's, with four norms.
pub(super) const NAMES: DecoderNames = DecoderNames {
    block: BlockNames {
        norm_attention_after: "post_attention_layernorm",
        norm_mlp: "pre_feedforward_layernorm",
        norm_mlp_after: "post_feedforward_layernorm",
        ..modern::NAMES.block
    },
    ..modern::NAMES
};

/// What Gemma starts from.
pub(super) fn start() -> GptConfig {
    GptConfig {
        context_length: 8192,
        norm: Norm::RmsNormOffset,
        mlp: Mlp::GatedGeluTanh,
        post_norm: true,
        scale_embeddings: true,
        tie_embeddings: true,
        head_dim: Some(256),
        n_kv_heads: Some(4),
        ..modern::start()
    }
}

/// The keys of Gemma besides sizes and positions.
pub(super) fn read_own(keys: &mut Keys, start: GptConfig) -> Result<GptConfig, String> {
    let mlp = keys.activation("hidden_activation", "gelu_pytorch_tanh", true)?;
    // Early files have this key as well, which Transformers passes over.
    if keys.activation("hidden_act", activation_name(mlp), true)? != mlp {
        return Err("`hidden_act` and `hidden_activation` differ".into());
    }
    let scalar: f64 = keys.or("query_pre_attn_scalar", 256.0)?;
    Ok(GptConfig { mlp, query_pre_attn_scalar: Some(scalar), ..start })
}

/// The same, written.
pub(super) fn write_own(config: &GptConfig, own: Value) -> Value {
    let scalar = config.query_pre_attn_scalar.unwrap_or(config.head_dim() as f64);
    let mut value = modern::write(config, own);
    if let Value::Object(map) = &mut value {
        let activation = map.shift_remove("hidden_act");
        map.extend(activation.map(|name| ("hidden_activation".to_string(), name)));
        map.insert("head_dim".into(), json!(config.head_dim()));
        map.insert("query_pre_attn_scalar".into(), whole(scalar));
        map.insert("layer_types".into(), json!(modern::written_types(config)));
        map.insert("sliding_window".into(), json!(config.sliding_window.unwrap_or(4096)));
        map.insert("final_logit_softcapping".into(), json!(config.logit_softcap));
    }
    value
}

/// A whole number without a point: Transformers takes no other.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let start = read_own(keys, start())?;
    let mut config = modern::read(keys, start, None)?;
    let window = keys.or_null("sliding_window", Some(4096))?;
    let types = modern::layer_types(keys, config.n_layers, |layer| layer % 2 == 0)?;
    modern::set_windows(&mut config, window, types)?;
    Ok(GptConfig {
        attention_softcap: keys.or_null("attn_logit_softcapping", Some(50.0))?,
        logit_softcap: keys.or_null("final_logit_softcapping", Some(30.0))?,
        ..config
    })
}

fn write(config: &GptConfig) -> Value {
    write_own(config, json!({"attn_logit_softcapping": config.attention_softcap}))
}
