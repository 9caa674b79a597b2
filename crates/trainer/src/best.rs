//! Evaluations so far in; which is best by the configured metric, and whether patience is at its end, out.

use crate::checkpoint::Score;
use serde::{Deserialize, Serialize};

/// What makes an evaluation better than another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// A lower loss.
    #[default]
    Loss,
    /// A higher share of rows that got their own class.
    Accuracy,
    /// A higher mean of F1 over the classes.
    MacroF1,
}

impl BestBy {
    /// A number that is lower for a better score.
    pub fn rank(self, score: &Score) -> f64 {
        let negative = |metric: Option<f64>| metric.map_or(f64::MAX, |metric| -metric);
        match self {
            Self::Loss => score.loss,
            Self::Accuracy => negative(score.accuracy),
            Self::MacroF1 => negative(score.macro_f1),
        }
    }

    /// The best of some scores, the earliest of equal ones.
    pub fn best<'a>(self, scores: impl IntoIterator<Item = &'a Score>) -> Option<&'a Score> {
        scores.into_iter().min_by(|a, b| self.rank(a).total_cmp(&self.rank(b)))
    }

    /// Whether the last `patience` evaluations, in order, were none of them better than all before.
    pub fn is_out_of_patience(self, scores: &[Score], patience: usize) -> bool {
        let best = self.best(scores).map(|score| score.step);
        let place = scores.iter().position(|score| Some(score.step) == best);
        place.is_some_and(|place| scores.len() - 1 - place >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(losses: &[f64]) -> Vec<Score> {
        let score = |(index, &loss): (usize, &f64)| Score {
            step: index as u64 + 1,
            loss,
            accuracy: Some(1.0 - loss),
            macro_f1: Some(loss),
        };
        losses.iter().enumerate().map(score).collect()
    }

    #[test]
    fn the_earliest_of_the_best_counts() {
        let check = |by: BestBy, expected| {
            assert_eq!(by.best(&scores(&[0.3, 0.1, 0.5, 0.1])).map(|best| best.step), expected);
        };
        check(BestBy::Loss, Some(2));
        check(BestBy::Accuracy, Some(2));
        check(BestBy::MacroF1, Some(3));
        assert_eq!(BestBy::Loss.best(&[]), None);
    }

    #[test]
    fn patience_counts_evaluations_since_the_best() {
        let check = |losses: &[f64], patience, expected| {
            assert_eq!(BestBy::Loss.is_out_of_patience(&scores(losses), patience), expected);
        };
        check(&[], 1, false);
        check(&[0.3], 1, false);
        check(&[0.3, 0.3], 1, true);
        check(&[0.3, 0.4, 0.2], 2, false);
        check(&[0.3, 0.4, 0.5], 2, true);
        check(&[0.2, 0.4, 0.1, 0.3, 0.3], 2, true);
    }
}
