//! Contrastive search: a prompt in, a continuation out that is likely and unlike what is there (Su et al. 2022, section 3.2).

use super::sample::likeliest;
use super::sequences::{NextLogits, Sequences, Step};
use super::{FinishReason, Generated, GeneratedToken, OnToken};
use crate::gpt::Gpt;
use crate::{Error, Model, Result};
use idiolect_torch::{NoGrad, TorchError};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// How to search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastiveConfig {
    /// How many likeliest ids compete.
    pub top_k: usize,
    /// How much likeness to earlier hidden states weighs against probability, from 0 to 1.
    pub penalty_alpha: f64,
    /// The most ids to add.
    pub max_new_tokens: usize,
    /// Generation ends with any of these; the id itself is part of the answer.
    pub stop_ids: Vec<u32>,
}

impl Default for ContrastiveConfig {
    fn default() -> Self {
        Self { top_k: 4, penalty_alpha: 0.6, max_new_tokens: 128, stop_ids: Vec::new() }
    }
}

impl Model {
    /// Continues `prompt` by the ids that are likely and whose hidden states are unlike all before them. A
    /// decoder only; deterministic.
    pub fn contrastive_search(
        &self,
        prompt: &[u32],
        config: &ContrastiveConfig,
        on_token: &mut OnToken<'_>,
    ) -> Result<Generated> {
        let gpt = self.decoder("generate")?;
        let refuse = |key, problem: String| Err(Error::Config { key, problem });
        if config.top_k == 0 {
            return refuse("top_k", "is 0, must be at least 1".into());
        }
        if !(0.0..=1.0).contains(&config.penalty_alpha) {
            let problem = format!("is {}, must be from 0 to 1", config.penalty_alpha);
            return refuse("penalty_alpha", problem);
        }
        drop(self.row(prompt)?);
        let _guard = NoGrad::new();
        idiolect_torch::catch(|| search(gpt, prompt, config, on_token))?
    }
}

fn search(
    gpt: &Gpt,
    prompt: &[u32],
    config: &ContrastiveConfig,
    on_token: &mut OnToken<'_>,
) -> Result<Generated> {
    // Every id must be read to be judged, the last one too.
    let most = config.max_new_tokens.min(gpt.config().context_length - prompt.len());
    let (mut sequences, mut steps) = Sequences::begin(gpt, &[prompt], most)?;
    let mut generated = Generated::default();
    let Some(Step { mut next, hidden }) = steps.pop() else { return Ok(generated) };
    let mut seen = directions(&hidden.squeeze_dim(0)); // [T, D]
    while generated.ids.len() < most {
        let Some(now) = next.pop() else { break };
        let ids = candidates(&now, config.top_k);
        sequences.keep(&vec![0; ids.len()]);
        let step = sequences.step(&ids)?;
        let states = directions(&step.hidden.squeeze_dim(1)); // [k, D]
        let likeness = Vec::<f32>::try_from(states.matmul(&seen.tr()).amax(&[1i64][..], false))
            .map_err(TorchError::from)?;
        let value = |at: usize| {
            let probability = now.log_probability(ids[at]).exp();
            (1.0 - config.penalty_alpha) * probability
                - config.penalty_alpha * f64::from(likeness[at])
        };
        let values: Vec<f32> = (0..ids.len()).map(|at| value(at) as f32).collect();
        let Some(best) = likeliest(&values, None).map(|at| at as usize) else { break };
        let (id, log_probability) = (ids[best], now.log_probability(ids[best]) as f32);
        generated.ids.push(id);
        generated.log_probabilities.push(log_probability);
        if on_token(GeneratedToken { id, log_probability }).is_break() {
            generated.finish_reason = FinishReason::Cancelled;
            break;
        }
        if config.stop_ids.contains(&id) {
            generated.finish_reason = FinishReason::Stop;
            break;
        }
        sequences.keep(&[best]);
        seen = Tensor::cat(&[seen, states.narrow(0, best as i64, 1)], 0);
        next = step.next.into_iter().skip(best).take(1).collect();
    }
    Ok(generated)
}

/// Hidden states `[N, D]` of length 1, so that a product is a cosine.
fn directions(hidden: &Tensor) -> Tensor {
    let hidden = hidden.to_kind(Kind::Float);
    &hidden / hidden.norm_scalaropt_dim(2.0, &[-1i64][..], true)
}

/// The `count` likeliest ids, likeliest first.
fn candidates(next: &NextLogits, count: usize) -> Vec<u32> {
    let logits = &next.logits;
    let order =
        |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}
