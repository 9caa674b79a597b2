//! Mistral: Llama's layout, with a window in every layer of its first version (Jiang et al. 2023).

use super::{Classes, DecoderFamily, Family, modern};
use crate::config::keys::Keys;
use crate::config::{GptConfig, LayerType};
use crate::layers::Turn;
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "mistral",
    classes: Classes {
        head: "MistralForCausalLM",
        base: "MistralModel",
        classifier: Some("MistralForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: modern::NAMES,
    inits: modern::inits,
    turn: Turn::Forward,
});

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let window = keys.or_null("sliding_window", Some(4096))?;
    let start = GptConfig { context_length: 4096 * 32, ..modern::start() };
    let mut config = modern::read(keys, start, Some("silu"))?;
    if window.is_some() {
        let types = vec![LayerType::SlidingAttention; config.n_layers];
        modern::set_windows(&mut config, window, types)?;
    }
    Ok(config)
}

fn write(config: &GptConfig) -> Value {
    let own = json!({"head_dim": config.head_dim(), "sliding_window": config.sliding_window});
    let mut value = modern::write(config, own);
    if let Value::Object(map) = &mut value {
        map.shift_remove("attention_bias"); // It has no such key.
    }
    value
}
