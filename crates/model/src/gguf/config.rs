//! The metadata of a GGUF file in, `config.json` as Transformers would write it out.

use super::dequantize::dequantize;
use super::frequencies;
use super::names::FREQUENCIES;
use super::write::names::Layout;
use crate::{Error, Result};
use idiolect_files::gguf::GgufFile;
use serde_json::{Map, Value, json};

/// What the file says it is.
pub(super) fn architecture(file: &GgufFile) -> Result<&'static Layout> {
    let key = "general.architecture";
    let name = file.text(key)?.ok_or_else(|| file.wrong(key, "is missing"))?;
    Layout::read().find(|known| known.name == name).ok_or_else(|| {
        let names: Vec<_> = Layout::read().map(|known| known.name).collect();
        file.wrong(key, &format!("is {name:?}, known are {}", names.join(", "))).into()
    })
}

/// Reads the sizes under the architecture's keys.
pub(super) fn read(file: &GgufFile, layout: &Layout) -> Result<Value> {
    let keys = Keys { file, prefix: layout.name };
    if keys.integer("expert_count")?.is_some_and(|count| count > 0) {
        return Err(keys.wrong("expert_count", "is above 0: mixtures of experts are not supported"));
    }
    match layout.name {
        "gpt2" => gpt2(&keys),
        "gptneox" => gpt_neox(&keys),
        "bert" => bert(&keys),
        "gemma2" | "gemma3" => gemma(&keys),
        _ => modern(&keys),
    }
}

/// The keys of an architecture.
struct Keys<'a> {
    file: &'a GgufFile,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn wrong(&self, name: &str, problem: &str) -> Error {
        self.file.wrong(&self.key(name), problem).into()
    }

    fn integer(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.file.integer(&self.key(name))?)
    }

    fn need(&self, name: &str) -> Result<u64> {
        self.integer(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        Ok(self.file.number(&self.key(name))?)
    }

    fn has(&self, tensor: &str) -> bool {
        self.file.get(tensor).is_some()
    }

    fn vocab_size(&self) -> Result<u64> {
        if let Some(count) = self.integer("vocab_size")? {
            return Ok(count);
        }
        let key = "tokenizer.ggml.tokens";
        let tokens = self.file.array(key)?;
        let tokens = tokens.ok_or_else(|| Error::from(self.file.wrong(key, "is missing")))?;
        Ok(tokens.len() as u64)
    }

    /// The width of a head, all of which turns.
    fn head_dim(&self) -> Result<Option<u64>> {
        let usual = self.need("embedding_length")?.checked_div(self.need("attention.head_count")?);
        let head_dim = self.integer("attention.key_length")?.or(usual);
        if self.integer("rope.dimension_count")?.is_some_and(|count| Some(count) != head_dim) {
            let problem = "is not the width of a head, all of which turns in this architecture";
            return Err(self.wrong("rope.dimension_count", problem));
        }
        Ok(head_dim)
    }

    /// No layer sees a window.
    fn expect_no_window(&self) -> Result<()> {
        let name = "attention.sliding_window";
        match self.integer(name)? {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.wrong(name, "is set, which this architecture does not read")),
        }
    }
}

/// What Llama, Qwen and Gemma share.
fn sizes(keys: &Keys) -> Result<Value> {
    let heads = keys.need("attention.head_count")?;
    Ok(json!({
        "model_type": keys.prefix,
        "vocab_size": keys.vocab_size()?,
        "max_position_embeddings": keys.need("context_length")?,
        "hidden_size": keys.need("embedding_length")?,
        "num_hidden_layers": keys.need("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.integer("attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": keys.head_dim()?,
        "intermediate_size": keys.need("feed_forward_length")?,
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        "tie_word_embeddings": !keys.has("output.weight"),
        "rope_parameters": rope(keys)?,
    }))
}

fn modern(keys: &Keys) -> Result<Value> {
    let mut config = sizes(keys)?;
    config["hidden_act"] = "silu".into();
    let attention_bias = keys.has("blk.0.attn_q.bias");
    let window = keys.integer("attention.sliding_window")?.filter(|&window| window > 0);
    match (keys.prefix, window) {
        // Only Mistral, which converters call Llama, has a window in every layer.
        ("llama", Some(window)) => {
            config["model_type"] = "mistral".into();
            config["sliding_window"] = window.into();
        }
        ("llama", None) => {
            config["attention_bias"] = attention_bias.into();
            config["mlp_bias"] = keys.has("blk.0.ffn_down.bias").into();
        }
        _ => {
            keys.expect_no_window()?;
            if keys.prefix == "qwen3" {
                config["attention_bias"] = attention_bias.into();
            } else if let Some(config) = config.as_object_mut() {
                // Transformers' Qwen2 takes the width over the heads, and has no key for it.
                config.remove("head_dim");
            }
        }
    }
    Ok(config)
}

/// What Gemma's files do not say is the same in every published model but the largest, which its layers tell.
fn gemma(keys: &Keys) -> Result<Value> {
    let mut config = sizes(keys)?;
    let (is_second, layers) = (keys.prefix == "gemma2", keys.need("block_count")?);
    let width_of_heads =
        keys.need("embedding_length")?.checked_div(keys.need("attention.head_count")?);
    let is_largest = layers == if is_second { 46 } else { 62 };
    let scalar = if is_largest { width_of_heads } else { keys.head_dim()? };
    config["hidden_activation"] = "gelu_pytorch_tanh".into();
    config["query_pre_attn_scalar"] = scalar.into();
    let window = keys.integer("attention.sliding_window")?;
    let cap = keys.number("final_logit_softcapping")?;
    if is_second {
        config["sliding_window"] = window.unwrap_or(4096).into();
        config["attn_logit_softcapping"] =
            keys.number("attn_logit_softcapping")?.unwrap_or(50.0).into();
        config["final_logit_softcapping"] = cap.unwrap_or(30.0).into();
        return Ok(config);
    }
    let local = keys.number("rope.freq_base_swa")?.unwrap_or(10_000.0);
    config["model_type"] = "gemma3_text".into();
    config["sliding_window"] =
        window.ok_or_else(|| keys.wrong("attention.sliding_window", "is missing"))?.into();
    config["final_logit_softcapping"] = cap.into();
    config["rope_parameters"] = json!({
        "full_attention": config["rope_parameters"],
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    });
    Ok(config)
}

fn gpt2(keys: &Keys) -> Result<Value> {
    Ok(json!({
        "model_type": "gpt2",
        "vocab_size": keys.vocab_size()?,
        "n_positions": keys.need("context_length")?,
        "n_embd": keys.need("embedding_length")?,
        "n_layer": keys.need("block_count")?,
        "n_head": keys.need("attention.head_count")?,
        "n_inner": keys.need("feed_forward_length")?,
        "layer_norm_epsilon": keys.number("attention.layer_norm_epsilon")?.unwrap_or(1e-5),
        "tie_word_embeddings": !keys.has("output.weight"),
    }))
}

fn gpt_neox(keys: &Keys) -> Result<Value> {
    keys.expect_no_window()?;
    let (heads, width) = (keys.need("attention.head_count")?, keys.need("embedding_length")?);
    let head_dim = width.checked_div(heads).unwrap_or(0);
    let turned = keys.integer("rope.dimension_count")?.unwrap_or(head_dim);
    if turned > head_dim || turned == 0 {
        return Err(keys.wrong("rope.dimension_count", "is not a part of a head's width"));
    }
    let key = keys.key("use_parallel_residual");
    Ok(json!({
        "model_type": "gpt_neox",
        "vocab_size": keys.vocab_size()?,
        "max_position_embeddings": keys.need("context_length")?,
        "hidden_size": width,
        "num_hidden_layers": keys.need("block_count")?,
        "num_attention_heads": heads,
        "intermediate_size": keys.need("feed_forward_length")?,
        "layer_norm_eps": keys.number("attention.layer_norm_epsilon")?.unwrap_or(1e-5),
        "rotary_pct": turned as f64 / head_dim as f64,
        "rope_parameters": rope(keys)?,
        "use_parallel_residual": keys.file.flag(&key)?.unwrap_or(true),
        "tie_word_embeddings": !keys.has("output.weight"),
    }))
}

fn bert(keys: &Keys) -> Result<Value> {
    let types = keys.file.get("token_types.weight").map(|(tensor, _)| tensor.shape[0]);
    Ok(json!({
        "model_type": "bert",
        "vocab_size": keys.vocab_size()?,
        "max_position_embeddings": keys.need("context_length")?,
        "hidden_size": keys.need("embedding_length")?,
        "num_hidden_layers": keys.need("block_count")?,
        "num_attention_heads": keys.need("attention.head_count")?,
        "intermediate_size": keys.need("feed_forward_length")?,
        "layer_norm_eps": keys.number("attention.layer_norm_epsilon")?.unwrap_or(1e-12),
        "type_vocab_size": types.unwrap_or(0),
    }))
}

/// The rotary base and scaling, in the keys of Transformers 5.
fn rope(keys: &Keys) -> Result<Value> {
    let theta = keys.number("rope.freq_base")?.unwrap_or(10_000.0);
    let mut rope = Map::from_iter([("rope_theta".to_string(), json!(theta))]);
    let name = "rope.scaling.type";
    let kind = keys.file.text(&keys.key(name))?.unwrap_or("none");
    let factor = keys.number("rope.scaling.factor")?.unwrap_or(1.0);
    match kind {
        "none" => rope.extend(divided(keys, theta)?),
        "linear" => rope.extend([
            ("rope_type".to_string(), json!(kind)),
            ("factor".to_string(), json!(factor)),
        ]),
        "yarn" => rope.extend(yarn(keys, factor)?),
        other => {
            return Err(keys.wrong(name, &format!("is {other:?}, known are none, linear, yarn")));
        }
    }
    Ok(Value::Object(rope))
}

/// The scaling that a table of divisors stands for, where there is one.
fn divided(keys: &Keys, theta: f64) -> Result<Map<String, Value>> {
    let Some((tensor, bytes)) = keys.file.get(FREQUENCIES) else {
        return Ok(Map::from_iter([("rope_type".to_string(), json!("default"))]));
    };
    let count: usize = tensor.shape.iter().product();
    let wrong = |problem: &str| Error::from(keys.file.wrong(FREQUENCIES, problem));
    if keys.head_dim()?.is_none_or(|width| count as u64 != width / 2) {
        return Err(wrong("does not have a divisor for each pair of a head's numbers"));
    }
    let mut divisors = vec![0f32; count];
    dequantize(tensor.dtype, bytes, &mut divisors);
    frequencies::scaling(&divisors, theta).map_err(|problem| wrong(&problem))
}

/// YaRN's numbers; those that llama.cpp knows and Transformers does not must say nothing.
fn yarn(keys: &Keys, factor: f64) -> Result<Map<String, Value>> {
    for (name, usual) in [
        ("rope.scaling.attn_factor", 1.0),
        ("rope.scaling.yarn_attn_factor", 1.0),
        ("rope.scaling.yarn_ext_factor", 1.0),
        ("rope.scaling.yarn_log_multiplier", 0.0),
    ] {
        if keys.number(name)?.is_some_and(|number| number != usual) {
            return Err(keys.wrong(name, &format!("is not {usual}, which is not supported")));
        }
    }
    let mut map = Map::from_iter([
        ("rope_type".to_string(), json!("yarn")),
        ("factor".to_string(), json!(factor)),
    ]);
    if let Some(original) = keys.integer("rope.scaling.original_context_length")? {
        map.insert("original_max_position_embeddings".to_string(), json!(original));
    }
    for (name, key) in
        [("rope.scaling.yarn_beta_fast", "beta_fast"), ("rope.scaling.yarn_beta_slow", "beta_slow")]
    {
        map.extend(keys.number(name)?.map(|number| (key.to_string(), json!(number))));
    }
    Ok(map)
}
