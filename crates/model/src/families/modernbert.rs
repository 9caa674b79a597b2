//! ModernBERT: norms first, rotary positions, a gated MLP, windows in two of three layers (Warner et al. 2024, section 2).

use super::{Classes, ClassifierForm, EncoderFamily, EncoderNames, Family, HeadNames, bert};
use crate::config::keys::{Keys, activation_name, rope_value};
use crate::config::{BertConfig, LayerType, Norm, Positions};
use crate::layers::{AttentionNames, BlockNames, Form, MlpNames};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Encoder(EncoderFamily {
    model_type: "modernbert",
    classes: Classes {
        head: "ModernBertForMaskedLM",
        base: "ModernBertModel",
        classifier: Some("ModernBertForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: EncoderNames {
        body: "model",
        token: "embeddings.tok_embeddings",
        position: "",
        token_type: "",
        embedding_norm: "embeddings.norm",
        blocks: "layers",
        block: BlockNames {
            norm_attention: "attn_norm",
            norm_attention_after: "",
            attention: "attn",
            projections: AttentionNames { qkv: "Wqkv", parts: ["q", "k", "v"], out: "Wo" },
            norm_mlp: "mlp_norm",
            norm_mlp_after: "",
            mlp: "mlp",
            layers: MlpNames { gate: "gate", gate_up: "Wi", up: "up", down: "Wo" },
            form: Form::Whole,
        },
        norm: "final_norm",
        pooler: "",
        head: HeadNames { dense: "head.dense", norm: "head.norm", bias: "decoder.bias" },
        classifier: ClassifierForm::Transformed { out: "classifier" },
    },
});

/// Bases of the rotary frequencies by their keys before Transformers 5, with their defaults.
const BASES: [(&str, f64); 2] = [("global_rope_theta", 160_000.0), ("local_rope_theta", 10_000.0)];

fn read(keys: &mut Keys) -> Result<BertConfig, String> {
    bert::tied(keys)?;
    keys.ignore(&[
        "deterministic_flash_attn",
        "initializer_cutoff_factor",
        "layer_norm_eps", // `norm_eps` counts.
        "reference_compile",
        "repad_logits_with_grad",
        "sparse_pred_ignore_index",
    ]);
    let context_length = keys.or("max_position_embeddings", 8192)?;
    let (whole, local) = keys.two_ropes(BASES, context_length)?;
    if whole.scaling.is_some() {
        return Err("`rope_parameters.full_attention` is scaled, not supported".into());
    }
    let n_layers = keys.layers("num_hidden_layers", Some(22))?;
    let every: usize = keys.or("global_attn_every_n_layers", 3)?;
    let usual = |layer: usize| match every > 0 && layer.is_multiple_of(every) {
        true => LayerType::FullAttention,
        false => LayerType::SlidingAttention,
    };
    Ok(BertConfig {
        vocab_size: keys.or("vocab_size", 50368)?,
        context_length,
        hidden_size: keys.or("hidden_size", 768)?,
        n_layers,
        n_heads: keys.or("num_attention_heads", 12)?,
        intermediate_size: Some(keys.or("intermediate_size", 1152)?),
        token_types: 0,
        positions: Positions::Rotary,
        rope_theta: Some(whole.theta),
        local_rope_theta: Some(local),
        local_attention: Some(keys.or("local_attention", 128)?),
        layer_types: keys.layer_types((0..n_layers).map(usual).collect())?,
        pre_norm: true,
        norm: match keys.or("norm_bias", false)? {
            true => Norm::LayerNorm,
            false => Norm::LayerNormUnbiased,
        },
        attention_bias: keys.or("attention_bias", false)?,
        mlp_bias: keys.or("mlp_bias", false)?,
        decoder_bias: keys.or("decoder_bias", true)?,
        classifier_bias: keys.or("classifier_bias", false)?,
        mlp: keys.activation("hidden_activation", "gelu", true)?,
        norm_epsilon: keys.or("norm_eps", 1e-5)?,
        classifier_dropout: Some(keys.or("classifier_dropout", 0.0)?),
        classifier_pooling: keys.or("classifier_pooling", BertConfig::base().classifier_pooling)?,
        ..BertConfig::base()
    })
}

fn write(config: &BertConfig) -> Value {
    let theta = config.rope_theta.unwrap_or(BASES[0].1);
    let local = config.local_rope_theta.unwrap_or(BASES[1].1);
    let types = (0..config.n_layers).map(|layer| match config.is_local(layer) {
        true => LayerType::SlidingAttention,
        false => LayerType::FullAttention,
    });
    let mut value = json!({
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.intermediate_size(),
        "global_rope_theta": theta,
        "local_rope_theta": local,
        "rope_parameters": {
            "full_attention": rope_value(theta, 1.0, None),
            "sliding_attention": rope_value(local, 1.0, None),
        },
        "local_attention": config.local_attention.unwrap_or(128),
        "layer_types": types.collect::<Vec<_>>(),
        "norm_bias": config.norm == Norm::LayerNorm,
        "norm_eps": config.norm_epsilon,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
        "decoder_bias": config.decoder_bias,
        "classifier_bias": config.classifier_bias,
        "classifier_dropout": config.classifier_dropout.unwrap_or(0.0),
        "classifier_pooling": config.classifier_pooling,
    });
    if config.mlp.is_gated() {
        value["hidden_activation"] = activation_name(config.mlp).into();
    }
    value
}
