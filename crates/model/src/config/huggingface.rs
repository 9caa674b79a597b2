//! `config.json` as Transformers writes it, to and from our configuration. No key is silently ignored.

use super::{Architecture, BertConfig, GptConfig, Mlp, ModelConfig, Norm, Positions};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Keys that do not change what this crate computes.
const INERT: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token_id",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "max_window_layers",
    "model_type",
    "n_ctx",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "pad_token_id",
    "prefix",
    "problem_type",
    "reorder_and_upcast_attn",
    "return_dict",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "tie_encoder_decoder",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "use_cache",
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
];

/// Keys that would change it: only these values are supported.
fn supported(key: &str, value: &Value) -> bool {
    match key {
        "scale_attn_weights" => *value == json!(true),
        "scale_attn_by_inverse_layer_idx"
        | "use_sliding_window"
        | "is_decoder"
        | "use_bidirectional_attention" => *value == json!(false),
        "pretraining_tp" => *value == json!(1),
        "position_embedding_type" => *value == json!("absolute"),
        "partial_rotary_factor" => value.as_f64() == Some(1.0),
        "rope_scaling" | "sliding_window" | "pruned_heads" => {
            value.is_null() || value.as_object().is_some_and(Map::is_empty)
        }
        "layer_types" => value
            .as_array()
            .is_some_and(|types| types.iter().all(|one| *one == json!("full_attention"))),
        _ => false,
    }
}

/// Activations by their names in Transformers: plain and gated.
const ACTIVATIONS: &[(&str, Mlp, Option<Mlp>)] = &[
    ("gelu", Mlp::Gelu, Some(Mlp::GatedGelu)),
    ("gelu_pytorch_tanh", Mlp::GeluTanh, Some(Mlp::GatedGeluTanh)),
    ("gelu_new", Mlp::GeluTanh, Some(Mlp::GatedGeluTanh)),
    ("relu2", Mlp::SquaredRelu, None),
];

fn activation_name(mlp: Mlp) -> &'static str {
    match mlp {
        Mlp::Gelu | Mlp::GatedGelu => "gelu",
        Mlp::GeluTanh => "gelu_new",
        Mlp::GatedGeluTanh => "gelu_pytorch_tanh",
        Mlp::SquaredRelu => "relu2",
        Mlp::GatedSilu => "silu",
    }
}

/// Reads the text of the `config.json` at `path`.
pub(crate) fn read(text: &str, path: &Path) -> Result<ModelConfig> {
    let fail = |problem: String| Error::ConfigFile { path: path.to_path_buf(), problem };
    let map = serde_json::from_str(text).map_err(|error| fail(error.to_string()))?;
    let mut keys = Keys { map };
    let kind: String = keys.need("model_type").map_err(fail)?;
    let config = match kind.as_str() {
        "gpt2" => gpt2(&mut keys).map(ModelConfig::Gpt),
        "llama" => modern(&mut keys, Architecture::Llama).map(ModelConfig::Gpt),
        "qwen3" => modern(&mut keys, Architecture::Qwen3).map(ModelConfig::Gpt),
        "nanochat" => modern(&mut keys, Architecture::NanoChat).map(ModelConfig::Gpt),
        "bert" => bert(&mut keys).map(ModelConfig::Bert),
        _ => Err(format!("`model_type` is {kind:?}, known are gpt2, llama, qwen3, nanochat, bert")),
    };
    let config = config.map_err(fail)?;
    keys.finish().map_err(fail)?;
    config.validate().map_err(|error| fail(error.to_string()))?;
    Ok(config)
}

fn gpt2(keys: &mut Keys) -> Result<GptConfig, String> {
    let start = GptConfig::gpt2();
    Ok(GptConfig {
        vocab_size: keys.or("vocab_size", start.vocab_size)?,
        context_length: keys.or("n_positions", start.context_length)?,
        hidden_size: keys.or("n_embd", start.hidden_size)?,
        n_layers: keys.or("n_layer", start.n_layers)?,
        n_heads: keys.or("n_head", start.n_heads)?,
        intermediate_size: keys.or("n_inner", None)?,
        norm_epsilon: keys.or("layer_norm_epsilon", 1e-5)?,
        mlp: keys.activation("activation_function", "gelu_new", false)?,
        tie_embeddings: keys.or("tie_word_embeddings", true)?,
        embedding_dropout: keys.or("embd_pdrop", 0.1)?,
        residual_dropout: keys.or("resid_pdrop", 0.1)?,
        attention_dropout: keys.or("attn_pdrop", 0.1)?,
        ..start
    })
}

/// The three with rotary positions; defaults are those of the class in Transformers.
fn modern(keys: &mut Keys, architecture: Architecture) -> Result<GptConfig, String> {
    let nanochat = architecture == Architecture::NanoChat;
    let qwen3 = architecture == Architecture::Qwen3;
    let default_activation = if nanochat { "relu2" } else { "silu" };
    if keys.map.get("use_sliding_window") != Some(&json!(true)) {
        keys.map.shift_remove("sliding_window"); // Means nothing then.
    }
    Ok(GptConfig {
        vocab_size: keys.need("vocab_size")?,
        context_length: keys.or("max_position_embeddings", 2048)?,
        hidden_size: keys.need("hidden_size")?,
        n_layers: keys.need("num_hidden_layers")?,
        n_heads: keys.need("num_attention_heads")?,
        n_kv_heads: keys.or("num_key_value_heads", None)?,
        head_dim: keys.or("head_dim", qwen3.then_some(128))?,
        intermediate_size: Some(keys.need("intermediate_size")?),
        positions: Positions::Rotary,
        rope_theta: keys.rope_theta()?,
        norm: if nanochat { Norm::RmsNormPlain } else { Norm::RmsNorm },
        norm_epsilon: keys.or("rms_norm_eps", 1e-6)?,
        mlp: keys.activation("hidden_act", default_activation, !nanochat)?,
        attention_bias: keys.or("attention_bias", false)?,
        mlp_bias: architecture == Architecture::Llama && keys.or("mlp_bias", false)?,
        qk_norm: nanochat || qwen3,
        embedding_norm: nanochat,
        tie_embeddings: keys.or("tie_word_embeddings", false)?,
        logit_softcap: match nanochat {
            true => keys.or_null("final_logit_softcapping", Some(15.0))?,
            false => None,
        },
        embedding_dropout: 0.0,
        residual_dropout: 0.0,
        attention_dropout: keys.or("attention_dropout", 0.0)?,
    })
}

fn bert(keys: &mut Keys) -> Result<BertConfig, String> {
    if !keys.or("tie_word_embeddings", true)? {
        return Err("`tie_word_embeddings` is false, which this BERT is not".into());
    }
    Ok(BertConfig {
        vocab_size: keys.or("vocab_size", 30522)?,
        context_length: keys.or("max_position_embeddings", 512)?,
        hidden_size: keys.or("hidden_size", 768)?,
        n_layers: keys.or("num_hidden_layers", 12)?,
        n_heads: keys.or("num_attention_heads", 12)?,
        intermediate_size: Some(keys.or("intermediate_size", 3072)?),
        token_types: keys.or("type_vocab_size", 2)?,
        mlp: keys.activation("hidden_act", "gelu", false)?,
        norm_epsilon: keys.or("layer_norm_eps", 1e-12)?,
        hidden_dropout: keys.or("hidden_dropout_prob", 0.1)?,
        attention_dropout: keys.or("attention_probs_dropout_prob", 0.1)?,
    })
}

/// The keys not yet understood.
struct Keys {
    map: Map<String, Value>,
}

impl Keys {
    fn parse<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, String> {
        serde_json::from_value(value).map_err(|error| format!("`{key}`: {error}"))
    }

    fn need<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, String> {
        match self.map.shift_remove(key) {
            Some(value) => Self::parse(key, value),
            None => Err(format!("`{key}` is missing")),
        }
    }

    /// The key, or where it is missing or null the default of Transformers.
    fn or<T: DeserializeOwned>(&mut self, key: &str, default: T) -> Result<T, String> {
        match self.map.shift_remove(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => Self::parse(key, value),
        }
    }

    /// The key, where null means none.
    fn or_null(&mut self, key: &str, default: Option<f64>) -> Result<Option<f64>, String> {
        self.map.shift_remove(key).map_or(Ok(default), |value| Self::parse(key, value))
    }

    fn activation(&mut self, key: &str, default: &str, gated: bool) -> Result<Mlp, String> {
        let name: String = self.or(key, default.to_string())?;
        if gated && name == "silu" {
            return Ok(Mlp::GatedSilu);
        }
        let known = ACTIVATIONS.iter().find(|entry| entry.0 == name);
        let mlp = known.and_then(|entry| if gated { entry.2 } else { Some(entry.1) });
        mlp.ok_or_else(|| format!("`{key}` is {name:?}, which this model has no layer for"))
    }

    /// From `rope_parameters` (Transformers 5) or `rope_theta` (before).
    fn rope_theta(&mut self) -> Result<f64, String> {
        let plain = self.or("rope_theta", 10_000.0)?;
        let mut rope: Map<String, Value> = self.or("rope_parameters", Map::new())?;
        let theta = match rope.shift_remove("rope_theta") {
            Some(value) => Self::parse("rope_parameters.rope_theta", value)?,
            None => plain,
        };
        if rope.get("rope_type") == Some(&json!("default")) {
            rope.shift_remove("rope_type");
        }
        match rope.iter().find(|(key, value)| !supported(key, value)) {
            None => Ok(theta),
            Some((key, value)) => Err(format!("`rope_parameters.{key}` is {value}, not supported")),
        }
    }

    /// Whatever is left must be known not to matter.
    fn finish(self) -> Result<(), String> {
        let matters = |key: &str, value: &Value| {
            !INERT.contains(&key) && !supported(key, value) && !key.starts_with("_")
        };
        match self.map.iter().find(|(key, value)| matters(key, value)) {
            None => Ok(()),
            Some((key, value)) => {
                Err(format!("`{key}` is {value}, which this crate does not know"))
            }
        }
    }
}

/// The `config.json` of a model. `class` is the name of a BERT's class in Transformers.
pub(crate) fn write(config: &ModelConfig, class: &str, dtype: &str) -> Result<Value> {
    let mut value = match config {
        ModelConfig::Gpt(config) => match config.architecture()? {
            Architecture::Gpt2 => write_gpt2(config),
            architecture => write_modern(config, architecture),
        },
        ModelConfig::Bert(config) => write_bert(config),
    };
    let common = [
        ("architectures", json!([class])),
        ("bos_token_id", Value::Null),
        ("eos_token_id", Value::Null),
        ("torch_dtype", json!(dtype)),
    ];
    if let Value::Object(map) = &mut value {
        map.extend(common.map(|(key, value)| (key.to_string(), value)));
    }
    Ok(value)
}

fn write_gpt2(config: &GptConfig) -> Value {
    json!({
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.hidden_size,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.intermediate_size(),
        "activation_function": activation_name(config.mlp),
        "layer_norm_epsilon": config.norm_epsilon,
        "tie_word_embeddings": config.tie_embeddings,
        "embd_pdrop": config.embedding_dropout,
        "resid_pdrop": config.residual_dropout,
        "attn_pdrop": config.attention_dropout,
    })
}

fn write_modern(config: &GptConfig, architecture: Architecture) -> Value {
    let mut value = json!({
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads(),
        "intermediate_size": config.intermediate_size(),
        "hidden_act": activation_name(config.mlp),
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "attention_bias": config.attention_bias,
        "attention_dropout": config.attention_dropout,
        "tie_word_embeddings": config.tie_embeddings,
        "pad_token_id": null,
    });
    let own = match architecture {
        Architecture::NanoChat => json!({
            "model_type": "nanochat",
            "final_logit_softcapping": config.logit_softcap,
        }),
        Architecture::Qwen3 => json!({"model_type": "qwen3", "head_dim": config.head_dim()}),
        _ => json!({
            "model_type": "llama",
            "head_dim": config.head_dim(),
            "mlp_bias": config.mlp_bias,
        }),
    };
    if let (Value::Object(map), Value::Object(own)) = (&mut value, own) {
        map.extend(own);
    }
    value
}

fn write_bert(config: &BertConfig) -> Value {
    json!({
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.intermediate_size(),
        "type_vocab_size": config.token_types,
        "hidden_act": activation_name(config.mlp),
        "layer_norm_eps": config.norm_epsilon,
        "hidden_dropout_prob": config.hidden_dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let error = read(text, Path::new("config.json")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn keys_that_are_not_followed_are_errors() {
        check("[]", "config.json");
        check(r#"{"model_type": "mamba"}"#, "`model_type` is \"mamba\"");
        check(r#"{"model_type": "gpt2", "n_embed": 3}"#, "`n_embed` is 3");
        check(r#"{"model_type": "gpt2", "scale_attn_weights": false}"#, "`scale_attn_weights`");
        check(r#"{"model_type": "gpt2", "activation_function": "mish"}"#, "\"mish\"");
        check(r#"{"model_type": "gpt2", "n_head": 7}"#, "`n_heads` is 7");
        check(r#"{"model_type": "gpt2", "n_head": -1}"#, "`n_head`: invalid value");
        check(r#"{"model_type": "llama"}"#, "`vocab_size` is missing");
        let llama = |rest| {
            format!(
                r#"{{"model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1,
                "num_attention_heads": 2, "intermediate_size": 8, {rest}}}"#
            )
        };
        check(&llama(r#""rope_parameters": {"rope_type": "yarn"}"#), "rope_parameters.rope_type");
        check(&llama(r#""rope_scaling": {"type": "linear"}"#), "`rope_scaling`");
        check(&llama(r#""use_sliding_window": true"#), "`use_sliding_window` is true");
        check(&llama(r#""mlp_biased": true"#), "`mlp_biased` is true");
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let presets = [
            GptConfig { n_layers: 2, intermediate_size: Some(512), ..GptConfig::tiny() },
            GptConfig { head_dim: Some(32), ..GptConfig::qwen3_small() },
            GptConfig { mlp: Mlp::GatedGelu, mlp_bias: true, ..GptConfig::llama_small() },
            GptConfig { logit_softcap: None, ..GptConfig::depth(2) },
        ];
        for preset in presets {
            let config = GptConfig {
                vocab_size: 9,
                intermediate_size: Some(preset.intermediate_size()),
                n_kv_heads: match preset.positions {
                    Positions::Learned => None,
                    Positions::Rotary => Some(preset.n_kv_heads()),
                },
                head_dim: match preset.norm {
                    Norm::RmsNorm => Some(preset.head_dim()),
                    _ => preset.head_dim,
                },
                ..preset
            };
            let config = ModelConfig::Gpt(config);
            let text = write(&config, "", "float32").unwrap().to_string();
            assert_eq!(read(&text, Path::new("config.json")).unwrap(), config);
        }
    }
}
