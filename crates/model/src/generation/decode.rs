//! Continues a prompt id by id.

use super::sample::{self, choose, log_sum_exp};
use super::{
    Allowed, FinishReason, Generated, GeneratedToken, GenerationConfig, OnToken, TokenMask,
};
use crate::gpt::{Cache, Gpt};
use crate::{Error, Inputs, Model, Result};
use idiolect_torch::NoGrad;
use tch::{Kind, Tensor};

impl Model {
    /// Continues `prompt`. A GPT only. Ends with [`FinishReason::Length`] when the model's context
    /// is full; a prompt that is longer than the context is an error.
    pub fn generate(
        &self,
        prompt: &[u32],
        config: &GenerationConfig,
        mask: Option<&mut dyn TokenMask>,
        on_token: &mut OnToken<'_>,
    ) -> Result<Generated> {
        let gpt = self.decoder("generate")?;
        sample::check(config)?;
        let _guard = NoGrad::new();
        idiolect_torch::catch(|| generate(gpt, self.row(prompt)?, config, mask, on_token))?
    }

    pub(super) fn decoder(&self, what: &'static str) -> Result<&Gpt> {
        match self {
            Self::Gpt(gpt) => Ok(gpt),
            Self::Bert(_) => Err(Error::Unsupported { model: "a BERT", what }),
        }
    }

    /// Checked ids as one row, `[1, T]`.
    pub(super) fn row(&self, ids: &[u32]) -> Result<Tensor> {
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let ids = Tensor::from_slice(&ids).unsqueeze(0).to_device(self.device());
        let inputs = Inputs::new(ids);
        inputs.check(&self.config())?;
        Ok(inputs.ids)
    }
}

fn generate(
    gpt: &Gpt,
    mut ids: Tensor,
    config: &GenerationConfig,
    mut mask: Option<&mut dyn TokenMask>,
    on_token: &mut OnToken<'_>,
) -> Result<Generated> {
    let start = ids.size()[1] as usize;
    // An id at the last position still has a successor, which then needs no position itself.
    let room = gpt.config().context_length + 1 - start;
    let count = config.max_new_tokens.min(room);
    let mut cache = gpt.cache((start + count) as i64);
    let mut generated = Generated {
        ids: Vec::with_capacity(count),
        log_probabilities: Vec::with_capacity(count),
        finish_reason: FinishReason::Length,
    };
    while generated.ids.len() < count {
        let logits = next_logits(gpt, &ids, &mut cache)?;
        let allowed = mask.as_mut().map_or(Allowed::All, |mask| mask.allowed(&generated.ids));
        let position = (start + generated.ids.len()) as u64;
        let chosen = match &allowed {
            Allowed::All => choose(&logits, None, config, position),
            Allowed::Only(ids) => choose(&logits, Some(ids), config, position),
            Allowed::End => None,
        };
        let Some(id) = chosen else {
            generated.finish_reason = FinishReason::Stop;
            break;
        };
        let log_probability = (f64::from(logits[id as usize]) - log_sum_exp(&logits)) as f32;
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
        ids = Tensor::from_slice(&[i64::from(id)]).unsqueeze(0).to_device(ids.device());
    }
    Ok(generated)
}

/// The logits after the last of `ids`, in f32.
fn next_logits(gpt: &Gpt, ids: &Tensor, cache: &mut Cache) -> Result<Vec<f32>> {
    let hidden = gpt.hidden_states_cached(ids, cache)?; // [1, T, D]
    let logits = gpt.head(&hidden.select(1, -1))?.squeeze_dim(0); // [V]
    let logits = Vec::<f32>::try_from(logits.to_kind(Kind::Float));
    Ok(logits.map_err(idiolect_torch::TorchError::from)?)
}
