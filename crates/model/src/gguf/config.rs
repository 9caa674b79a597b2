//! The metadata of a GGUF file in, `config.json` as Transformers would write it out.

use crate::{Error, Result};
use idiolect_files::gguf::GgufFile;
use serde_json::{Map, Value, json};

/// An architecture of GGUF files that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    /// Llama, and Mistral, which converters call the same.
    Llama,
    Qwen2,
    Qwen3,
}

const KNOWN: [(&str, Architecture); 3] = [
    ("llama", Architecture::Llama),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
];

impl Architecture {
    /// What the file calls it, and Transformers' `model_type`.
    pub(super) fn name(self) -> &'static str {
        KNOWN.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }
}

/// What the file says it is.
pub(super) fn architecture(file: &GgufFile) -> Result<Architecture> {
    let key = "general.architecture";
    let name = file.text(key)?.ok_or_else(|| file.wrong(key, "is missing"))?;
    let known = KNOWN.iter().find(|known| known.0 == name).map(|known| known.1);
    known.ok_or_else(|| {
        let names: Vec<_> = KNOWN.iter().map(|known| known.0).collect();
        file.wrong(key, &format!("is {name:?}, known are {}", names.join(", "))).into()
    })
}

/// Reads the sizes under the architecture's keys.
pub(super) fn read(file: &GgufFile, architecture: Architecture) -> Result<Value> {
    let prefix = architecture.name();
    let key = |name: &str| format!("{prefix}.{name}");
    let integer = |name: &str| file.integer(&key(name));
    let need = |name: &str| -> Result<u64> {
        Ok(integer(name)?.ok_or_else(|| file.wrong(&key(name), "is missing"))?)
    };
    if integer("expert_count")?.is_some_and(|count| count > 0) {
        let problem = "is above 0: mixtures of experts are not supported";
        return Err(file.wrong(&key("expert_count"), problem).into());
    }
    if integer("attention.sliding_window")?.is_some_and(|window| window > 0) {
        let problem = "is set: windows are not read from GGUF yet";
        return Err(file.wrong(&key("attention.sliding_window"), problem).into());
    }
    let heads = need("attention.head_count")?;
    let width = need("embedding_length")?;
    let vocab = match integer("vocab_size")? {
        Some(count) => count,
        None => tokens(file)?,
    };
    let epsilon = file.number(&key("attention.layer_norm_rms_epsilon"))?;
    let head_dim = integer("attention.key_length")?.or(width.checked_div(heads));
    if integer("rope.dimension_count")?.is_some_and(|count| Some(count) != head_dim) {
        let problem =
            "is not the width of a head: a part of it that turns is not read from GGUF yet";
        return Err(file.wrong(&key("rope.dimension_count"), problem).into());
    }
    let mut config = json!({
        "model_type": prefix,
        "vocab_size": vocab,
        "max_position_embeddings": need("context_length")?,
        "hidden_size": width,
        "num_hidden_layers": need("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": integer("attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": head_dim,
        "intermediate_size": need("feed_forward_length")?,
        "rms_norm_eps": epsilon.unwrap_or(1e-6),
        "hidden_act": "silu",
        "tie_word_embeddings": file.get("output.weight").is_none(),
        "rope_parameters": rope(file, prefix)?,
    });
    let has = |name: &str| file.get(name).is_some();
    match architecture {
        Architecture::Llama => {
            config["attention_bias"] = has("blk.0.attn_q.bias").into();
            config["mlp_bias"] = has("blk.0.ffn_down.bias").into();
        }
        Architecture::Qwen3 => config["attention_bias"] = has("blk.0.attn_q.bias").into(),
        // Transformers' Qwen2 takes the width over the heads, and has no key for it.
        Architecture::Qwen2 => {
            config.as_object_mut().map(|config| config.remove("head_dim"));
        }
    }
    Ok(config)
}

/// The rotary base and scaling, in the keys of Transformers 5.
fn rope(file: &GgufFile, prefix: &str) -> Result<Value> {
    let key = |name: &str| format!("{prefix}.rope.{name}");
    let theta = file.number(&key("freq_base"))?.unwrap_or(10_000.0);
    let mut rope = Map::from_iter([("rope_theta".to_string(), json!(theta))]);
    let kind = file.text(&key("scaling.type"))?.unwrap_or("none");
    let factor = file.number(&key("scaling.factor"))?;
    let original = file.integer(&key("scaling.original_context_length"))?;
    match kind {
        "none" if file.get("rope_freqs.weight").is_some() => {
            let problem = "holds frequencies (Llama 3 scaling), which are not read from GGUF yet";
            return Err(file.wrong("rope_freqs.weight", problem).into());
        }
        "none" => rope.extend([("rope_type".to_string(), json!("default"))]),
        "linear" | "yarn" => {
            rope.extend([
                ("rope_type".to_string(), json!(kind)),
                ("factor".to_string(), json!(factor.unwrap_or(1.0))),
            ]);
            if let Some(original) = original.filter(|_| kind == "yarn") {
                rope.insert("original_max_position_embeddings".to_string(), json!(original));
            }
        }
        other => {
            let problem = format!("is {other:?}, known are none, linear, yarn");
            return Err(file.wrong(&key("scaling.type"), &problem).into());
        }
    }
    Ok(Value::Object(rope))
}

/// How many tokens the file's tokenizer has.
fn tokens(file: &GgufFile) -> Result<u64> {
    let key = "tokenizer.ggml.tokens";
    let tokens = file.array(key)?.ok_or_else(|| Error::from(file.wrong(key, "is missing")))?;
    Ok(tokens.len() as u64)
}
