//! The section `[samples]`, how token shards are cut into rows: shards in, samples of the model's kind out.

use std::sync::Arc;

use anyhow::{Context, Result};
use idiolect_dataset::{
    CausalConfig, CausalSamples, MaskVocab, MaskedConfig, MaskedSamples, Samples, ShardSet,
};
use idiolect_tokenizer::Tokenizer;
use serde::Serialize;

/// How token shards are cut into rows. Which of the two a section is, the type of the model says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SamplesConfig {
    /// A GPT learns to predict what follows.
    Causal(CausalConfig),
    /// A BERT learns to predict what is masked.
    Masked(MaskedConfig),
}

/// Which documents samples are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those to learn from.
    Train,
    /// Those held out: nothing is drawn anew, and nothing is left out.
    Validation,
}

impl SamplesConfig {
    /// Tokens a row.
    pub fn context_length(&self) -> usize {
        match self {
            Self::Causal(config) => config.context_length,
            Self::Masked(config) => config.context_length,
        }
    }

    /// Refuses what cannot be carried out, naming the key. (Of windows only the length can be wrong.)
    pub fn validate(&self) -> idiolect_dataset::Result<()> {
        match self {
            Self::Causal(_) => Ok(()),
            Self::Masked(config) => config.validate(),
        }
    }

    /// Samples over token shards.
    pub fn over(
        &self,
        shards: ShardSet,
        tokenizer: &Tokenizer,
        side: Side,
    ) -> Result<Box<dyn Samples>> {
        let shards = Arc::new(shards);
        let what = match side {
            Side::Train => "cannot cut the training documents into samples",
            Side::Validation => "cannot cut the validation documents into samples",
        };
        let training = side == Side::Train;
        Ok(match self.clone() {
            Self::Causal(config) => {
                let config = if training { config } else { config.for_validation() };
                Box::new(CausalSamples::new(shards, config).context(what)?)
            }
            Self::Masked(config) => {
                let config = if training { config } else { config.for_validation() };
                let vocab = MaskVocab::new(tokenizer)?;
                Box::new(MaskedSamples::new(shards, vocab, config).context(what)?)
            }
        })
    }
}
