//! Ids to hidden states to logits on libtorch: decoders, encoders, generation, weights in and out.
//!
//! ```text
//! ModelConfig ──validate──> Model::new(seed) ──┐            ┌─> logits [B, T, V]
//! config.json + model.safetensors ──load──> Model ──Inputs──┼─> loss, the sum in nats ──backward──> Parameter.tensor.grad()
//!                                    <──save──┘             └─> generate, score, fill_mask (ids in, ids out)
//! ```
//!
//! What is saved opens in Transformers unchanged, as one of the families that `families` lists: GPT-2, Llama,
//! Gemma, BERT and others.
//!
//! ```
//! use idiolect_model::tch::{Device, Tensor};
//! use idiolect_model::{GenerationConfig, GptConfig, Inputs, Model, ModelConfig};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> idiolect_model::Result<()> {
//! let config = GptConfig { vocab_size: 65, hidden_size: 32, n_layers: 2, ..GptConfig::tiny() };
//! let model = Model::new(&ModelConfig::Gpt(config), 1, Device::Cpu)?;
//!
//! let ids = Tensor::from_slice(&[3i64, 1, 4, 1, 5]).unsqueeze(0);
//! let labels = Tensor::from_slice(&[1i64, 4, 1, 5, -100]).unsqueeze(0); // -100: no loss here
//! let loss = model.loss(&Inputs::new(ids), &labels)?;
//! assert!((loss.double_value(&[]) / 4.0 - 65f64.ln()).abs() < 0.1); // it knows nothing yet
//! loss.backward();
//! assert!(model.parameters().iter().all(|parameter| parameter.tensor.grad().defined()));
//!
//! let greedy = GenerationConfig { max_new_tokens: 8, ..GenerationConfig::default() };
//! let answer = model.generate(&[3, 1, 4], &greedy, None, &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(answer.ids.len(), 8);
//! # Ok(())
//! # }
//! ```

mod bert;
mod config;
mod error;
mod families;
mod fine_tune;
mod generation;
mod gguf;
mod gpt;
mod init;
mod inputs;
mod layers;
mod model;
mod packing;
mod parameter;
mod weights;

pub use bert::Bert;
pub use config::{
    BertConfig, GptConfig, LayerType, Mlp, ModelConfig, Norm, Pooling, Positions, RopeScaling, Yarn,
};
pub use error::{Error, Result};
pub use fine_tune::FineTune;
pub use generation::{
    Allowed, Beam, BeamConfig, ContrastiveConfig, Draft, FinishReason, Generated, GeneratedToken,
    GenerationConfig, OnToken, OnTokenOf, Overflow, Prediction, Prompt, TokenMask,
};
pub use gguf::{GGUF_TYPES, GgufSaved};
pub use gpt::Gpt;
pub use inputs::Inputs;
pub use model::Model;
pub use packing::Quantize;
pub use parameter::{Parameter, ParameterKind};
pub use tch;
