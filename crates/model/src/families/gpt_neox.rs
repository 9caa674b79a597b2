//! GPT-NeoX and Pythia: partly rotated heads, both halves of a block side by side (Black et al. 2022, section 2).

use super::{Classes, DecoderFamily, DecoderNames, Family, modern};
use crate::config::keys::{Keys, activation_name, rope_value, stretched, unstretched};
use crate::config::{GptConfig, Positions};
use crate::layers::{AttentionNames, BlockNames, Form, MlpNames, Turn};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "gpt_neox",
    classes: Classes {
        head: "GPTNeoXForCausalLM",
        base: "GPTNeoXModel",
        classifier: Some("GPTNeoXForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: DecoderNames {
        body: "gpt_neox",
        token: "embed_in",
        position: "",
        blocks: "layers",
        block: BlockNames {
            norm_attention: "input_layernorm",
            norm_attention_after: "",
            attention: "attention",
            projections: AttentionNames {
                qkv: "query_key_value",
                parts: ["query", "key", "value"],
                out: "dense",
            },
            norm_mlp: "post_attention_layernorm",
            norm_mlp_after: "",
            mlp: "mlp",
            layers: MlpNames { gate: "", gate_up: "", up: "dense_h_to_4h", down: "dense_4h_to_h" },
            form: Form::PerHead,
        },
        norm: "final_layer_norm",
        head: "embed_out",
    },
    inits: modern::inits,
    turn: Turn::Forward,
});

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let context = keys.or("max_position_embeddings", 2048)?;
    let theta = keys.or("rotary_emb_base", 10_000.0)?;
    let share = keys.or("rotary_pct", 0.25)?;
    let rope = keys.rope(theta, share, context)?;
    let dropout = keys.or("hidden_dropout", 0.0)?;
    keys.ignore(&["classifier_dropout"]);
    Ok(GptConfig {
        vocab_size: keys.or("vocab_size", 50432)?,
        context_length: stretched(context, rope.scaling.as_ref()),
        hidden_size: keys.or("hidden_size", 6144)?,
        n_layers: keys.layers("num_hidden_layers", Some(44))?,
        n_heads: keys.or("num_attention_heads", 64)?,
        intermediate_size: Some(keys.or("intermediate_size", 24576)?),
        positions: Positions::Rotary,
        rope_theta: rope.theta,
        rope_scaling: rope.scaling,
        partial_rotary_factor: rope.share,
        norm_epsilon: keys.or("layer_norm_eps", 1e-5)?,
        mlp: keys.activation("hidden_act", "gelu", false)?,
        parallel_residual: keys.or("use_parallel_residual", true)?,
        attention_bias: keys.or("attention_bias", true)?,
        tie_embeddings: keys.or("tie_word_embeddings", false)?,
        embedding_dropout: dropout,
        residual_dropout: dropout,
        attention_dropout: keys.or("attention_dropout", 0.0)?,
        ..GptConfig::gpt2()
    })
}

fn write(config: &GptConfig) -> Value {
    let (share, scaling) = (config.partial_rotary_factor, config.rope_scaling.as_ref());
    let mut value = json!({
        "vocab_size": config.vocab_size,
        "max_position_embeddings": unstretched(config.context_length, scaling),
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.intermediate_size(),
        "rotary_emb_base": config.rope_theta,
        "rotary_pct": share,
        "rope_parameters": rope_value(config.rope_theta, share, scaling),
        "layer_norm_eps": config.norm_epsilon,
        "use_parallel_residual": config.parallel_residual,
        "attention_bias": config.attention_bias,
        "tie_word_embeddings": config.tie_embeddings,
        "hidden_dropout": config.residual_dropout,
        "attention_dropout": config.attention_dropout,
    });
    if !config.mlp.is_gated() {
        value["hidden_act"] = activation_name(config.mlp).into();
    }
    value
}
