//! Classes and guesses in; the table of how often each was taken for each, and the scores it comes to, out.

use serde::{Deserialize, Serialize};

/// How often rows of each class (the outer index) were given each class (the inner one).
///
/// ```
/// use idiolect_trainer::Confusion;
///
/// let mut confusion = Confusion::new(2);
/// for (class, guess) in [(0, 0), (0, 1), (1, 1), (1, 1)] {
///     confusion.count(class, guess);
/// }
/// assert_eq!(confusion.accuracy(), 0.75);
/// assert_eq!(confusion.f1(1), 0.8);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion {
    /// Rows by class and guess.
    pub counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Nothing counted, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts a row; what lies outside of the table counts as nothing.
    pub fn count(&mut self, class: usize, guess: usize) {
        if let Some(cell) = self.counts.get_mut(class).and_then(|row| row.get_mut(guess)) {
            *cell += 1;
        }
    }

    /// Rows of a class.
    pub fn support(&self, class: usize) -> u64 {
        self.counts[class].iter().sum()
    }

    /// The share of rows that got their own class.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.counts.len()).map(|class| self.counts[class][class]).sum();
        share(right, self.counts.iter().flatten().sum())
    }

    /// The share of what was given a class that is of it; 0 where nothing was.
    pub fn precision(&self, class: usize) -> f64 {
        share(self.counts[class][class], self.guesses(class))
    }

    /// The share of a class that was given it; 0 where there is nothing of it.
    pub fn recall(&self, class: usize) -> f64 {
        share(self.counts[class][class], self.support(class))
    }

    /// The harmonic mean of precision and recall (van Rijsbergen 1979, Information Retrieval, chapter 7).
    pub fn f1(&self, class: usize) -> f64 {
        share(2 * self.counts[class][class], self.support(class) + self.guesses(class))
    }

    /// The mean of F1 over the classes, each counting the same.
    pub fn macro_f1(&self) -> f64 {
        let classes = self.counts.len();
        (0..classes).map(|class| self.f1(class)).sum::<f64>() / classes.max(1) as f64
    }

    fn guesses(&self, class: usize) -> u64 {
        self.counts.iter().map(|row| row[class]).sum()
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_definitions() {
        let confusion = Confusion { counts: vec![vec![5, 1, 0], vec![2, 3, 0], vec![0, 1, 0]] };
        assert_eq!(confusion.accuracy(), 8.0 / 12.0);
        assert_eq!((confusion.precision(0), confusion.recall(0)), (5.0 / 7.0, 5.0 / 6.0));
        assert_eq!(confusion.f1(0), 10.0 / 13.0);
        assert_eq!((confusion.precision(2), confusion.f1(2), confusion.support(2)), (0.0, 0.0, 1));
        let mean = (10.0 / 13.0 + 6.0 / 10.0 + 0.0) / 3.0;
        assert!((confusion.macro_f1() - mean).abs() < 1e-12);
        assert_eq!(Confusion::new(2).macro_f1(), 0.0);
    }
}
