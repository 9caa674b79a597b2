//! A configuration in, the keys of its architecture as llama.cpp's converter writes them out.

use super::names::Layout;
use crate::config::{BertConfig, GptConfig, Mlp, ModelConfig, Positions, RopeScaling, Yarn};
use idiolect_files::gguf::MetadataValue;

/// Keys and their values.
pub(super) type Metadata = Vec<(String, MetadataValue)>;

/// Keys without the architecture before them.
struct Keys<'a> {
    layout: &'a Layout,
    all: Metadata,
}

impl Keys<'_> {
    fn put(&mut self, key: &str, value: MetadataValue) {
        self.all.push((format!("{}.{key}", self.layout.name), value));
    }

    fn integer(&mut self, key: &str, value: usize) {
        self.put(key, MetadataValue::U32(u32::try_from(value).unwrap_or(u32::MAX)));
    }

    fn number(&mut self, key: &str, value: f64) {
        self.put(key, MetadataValue::F32(value as f32));
    }
}

/// The sizes and settings of a model, or what such a file cannot say.
pub(super) fn of(config: &ModelConfig, layout: &Layout) -> Result<Metadata, String> {
    let mut keys = Keys { layout, all: Vec::new() };
    match config {
        ModelConfig::Gpt(config) => decoder(&mut keys, config)?,
        ModelConfig::Bert(config) => encoder(&mut keys, config)?,
    }
    Ok(keys.all)
}

fn decoder(keys: &mut Keys, config: &GptConfig) -> Result<(), String> {
    check(keys.layout, config)?;
    keys.integer("block_count", config.n_layers);
    keys.integer("context_length", config.context_length);
    keys.integer("embedding_length", config.hidden_size);
    keys.integer("feed_forward_length", config.intermediate_size());
    keys.integer("attention.head_count", config.n_heads);
    keys.integer("vocab_size", config.vocab_size);
    if config.positions == Positions::Learned {
        keys.number("attention.layer_norm_epsilon", config.norm_epsilon);
        return Ok(());
    }
    keys.number("attention.layer_norm_rms_epsilon", config.norm_epsilon);
    keys.integer("attention.head_count_kv", config.n_kv_heads());
    keys.integer("attention.key_length", config.head_dim());
    keys.integer("attention.value_length", config.head_dim());
    keys.integer("rope.dimension_count", config.head_dim());
    keys.number("rope.freq_base", config.rope_theta);
    scaling(keys, config.rope_scaling.as_ref())?;
    if let Some(cap) = config.attention_softcap {
        keys.number("attn_logit_softcapping", cap);
    }
    if let Some(cap) = config.logit_softcap {
        keys.number("final_logit_softcapping", cap);
    }
    if let Some(window) = config.sliding_window {
        keys.integer("attention.sliding_window", window);
    }
    Ok(())
}

/// What readers of such files take for granted.
fn check(layout: &Layout, config: &GptConfig) -> Result<(), String> {
    let name = layout.name;
    let is_gemma = name.starts_with("gemma");
    let activation = match name {
        "gpt2" => Mlp::GeluTanh,
        _ if is_gemma => Mlp::GatedGeluTanh,
        _ => Mlp::GatedSilu,
    };
    if config.mlp != activation {
        return Err(format!("its MLP is {:?}, and that of {name} is {activation:?}", config.mlp));
    }
    let windows = (0..config.n_layers).filter(|&layer| config.is_local(layer));
    let usual = |layer: usize| match name {
        "gemma2" => layer.is_multiple_of(2),
        "gemma3" => !(layer + 1).is_multiple_of(6),
        _ => false,
    };
    if windows.ne((0..config.n_layers).filter(|&layer| usual(layer))) {
        return Err(format!("{name} cannot say which of its layers see a window"));
    }
    if name == "gemma2" && (config.attention_softcap.is_none() || config.logit_softcap.is_none()) {
        return Err("gemma2 takes caps of scores and logits for granted".into());
    }
    if name == "gemma3" && config.local_rope_theta.is_some_and(|theta| theta != 10_000.0) {
        return Err("gemma3 takes a base of 10000 for granted in layers with a window".into());
    }
    let scalar = config.query_pre_attn_scalar.unwrap_or(config.head_dim() as f64);
    // Gemma's largest sizes are known by their number of layers, and have another one.
    if is_gemma && scalar != config.head_dim() as f64 {
        return Err(format!("`query_pre_attn_scalar` {scalar} is not the width of a head"));
    }
    Ok(())
}

/// The stretching of rotary frequencies. That of Llama 3 is a tensor.
fn scaling(keys: &mut Keys, scaling: Option<&RopeScaling>) -> Result<(), String> {
    let kind = |keys: &mut Keys, name: &str, factor: f64| {
        keys.put("rope.scaling.type", MetadataValue::Text(name.into()));
        keys.number("rope.scaling.factor", factor);
    };
    match scaling {
        None | Some(RopeScaling::Llama3 { .. }) => {}
        Some(RopeScaling::Linear { factor }) => kind(keys, "linear", *factor),
        Some(RopeScaling::Yarn(yarn)) => {
            let usual = Yarn {
                attention_factor: None,
                beta_fast: 32.0,
                beta_slow: 1.0,
                mscale: None,
                mscale_all_dim: None,
                truncate: true,
                ..yarn.clone()
            };
            if *yarn != usual {
                return Err("its YaRN has settings besides factor and original context".into());
            }
            kind(keys, "yarn", yarn.factor);
            let original = yarn.original_max_position_embeddings;
            keys.integer("rope.scaling.original_context_length", original);
        }
        Some(RopeScaling::Dynamic { .. }) => return Err("its `rope_type` is dynamic".into()),
    }
    Ok(())
}

/// What each rotary frequency is divided by, where the scaling is that of Llama 3 (Grattafiori et al. 2024; the ramp as
/// in Transformers' `_compute_llama3_parameters`).
pub(super) fn frequency_divisors(config: &ModelConfig) -> Option<Vec<f32>> {
    let ModelConfig::Gpt(config) = config else { return None };
    let Some(RopeScaling::Llama3 {
        factor,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: original,
    }) = config.rope_scaling
    else {
        return None;
    };
    let width = config.head_dim();
    let divisor = |pair: usize| {
        let exponent = 2.0 * pair as f64 / width as f64;
        let wave = std::f64::consts::TAU * config.rope_theta.powf(exponent);
        let turns = original as f64 / wave;
        let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 / ((1.0 - share) / factor + share)) as f32
    };
    Some((0..width / 2).map(divisor).collect())
}

fn encoder(keys: &mut Keys, config: &BertConfig) -> Result<(), String> {
    if config.mlp != Mlp::Gelu {
        return Err(format!("its MLP is {:?}, and that of bert is Gelu", config.mlp));
    }
    keys.integer("block_count", config.n_layers);
    keys.integer("context_length", config.context_length);
    keys.integer("embedding_length", config.hidden_size);
    keys.integer("feed_forward_length", config.intermediate_size());
    keys.integer("attention.head_count", config.n_heads);
    keys.integer("vocab_size", config.vocab_size);
    keys.number("attention.layer_norm_epsilon", config.norm_epsilon);
    keys.put("attention.causal", MetadataValue::Bool(false));
    let types = u32::try_from(config.token_types.max(1)).unwrap_or(u32::MAX);
    keys.all.push(("tokenizer.ggml.token_type_count".into(), MetadataValue::U32(types)));
    Ok(())
}

#[test]
fn divisors_are_those_of_transformers() {
    let config = GptConfig {
        rope_theta: 500_000.0,
        head_dim: Some(128),
        rope_scaling: Some(RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        }),
        ..GptConfig::llama_small()
    };
    let divisors = frequency_divisors(&ModelConfig::Gpt(config)).unwrap_or_default();
    // Llama 3.1's `rope_freqs.weight`: ones, a ramp, then the factor.
    assert_eq!((divisors.len(), divisors[0], divisors[28], divisors[63]), (64, 1.0, 1.0, 8.0));
    assert!(divisors.is_sorted() && divisors[30] > 1.0 && divisors[30] < 8.0);
}
