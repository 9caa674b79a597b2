//! Prompts in, their continuations out, id by id: one sequence, several side by side, or one with guesses ahead.

use super::lane::Lane;
use super::sample;
use super::sequences::Sequences;
use super::speculate::{Draft, Guesses};
use super::{Generated, GenerationConfig, OnToken, OnTokenOf, Prompt, TokenMask};
use crate::gpt::Gpt;
use crate::{Error, Inputs, Model, Result};
use idiolect_torch::NoGrad;
use tch::Tensor;

impl Model {
    /// Continues `prompt`. A decoder only. What happens when the model's context is full,
    /// [`GenerationConfig::overflow`] says.
    pub fn generate<'a>(
        &self,
        prompt: &'a [u32],
        config: &GenerationConfig,
        mask: Option<&'a mut dyn TokenMask>,
        on_token: &mut OnToken<'_>,
    ) -> Result<Generated> {
        let prompt = Prompt { ids: prompt, mask, number: 0 };
        let mut generated =
            self.generate_batch(vec![prompt], config, &mut |_, token| on_token(token))?;
        Ok(generated.pop().unwrap_or_default())
    }

    /// Continues several prompts of any lengths side by side; `on_token` is told which. Each becomes what it
    /// would become alone, but where two logits lie closer together than sums in another order differ.
    pub fn generate_batch(
        &self,
        prompts: Vec<Prompt<'_>>,
        config: &GenerationConfig,
        on_token: &mut OnTokenOf<'_>,
    ) -> Result<Vec<Generated>> {
        let gpt = self.decoder("generate")?;
        let lanes = self.lanes(gpt, prompts, config)?;
        let _guard = NoGrad::new();
        idiolect_torch::catch(|| side_by_side(gpt, lanes, config, on_token))?
    }

    /// Continues `prompt` as [`Model::generate`] would, in fewer runs of the model: a cheaper guess at what
    /// follows is checked in one run (Leviathan et al. 2023, with draws that depend on seed and position alone,
    /// so that the answer stays the same).
    pub fn generate_with_draft(
        &self,
        prompt: Prompt<'_>,
        config: &GenerationConfig,
        draft: Draft<'_>,
        on_token: &mut OnToken<'_>,
    ) -> Result<Generated> {
        let gpt = self.decoder("generate")?;
        let mut guesses = Guesses::new(draft, gpt.config().vocab_size)?;
        let lane = self.lanes(gpt, vec![prompt], config)?.remove(0);
        let _guard = NoGrad::new();
        idiolect_torch::catch(|| with_guesses(gpt, lane, config, &mut guesses, on_token))?
    }

    /// Checks settings and prompts.
    fn lanes<'a>(
        &self,
        gpt: &Gpt,
        prompts: Vec<Prompt<'a>>,
        config: &GenerationConfig,
    ) -> Result<Vec<Lane<'a>>> {
        let context = gpt.config().context_length;
        sample::check(config, context)?;
        let lanes = prompts.into_iter().enumerate().map(|(index, prompt)| {
            let lane = Lane::new(index, prompt, config, context);
            drop(self.row(lane.seen())?);
            Ok(lane)
        });
        lanes.collect()
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

fn side_by_side(
    gpt: &Gpt,
    mut lanes: Vec<Lane<'_>>,
    config: &GenerationConfig,
    on_token: &mut OnTokenOf<'_>,
) -> Result<Vec<Generated>> {
    let mut done: Vec<Generated> = lanes.iter().map(|_| Generated::default()).collect();
    let room = lanes.iter().map(Lane::room).max().unwrap_or(0);
    let prompts: Vec<&[u32]> = lanes.iter().map(Lane::seen).collect();
    let (mut sequences, steps) = Sequences::begin(gpt, &prompts, room)?;
    let mut next: Vec<_> = steps.into_iter().filter_map(|mut step| step.next.pop()).collect();
    loop {
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for (row, (lane, next)) in lanes.iter_mut().zip(&next).enumerate() {
            let index = lane.index;
            if let Some(id) = lane.advance(next, config, &mut |token| on_token(index, token)) {
                rows.push(row);
                ids.push(id);
            }
        }
        if rows.len() < lanes.len() {
            for (row, lane) in std::mem::take(&mut lanes).into_iter().enumerate() {
                match rows.contains(&row) {
                    true => lanes.push(lane),
                    false => {
                        let index = lane.index;
                        done[index] = lane.end();
                    }
                }
            }
            sequences.keep(&rows);
        }
        if lanes.is_empty() {
            return Ok(done);
        }
        for (row, lane) in lanes.iter_mut().enumerate() {
            if let Some(seen) = lane.slide(config) {
                sequences.restart(row, &seen[..seen.len() - 1])?;
            }
        }
        next = sequences.step(&ids)?.next;
    }
}

fn with_guesses(
    gpt: &Gpt,
    mut lane: Lane<'_>,
    config: &GenerationConfig,
    guesses: &mut Guesses<'_>,
    on_token: &mut OnToken<'_>,
) -> Result<Generated> {
    let room = lane.room() + guesses.most();
    let (mut sequences, steps) = Sequences::begin(gpt, &[lane.seen()], room)?;
    let mut after: Vec<_> = steps.into_iter().flat_map(|step| step.next).collect();
    let (mut guessed, mut at) = (Vec::new(), 0);
    while let Some(id) = lane.advance(&after[at], config, on_token) {
        if guessed.get(at) == Some(&id) {
            at += 1; // It was foreseen: what follows is known already.
            continue;
        }
        match lane.slide(config) {
            Some(seen) => sequences.restart(0, &seen[..seen.len() - 1])?,
            None => sequences.cut(lane.seen().len() - 1),
        }
        let most = guesses.most().min(gpt.config().context_length - lane.seen().len());
        guessed = guesses.after(lane.seen(), most)?;
        let fed: Vec<u32> = std::iter::once(id).chain(guessed.iter().copied()).collect();
        after = sequences.extend(&fed)?;
        at = 0;
    }
    Ok(lane.end())
}
