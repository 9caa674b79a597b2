//! Several sequences over one model: ids that follow in, what may come next out; their keys and values stay here.

use super::penalties::{self, History};
use super::sample::{self, Draw};
use super::{Allowed, GeneratedToken, GenerationConfig};
use crate::Result;
use crate::gpt::{Cache, Gpt};
use crate::model::NO_GPT_HEAD;
use idiolect_torch::TorchError;
use tch::{Device, Kind, Tensor};

/// Ids of a prompt that go through the model at once.
const CHUNK: usize = 512;

/// Sequences side by side, each as long as it is.
pub(super) struct Sequences<'a> {
    gpt: &'a Gpt,
    device: Device,
    caches: Vec<Cache>,
}

/// The logits after the last id of a sequence, in f32; the id of the largest, and the logarithm of the sum of their
/// exponentials, found in one visit.
#[derive(Clone, Debug)]
pub(super) struct NextLogits {
    pub(super) logits: Vec<f32>,
    likeliest: u32,
    log_sum: f64,
}

/// What a step gives.
pub(super) struct Step {
    /// For each sequence, what may come next.
    pub(super) next: Vec<NextLogits>,
    /// The hidden states of the ids given, `[B, T, D]`.
    pub(super) hidden: Tensor,
}

impl<'a> Sequences<'a> {
    /// Reads the prompts, none of them empty, with room for `room` ids after each.
    pub(super) fn begin(
        gpt: &'a Gpt,
        prompts: &[&[u32]],
        room: usize,
    ) -> Result<(Self, Vec<Step>)> {
        let device = gpt.parameters()[0].tensor.device();
        let mut sequences = Self { gpt, device, caches: Vec::with_capacity(prompts.len()) };
        let mut steps = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let mut cache = gpt.cache((prompt.len() + room) as i64);
            steps.push(sequences.read(prompt, &mut cache)?);
            sequences.caches.push(cache);
        }
        Ok((sequences, steps))
    }

    /// Each goes on by one id.
    pub(super) fn step(&mut self, ids: &[u32]) -> Result<Step> {
        let ids = tensor(ids, self.device).transpose(0, 1); // [B, 1]
        let hidden = self.gpt.hidden_states_side_by_side(&ids, &mut self.caches)?; // [B, 1, D]
        Ok(Step { next: next(self.gpt, &hidden.select(1, 0))?, hidden })
    }

    /// The first goes on by several ids: what may come after each of them.
    pub(super) fn extend(&mut self, ids: &[u32]) -> Result<Vec<NextLogits>> {
        let hidden =
            self.gpt.hidden_states_cached(&tensor(ids, self.device), &mut self.caches[0])?;
        next(self.gpt, &hidden.squeeze_dim(0))
    }

    /// The first forgets all but its first `length` ids.
    pub(super) fn cut(&mut self, length: usize) {
        self.caches[0].cut(length as i64);
    }

    /// One of them becomes the sequence of these ids, none where there are none.
    pub(super) fn restart(&mut self, row: usize, ids: &[u32]) -> Result<()> {
        self.caches[row].cut(0);
        for ids in ids.chunks(CHUNK) {
            let ids = tensor(ids, self.device);
            drop(self.gpt.hidden_states_cached(&ids, &mut self.caches[row])?);
        }
        Ok(())
    }

    /// The sequences become copies of those at `rows`.
    pub(super) fn keep(&mut self, rows: &[usize]) {
        self.caches = rows.iter().map(|&row| self.caches[row].copy()).collect();
    }

    /// Fills a cache chunk by chunk; the hidden states are those of the whole prompt.
    fn read(&self, prompt: &[u32], cache: &mut Cache) -> Result<Step> {
        let chunks = prompt
            .chunks(CHUNK)
            .map(|ids| self.gpt.hidden_states_cached(&tensor(ids, self.device), cache));
        let hidden = Tensor::cat(&chunks.collect::<Result<Vec<_>>>()?, 1); // [1, T, D]
        Ok(Step { next: next(self.gpt, &hidden.select(1, -1))?, hidden })
    }
}

/// One row of ids, `[1, T]`.
fn tensor(ids: &[u32], device: Device) -> Tensor {
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    Tensor::from_slice(&ids).unsqueeze(0).to_device(device)
}

/// Hidden states `[N, D]` to what may come next.
fn next(gpt: &Gpt, hidden: &Tensor) -> Result<Vec<NextLogits>> {
    let logits = gpt.head(hidden).unwrap_or(Err(NO_GPT_HEAD))?.to_kind(Kind::Float); // [N, V]
    let row = |(row, (likeliest, log_sum))| {
        let logits = Vec::<f32>::try_from(logits.get(row)).map_err(TorchError::from)?;
        Ok(NextLogits { logits, likeliest: likeliest as u32, log_sum })
    };
    (0..).zip(idiolect_torch::largest(&logits)?).map(row).collect()
}

impl NextLogits {
    /// The natural log-probability of an id.
    pub(super) fn log_probability(&self, id: u32) -> f64 {
        f64::from(self.logits[id as usize]) - self.log_sum
    }

    /// The next id with its log-probability before penalties, temperature and cuts.
    pub(super) fn choose(
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
        let changed = self.changed(history, config);
        let id = match (&changed, candidates) {
            (None, None) if config.temperature == 0.0 => self.likeliest,
            _ => {
                sample::choose(changed.as_ref().unwrap_or(&self.logits), candidates, config, draw)?
            }
        };
        Some(GeneratedToken { id, log_probability: self.log_probability(id) as f32 })
    }

    /// The logits after bias and penalties, where there are any.
    pub(super) fn changed(&self, history: &History, config: &GenerationConfig) -> Option<Vec<f32>> {
        (!penalties::are_off(config)).then(|| {
            let mut logits = self.logits.clone();
            penalties::apply(&mut logits, history, config);
            logits
        })
    }
}
