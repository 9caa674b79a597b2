//! Continues a prompt id by id.

use super::penalties::{self, History};
use super::sample::{self, Draw, choose};
use super::{
    Allowed, FinishReason, Generated, GeneratedToken, GenerationConfig, OnToken, TokenMask,
};
use crate::gpt::{Cache, Gpt};
use crate::model::NO_GPT_HEAD;
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
        idiolect_torch::catch(|| generate(gpt, prompt, self.row(prompt)?, config, mask, on_token))?
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
    prompt: &[u32],
    mut ids: Tensor,
    config: &GenerationConfig,
    mut mask: Option<&mut dyn TokenMask>,
    on_token: &mut OnToken<'_>,
) -> Result<Generated> {
    // An id at the last position still has a successor, which then needs no position itself.
    let room = gpt.config().context_length + 1 - prompt.len();
    let count = config.max_new_tokens.min(room);
    let mut cache = gpt.cache((prompt.len() + count) as i64);
    let mut history = History::new(prompt);
    let mut log_probabilities = Vec::with_capacity(count);
    let mut finish_reason = FinishReason::Length;
    while log_probabilities.len() < count {
        let allowed = mask.as_mut().map_or(Allowed::All, |mask| mask.allowed(history.generated()));
        if allowed == Allowed::End {
            finish_reason = FinishReason::Stop;
            break;
        }
        let next = next_logits(gpt, &ids, &mut cache)?;
        let draw = Draw { sequence: 0, position: history.ids().len() as u64 };
        let Some(token) = next.choose(&history, &allowed, config, draw) else {
            finish_reason = FinishReason::Stop;
            break;
        };
        history.push(token.id);
        log_probabilities.push(token.log_probability);
        if on_token(token).is_break() {
            finish_reason = FinishReason::Cancelled;
            break;
        }
        if config.stop_ids.contains(&token.id) {
            finish_reason = FinishReason::Stop;
            break;
        }
        ids = Tensor::from_slice(&[i64::from(token.id)]).unsqueeze(0).to_device(ids.device());
    }
    Ok(Generated { ids: history.generated().to_vec(), log_probabilities, finish_reason })
}

/// The logits after the last id of a sequence, in f32, and the logarithm of the sum of their exponentials.
struct NextLogits {
    logits: Vec<f32>,
    log_sum: f64,
}

/// The logits after the last of `ids`.
fn next_logits(gpt: &Gpt, ids: &Tensor, cache: &mut Cache) -> Result<NextLogits> {
    let hidden = gpt.hidden_states_cached(ids, cache)?; // [1, T, D]
    let logits = gpt.head(&hidden.select(1, -1)).unwrap_or(Err(NO_GPT_HEAD))?.squeeze_dim(0).to_kind(Kind::Float); // [V]
    let log_sum = logits.logsumexp(&[0i64][..], false).double_value(&[]);
    let logits = Vec::<f32>::try_from(logits).map_err(idiolect_torch::TorchError::from)?;
    Ok(NextLogits { logits, log_sum })
}

impl NextLogits {
    /// The next id with its log-probability before penalties, temperature and cuts.
    fn choose(
        &self,
        history: &History,
        allowed: &Allowed,
        config: &GenerationConfig,
        draw: Draw,
    ) -> Option<GeneratedToken> {
        let candidates = match allowed {
            Allowed::All => None,
            Allowed::Only(ids) => Some(ids.as_slice()),
            Allowed::End => return None,
        };
        let changed = (!penalties::are_off(config)).then(|| {
            let mut logits = self.logits.clone();
            penalties::apply(&mut logits, history, config);
            logits
        });
        let id = choose(changed.as_ref().unwrap_or(&self.logits), candidates, config, draw)?;
        let log_probability = f64::from(self.logits[id as usize]) - self.log_sum;
        Some(GeneratedToken { id, log_probability: log_probability as f32 })
    }
}
