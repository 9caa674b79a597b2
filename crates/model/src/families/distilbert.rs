//! DistilBERT: BERT without segments and pooler (Sanh et al. 2019).

use super::{Classes, ClassifierForm, EncoderFamily, EncoderNames, Family, HeadNames, bert};
use crate::config::BertConfig;
use crate::config::keys::{Keys, activation_name};
use crate::layers::{AttentionNames, BlockNames, Form, MlpNames};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Encoder(EncoderFamily {
    model_type: "distilbert",
    classes: Classes {
        head: "DistilBertForMaskedLM",
        base: "DistilBertModel",
        classifier: Some("DistilBertForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: EncoderNames {
        body: "distilbert",
        token_type: "",
        blocks: "transformer.layer",
        block: BlockNames {
            norm_attention: "sa_layer_norm",
            norm_attention_after: "",
            attention: "attention",
            projections: AttentionNames {
                qkv: "qkv_lin",
                parts: ["q_lin", "k_lin", "v_lin"],
                out: "out_lin",
            },
            norm_mlp: "output_layer_norm",
            norm_mlp_after: "",
            mlp: "ffn",
            layers: MlpNames { gate: "", gate_up: "", up: "lin1", down: "lin2" },
            form: Form::Rows,
        },
        pooler: "",
        head: HeadNames {
            dense: "vocab_transform",
            norm: "vocab_layer_norm",
            bias: "vocab_projector.bias",
        },
        classifier: ClassifierForm::Relu { dense: "pre_classifier", out: "classifier" },
        ..bert::NAMES
    },
});

fn read(keys: &mut Keys) -> Result<BertConfig, String> {
    bert::tied(keys)?;
    keys.ignore(&["qa_dropout"]);
    Ok(BertConfig {
        vocab_size: keys.or("vocab_size", 30522)?,
        context_length: keys.or("max_position_embeddings", 512)?,
        hidden_size: keys.or("dim", 768)?,
        n_layers: keys.layers("n_layers", Some(6))?,
        n_heads: keys.or("n_heads", 12)?,
        intermediate_size: Some(keys.or("hidden_dim", 3072)?),
        token_types: 0,
        mlp: keys.activation("activation", "gelu", false)?,
        hidden_dropout: keys.or("dropout", 0.1)?,
        attention_dropout: keys.or("attention_dropout", 0.1)?,
        classifier_dropout: Some(keys.or("seq_classif_dropout", 0.2)?),
        ..BertConfig::base()
    })
}

fn write(config: &BertConfig) -> Value {
    let mut value = json!({
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "dim": config.hidden_size,
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "hidden_dim": config.intermediate_size(),
        "dropout": config.hidden_dropout,
        "attention_dropout": config.attention_dropout,
        "seq_classif_dropout": config.classifier_dropout,
    });
    if !config.mlp.is_gated() {
        value["activation"] = activation_name(config.mlp).into();
    }
    value
}
