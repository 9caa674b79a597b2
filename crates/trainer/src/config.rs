//! What a run file's `[trainer]` section may say. Checked, and turned into what runs, by [`TrainerConfig::plan`].

use crate::best::BestBy;
use crate::schedule::ScheduleKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The section `[trainer]` of a run file. Every key has a default but the length: give `steps` or `epochs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerConfig {
    /// Optimizer steps in all.
    pub steps: Option<u64>,
    /// Passes over the training samples, in place of `steps`; the steps are rounded up.
    pub epochs: Option<f64>,
    /// Rows of one forward and backward pass; the whole global batch if not given.
    pub micro_batch_size: Option<usize>,
    /// Rows of one optimizer step; [`DEFAULT_GLOBAL_BATCH_SIZE`] if neither this nor the tokens are given.
    pub global_batch_size: Option<usize>,
    /// Tokens of one optimizer step, a multiple of the row length, in place of `global_batch_size`.
    pub global_batch_tokens: Option<usize>,
    /// The peak rate of AdamW's parameters (with Muon: of embeddings and vectors).
    pub learning_rate: f64,
    /// The rate the schedule ends at; Muon's rate falls by the same share.
    pub min_learning_rate: f64,
    /// Peak rate of the embeddings and the output head; `learning_rate` if not given.
    pub embedding_learning_rate: Option<f64>,
    /// Peak rate of the output head where it is a matrix of its own; that of the embeddings if not given.
    pub head_learning_rate: Option<f64>,
    /// Steps over which the rate climbs to its peak.
    pub warmup_steps: u64,
    /// How the rate falls after the warmup.
    pub schedule: ScheduleKind,
    /// Steps of the final fall, for `schedule = "wsd"` only; a fifth of all steps if not given.
    pub decay_steps: Option<u64>,
    /// The optimizer and its constants.
    pub optimizer: OptimizerConfig,
    /// Longest allowed gradient (its norm over all parameters); 0 turns clipping off.
    pub clip_norm: f64,
    /// The number format of the matrix products; weights and optimizer state stay f32.
    pub dtype: Dtype,
    /// The seed of the order of samples and of dropout.
    pub seed: u64,
    /// Steps between evaluations on the validation samples; only after the last step if not given.
    pub validate_every: Option<u64>,
    /// Micro-batches of an evaluation, drawn once and then always the same; all if not given.
    pub validation_batches: Option<u64>,
    /// Steps between checkpoints, besides those at a stop and after the last step; 500 if not given.
    pub checkpoint_every: Option<u64>,
    /// Newest checkpoints that are kept (at least 1).
    pub keep_last: usize,
    /// Checkpoints with the best evaluations (the lowest loss, or as `best_by` says) that are kept besides.
    pub keep_best: usize,
    /// What makes an evaluation the best. When given, its checkpoint is made at once, and `model/` is that one's and not
    /// the last step's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_by: Option<BestBy>,
    /// Evaluations in a row without a better one after which the run ends early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// What the loss of a row counts, by its class, for a model that classifies; the loss of a step is then the mean with
    /// these weights. 1 each if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<Vec<f64>>,
    /// When a step counts as a spike and is skipped: `{ window = 128, sigma = 6 }` or `"off"`.
    pub spike: Spike,
    /// Steps in a row whose loss or gradient may be infinite or not a number (each is skipped) before the run ends in an error.
    pub max_non_finite: u64,
    /// Steps between reports (lines of `metrics.jsonl`, TensorBoard points, events).
    pub log_every: u64,
    /// libtorch's threads; left as they are if not given.
    pub threads: Option<usize>,
    /// Only algorithms that give the same result each time (matters on CUDA).
    pub deterministic: bool,
    /// Go on from the newest whole checkpoint of the run folder; otherwise what is there is set aside.
    pub resume: bool,
}

/// Rows of one optimizer step when the run file says nothing.
pub const DEFAULT_GLOBAL_BATCH_SIZE: usize = 32;

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            steps: None,
            epochs: None,
            micro_batch_size: None,
            global_batch_size: None,
            global_batch_tokens: None,
            learning_rate: 1e-3,
            min_learning_rate: 0.0,
            embedding_learning_rate: None,
            head_learning_rate: None,
            warmup_steps: 0,
            schedule: ScheduleKind::Cosine,
            decay_steps: None,
            optimizer: OptimizerConfig::default(),
            clip_norm: 1.0,
            dtype: Dtype::F32,
            seed: 0,
            validate_every: None,
            validation_batches: None,
            checkpoint_every: Some(500),
            keep_last: 2,
            keep_best: 1,
            best_by: None,
            patience: None,
            class_weights: None,
            spike: Spike::default(),
            max_non_finite: 5,
            log_every: 10,
            threads: None,
            deterministic: false,
            resume: true,
        }
    }
}

/// The number format of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats throughout.
    F32,
    /// bfloat16 by autocast, over f32 weights.
    Bf16,
}

/// The optimizer of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// AdamW for every parameter.
    Adamw(AdamwConfig),
    /// Muon for the hidden matrices, AdamW for the rest.
    Muon(MuonConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adamw(AdamwConfig::default())
    }
}

impl OptimizerConfig {
    /// AdamW's constants: of all parameters, or of those that Muon leaves.
    pub fn adamw(&self) -> AdamwConfig {
        match self {
            Self::Adamw(config) => *config,
            Self::Muon(muon) => AdamwConfig {
                beta1: muon.beta1,
                beta2: muon.beta2,
                epsilon: muon.epsilon,
                weight_decay: muon.adamw_weight_decay,
            },
        }
    }
}

/// AdamW's constants (Loshchilov and Hutter 2019). As in GPT-3 and nanoGPT, tensors of two dimensions
/// (matrices, embeddings, the head) decay; vectors (norms, biases) do not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamwConfig {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Decoupled weight decay, times the rate.
    pub weight_decay: f64,
}

impl Default for AdamwConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 }
    }
}

/// Muon's constants (Jordan et al. 2024) for hidden matrices, and AdamW's for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonConfig {
    /// Peak rate of the hidden matrices.
    pub learning_rate: f64,
    /// Decay of the momentum.
    pub momentum: f64,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
    /// Decoupled weight decay of the hidden matrices, times the rate.
    pub weight_decay: f64,
    /// Newton-Schulz iterations.
    pub newton_schulz_steps: u32,
    /// The number format of these iterations: bf16 is faster where the processor multiplies it in hardware.
    pub newton_schulz_dtype: Dtype,
    /// AdamW's decay of the mean of gradients.
    pub beta1: f64,
    /// AdamW's decay of the mean of squared gradients.
    pub beta2: f64,
    /// AdamW's addition to the denominator.
    pub epsilon: f64,
    /// AdamW's weight decay, for embeddings and the head.
    pub adamw_weight_decay: f64,
}

impl Default for MuonConfig {
    fn default() -> Self {
        Self {
            learning_rate: 0.02,
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.0,
            newton_schulz_steps: 5,
            newton_schulz_dtype: Dtype::F32,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            adamw_weight_decay: 0.0,
        }
    }
}

/// When a step counts as a spike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spike {
    /// No step is skipped but those that are not finite.
    Off,
    /// Steps far above the last ones are skipped.
    On(SpikeConfig),
}

/// A step is a spike when its loss or its gradient's norm lies `sigma` standard deviations above the mean of the last `window` steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpikeConfig {
    /// Steps that are remembered; nothing is judged before half of them have been seen.
    pub window: usize,
    /// Standard deviations above the mean.
    pub sigma: f64,
}

impl Default for SpikeConfig {
    fn default() -> Self {
        Self { window: 128, sigma: 6.0 }
    }
}

impl Default for Spike {
    fn default() -> Self {
        Self::On(SpikeConfig::default())
    }
}

impl Serialize for Spike {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On(config) => config.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Spike {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpikeVisitor)
    }
}

// Written out, not `untagged`, so that a mistyped key is named.
struct SpikeVisitor;

impl<'de> de::Visitor<'de> for SpikeVisitor {
    type Value = Spike;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("\"off\" or { window = 128, sigma = 6 }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Spike, E> {
        match text {
            "off" => Ok(Spike::Off),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Spike, A::Error> {
        SpikeConfig::deserialize(de::value::MapAccessDeserializer::new(map)).map(Spike::On)
    }
}
