//! Llama 1 to 3: rotary positions, RMSNorm, a gated MLP, grouped heads (Touvron et al. 2023; Grattafiori et al. 2024).

use super::{Classes, DecoderFamily, Family, modern};
use crate::config::GptConfig;
use crate::config::keys::Keys;
use crate::layers::Turn;
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "llama",
    classes: Classes {
        head: "LlamaForCausalLM",
        base: "LlamaModel",
        classifier: Some("LlamaForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: modern::NAMES,
    inits: modern::inits,
    turn: Turn::Forward,
});

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let mlp_bias = keys.or("mlp_bias", false)?;
    Ok(GptConfig { mlp_bias, ..modern::read(keys, modern::start(), Some("silu"))? })
}

fn write(config: &GptConfig) -> Value {
    let own = json!({"head_dim": config.head_dim(), "mlp_bias": config.mlp_bias});
    modern::write(config, own)
}
