//! Ids to hidden states to logits on libtorch: GPT, BERT, generation, weights in and out.

mod config;
mod error;
mod generation;
mod inputs;
mod model;
mod parameter;

pub use config::{BertConfig, GptConfig, Mlp, ModelConfig, Norm, Positions};
pub use error::{Error, Result};
pub use generation::{
    Allowed, FinishReason, Generated, GeneratedToken, GenerationConfig, OnToken, TokenMask,
};
pub use inputs::Inputs;
pub use model::{BertForMaskedLm, Gpt, Model, Prediction};
pub use parameter::{Parameter, ParameterKind};
pub use tch;
