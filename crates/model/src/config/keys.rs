//! The keys of a `config.json`, taken out one by one; whatever is left at the end must be known not to matter.

use super::{LayerType, Mlp, RopeScaling};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Keys that do not change what this crate computes.
const INERT: &[&str] = &[
    "add_cross_attention",
    "architectures",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cls_token_id",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "initializer_range",
    "is_encoder_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "prefix",
    "problem_type",
    "return_dict",
    "sep_token_id",
    "transformers.js_config",
    "unk_token_id",
    "task_specific_params",
    "tie_encoder_decoder",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "use_cache",
];

/// Keys that would change it: only these values are supported.
fn supported(key: &str, value: &Value) -> bool {
    match key {
        "scale_attn_weights" => *value == json!(true),
        "use_bidirectional_attention" => value.is_null() || *value == json!(false),
        "scale_attn_by_inverse_layer_idx"
        | "use_sliding_window"
        | "is_decoder"
        | "sinusoidal_pos_embds"
        | "sparse_prediction" => *value == json!(false),
        "embedding_dropout" | "mlp_dropout" | "attention_dropout" => value.as_f64() == Some(0.0),
        "pretraining_tp" => *value == json!(1),
        "position_embedding_type" => *value == json!("absolute"),
        "classifier_activation" => *value == json!("gelu"),
        "partial_rotary_factor" => value.as_f64() == Some(1.0),
        "rope_scaling" | "sliding_window" | "pruned_heads" | "attn_logit_softcapping" => {
            value.is_null() || value.as_object().is_some_and(Map::is_empty)
        }
        "layer_types" => value
            .as_array()
            .is_some_and(|types| types.iter().all(|one| *one == json!("full_attention"))),
        _ => false,
    }
}

/// Activations by their names in Transformers, plain and gated, the name we write first.
const ACTIVATIONS: &[(&str, Option<Mlp>, Option<Mlp>)] = &[
    ("gelu", Some(Mlp::Gelu), Some(Mlp::GatedGelu)),
    ("gelu_new", Some(Mlp::GeluTanh), None),
    ("gelu_pytorch_tanh", Some(Mlp::GeluTanh), Some(Mlp::GatedGeluTanh)),
    ("gelu_new", None, Some(Mlp::GatedGeluTanh)),
    ("gelu_fast", Some(Mlp::GeluTanh), Some(Mlp::GatedGeluTanh)),
    ("relu2", Some(Mlp::SquaredRelu), None),
    ("silu", None, Some(Mlp::GatedSilu)),
    ("swish", None, Some(Mlp::GatedSilu)),
];

/// What Transformers calls the activation of this MLP.
pub(crate) fn activation_name(mlp: Mlp) -> &'static str {
    let known = ACTIVATIONS.iter().find(|entry| entry.1 == Some(mlp) || entry.2 == Some(mlp));
    known.map_or("", |entry| entry.0)
}

/// The keys not yet understood.
#[derive(Debug)]
pub(crate) struct Keys {
    map: Map<String, Value>,
}

/// What rotary positions are made of.
#[derive(Debug)]
pub(crate) struct Rope {
    pub(crate) theta: f64,
    pub(crate) share: f64,
    pub(crate) scaling: Option<RopeScaling>,
}

impl Keys {
    pub(crate) fn new(map: Map<String, Value>) -> Self {
        Self { map }
    }

    fn parse<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, String> {
        serde_json::from_value(value).map_err(|error| format!("`{key}`: {error}"))
    }

    /// The key, which stays.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// Passes over these keys.
    pub(crate) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.map.shift_remove(*key);
        }
    }

    pub(crate) fn need<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, String> {
        match self.map.shift_remove(key) {
            Some(value) => Self::parse(key, value),
            None => Err(format!("`{key}` is missing")),
        }
    }

    /// The key, or where it is missing or null the default of Transformers.
    pub(crate) fn or<T: DeserializeOwned>(&mut self, key: &str, default: T) -> Result<T, String> {
        match self.map.shift_remove(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => Self::parse(key, value),
        }
    }

    /// The number of layers, or where it is missing the default; so many that lists of them can be made.
    pub(crate) fn layers(&mut self, key: &str, default: Option<usize>) -> Result<usize, String> {
        const MOST: usize = 10_000;
        let count = match default {
            Some(default) => self.or(key, default)?,
            None => self.need(key)?,
        };
        match count {
            0..=MOST => Ok(count),
            _ => Err(format!("`{key}` is {count}, most are {MOST}")),
        }
    }

    /// The key, where null means none.
    pub(crate) fn or_null<T: DeserializeOwned>(
        &mut self,
        key: &str,
        default: Option<T>,
    ) -> Result<Option<T>, String> {
        self.map.shift_remove(key).map_or(Ok(default), |value| Self::parse(key, value))
    }

    pub(crate) fn activation(
        &mut self,
        key: &str,
        default: &str,
        gated: bool,
    ) -> Result<Mlp, String> {
        let name: String = self.or(key, default.to_string())?;
        let of = |entry: &(&str, Option<Mlp>, Option<Mlp>)| match gated {
            true => entry.2,
            false => entry.1,
        };
        let known = ACTIVATIONS.iter().find(|entry| entry.0 == name && of(entry).is_some());
        known
            .and_then(of)
            .ok_or_else(|| format!("`{key}` is {name:?}, which this model has no layer for"))
    }

    /// The labels of a classification head: `id2label` in the order of its ids, or as many numbered
    /// ones as `num_labels` says; two where neither is there.
    pub(crate) fn labels(&mut self) -> Result<Vec<String>, String> {
        let count: Option<usize> = self.or_null("num_labels", None)?;
        let named: Option<BTreeMap<String, String>> = self.or_null("id2label", None)?;
        let Some(named) = named else {
            const MOST: usize = 1_000_000;
            if let Some(count) = count.filter(|&count| count > MOST) {
                return Err(format!("`num_labels` is {count}, most are {MOST}"));
            }
            return Ok((0..count.unwrap_or(2)).map(|id| format!("LABEL_{id}")).collect());
        };
        let wrong = || "`id2label` does not number its labels 0, 1, 2, ...".to_string();
        let label = |id: usize| named.get(&id.to_string()).cloned().ok_or_else(wrong);
        (0..named.len()).map(label).collect()
    }

    /// Which layers see a window, one entry a layer, from `layer_types` or else the `usual` ones.
    pub(crate) fn layer_types(&mut self, usual: Vec<LayerType>) -> Result<Vec<LayerType>, String> {
        let count = usual.len();
        let types = self.or("layer_types", usual)?;
        match types.len() == count {
            true => Ok(types),
            false => Err(format!("`layer_types` has {} entries for {count} layers", types.len())),
        }
    }

    /// From `rope_parameters` (Transformers 5), or `rope_theta`, `rope_scaling` and
    /// `partial_rotary_factor` (before).
    pub(crate) fn rope(&mut self, theta: f64, share: f64, context: usize) -> Result<Rope, String> {
        let theta = self.or("rope_theta", theta)?;
        let share = self.or("partial_rotary_factor", share)?;
        let new: Map<String, Value> = self.or("rope_parameters", Map::new())?;
        let old: Map<String, Value> = self.or("rope_scaling", Map::new())?;
        match old.is_empty() {
            true => rope("rope_parameters", new, theta, share, context),
            false => {
                let plain = new.get("rope_theta").and_then(Value::as_f64);
                rope("rope_scaling", old, plain.unwrap_or(theta), share, context)
            }
        }
    }

    /// The same where layers with a window have a base of their own, under the key `local` before
    /// Transformers 5: of the whole layers, and the base of the others.
    pub(crate) fn two_ropes(
        &mut self,
        [global, local]: [(&str, f64); 2],
        context: usize,
    ) -> Result<(Rope, f64), String> {
        let (theta, local) = (self.or(global.0, global.1)?, self.or(local.0, local.1)?);
        let mut new: Map<String, Value> = self.or("rope_parameters", Map::new())?;
        let mut whole: Map<String, Value> = match new.shift_remove("full_attention") {
            None | Some(Value::Null) => Map::new(),
            Some(value) => Self::parse("rope_parameters.full_attention", value)?,
        };
        let part: Map<String, Value> = match new.shift_remove("sliding_attention") {
            None | Some(Value::Null) => Map::new(),
            Some(value) => Self::parse("rope_parameters.sliding_attention", value)?,
        };
        if let Some((key, value)) = new.iter().next() {
            return Err(format!("`rope_parameters.{key}` is {value}, not supported"));
        }
        let old: Map<String, Value> = self.or("rope_scaling", Map::new())?;
        whole.extend(old);
        let name = "rope_parameters.full_attention";
        let whole = rope(name, whole, theta, 1.0, context)?;
        let part = rope("rope_parameters.sliding_attention", part, local, 1.0, context)?;
        match part.scaling {
            None => Ok((whole, part.theta)),
            Some(_) => Err("`rope_parameters.sliding_attention` is scaled, not supported".into()),
        }
    }

    /// Whatever is left must be known not to matter.
    pub(crate) fn finish(self) -> Result<(), String> {
        let matters = |key: &str, value: &Value| {
            !INERT.contains(&key) && !supported(key, value) && !key.starts_with('_')
        };
        match self.map.iter().find(|(key, value)| matters(key, value)) {
            None => Ok(()),
            Some((key, value)) => {
                Err(format!("`{key}` is {value}, which this crate does not know"))
            }
        }
    }
}

/// One set of rotary parameters, called `name`.
fn rope(
    name: &str,
    mut map: Map<String, Value>,
    theta: f64,
    share: f64,
    context: usize,
) -> Result<Rope, String> {
    let mut number = |key: &str, default: f64| match map.shift_remove(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => Keys::parse(&format!("{name}.{key}"), value),
    };
    let theta = number("rope_theta", theta)?;
    let share = number("partial_rotary_factor", share)?;
    let old = map.shift_remove("type");
    let kind = map.shift_remove("rope_type").or(old).unwrap_or(json!("default"));
    let known = kind.as_str().filter(|kind| RopeScaling::KNOWN.contains(kind));
    let Some(known) = known else {
        let known = RopeScaling::KNOWN.join(", ");
        return Err(format!("`{name}.rope_type` is {kind}, known are {known}"));
    };
    if known == "default" {
        return match map.iter().next() {
            None => Ok(Rope { theta, share, scaling: None }),
            Some((key, value)) => Err(format!("`{name}.{key}` is {value}, not supported")),
        };
    }
    map.retain(|_, value| !value.is_null());
    if known != "linear" && !map.contains_key("original_max_position_embeddings") {
        map.insert("original_max_position_embeddings".into(), json!(context));
    }
    let original = map.get("original_max_position_embeddings").and_then(Value::as_f64);
    if let (Some(original), "yarn", false) = (original, known, map.contains_key("factor")) {
        map.insert("factor".into(), json!(context as f64 / original));
    }
    map.insert("rope_type".into(), kind);
    Ok(Rope { theta, share, scaling: Some(Keys::parse(name, Value::Object(map))?) })
}

/// `rope_parameters` as Transformers 5 reads it.
pub(crate) fn rope_value(theta: f64, share: f64, scaling: Option<&RopeScaling>) -> Value {
    let mut map = Map::from_iter([("rope_theta".to_string(), json!(theta))]);
    if share != 1.0 {
        map.insert("partial_rotary_factor".into(), json!(share));
    }
    match scaling.map(|scaling| json!(scaling)) {
        Some(Value::Object(scaling)) => map.extend(scaling),
        _ => drop(map.insert("rope_type".into(), json!("default"))),
    }
    if map["rope_type"] == json!("dynamic") {
        map.shift_remove("original_max_position_embeddings"); // That is `max_position_embeddings`.
    }
    Value::Object(map)
}

/// What `max_position_embeddings` says, and the longest window that follows from it.
pub(crate) fn stretched(context: usize, scaling: Option<&RopeScaling>) -> usize {
    match scaling {
        Some(RopeScaling::Dynamic { factor, original_max_position_embeddings: original }) => {
            (*original as f64 * factor.max(1.0)) as usize
        }
        _ => context,
    }
}

/// The other way round.
pub(crate) fn unstretched(context: usize, scaling: Option<&RopeScaling>) -> usize {
    match scaling {
        Some(RopeScaling::Dynamic { original_max_position_embeddings: original, .. }) => *original,
        _ => context,
    }
}
