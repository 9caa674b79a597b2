//! BERT: norms after each half, a table of positions, segments, a pooler (Devlin et al. 2018).

use super::{Classes, ClassifierForm, EncoderFamily, EncoderNames, Family, HeadNames};
use crate::config::BertConfig;
use crate::config::keys::{Keys, activation_name};
use crate::layers::{AttentionNames, BlockNames, Form, MlpNames};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Encoder(EncoderFamily {
    model_type: "bert",
    classes: Classes {
        head: "BertForMaskedLM",
        base: "BertModel",
        classifier: Some("BertForSequenceClassification"),
        others: &["BertForPreTraining"],
    },
    read,
    write,
    names: NAMES,
});

pub(super) const NAMES: EncoderNames = EncoderNames {
    body: "bert",
    token: "embeddings.word_embeddings",
    position: "embeddings.position_embeddings",
    token_type: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    blocks: "encoder.layer",
    block: BlockNames {
        norm_attention: "attention.output.LayerNorm",
        norm_attention_after: "",
        attention: "attention",
        projections: AttentionNames {
            qkv: "self.qkv",
            parts: ["self.query", "self.key", "self.value"],
            out: "output.dense",
        },
        norm_mlp: "output.LayerNorm",
        norm_mlp_after: "",
        mlp: "",
        layers: MlpNames { gate: "", gate_up: "", up: "intermediate.dense", down: "output.dense" },
        form: Form::Rows,
    },
    norm: "",
    pooler: "pooler.dense",
    head: HeadNames {
        dense: "cls.predictions.transform.dense",
        norm: "cls.predictions.transform.LayerNorm",
        bias: "cls.predictions.bias",
    },
    classifier: ClassifierForm::Pooled { out: "classifier" },
};

fn read(keys: &mut Keys) -> Result<BertConfig, String> {
    let context_length = keys.or("max_position_embeddings", 512)?;
    keys.ignore(&[
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
    ]);
    Ok(BertConfig { context_length, ..read_common(keys, 30522)? })
}

/// The keys of BERT and RoBERTa, positions aside.
pub(super) fn read_common(keys: &mut Keys, vocab_size: usize) -> Result<BertConfig, String> {
    tied(keys)?;
    Ok(BertConfig {
        vocab_size: keys.or("vocab_size", vocab_size)?,
        hidden_size: keys.or("hidden_size", 768)?,
        n_layers: keys.layers("num_hidden_layers", Some(12))?,
        n_heads: keys.or("num_attention_heads", 12)?,
        intermediate_size: Some(keys.or("intermediate_size", 3072)?),
        token_types: keys.or("type_vocab_size", 2)?,
        mlp: keys.activation("hidden_act", "gelu", false)?,
        norm_epsilon: keys.or("layer_norm_eps", 1e-12)?,
        hidden_dropout: keys.or("hidden_dropout_prob", 0.1)?,
        attention_dropout: keys.or("attention_probs_dropout_prob", 0.1)?,
        classifier_dropout: keys.or_null("classifier_dropout", None)?,
        ..BertConfig::base()
    })
}

/// The head of every encoder here is the table of ids.
pub(super) fn tied(keys: &mut Keys) -> Result<(), String> {
    match keys.or("tie_word_embeddings", true)? {
        true => Ok(()),
        false => Err("`tie_word_embeddings` is false, which this model is not".into()),
    }
}

fn write(config: &BertConfig) -> Value {
    write_common(config, config.context_length)
}

/// The keys of BERT and RoBERTa, with `positions` rows in the table of positions.
pub(super) fn write_common(config: &BertConfig, positions: usize) -> Value {
    let mut value = json!({
        "vocab_size": config.vocab_size,
        "max_position_embeddings": positions,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.intermediate_size(),
        "type_vocab_size": config.token_types.max(1),
        "layer_norm_eps": config.norm_epsilon,
        "hidden_dropout_prob": config.hidden_dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
    });
    if let Some(share) = config.classifier_dropout {
        value["classifier_dropout"] = share.into();
    }
    if !config.mlp.is_gated() {
        value["hidden_act"] = activation_name(config.mlp).into();
    }
    value
}
