//! Qwen2 and Qwen2.5: Llama's layout with biases of queries, keys and values (Yang et al. 2024).

use super::{Classes, DecoderFamily, Family, modern};
use crate::config::GptConfig;
use crate::config::keys::Keys;
use crate::layers::Turn;
use serde_json::Value;

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "qwen2",
    classes: Classes {
        head: "Qwen2ForCausalLM",
        base: "Qwen2Model",
        classifier: Some("Qwen2ForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: modern::NAMES,
    inits: modern::inits,
    turn: Turn::Forward,
});

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let start = GptConfig {
        context_length: 32768,
        attention_bias: true,
        attention_output_bias: Some(false),
        ..modern::start()
    };
    let config = modern::read(keys, start, Some("silu"))?;
    modern::read_windows(keys, config)
}

fn write(config: &GptConfig) -> Value {
    let mut value = modern::write(config, modern::windows(config));
    if let Value::Object(map) = &mut value {
        map.shift_remove("attention_bias"); // It has no such key: the biases are always there.
    }
    value
}
