//! Learning-rate schedules: step to the share of the peak rate. Pure, no tensors.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the rate falls after the warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ScheduleKind {
    /// On a straight line from the peak to the floor.
    Linear,
    /// Along half a cosine (Loshchilov and Hutter 2017, SGDR, equation 5).
    Cosine,
    /// Warmup, stable, decay (Hu et al. 2024, MiniCPM, section 4): at the peak, then straight down over `decay_steps`.
    Wsd,
    /// At the peak to the end.
    Constant,
}

/// Warmup on a straight line, then the fall. Every group of parameters multiplies its own peak rate by [`Schedule::factor`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The shape of the fall.
    pub kind: ScheduleKind,
    /// Steps of the climb.
    pub warmup_steps: u64,
    /// Steps of the fall, which ends with the last step.
    pub decay_steps: u64,
    /// Steps in all.
    pub steps: u64,
    /// The share of the peak it falls to.
    pub floor: f64,
}

impl Schedule {
    /// The share of the peak rate, 0 to 1, in the step with this index (the first is 0). The first step already
    /// has a rate above 0, and the floor would come one step after the last, so that no step is wasted on a rate of 0.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / (self.warmup_steps + 1) as f64;
        }
        let decay_begins = self.steps.saturating_sub(self.decay_steps);
        let progress = step.saturating_sub(decay_begins) as f64 / self.decay_steps.max(1) as f64;
        let left = match self.kind {
            ScheduleKind::Linear | ScheduleKind::Wsd => 1.0 - progress.min(1.0),
            ScheduleKind::Cosine => 0.5 * (1.0 + (PI * progress.min(1.0)).cos()),
            ScheduleKind::Constant => 1.0,
        };
        self.floor + (1.0 - self.floor) * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(kind: ScheduleKind, expected: [f64; 5]) {
        let decay_steps = if kind == ScheduleKind::Wsd { 4 } else { 8 };
        let schedule = Schedule { kind, warmup_steps: 2, decay_steps, steps: 10, floor: 0.2 };
        for (step, expected) in [0, 2, 6, 8, 10].into_iter().zip(expected) {
            let factor = schedule.factor(step);
            assert!((factor - expected).abs() < 1e-12, "{kind:?} step {step}: {factor}");
        }
    }

    #[test]
    fn known_points() {
        let third = 1.0 / 3.0;
        check(ScheduleKind::Linear, [third, 1.0, 0.6, 0.4, 0.2]);
        let three_quarters = 0.2 + 0.4 * (1.0 - 0.5f64.sqrt());
        check(ScheduleKind::Cosine, [third, 1.0, 0.6, three_quarters, 0.2]);
        check(ScheduleKind::Wsd, [third, 1.0, 1.0, 0.6, 0.2]);
        check(ScheduleKind::Constant, [third, 1.0, 1.0, 1.0, 1.0]);
    }

    fn kinds() -> impl Strategy<Value = ScheduleKind> {
        use ScheduleKind::*;
        prop_oneof![Just(Linear), Just(Cosine), Just(Wsd), Just(Constant)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // Continuous: no step moves the rate by more than the steepest part of its curve could (a cosine's slope is at most pi / 2).
        #[test]
        fn continuous_and_non_negative(
            kind in kinds(),
            warmup_steps in 0u64..300,
            rest in 1u64..300,
            share in 0.0f64..1.0,
            floor in 0.0f64..1.0,
        ) {
            let decay_steps = match kind {
                ScheduleKind::Wsd => 1 + (share * (rest - 1) as f64) as u64,
                _ => rest,
            };
            let steps = warmup_steps + rest;
            let schedule = Schedule { kind, warmup_steps, decay_steps, steps, floor };
            let climb = 1.0 / (warmup_steps + 1) as f64;
            let fall = (1.0 - floor) * PI / 2.0 / decay_steps as f64;
            for step in 0..steps {
                let (now, next) = (schedule.factor(step), schedule.factor(step + 1));
                prop_assert!((0.0..=1.0).contains(&now));
                prop_assert!(now > 0.0, "step {} of {} has no rate", step, steps);
                prop_assert!(next - now <= climb + 1e-12 && now - next <= fall + 1e-12);
            }
        }
    }
}
