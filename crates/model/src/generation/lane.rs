//! One sequence on its way: what may come next in, the id chosen out, until something ends it.

use super::penalties::History;
use super::sample::Draw;
use super::sequences::NextLogits;
use super::{
    Allowed, FinishReason, Generated, GenerationConfig, OnToken, Overflow, Prompt, TokenMask,
};

/// A sequence that is being continued.
pub(super) struct Lane<'a> {
    /// Which of the prompts it is.
    pub(super) index: usize,
    number: u64,
    mask: Option<&'a mut dyn TokenMask>,
    history: History,
    /// What the model sees of it: all, or what sliding left.
    seen: Vec<u32>,
    /// The most ids to come.
    most: usize,
    context: usize,
    cut: usize,
    log_probabilities: Vec<f32>,
    finish_reason: FinishReason,
}

impl<'a> Lane<'a> {
    pub(super) fn new(
        index: usize,
        prompt: Prompt<'a>,
        config: &GenerationConfig,
        context: usize,
    ) -> Self {
        let length = prompt.ids.len();
        let (seen, most) = match config.overflow {
            // An id at the last position still has a successor, which then needs no position itself.
            Overflow::Stop => (
                prompt.ids.to_vec(),
                config.max_new_tokens.min((context + 1).saturating_sub(length)),
            ),
            Overflow::Slide { sinks } if length > context => {
                (slid(prompt.ids, sinks, context), config.max_new_tokens)
            }
            Overflow::Slide { .. } => (prompt.ids.to_vec(), config.max_new_tokens),
        };
        Self {
            index,
            number: prompt.number,
            mask: prompt.mask,
            history: History::new(prompt.ids),
            cut: length - seen.len(),
            seen,
            most,
            context,
            log_probabilities: Vec::new(),
            finish_reason: FinishReason::Length,
        }
    }

    /// The ids that the model is to have read, the last one chosen among them.
    pub(super) fn seen(&self) -> &[u32] {
        &self.seen
    }

    /// How many more positions it may need.
    pub(super) fn room(&self) -> usize {
        self.most.min(self.context - self.seen.len().min(self.context))
    }

    /// Chooses the next id; nothing where the sequence ends, with the id that ends it or without.
    pub(super) fn advance(
        &mut self,
        next: &NextLogits,
        config: &GenerationConfig,
        on_token: &mut OnToken<'_>,
    ) -> Option<u32> {
        if self.log_probabilities.len() == self.most {
            return None;
        }
        let generated = self.history.generated();
        let allowed = self.mask.as_mut().map_or(Allowed::All, |mask| mask.allowed(generated));
        let draw = Draw { sequence: self.number, position: self.history.ids().len() as u64 };
        let Some(token) = next.choose(&self.history, &allowed, config, draw) else {
            self.finish_reason = FinishReason::Stop;
            return None;
        };
        self.history.push(token.id);
        self.seen.push(token.id);
        self.log_probabilities.push(token.log_probability);
        if on_token(token).is_break() {
            self.finish_reason = FinishReason::Cancelled;
            return None;
        }
        if config.stop_ids.contains(&token.id) {
            self.finish_reason = FinishReason::Stop;
            return None;
        }
        (self.log_probabilities.len() < self.most).then_some(token.id)
    }

    /// Where the last id no longer fits the context: what the model is to see from now on.
    pub(super) fn slide(&mut self, config: &GenerationConfig) -> Option<&[u32]> {
        let Overflow::Slide { sinks } = config.overflow else { return None };
        if self.seen.len() <= self.context {
            return None;
        }
        let before = self.seen.len();
        self.seen = slid(&self.seen, sinks, self.context);
        self.cut += before - self.seen.len();
        Some(&self.seen)
    }

    /// What became of it.
    pub(super) fn end(self) -> Generated {
        Generated {
            ids: self.history.generated().to_vec(),
            log_probabilities: self.log_probabilities,
            finish_reason: self.finish_reason,
            cut: self.cut,
        }
    }
}

/// The first `sinks` ids and the newest, half a context in all, so that it is rarely done (Xiao et al. 2024,
/// StreamingLLM, section 3.2; the kept ids are read anew, at the positions they now have).
fn slid(ids: &[u32], sinks: usize, context: usize) -> Vec<u32> {
    let newest = (context / 2).max(sinks + 1) - sinks;
    [&ids[..sinks], &ids[ids.len() - newest..]].concat()
}
