//! A model of either kind behind one set of functions: inputs are checked here.

use crate::generation::{Generated, GenerationConfig, OnToken, TokenMask};
use crate::{Error, Inputs, ModelConfig, Parameter, Result};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A decoder.
#[derive(Debug)]
pub struct Gpt {}

/// An encoder with, where the weights have one, a head for masked ids.
#[derive(Debug)]
pub struct BertForMaskedLm {}

/// A model of either kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Model {
    /// A decoder.
    Gpt(Gpt),
    /// An encoder.
    Bert(BertForMaskedLm),
}

/// One candidate for a masked position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The id.
    pub id: u32,
    /// Its probability.
    pub probability: f32,
}

const NOT_YET: Error = Error::Unsupported { model: "skeleton", what: "run yet" };

#[allow(unused_variables)]
impl Model {
    /// A new model with its published initialisation, the same on every device.
    pub fn new(config: &ModelConfig, seed: u64, device: Device) -> Result<Self> {
        Err(NOT_YET)
    }

    /// Reads `config.json` and `model.safetensors` (or shards and an index) as Transformers writes
    /// them; `dtype` converts, `None` keeps the dtype of the file.
    pub fn load(dir: &Path, device: Device, dtype: Option<Kind>) -> Result<Self> {
        Err(NOT_YET)
    }

    /// Writes `config.json` and `model.safetensors` into `dir`, each atomically.
    pub fn save(&self, dir: &Path) -> Result<()> {
        Err(NOT_YET)
    }

    /// The learned tensors, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &[]
    }

    /// The configuration.
    pub fn config(&self) -> ModelConfig {
        ModelConfig::Gpt(crate::GptConfig::tiny())
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        Device::Cpu
    }

    /// Training mode: dropout is on.
    pub fn train(&mut self, on: bool) {}

    /// The last hidden states, `[B, T, D]`.
    pub fn hidden_states(&self, inputs: &Inputs) -> Result<Tensor> {
        Err(NOT_YET)
    }

    /// Logits, `[B, T, V]`.
    pub fn logits(&self, inputs: &Inputs) -> Result<Tensor> {
        Err(NOT_YET)
    }

    /// The sum of the losses in nats over labels other than -100, an f32 scalar with gradient.
    pub fn loss(&self, inputs: &Inputs, labels: &Tensor) -> Result<Tensor> {
        Err(NOT_YET)
    }

    /// Continues `prompt`. A GPT only.
    pub fn generate(
        &self,
        prompt: &[u32],
        config: &GenerationConfig,
        mask: Option<&mut dyn TokenMask>,
        on_token: &mut OnToken<'_>,
    ) -> Result<Generated> {
        Err(NOT_YET)
    }

    /// The natural log-probabilities of `ids[1..]`, each given all before it. A GPT only.
    pub fn score(&self, ids: &[u32]) -> Result<Vec<f32>> {
        Err(NOT_YET)
    }

    /// The `top_k` likeliest ids at each of `positions`, likeliest first. A BERT only.
    pub fn fill_mask(
        &self,
        ids: &[u32],
        positions: &[usize],
        top_k: usize,
    ) -> Result<Vec<Vec<Prediction>>> {
        Err(NOT_YET)
    }
}
