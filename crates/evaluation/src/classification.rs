//! How often each class was taken for each in; accuracy and macro-F1 with their intervals out.

use crate::Estimate;

const Z: f64 = 1.959_963_984_540_054;

/// How often the table is drawn anew for the interval of [`macro_f1`].
const DRAWS: usize = 2000;

/// The share of rows on the diagonal of `counts` (classes outside, guesses inside), with Wilson's interval, which holds
/// near 0 and 1 too (Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference").
///
/// ```
/// let estimate = idiolect_evaluation::accuracy(&[vec![10, 0], vec![0, 10]]);
/// assert_eq!((estimate.value, estimate.n), (1.0, 20));
/// assert!((estimate.ci95.unwrap()[0] - 0.8389).abs() < 1e-4);
/// ```
pub fn accuracy(counts: &[Vec<u64>]) -> Estimate {
    let n = total(counts);
    let right: u64 = (0..counts.len()).map(|class| counts[class][class]).sum();
    let (value, size) = (right as f64 / n as f64, n as f64);
    if n == 0 {
        return Estimate { value: 0.0, stderr: None, ci95: None, n: 0 };
    }
    let squares = Z * Z / size;
    let centre = (value + squares / 2.0) / (1.0 + squares);
    let half = Z * (value * (1.0 - value) / size + squares / size / 4.0).sqrt() / (1.0 + squares);
    let (low, high) = ((centre - half).clamp(0.0, value), (centre + half).clamp(value, 1.0));
    let stderr = (value * (1.0 - value) / size).sqrt();
    Estimate { value, stderr: Some(stderr), ci95: Some([low, high]), n: n as usize }
}

/// The mean of F1 over the classes, each counting the same, with a percentile interval by the bootstrap: the rows are
/// drawn anew, with replacement, 2,000 times (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter
/// 13). The draws are always the same ones.
///
/// ```
/// let estimate = idiolect_evaluation::macro_f1(&[vec![8, 2], vec![2, 8]]);
/// assert!((estimate.value - 0.8).abs() < 1e-12);
/// let [low, high] = estimate.ci95.unwrap();
/// assert!(0.55 < low && low < 0.7 && 0.9 < high && high < 1.0);
/// ```
pub fn macro_f1(counts: &[Vec<u64>]) -> Estimate {
    let (n, classes) = (total(counts), counts.len());
    let value = mean_f1(counts);
    if n < 2 {
        return Estimate { value, stderr: None, ci95: None, n: n as usize };
    }
    // Where each cell ends when all rows lie one after the other.
    let ends: Vec<u64> = counts
        .iter()
        .flatten()
        .scan(0, |end, count| {
            *end += count;
            Some(*end)
        })
        .collect();
    let mut state = 0;
    let mut scores: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let mut drawn = vec![vec![0; classes]; classes];
            for _ in 0..n {
                let row = below(&mut state, n);
                let cell = ends.partition_point(|&end| end <= row);
                drawn[cell / classes][cell % classes] += 1;
            }
            mean_f1(&drawn)
        })
        .collect();
    scores.sort_by(f64::total_cmp);
    let mean = scores.iter().sum::<f64>() / DRAWS as f64;
    let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
    let quantile = |share: f64| scores[(share * (DRAWS - 1) as f64).round() as usize];
    Estimate {
        value,
        stderr: Some((squares / (DRAWS - 1) as f64).sqrt()),
        ci95: Some([quantile(0.025), quantile(0.975)]),
        n: n as usize,
    }
}

/// F1 of a class without rows and guesses is 0, as in scikit-learn.
fn mean_f1(counts: &[Vec<u64>]) -> f64 {
    let f1 = |class: usize| {
        let right = counts[class][class];
        let of_class: u64 = counts[class].iter().sum();
        let guessed: u64 = counts.iter().map(|row| row[class]).sum();
        2.0 * right as f64 / ((of_class + guessed) as f64).max(1.0)
    };
    (0..counts.len()).map(f1).sum::<f64>() / counts.len().max(1) as f64
}

fn total(counts: &[Vec<u64>]) -> u64 {
    counts.iter().flatten().sum()
}

/// A number below `bound` (Steele, Lea and Flood 2014, SplitMix64; the bias, `bound / 2^64`, does not matter here).
fn below(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wilsons_interval_is_that_of_the_formula() {
        let check = |right: u64, wrong: u64, expected: [f64; 2]| {
            let [low, high] = accuracy(&[vec![right, wrong], vec![0, 0]]).ci95.unwrap();
            assert!(
                (low - expected[0]).abs() < 1e-4 && (high - expected[1]).abs() < 1e-4,
                "{low} {high}"
            );
        };
        // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        check(81, 182, [0.2553, 0.3662]);
        check(15, 133, [0.0624, 0.1605]);
        check(0, 20, [0.0, 0.1611]);
        check(1, 28, [0.0061, 0.1718]);
        assert_eq!(accuracy(&[vec![0, 0], vec![0, 0]]).ci95, None);
    }

    // With two classes of equal size and equal errors, F1 is the accuracy, and so is its spread.
    #[test]
    fn the_bootstrap_spreads_as_theory_says() {
        let counts = [vec![350, 50], vec![50, 350]];
        let (f1, share) = (macro_f1(&counts), accuracy(&counts));
        assert!((f1.value - share.value).abs() < 1e-12);
        let (of_f1, of_share) = (f1.stderr.unwrap(), share.stderr.unwrap());
        assert!((of_f1 / of_share - 1.0).abs() < 0.06, "{of_f1} {of_share}");
        assert_eq!(f1, macro_f1(&counts));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn values_lie_inside_their_intervals_or_near(cells in prop::collection::vec(0u64..40, 9)) {
            let counts: Vec<Vec<u64>> = cells.chunks(3).map(<[u64]>::to_vec).collect();
            if let Some([low, high]) = accuracy(&counts).ci95 {
                let value = accuracy(&counts).value;
                prop_assert!(0.0 <= low && low <= value && value <= high && high <= 1.0);
            }
            let f1 = macro_f1(&counts);
            prop_assert!(f1.ci95.is_none_or(|[low, high]| 0.0 <= low && low <= high && high <= 1.0));
        }
    }
}
