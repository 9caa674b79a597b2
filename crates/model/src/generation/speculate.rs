//! The ids of a sequence in, cheap guesses at those that follow out: by a smaller model, or by what came after the same ids before.

use super::sample::likeliest;
use super::sequences::{NextLogits, Sequences};
use crate::{Error, Model, Result};

/// Where guesses come from.
#[derive(Clone, Copy, Debug)]
pub enum Draft<'a> {
    /// A smaller model with the same vocabulary, which guesses greedily.
    Model {
        /// The model.
        model: &'a Model,
        /// How many ids it guesses at once.
        ids: usize,
    },
    /// The ids that followed when the last `ngram` ids came before (Saxena 2023, prompt lookup decoding).
    Lookup {
        /// How many ids must agree.
        ngram: usize,
        /// How many ids are guessed at once.
        ids: usize,
    },
}

/// A draft at work.
pub(super) struct Guesses<'a> {
    draft: Draft<'a>,
    /// Of the smaller model: its state and the ids it has read.
    reader: Option<(Sequences<'a>, Vec<u32>)>,
}

impl<'a> Guesses<'a> {
    pub(super) fn new(draft: Draft<'a>, vocab_size: usize) -> Result<Self> {
        let refuse = |key, problem: String| Err(Error::Config { key, problem });
        if let Draft::Model { model, .. } = draft {
            let own = model.decoder("draft")?.config().vocab_size;
            if own != vocab_size {
                let problem = format!("has {own} ids, the model has {vocab_size}");
                return refuse("draft", problem);
            }
        }
        match draft {
            Draft::Model { ids: 0, .. } | Draft::Lookup { ids: 0, .. } => {
                refuse("draft.ids", "is 0, must be at least 1".into())
            }
            Draft::Lookup { ngram: 0, .. } => {
                refuse("draft.ngram", "is 0, must be at least 1".into())
            }
            _ => Ok(Self { draft, reader: None }),
        }
    }

    /// The most ids it guesses at once.
    pub(super) fn most(&self) -> usize {
        match self.draft {
            Draft::Model { ids, .. } | Draft::Lookup { ids, .. } => ids,
        }
    }

    /// At most `most` ids that may follow `ids`.
    pub(super) fn after(&mut self, ids: &[u32], most: usize) -> Result<Vec<u32>> {
        match self.draft {
            Draft::Lookup { ngram, .. } => Ok(looked_up(ids, ngram, most)),
            Draft::Model { model, .. } => self.by_model(model, ids, most),
        }
    }

    fn by_model(&mut self, model: &'a Model, ids: &[u32], most: usize) -> Result<Vec<u32>> {
        let gpt = model.decoder("draft")?;
        // What does not fit its context, it has no guess for.
        let most = most.min(gpt.config().context_length.saturating_sub(ids.len()));
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut next = self.read(model, ids)?;
        let mut guesses = Vec::with_capacity(most);
        while let Some(id) = next.as_ref().and_then(|next| likeliest(&next.logits, None)) {
            guesses.push(id);
            if guesses.len() == most {
                break;
            }
            let Some((sequences, read)) = &mut self.reader else { break };
            read.push(id);
            next = sequences.extend(&[id])?.pop();
        }
        Ok(guesses)
    }

    /// The model reads what it has not read of `ids`, and forgets what it guessed wrong.
    fn read(&mut self, model: &'a Model, ids: &[u32]) -> Result<Option<NextLogits>> {
        let gpt = model.decoder("draft")?;
        let Some((sequences, read)) = &mut self.reader else {
            let room = gpt.config().context_length - ids.len();
            let (sequences, mut steps) = Sequences::begin(gpt, &[ids], room)?;
            self.reader = Some((sequences, ids.to_vec()));
            return Ok(steps.pop().and_then(|mut step| step.next.pop()));
        };
        let same = read.iter().zip(ids).take_while(|(a, b)| a == b).count();
        let kept = same.min(ids.len() - 1); // What follows the last id is wanted.
        sequences.cut(kept);
        *read = ids.to_vec();
        Ok(sequences.extend(&ids[kept..])?.pop())
    }
}

/// What followed the last `ngram` ids where they came last.
fn looked_up(ids: &[u32], ngram: usize, most: usize) -> Vec<u32> {
    let Some(start) = ids.len().checked_sub(ngram) else { return Vec::new() };
    let end = &ids[start..];
    let earlier = ids[..ids.len() - 1].windows(ngram).rposition(|gram| gram == end);
    earlier.map_or_else(Vec::new, |at| ids[at + ngram..].iter().copied().take(most).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_before_is_guessed() {
        let check = |ids: &[u32], ngram, most, expected: &[u32]| {
            assert_eq!(looked_up(ids, ngram, most), expected, "{ids:?}");
        };
        check(&[1, 2, 3, 4, 1, 2], 2, 3, &[3, 4, 1]);
        check(&[1, 2, 3, 1, 2, 4, 1, 2], 2, 1, &[4]);
        check(&[1, 1, 1], 1, 2, &[1]);
        check(&[1, 2, 3], 1, 2, &[]);
        check(&[1], 2, 2, &[]);
        check(&[], 1, 2, &[]);
    }
}
