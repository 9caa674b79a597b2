//! Texts in, a vector for each out: the model's hidden states, pooled (Reimers and Gurevych 2019, section 3).

use std::path::Path;

use idiolect_model::tch::{Kind, Tensor};
use serde::{Deserialize, Serialize};

use super::LocalBackend;
use super::rows::Rows;
use crate::{Error, Result};

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one's.
    Cls,
    /// The last one's.
    Last,
}

/// How texts are embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedConfig {
    /// What becomes of the hidden states.
    pub pooling: Pooling,
    /// Whether a vector is made one of length 1.
    pub normalize: bool,
}

/// Vectors, in the order of the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// One a text.
    pub vectors: Vec<Vec<f32>>,
    /// How many texts were longer than the model's context and lost their end.
    pub cut: usize,
}

impl LocalBackend {
    /// How this model is meant to embed: as sentence-transformers' files beside it say; without them the mean
    /// of an encoder's hidden states, and a decoder's last, made one of length 1.
    pub fn embed_config(&self) -> EmbedConfig {
        self.embed
    }

    /// A vector for each text. No batch has padding, so that the texts beside a text change nothing.
    pub fn embed_with(&self, texts: &[&str], config: EmbedConfig) -> Result<Embeddings> {
        let rows = Rows::new(&self.tokenizer, texts, self.model.context_length())?;
        let cut = rows.cut;
        let vectors = self.worker.call(move |model| {
            rows.map(model, |inputs| pooled(model.hidden_states(inputs)?, config))
        })??;
        Ok(Embeddings { vectors, cut })
    }
}

/// Hidden states `[B, T, D]` to vectors `[B, D]`, in f32.
fn pooled(hidden: Tensor, config: EmbedConfig) -> Result<Tensor> {
    let hidden = hidden.f_to_kind(Kind::Float)?;
    let vectors = match config.pooling {
        Pooling::Mean => hidden.f_mean_dim(&[1i64][..], false, Kind::Float)?,
        Pooling::Cls => hidden.f_select(1, 0)?,
        Pooling::Last => hidden.f_select(1, -1)?,
    };
    if !config.normalize {
        return Ok(vectors);
    }
    let lengths = vectors.f_norm_scalaropt_dim(2.0, &[1i64][..], true)?;
    Ok(vectors.f_div(&lengths.f_clamp_min(1e-12)?)?)
}

/// What sentence-transformers' files in a model folder say, if there are any.
pub(super) fn read_config(folder: &Path, is_encoder: bool) -> Result<EmbedConfig> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        pooling_mode_cls_token: bool,
        #[serde(default)]
        pooling_mode_mean_tokens: bool,
        #[serde(default)]
        pooling_mode_lasttoken: bool,
    }
    let usual = if is_encoder { Pooling::Mean } else { Pooling::Last };
    let path = folder.join("1_Pooling/config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        // A GGUF file has nothing beside it.
        Err(_) if !path.exists() => {
            return Ok(EmbedConfig { pooling: usual, normalize: true });
        }
        Err(source) => return Err(Error::Read { path, source }),
    };
    let file: File = serde_json::from_str(&text).map_err(|source| Error::Json { path, source })?;
    let pooling = match file {
        File { pooling_mode_mean_tokens: true, .. } => Pooling::Mean,
        File { pooling_mode_cls_token: true, .. } => Pooling::Cls,
        File { pooling_mode_lasttoken: true, .. } => Pooling::Last,
        _ => return Err(Error::Unsupported { what: "pool as its 1_Pooling/config.json says" }),
    };
    let modules = std::fs::read_to_string(folder.join("modules.json")).unwrap_or_default();
    Ok(EmbedConfig { pooling, normalize: modules.contains(".Normalize") })
}
