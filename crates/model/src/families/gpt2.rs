//! GPT-2: a table of positions, LayerNorm, and projections stored as columns (Radford et al. 2019).

use super::{Classes, DecoderFamily, DecoderNames, Family, modern};
use crate::config::GptConfig;
use crate::config::keys::{Keys, activation_name};
use crate::layers::{AttentionNames, BlockNames, Form, MlpNames, Turn};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Decoder(DecoderFamily {
    model_type: "gpt2",
    classes: Classes {
        head: "GPT2LMHeadModel",
        base: "GPT2Model",
        classifier: Some("GPT2ForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: DecoderNames {
        body: "transformer",
        token: "wte",
        position: "wpe",
        blocks: "h",
        block: BlockNames {
            norm_attention: "ln_1",
            norm_attention_after: "",
            attention: "attn",
            projections: AttentionNames { qkv: "c_attn", parts: ["q", "k", "v"], out: "c_proj" },
            norm_mlp: "ln_2",
            norm_mlp_after: "",
            mlp: "mlp",
            layers: MlpNames { gate: "", gate_up: "", up: "c_fc", down: "c_proj" },
            form: Form::Columns,
        },
        norm: "ln_f",
        head: "lm_head",
    },
    inits: modern::inits,
    turn: Turn::Forward,
});

fn read(keys: &mut Keys) -> Result<GptConfig, String> {
    let start = GptConfig::gpt2();
    keys.ignore(&[
        "n_ctx",
        "reorder_and_upcast_attn",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
    ]);
    let hidden_size: usize = keys.or("n_embd", start.hidden_size)?;
    Ok(GptConfig {
        vocab_size: keys.or("vocab_size", start.vocab_size)?,
        context_length: keys.or("n_positions", start.context_length)?,
        hidden_size,
        n_layers: keys.layers("n_layer", Some(start.n_layers))?,
        n_heads: keys.or("n_head", start.n_heads)?,
        intermediate_size: Some(keys.or("n_inner", hidden_size.saturating_mul(4))?),
        norm_epsilon: keys.or("layer_norm_epsilon", 1e-5)?,
        mlp: keys.activation("activation_function", "gelu_new", false)?,
        tie_embeddings: keys.or("tie_word_embeddings", true)?,
        embedding_dropout: keys.or("embd_pdrop", 0.1)?,
        residual_dropout: keys.or("resid_pdrop", 0.1)?,
        attention_dropout: keys.or("attn_pdrop", 0.1)?,
        ..start
    })
}

fn write(config: &GptConfig) -> Value {
    let mut value = json!({
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.hidden_size,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.intermediate_size(),
        "layer_norm_epsilon": config.norm_epsilon,
        "tie_word_embeddings": config.tie_embeddings,
        "embd_pdrop": config.embedding_dropout,
        "resid_pdrop": config.residual_dropout,
        "attn_pdrop": config.attention_dropout,
    });
    if !config.mlp.is_gated() {
        value["activation_function"] = activation_name(config.mlp).into();
    }
    value
}
