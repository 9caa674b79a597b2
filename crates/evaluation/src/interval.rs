//! Intervals: sums over independent groups in, an estimate with its standard error out.

use serde::Serialize;

/// A figure and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its standard error; `None` where one group alone was seen.
    pub stderr: Option<f64>,
    /// Where the true value lies in 95 of 100 cases; `None` as above.
    pub ci95: Option<[f64; 2]>,
    /// How many groups it was computed from.
    pub n: usize,
}

impl Estimate {
    /// The same figure under an increasing function with derivative `slope` at the value: the
    /// interval's ends are mapped, the error is scaled (delta method).
    pub fn map(self, function: impl Fn(f64) -> f64, slope: f64) -> Self {
        Self {
            value: function(self.value),
            stderr: self.stderr.map(|error| error * slope),
            ci95: self.ci95.map(|[low, high]| [function(low), function(high)]),
            n: self.n,
        }
    }
}

/// The ratio of two sums over groups, `(numerator, denominator)` each, with a standard error that
/// lets whatever lies inside a group depend on each other (Cochran 1977, "Sampling Techniques",
/// section 6.4; Miller 2024, "Adding Error Bars to Evals", section 2.2), and Student's interval.
///
/// ```
/// let even = idiolect_evaluation::ratio(&[(1.0, 2.0), (2.0, 4.0)]);
/// assert_eq!((even.value, even.stderr), (0.5, Some(0.0)));
/// ```
pub fn ratio(groups: &[(f64, f64)]) -> Estimate {
    let n = groups.len();
    let numerator: f64 = groups.iter().map(|group| group.0).sum();
    let denominator: f64 = groups.iter().map(|group| group.1).sum();
    let value = numerator / denominator;
    if n < 2 {
        return Estimate { value, stderr: None, ci95: None, n };
    }
    let squares: f64 = groups.iter().map(|(top, bottom)| (top - value * bottom).powi(2)).sum();
    let stderr = (squares * n as f64 / (n - 1) as f64).sqrt() / denominator;
    let half = student_quantile_975(n - 1) * stderr;
    Estimate { value, stderr: Some(stderr), ci95: Some([value - half, value + half]), n }
}

/// Student's t, 0.975 quantile: the first three by the table, the rest by the expansion in
/// 1/degrees (Abramowitz and Stegun 1964, 26.7.5), within 0.5 % at 4 degrees and better above.
fn student_quantile_975(degrees: usize) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    match degrees {
        0 | 1 => 12.706_204_736,
        2 => 4.302_652_730,
        3 => 3.182_446_305,
        _ => {
            let v = degrees as f64;
            let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
            let first = (z3 + Z) / 4.0;
            let second = (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / 96.0;
            let third = (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / 384.0;
            Z + first / v + second / (v * v) + third / (v * v * v)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn student_quantiles_are_those_of_the_tables() {
        for (degrees, expected) in [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (5, 2.571),
            (10, 2.228),
            (30, 2.042),
            (1000, 1.962),
        ] {
            let got = student_quantile_975(degrees);
            assert!((got / expected - 1.0).abs() < 5e-3, "{degrees}: {got}");
        }
    }

    #[test]
    fn equal_denominators_give_the_error_of_a_mean() {
        let estimate = ratio(&[(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (6.0, 1.0)]);
        // Standard deviation sqrt(14/3), over sqrt(4).
        assert_eq!(estimate.value, 3.0);
        let stderr = estimate.stderr.expect("four groups");
        assert!((stderr - (14.0f64 / 3.0).sqrt() / 2.0).abs() < 1e-12);
    }

    #[test]
    fn one_group_has_no_interval() {
        assert_eq!(ratio(&[(3.0, 2.0)]), Estimate { value: 1.5, stderr: None, ci95: None, n: 1 });
    }

    /// A generator of our own (Steele et al. 2014, SplitMix64), so that the test needs no crate.
    fn uniform(state: &mut u64) -> f64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn the_interval_covers_the_true_value_at_its_rate() {
        let mut state = 7;
        let covered = (0..2000).filter(|_| {
            let groups: Vec<(f64, f64)> = (0..20)
                .map(|_| {
                    let tokens = 10.0 + (uniform(&mut state) * 5.0).floor();
                    (tokens * (1.0 + uniform(&mut state)), tokens)
                })
                .collect();
            let [low, high] = ratio(&groups).ci95.expect("twenty groups");
            (low..=high).contains(&1.5)
        });
        let share = covered.count() as f64 / 2000.0;
        assert!((0.93..0.97).contains(&share), "{share}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_value_lies_inside_its_interval(groups in prop::collection::vec((0.0..9.0f64, 1.0..9.0f64), 2..40)) {
            let estimate = ratio(&groups);
            let [low, high] = estimate.ci95.expect("two groups or more");
            prop_assert!(low <= estimate.value && estimate.value <= high);
        }
    }
}
