//! A step's loss and gradient norm come in; whether the optimizer may take the step goes out.
//!
//! The rule of OLMo-core's `SkipStepOptimizer`: a step is skipped when either lies `sigma` standard deviations above the mean of the
//! last `window` steps. A skipped spike enters the window all the same, so that a lasting change of level is accepted in time.

use crate::SpikeConfig;
use crate::config::Spike;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Judges steps. What it remembers is in the checkpoint.
#[derive(Debug)]
pub struct SpikeGuard {
    config: Option<SpikeConfig>,
    memory: Memory,
}

/// The steps a [`SpikeGuard`] remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    losses: VecDeque<f64>,
    grad_norms: VecDeque<f64>,
    non_finite_in_a_row: u64,
}

/// What is to be done with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The optimizer takes it.
    Take,
    /// It is skipped as a spike.
    Spike,
    /// It is skipped because it is not finite, as were so many in a row with it.
    NonFinite(u64),
}

impl SpikeGuard {
    /// A guard that goes on from a memory.
    pub fn new(config: Spike, memory: Memory) -> Self {
        let config = match config {
            Spike::Off => None,
            Spike::On(config) => Some(config),
        };
        Self { config, memory }
    }

    /// Whether every step's loss must be read before the optimizer steps.
    pub fn is_on(&self) -> bool {
        self.config.is_some()
    }

    /// What is remembered, for the checkpoint.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Judges a step and remembers it.
    pub fn judge(&mut self, loss: f64, grad_norm: f64) -> Verdict {
        if !(loss.is_finite() && grad_norm.is_finite()) {
            self.memory.non_finite_in_a_row += 1;
            return Verdict::NonFinite(self.memory.non_finite_in_a_row);
        }
        self.memory.non_finite_in_a_row = 0;
        let Some(config) = self.config else { return Verdict::Take };
        let is_spike = is_above(&self.memory.losses, loss, config)
            || is_above(&self.memory.grad_norms, grad_norm, config);
        remember(&mut self.memory.losses, loss, config.window);
        remember(&mut self.memory.grad_norms, grad_norm, config.window);
        if is_spike { Verdict::Spike } else { Verdict::Take }
    }
}

fn is_above(last: &VecDeque<f64>, value: f64, config: SpikeConfig) -> bool {
    if last.len() < (config.window / 2).max(2) {
        return false;
    }
    let count = last.len() as f64;
    let mean = last.iter().sum::<f64>() / count;
    let variance = last.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
    value - mean > config.sigma * variance.sqrt()
}

fn remember(last: &mut VecDeque<f64>, value: f64, window: usize) {
    last.push_back(value);
    while last.len() > window {
        last.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The loss goes up and down by 0.1 around 2, the gradient by 0.01 around 1.
    fn after(steps: usize) -> SpikeGuard {
        let config = Spike::On(SpikeConfig { window: 16, sigma: 6.0 });
        let mut guard = SpikeGuard::new(config, Memory::default());
        for step in 0..steps {
            let sign = if step % 2 == 0 { 1.0 } else { -1.0 };
            assert_eq!(guard.judge(2.0 + 0.1 * sign, 1.0 + 0.01 * sign), Verdict::Take);
        }
        guard
    }

    fn check(steps: usize, loss: f64, grad_norm: f64, expected: Verdict) {
        assert_eq!(after(steps).judge(loss, grad_norm), expected, "{loss} {grad_norm}");
    }

    #[test]
    fn spikes() {
        check(16, 2.5, 1.0, Verdict::Take);
        check(16, 2.7, 1.0, Verdict::Spike);
        check(16, 2.0, 1.1, Verdict::Spike);
        check(16, 0.0, 0.0, Verdict::Take);
        check(7, 9.0, 9.0, Verdict::Take);
        check(16, f64::NAN, 1.0, Verdict::NonFinite(1));
        check(16, 2.0, f64::INFINITY, Verdict::NonFinite(1));
    }

    #[test]
    fn a_new_level_is_accepted_in_time() {
        let mut guard = after(16);
        let skipped = (0..20).take_while(|_| guard.judge(4.0, 1.0) == Verdict::Spike).count();
        assert!((1..16).contains(&skipped), "{skipped} steps skipped");
    }

    #[test]
    fn memory_survives_its_json() {
        let mut guard = after(11);
        guard.judge(0.1 + 0.2, f64::NAN);
        guard.judge(0.1 + 0.2, 1.0 / 3.0);
        let json = serde_json::to_string(guard.memory()).unwrap();
        assert_eq!(&serde_json::from_str::<Memory>(&json).unwrap(), guard.memory());
    }
}
