//! Qwen3: Llama's layout with normalised queries and keys (Yang et al. 2025).

use super::{Classes, DecoderFamily, Family, modern};
use crate::config::GptConfig;
use crate::config::keys::Keys;
use crate::layers::Turn;
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "qwen3",
    classes: Classes {
        head: "Qwen3ForCausalLM",
        base: "Qwen3Model",
        classifier: Some("Qwen3ForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: modern::NAMES,
    inits: modern::inits,
    turn: Turn::Forward,
});

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let start =
        GptConfig { context_length: 32768, qk_norm: true, head_dim: Some(128), ..modern::start() };
    let config = modern::read(keys, start, Some("silu"))?;
    modern::read_windows(keys, config)
}

fn write(config: &GptConfig) -> Value {
    let mut own = json!({"head_dim": config.head_dim()});
    if let (Value::Object(own), Value::Object(windows)) = (&mut own, modern::windows(config)) {
        own.extend(windows);
    }
    modern::write(config, own)
}
