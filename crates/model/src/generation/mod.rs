//! Ids in, more ids out: decoding with a key-value cache, sampling, scoring, filling in.

mod beam;
mod contrastive;
mod decode;
mod fill_mask;
mod lane;
mod penalties;
mod sample;
mod score;
mod sequences;
mod speculate;

pub use beam::{Beam, BeamConfig};
pub use contrastive::ContrastiveConfig;
pub use fill_mask::Prediction;
pub use speculate::Draft;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// How to choose the next id. The default is greedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationConfig {
    /// Stop after so many ids.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest id; larger is more varied.
    pub temperature: f64,
    /// Draw from the k likeliest ids.
    pub top_k: Option<usize>,
    /// Draw from the smallest set of likeliest ids that holds this share of the probability.
    pub top_p: Option<f64>,
    /// Draw from the ids that have at least this share of the likeliest one's probability.
    pub min_p: Option<f64>,
    /// Draw from the most typical ids that hold this share of the probability (Meister et al. 2023).
    pub typical_p: Option<f64>,
    /// Above 1, ids of prompt and answer become less likely (Keskar et al. 2019); 1 is off.
    pub repetition_penalty: f64,
    /// Taken from a logit for each time its id was generated.
    pub frequency_penalty: f64,
    /// Taken from a logit once its id was generated.
    pub presence_penalty: f64,
    /// No n-gram of this length comes twice, prompt included.
    pub no_repeat_ngram: Option<usize>,
    /// Added to the logits of ids.
    pub logit_bias: BTreeMap<u32, f64>,
    /// A draw depends on this, the sequence's number and the position alone.
    pub seed: u64,
    /// Generation ends with any of these; the id itself is part of the answer.
    pub stop_ids: Vec<u32>,
    /// What happens when the model's context is full.
    pub overflow: Overflow,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            min_p: None,
            typical_p: None,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            no_repeat_ngram: None,
            logit_bias: BTreeMap::new(),
            seed: 0,
            stop_ids: Vec::new(),
            overflow: Overflow::Stop,
        }
    }
}

/// What happens when a sequence no longer fits the model's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Generation ends with [`FinishReason::Length`]; a prompt that is longer than the context is an error.
    Stop,
    /// The model goes on with the first `sinks` ids and the newest ones, half a context in all.
    /// [`Generated::cut`] tells how many ids it no longer sees.
    Slide {
        /// The first ids, which are never cut: attention leans on them.
        sinks: usize,
    },
}

/// A prompt among others.
#[derive(Default)]
pub struct Prompt<'a> {
    /// Its ids.
    pub ids: &'a [u32],
    /// What may follow.
    pub mask: Option<&'a mut dyn TokenMask>,
    /// Draws depend on it: prompts of one number and seed draw alike.
    pub number: u64,
}

/// What a grammar or another constraint allows next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every id.
    All,
    /// Only these.
    Only(Vec<u32>),
    /// Nothing more: the text is complete.
    End,
}

/// Restricts what may come next.
pub trait TokenMask {
    /// What may follow `generated`, the ids chosen so far (without the prompt).
    fn allowed(&mut self, generated: &[u32]) -> Allowed;
}

/// One id as it is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratedToken {
    /// The id.
    pub id: u32,
    /// Its natural log-probability under the model, before temperature, cuts and masks.
    pub log_probability: f32,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// A stop id, or the mask said the text is complete.
    Stop,
    /// `max_new_tokens` reached, or the model's context is full.
    #[default]
    Length,
    /// The callback broke off.
    Cancelled,
}

/// What was generated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// The new ids, without the prompt.
    pub ids: Vec<u32>,
    /// The natural log-probability of each.
    pub log_probabilities: Vec<f32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// How many ids of prompt and answer the model no longer saw at the end, where the context slid.
    pub cut: usize,
}

/// Receives each id; `Break` ends the generation.
pub type OnToken<'a> = dyn FnMut(GeneratedToken) -> ControlFlow<()> + 'a;

/// Receives each id with the index of its prompt; `Break` ends that one.
pub type OnTokenOf<'a> = dyn FnMut(usize, GeneratedToken) -> ControlFlow<()> + 'a;
