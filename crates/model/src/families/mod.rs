//! The families of models that Transformers knows and we can be: their keys in `config.json`, the names of their tensors, how they start.
//!
//! A family is one file that describes a [`Gpt`](crate::Gpt) or a [`Bert`](crate::Bert) as data, and one line in
//! the table here. How to add one is in docs/guides/adding-a-family.md.

mod bert;
mod distilbert;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod modern;
mod modernbert;
mod nanochat;
mod qwen2;
mod qwen3;
mod roberta;

use crate::config::keys::Keys;
use crate::config::{BertConfig, GptConfig, ModelConfig};
use crate::init::Init;
use crate::layers::{BlockInits, BlockNames, Turn};
use serde_json::{Map, Value};

/// All families. A configuration that names none is of the first of its kind that fits.
static FAMILIES: &[&Family] = &[
    &gpt2::FAMILY,
    &llama::FAMILY,
    &qwen3::FAMILY,
    &nanochat::FAMILY,
    &mistral::FAMILY,
    &qwen2::FAMILY,
    &gpt_neox::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &bert::FAMILY,
    &roberta::FAMILY,
    &distilbert::FAMILY,
    &modernbert::FAMILY,
];

/// A family.
#[derive(Debug)]
pub(crate) enum Family {
    Decoder(DecoderFamily),
    Encoder(EncoderFamily),
}

/// What Transformers calls the models of a family.
#[derive(Debug)]
pub(crate) struct Classes {
    /// With the head that pre-training needs.
    pub(crate) head: &'static str,
    /// Without a head.
    pub(crate) base: &'static str,
    /// With a head that classifies sequences.
    pub(crate) classifier: Option<&'static str>,
    /// Whatever else can be read as one of those.
    pub(crate) others: &'static [&'static str],
}

/// A family of decoders.
#[derive(Debug)]
pub(crate) struct DecoderFamily {
    pub(crate) model_type: &'static str,
    pub(crate) classes: Classes,
    pub(crate) read: fn(&mut Keys) -> Result<GptConfig, String>,
    pub(crate) write: fn(&GptConfig) -> Value,
    pub(crate) names: DecoderNames,
    pub(crate) inits: fn(&GptConfig) -> DecoderInits,
    pub(crate) turn: Turn,
}

/// What the parts of a decoder are called.
#[derive(Debug)]
pub(crate) struct DecoderNames {
    pub(crate) body: &'static str,
    pub(crate) token: &'static str,
    /// Only where positions are a table.
    pub(crate) position: &'static str,
    pub(crate) blocks: &'static str,
    pub(crate) block: BlockNames,
    pub(crate) norm: &'static str,
    pub(crate) head: &'static str,
}

/// Starting values of a decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecoderInits {
    pub(crate) token: Init,
    pub(crate) head: Init,
    pub(crate) block: BlockInits,
}

/// A family of encoders.
#[derive(Debug)]
pub(crate) struct EncoderFamily {
    pub(crate) model_type: &'static str,
    pub(crate) classes: Classes,
    pub(crate) read: fn(&mut Keys) -> Result<BertConfig, String>,
    pub(crate) write: fn(&BertConfig) -> Value,
    pub(crate) names: EncoderNames,
}

/// What the parts of an encoder are called.
#[derive(Debug)]
pub(crate) struct EncoderNames {
    pub(crate) body: &'static str,
    pub(crate) token: &'static str,
    /// Only where positions are a table.
    pub(crate) position: &'static str,
    /// Only where there are segments.
    pub(crate) token_type: &'static str,
    pub(crate) embedding_norm: &'static str,
    pub(crate) blocks: &'static str,
    pub(crate) block: BlockNames,
    /// Only where norms come first.
    pub(crate) norm: &'static str,
    /// Only where there is one.
    pub(crate) pooler: &'static str,
    pub(crate) head: HeadNames,
    pub(crate) classifier: ClassifierForm,
}

/// What the parts of a head for masked ids are called.
#[derive(Debug)]
pub(crate) struct HeadNames {
    pub(crate) dense: &'static str,
    pub(crate) norm: &'static str,
    /// The bias of each id's logit.
    pub(crate) bias: &'static str,
}

/// A classification head: what it does with the position it reads, and the names of its layers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClassifierForm {
    /// The pooler, then one layer (BERT).
    Pooled { out: &'static str },
    /// A layer with tanh, then another (RoBERTa).
    Tanh { dense: &'static str, out: &'static str },
    /// A layer with ReLU, then another (DistilBERT).
    Relu { dense: &'static str, out: &'static str },
    /// The transform of the head for masked ids, then one layer (ModernBERT).
    Transformed { out: &'static str },
}

impl ClassifierForm {
    /// The name of its last layer.
    pub(crate) fn out(self) -> &'static str {
        match self {
            Self::Pooled { out }
            | Self::Tanh { out, .. }
            | Self::Relu { out, .. }
            | Self::Transformed { out } => out,
        }
    }
}

impl Classes {
    /// Every name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static str> {
        let some = [Some(self.head), Some(self.base), self.classifier];
        some.into_iter().flatten().chain(self.others.iter().copied())
    }
}

impl Family {
    pub(crate) fn model_type(&self) -> &'static str {
        match self {
            Self::Decoder(family) => family.model_type,
            Self::Encoder(family) => family.model_type,
        }
    }

    pub(crate) fn classes(&self) -> &Classes {
        match self {
            Self::Decoder(family) => &family.classes,
            Self::Encoder(family) => &family.classes,
        }
    }

    /// The configuration that its keys in a `config.json` say.
    pub(crate) fn read(&self, keys: &mut Keys) -> Result<ModelConfig, String> {
        Ok(match self {
            Self::Decoder(family) => ModelConfig::Gpt((family.read)(keys)?),
            Self::Encoder(family) => ModelConfig::Bert((family.read)(keys)?),
        })
    }

    /// Its keys in a `config.json`; empty for a configuration of the other kind.
    pub(crate) fn write(&self, config: &ModelConfig) -> Map<String, Value> {
        let value = match (self, config) {
            (Self::Decoder(family), ModelConfig::Gpt(config)) => (family.write)(config),
            (Self::Encoder(family), ModelConfig::Bert(config)) => (family.write)(config),
            _ => Value::Null,
        };
        match value {
            Value::Object(mut map) => {
                map.insert("model_type".into(), self.model_type().into());
                map
            }
            _ => Map::new(),
        }
    }
}

/// The family of this `model_type`.
pub(crate) fn named(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| family.model_type() == model_type)
}

/// All of them.
pub(crate) fn all() -> Vec<&'static Family> {
    FAMILIES.to_vec()
}

/// The `model_type` of each.
pub(crate) fn known() -> Vec<&'static str> {
    FAMILIES.iter().map(|family| family.model_type()).collect()
}

/// Those of decoders.
pub(crate) fn decoders() -> Vec<&'static Family> {
    all().into_iter().filter(|family| matches!(family, Family::Decoder(_))).collect()
}

/// Those of encoders.
pub(crate) fn encoders() -> Vec<&'static Family> {
    all().into_iter().filter(|family| matches!(family, Family::Encoder(_))).collect()
}
