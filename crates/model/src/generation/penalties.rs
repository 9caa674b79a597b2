//! Logits before the cuts: what was said already, and what the caller favours or forbids, change them in place.

use super::GenerationConfig;
use std::collections::HashMap;

/// What the penalties must know of a sequence: its ids, and how often each was generated.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    ids: Vec<u32>,
    prompt: usize,
    generated: HashMap<u32, u32>,
}

impl History {
    /// A sequence that begins with a prompt.
    pub(super) fn new(prompt: &[u32]) -> Self {
        Self { ids: prompt.to_vec(), prompt: prompt.len(), generated: HashMap::new() }
    }

    /// The sequence goes on with `id`.
    pub(super) fn push(&mut self, id: u32) {
        self.ids.push(id);
        *self.generated.entry(id).or_default() += 1;
    }

    /// The ids generated so far.
    pub(super) fn generated(&self) -> &[u32] {
        &self.ids[self.prompt..]
    }

    /// Prompt and answer.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }
}

/// Whether logits stay as the model made them.
pub(super) fn are_off(config: &GenerationConfig) -> bool {
    config.logit_bias.is_empty()
        && config.repetition_penalty == 1.0
        && config.frequency_penalty == 0.0
        && config.presence_penalty == 0.0
        && config.no_repeat_ngram.is_none()
}

/// Applies bias, penalties and the ban on repeated n-grams, in this order.
pub(super) fn apply(logits: &mut [f32], history: &History, config: &GenerationConfig) {
    for (&id, &bias) in &config.logit_bias {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit += bias as f32;
        }
    }
    if config.repetition_penalty != 1.0 {
        repetition(logits, &history.ids, config.repetition_penalty as f32);
    }
    if config.frequency_penalty != 0.0 || config.presence_penalty != 0.0 {
        for (&id, &count) in &history.generated {
            if let Some(logit) = logits.get_mut(id as usize) {
                let penalty = config.frequency_penalty * f64::from(count) + config.presence_penalty;
                *logit -= penalty as f32;
            }
        }
    }
    if let Some(n) = config.no_repeat_ngram {
        for id in repeating(&history.ids, n) {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

/// Each id of prompt and answer once: positive logits are divided, negative ones multiplied (Keskar
/// et al. 2019, CTRL, section 4.1).
fn repetition(logits: &mut [f32], ids: &[u32], penalty: f32) {
    let mut seen = vec![false; logits.len()];
    for &id in ids {
        let id = id as usize;
        if seen.get(id) != Some(&false) {
            continue;
        }
        seen[id] = true;
        logits[id] = if logits[id] > 0.0 { logits[id] / penalty } else { logits[id] * penalty };
    }
}

/// The ids that would complete an n-gram which is there already (Paulus et al. 2018, section 2.5).
fn repeating(ids: &[u32], n: usize) -> Vec<u32> {
    if ids.len() < n {
        return Vec::new();
    }
    let end = &ids[ids.len() + 1 - n..];
    ids.windows(n).filter(|gram| gram[..n - 1] == *end).map(|gram| gram[n - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompt 0 1, answer 1 2, logits 1, -1, 2, 3.
    fn check(config: GenerationConfig, expected: [f32; 4]) {
        let mut history = History::new(&[0, 1]);
        history.push(1);
        history.push(2);
        let mut logits = [1.0, -1.0, 2.0, 3.0];
        apply(&mut logits, &history, &config);
        assert_eq!(logits, expected, "{config:?}");
    }

    #[test]
    fn each_changes_what_it_says() {
        let default = GenerationConfig::default;
        check(default(), [1.0, -1.0, 2.0, 3.0]);
        check(GenerationConfig { repetition_penalty: 2.0, ..default() }, [0.5, -2.0, 1.0, 3.0]);
        check(GenerationConfig { presence_penalty: 0.5, ..default() }, [1.0, -1.5, 1.5, 3.0]);
        check(GenerationConfig { frequency_penalty: -0.5, ..default() }, [1.0, -0.5, 2.5, 3.0]);
        let bias = [(3, -4.0), (9, 1.0)].into();
        check(GenerationConfig { logit_bias: bias, ..default() }, [1.0, -1.0, 2.0, -1.0]);
    }

    #[test]
    fn an_n_gram_is_not_repeated() {
        let check = |ids: &[u32], n, expected: &[u32]| assert_eq!(repeating(ids, n), expected);
        check(&[1, 2, 3, 1, 2], 3, &[3]);
        check(&[1, 2, 3, 1, 2, 4, 1, 2], 3, &[3, 4]);
        check(&[1, 2, 3, 1], 2, &[2]);
        check(&[1, 2], 1, &[1, 2]);
        check(&[1, 2], 3, &[]);
        check(&[], 1, &[]);
    }
}
