//! RoBERTa: BERT whose positions begin after the padding's row, and whose classifier has a layer of its own (Liu et al. 2019).

use super::{Classes, ClassifierForm, EncoderFamily, EncoderNames, Family, HeadNames, bert};
use crate::config::keys::Keys;
use crate::config::{BertConfig, Mlp};
use serde_json::{Value, json};

pub(super) static FAMILY: Family = Family::Encoder(EncoderFamily {
    model_type: "roberta",
    classes: Classes {
        head: "RobertaForMaskedLM",
        base: "RobertaModel",
        classifier: Some("RobertaForSequenceClassification"),
        others: &[],
    },
    read,
    write,
    names: EncoderNames {
        body: "roberta",
        head: HeadNames {
            dense: "lm_head.dense",
            norm: "lm_head.layer_norm",
            bias: "lm_head.bias",
        },
        classifier: ClassifierForm::Tanh { dense: "classifier.dense", out: "classifier.out_proj" },
        ..bert::NAMES
    },
});

fn read(keys: &mut Keys) -> Result<BertConfig, String> {
    let rows: usize = keys.or("max_position_embeddings", 512)?;
    let padding = keys.peek("pad_token_id").and_then(Value::as_u64).unwrap_or(1) as usize;
    let position_offset = padding.saturating_add(1);
    let Some(context_length) = rows.checked_sub(position_offset) else {
        return Err(format!("`max_position_embeddings` is {rows}, too few after row {padding}"));
    };
    let config = bert::read_common(keys, 50265)?;
    if config.mlp != Mlp::Gelu {
        return Err("`hidden_act` is not \"gelu\", which this model's head has".into());
    }
    Ok(BertConfig { context_length, position_offset, ..config })
}

fn write(config: &BertConfig) -> Value {
    let rows = config.context_length.saturating_add(config.position_offset);
    let mut value = bert::write_common(config, rows);
    value["pad_token_id"] = json!(config.position_offset.max(1) - 1);
    value
}
