//! NanoChat: rotary positions turned backward, squared ReLU, nothing learned in the norms, capped logits (Karpathy's `gpt.py`).

use super::{Classes, DecoderFamily, DecoderInits, DecoderNames, Family, modern};
use crate::config::keys::Keys;
use crate::config::{GptConfig, Mlp, Norm};
use crate::init::Init;
use crate::layers::{BlockInits, BlockNames, MlpNames, Turn};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "nanochat",
    classes: Classes {
        head: "NanoChatForCausalLM",
        base: "NanoChatModel",
        classifier: None,
        others: &[],
    },
    read,
    write,
    names: DecoderNames {
        block: BlockNames {
            layers: MlpNames { gate: "", gate_up: "", up: "fc1", down: "fc2" },
            ..modern::NAMES.block
        },
        ..modern::NAMES
    },
    inits,
    turn: Turn::Backward,
});

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let logit_softcap = keys.or_null("final_logit_softcapping", Some(15.0))?;
    let start = GptConfig {
        norm: Norm::RmsNormPlain,
        mlp: Mlp::SquaredRelu,
        qk_norm: true,
        embedding_norm: true,
        ..modern::start()
    };
    Ok(GptConfig { logit_softcap, ..modern::read(keys, start, Some("relu2"))? })
}

fn write(config: &GptConfig) -> Value {
    let mut value = modern::write(config, json!({"final_logit_softcapping": config.logit_softcap}));
    if let (true, Value::Object(map)) = (config.mlp.is_gated(), &mut value) {
        map.shift_remove("hidden_act"); // No gated one is known under any name.
    }
    value
}

/// `gpt.py`, `init_weights`: uniform of deviation `1 / sqrt(D)`, zeros where a layer ends in the residual
/// stream, token table of deviation 1, head 0.001; a tied table keeps 0.02, since logits are made with it.
fn inits(config: &GptConfig) -> DecoderInits {
    let uniform = Init::Uniform((3.0 / config.hidden_size as f64).sqrt());
    let token = if config.tie_embeddings { Init::Normal(0.02) } else { Init::Normal(1.0) };
    DecoderInits {
        token,
        head: Init::Normal(0.001),
        block: BlockInits { attention_in: uniform, mlp_in: uniform, out: Init::Zeros },
    }
}
