//! `config.json` as Transformers writes it, to and from our configuration. No key is silently ignored.

use super::keys::Keys;
use super::{BertConfig, GptConfig, ModelConfig};
use crate::families::{self, Family};
use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Reads the text of the `config.json` at `path`.
pub(crate) fn read(text: &str, path: &Path) -> Result<ModelConfig> {
    let fail = |problem: String| Error::ConfigFile { path: path.to_path_buf(), problem };
    let map = serde_json::from_str(text).map_err(|error| fail(error.to_string()))?;
    let config = read_map(map).map_err(fail)?;
    config.validate().map_err(|error| fail(error.to_string()))?;
    Ok(config)
}

fn read_map(map: Map<String, Value>) -> Result<ModelConfig, String> {
    let mut keys = Keys::new(map);
    let (family, class) = family_of(&keys)?;
    let is_classifier = class.is_some() && class == family.classes().classifier;
    let labels = match is_classifier {
        true => keys.labels()?,
        false => {
            keys.ignore(&["id2label", "num_labels"]);
            Vec::new()
        }
    };
    let mut config = family.read(&mut keys)?;
    let pad_token_id: Option<i64> = keys.or_null("pad_token_id", None)?;
    let pad = pad_token_id.and_then(|id| usize::try_from(id).ok());
    config.set_common(family.model_type(), labels, pad);
    keys.finish()?;
    Ok(config)
}

/// The family that `model_type` or a class in `architectures` names, and that class.
fn family_of(keys: &Keys) -> Result<(&'static Family, Option<&'static str>), String> {
    let class = match keys.peek("architectures") {
        Some(Value::Array(classes)) => classes.first().and_then(Value::as_str),
        _ => None,
    };
    let by_type = match keys.peek("model_type") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_str().and_then(families::named) {
            Some(family) => Some(family),
            None => {
                let known = families::known().join(", ");
                return Err(format!("`model_type` is {value}, known are {known}"));
            }
        },
    };
    let Some(class) = class else {
        return match by_type {
            Some(family) => Ok((family, None)),
            None => Err("`model_type` and `architectures` are missing".into()),
        };
    };
    let candidates = by_type.map_or_else(families::all, |family| vec![family]);
    let found = candidates.iter().find_map(|family| {
        let known = family.classes().all().find(|known| *known == class);
        known.map(|known| (*family, Some(known)))
    });
    found.ok_or_else(|| {
        let known: Vec<_> = candidates.iter().flat_map(|family| family.classes().all()).collect();
        format!("`architectures` has {class:?}, known are {}", known.join(", "))
    })
}

/// The `config.json` of a model. `class` is the name of its class in Transformers.
pub(crate) fn write(config: &ModelConfig, class: &str, dtype: &str) -> Result<Value> {
    let mut map = config.family()?.write(config);
    let common = [
        ("architectures", json!([class])),
        ("bos_token_id", Value::Null),
        ("eos_token_id", Value::Null),
        ("torch_dtype", json!(dtype)),
    ];
    map.extend(common.map(|(key, value)| (key.to_string(), value)));
    let (labels, pad) = match config {
        ModelConfig::Gpt(config) => (&config.labels, config.pad_token_id),
        ModelConfig::Bert(config) => (&config.labels, config.pad_token_id),
    };
    if !labels.is_empty() {
        let numbered = || labels.iter().enumerate();
        let names: Map<_, _> = numbered().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let ids: Map<_, _> = numbered().map(|(id, name)| (name.clone(), json!(id))).collect();
        map.insert("id2label".into(), Value::Object(names));
        map.insert("label2id".into(), Value::Object(ids));
    }
    if pad.is_some() || matches!(config, ModelConfig::Gpt(_)) {
        map.insert("pad_token_id".into(), json!(pad));
    }
    Ok(Value::Object(map))
}

impl ModelConfig {
    fn set_common(&mut self, family: &str, names: Vec<String>, pad: Option<usize>) {
        let (name, labels, pad_token_id) = match self {
            Self::Gpt(GptConfig { family, labels, pad_token_id, .. }) => {
                (family, labels, pad_token_id)
            }
            Self::Bert(BertConfig { family, labels, pad_token_id, .. }) => {
                (family, labels, pad_token_id)
            }
        };
        *name = Some(family.to_string());
        *labels = names;
        *pad_token_id = pad;
    }

    /// The family it is saved as: the one it names, or the first that has its combination of keys.
    pub(crate) fn family(&self) -> Result<&'static Family> {
        let (name, candidates) = match self {
            Self::Gpt(config) => (config.family.as_deref(), families::decoders()),
            Self::Bert(config) => (config.family.as_deref(), families::encoders()),
        };
        let named = |name: &str| candidates.iter().find(|family| family.model_type() == name);
        let candidates = match name {
            None => candidates,
            Some(name) => match named(name) {
                Some(family) => vec![*family],
                None => {
                    let known: Vec<_> = candidates.iter().map(|one| one.model_type()).collect();
                    let problem = format!("is {name:?}, known are {}", known.join(", "));
                    return Err(Error::Config { key: "family", problem });
                }
            },
        };
        let mut nearest = (usize::MAX, "", String::new());
        for family in candidates {
            let (count, keys) = match self.misses(family) {
                Ok(missed) if missed.is_empty() => return Ok(family),
                Ok(missed) => (missed.len(), missed.join(", ")),
                Err(problem) => (usize::MAX - 1, problem),
            };
            if count < nearest.0 {
                nearest = (count, family.classes().head, keys);
            }
        }
        let (_, architecture, keys) = nearest;
        Err(Error::Combination { architecture, problem: format!("needs {keys}") })
    }

    /// What keeps the configuration from being this family's: the keys that would read back otherwise
    /// if it were written.
    fn misses(&self, family: &Family) -> Result<Vec<String>, String> {
        let mut read = family.read(&mut Keys::new(family.write(self)))?;
        read.set_common("", Vec::new(), None);
        let (own, read) = (self.normal(), read.normal());
        let more = own.keys().filter(|key| !read.contains_key(*key));
        let missed = read.keys().chain(more).filter(|key| own.get(*key) != read.get(*key));
        Ok(missed.map(|key| format!("`{key}` to be {}", shown(read.get(key)))).collect())
    }

    /// Every size said, and nothing of what any family can have.
    fn normal(&self) -> Map<String, Value> {
        let mut config = self.clone();
        config.set_common("", Vec::new(), None);
        match &mut config {
            Self::Gpt(config) => {
                config.n_kv_heads = Some(config.n_kv_heads());
                config.head_dim = Some(config.head_dim());
                config.intermediate_size = Some(config.intermediate_size());
                let output_bias = config.attention_output_bias;
                config.attention_output_bias =
                    output_bias.filter(|&it| it != config.attention_bias);
                let usual = Some(config.head_dim() as f64);
                config.query_pre_attn_scalar =
                    config.query_pre_attn_scalar.filter(|_| config.query_pre_attn_scalar != usual);
                fields(config)
            }
            Self::Bert(config) => {
                config.intermediate_size = Some(config.intermediate_size());
                fields(config)
            }
        }
    }
}

fn fields(config: &impl Serialize) -> Map<String, Value> {
    match json!(config) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A value as a person would type it.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "absent".into(),
        Some(value) if value.as_f64() == Some(0.0) => "0".into(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LayerType, Mlp, Norm, Positions, RopeScaling};

    fn check(text: &str, expected: &str) {
        let error = read(text, Path::new("config.json")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    fn llama(rest: &str) -> String {
        format!(
            r#"{{"model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 8, {rest}}}"#
        )
    }

    #[test]
    fn keys_that_are_not_followed_are_errors() {
        check("[]", "config.json");
        check(r#"{"model_type": "mamba"}"#, "\"mamba\", known are gpt2, llama, qwen3, nanochat");
        check(r#"{"architectures": ["MambaForCausalLM"]}"#, "known are GPT2LMHeadModel, GPT2Model");
        check("{}", "`model_type` and `architectures` are missing");
        let tagger = r#"{"model_type": "bert", "architectures": ["BertForTokenClassification"]}"#;
        check(tagger, "known are BertForMaskedLM, BertModel, BertForSequenceClassification");
        let endless = r#"{"model_type": "gpt2", "n_layer": 18446744073709551615}"#;
        check(endless, "`n_layer` is 18446744073709551615, most are 10000");
        let endless = r#"{"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"], "num_labels": 18446744073709551615}"#;
        check(endless, "`num_labels` is 18446744073709551615");
        check(r#"{"model_type": "gpt2", "n_embed": 3}"#, "`n_embed` is 3");
        check(r#"{"model_type": "gpt2", "scale_attn_weights": false}"#, "`scale_attn_weights`");
        check(r#"{"model_type": "gpt2", "activation_function": "mish"}"#, "\"mish\"");
        check(r#"{"model_type": "gpt2", "n_head": 7}"#, "`n_heads` is 7");
        check(r#"{"model_type": "gpt2", "n_head": -1}"#, "`n_head`: invalid value");
        check(r#"{"model_type": "llama"}"#, "`vocab_size` is missing");
        check(&llama(r#""use_sliding_window": true"#), "`use_sliding_window` is true");
        check(&llama(r#""mlp_biased": true"#), "`mlp_biased` is true");
        let mistral = llama(r#""layer_types": ["chunked_attention"]"#).replace("llama", "mistral");
        check(&mistral, "`layer_types` is");
        let qwen = llama(r#""layer_types": ["full_attention"]"#).replace("llama", "qwen2");
        check(&qwen, "`layer_types` has 1 entries for 2 layers");
    }

    #[test]
    fn rotary_scaling_that_is_not_followed_is_an_error() {
        check(
            &llama(r#""rope_parameters": {"rope_type": "longrope"}"#),
            "`rope_parameters.rope_type` is \"longrope\", known are default, linear, dynamic, yarn",
        );
        check(&llama(r#""rope_scaling": {"type": "linear"}"#), "`rope_scaling`: missing field");
        let zero = r#""rope_scaling": {"type": "linear", "factor": 0}"#;
        check(&llama(zero), "`rope_scaling` has a `factor` that is too small");
        let odd = r#""rope_scaling": {"rope_type": "linear", "factor": 2, "beta": 1}"#;
        check(&llama(odd), "unknown field `beta`");
        check(&llama(r#""partial_rotary_factor": 0.5"#), "`partial_rotary_factor` is 0.5");
    }

    #[test]
    fn old_and_new_spellings_mean_the_same() {
        let of = |rest: &str| read(&llama(rest), Path::new("config.json")).unwrap();
        assert_eq!(
            of(r#""rope_theta": 500, "rope_scaling": {"type": "linear", "factor": 2}"#),
            of(r#""rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 500}"#)
        );
        let ModelConfig::Gpt(longer) = of(r#""max_position_embeddings": 100,
            "rope_scaling": {"type": "dynamic", "factor": 4}"#)
        else {
            panic!()
        };
        assert_eq!(longer.context_length, 400);
    }

    fn sized(config: GptConfig) -> GptConfig {
        GptConfig {
            vocab_size: 9,
            n_layers: 2,
            intermediate_size: Some(config.intermediate_size()),
            n_kv_heads: match config.positions {
                Positions::Learned => None,
                Positions::Rotary => Some(config.n_kv_heads()),
            },
            head_dim: match config.norm {
                Norm::RmsNorm => Some(config.head_dim()),
                _ => config.head_dim,
            },
            ..config
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let windowed = GptConfig {
            sliding_window: Some(3),
            layer_types: vec![LayerType::FullAttention, LayerType::SlidingAttention],
            ..GptConfig::qwen3_small()
        };
        let factors = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 512,
        };
        let presets = [
            ("gpt2", GptConfig::tiny()),
            ("qwen3", windowed),
            (
                "llama",
                GptConfig { mlp: Mlp::GatedGelu, mlp_bias: true, ..GptConfig::llama_small() },
            ),
            ("llama", GptConfig { rope_scaling: Some(factors), ..GptConfig::llama_small() }),
            ("nanochat", GptConfig { logit_softcap: None, ..GptConfig::depth(2) }),
        ];
        for (family, preset) in presets {
            let mut config = ModelConfig::Gpt(sized(preset));
            let text = write(&config, config.architecture().unwrap(), "float32").unwrap();
            config.set_common(family, Vec::new(), None);
            assert_eq!(read(&text.to_string(), Path::new("config.json")).unwrap(), config);
        }
    }

    fn check_family(config: GptConfig, expected: Result<&str, &str>) {
        match (ModelConfig::Gpt(config).architecture(), expected) {
            (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn each_preset_has_its_architecture() {
        check_family(GptConfig::gpt2(), Ok("GPT2LMHeadModel"));
        check_family(GptConfig::llama_small(), Ok("LlamaForCausalLM"));
        check_family(GptConfig::qwen3_small(), Ok("Qwen3ForCausalLM"));
        check_family(GptConfig::depth(4), Ok("NanoChatForCausalLM"));
        let uncapped = GptConfig { logit_softcap: None, ..GptConfig::depth(4) };
        check_family(uncapped, Ok("NanoChatForCausalLM"));
        let named = GptConfig { family: Some("mistral".into()), ..GptConfig::llama_small() };
        check_family(named, Ok("MistralForCausalLM"));
    }

    #[test]
    fn a_combination_that_none_has_names_the_keys() {
        let capped = GptConfig { logit_softcap: Some(15.0), ..GptConfig::gpt2() };
        check_family(capped, Err("GPT2LMHeadModel, needs `logit_softcap` to be absent"));
        let unnormed = GptConfig { qk_norm: false, embedding_norm: false, ..GptConfig::depth(4) };
        let needs = "NanoChatForCausalLM, needs `qk_norm` to be true, `embedding_norm`";
        check_family(unnormed, Err(needs));
        let dropping = GptConfig { residual_dropout: 0.1, ..GptConfig::llama_small() };
        check_family(dropping, Err("LlamaForCausalLM, needs `residual_dropout` to be 0"));
        let gated = GptConfig { mlp: Mlp::GatedSilu, ..GptConfig::depth(4) };
        check_family(gated, Err("NanoChatForCausalLM, needs `mlp` to be \"squared_relu\""));
        let unknown = GptConfig { family: Some("mamba".into()), ..GptConfig::gpt2() };
        check_family(unknown, Err("`family` is \"mamba\", known are gpt2, llama"));
    }
}
