//! Logits to an id: greedy, or a draw after temperature, top-k and top-p, in that order.

use super::GenerationConfig;
use crate::init::Counter;
use crate::{Error, Result};

/// Checks what no model could follow.
pub(super) fn check(config: &GenerationConfig) -> Result<()> {
    let refuse = |key, problem: String| Err(Error::Config { key, problem });
    if !(config.temperature.is_finite() && config.temperature >= 0.0) {
        let problem = format!("is {}, must be at least 0", config.temperature);
        return refuse("temperature", problem);
    }
    match (config.top_k, config.top_p) {
        (Some(0), _) => refuse("top_k", "is 0, must be at least 1".into()),
        (_, Some(p)) if !(p > 0.0 && p <= 1.0) => {
            refuse("top_p", format!("is {p}, must be above 0 and at most 1"))
        }
        _ => Ok(()),
    }
}

/// The logarithm of the sum of the exponentials of the logits.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
    f64::from(top) + sum.ln()
}

/// Chooses among `candidates` (all ids where `None`). The draw depends on (seed, position).
pub(super) fn choose(
    logits: &[f32],
    candidates: Option<&[u32]>,
    config: &GenerationConfig,
    position: u64,
) -> Option<u32> {
    let with_logit = |id: u32| logits.get(id as usize).map(|&logit| (id, logit));
    let mut pairs: Vec<(u32, f32)> = match candidates {
        Some(ids) => ids.iter().copied().filter_map(with_logit).collect(),
        None => (0u32..).zip(logits.iter().copied()).collect(),
    };
    // Likeliest first; of equals the smaller id, so that the order is one.
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if config.temperature == 0.0 {
        return pairs.into_iter().min_by(order).map(|pair| pair.0);
    }
    if let Some(k) = config.top_k
        && k < pairs.len()
    {
        pairs.select_nth_unstable_by(k - 1, order);
        pairs.truncate(k);
    }
    pairs.sort_unstable_by(order);
    let top = f64::from(pairs.first()?.1);
    let weight = |logit: f32| ((f64::from(logit) - top) / config.temperature).exp();
    let mut weights: Vec<f64> = pairs.iter().map(|pair| weight(pair.1)).collect();
    if let Some(share) = config.top_p {
        let target = share * weights.iter().sum::<f64>();
        weights.truncate(count_to(&weights, target) + 1);
    }
    let uniform = Counter::new(config.seed, "generation").uniform(position);
    let target = uniform * weights.iter().sum::<f64>();
    pairs.get(count_to(&weights, target)).map(|pair| pair.0)
}

/// The index at which the running sum reaches `target`.
fn count_to(weights: &[f64], target: f64) -> usize {
    let mut sum = 0.0;
    let reached = weights.iter().position(|weight| {
        sum += weight;
        sum >= target
    });
    reached.unwrap_or(weights.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [0.0, 3.0, 1.0, 3.0, 2.0];

    /// The ids that 2,000 draws give, with their share.
    fn check(config: GenerationConfig, candidates: Option<&[u32]>, expected: &[(u32, f64)]) {
        let mut counts = [0usize; LOGITS.len()];
        for position in 0..2000 {
            let id = choose(&LOGITS, candidates, &config, position).unwrap();
            counts[id as usize] += 1;
        }
        for (id, count) in counts.into_iter().enumerate() {
            let share = expected.iter().find(|one| one.0 == id as u32).map_or(0.0, |one| one.1);
            let got = count as f64 / 2000.0;
            assert!((got - share).abs() < 0.04, "{config:?}: id {id} has {got}, not {share}");
            assert_eq!(got == 0.0, share == 0.0, "{config:?}: id {id}");
        }
    }

    #[test]
    fn each_setting_cuts_as_it_says() {
        let hot = GenerationConfig { temperature: 1.0, ..GenerationConfig::default() };
        check(GenerationConfig::default(), None, &[(1, 1.0)]);
        check(GenerationConfig::default(), Some(&[0, 2]), &[(2, 1.0)]);
        check(GenerationConfig { top_k: Some(2), ..hot.clone() }, None, &[(1, 0.5), (3, 0.5)]);
        check(GenerationConfig { top_k: Some(1), ..hot.clone() }, None, &[(1, 1.0)]);
        check(GenerationConfig { top_p: Some(0.5), ..hot.clone() }, None, &[(1, 0.5), (3, 0.5)]);
        check(GenerationConfig { top_p: Some(1e-9), ..hot.clone() }, None, &[(1, 1.0)]);
        let e = std::f64::consts::E;
        check(hot.clone(), Some(&[2, 4]), &[(2, 1.0 / (1.0 + e)), (4, e / (1.0 + e))]);
        let warm = GenerationConfig { temperature: 2.0, ..hot };
        let root = e.sqrt();
        check(warm, Some(&[2, 4]), &[(2, 1.0 / (1.0 + root)), (4, root / (1.0 + root))]);
    }

    #[test]
    fn nothing_allowed_is_nothing_chosen() {
        assert_eq!(choose(&LOGITS, Some(&[]), &GenerationConfig::default(), 0), None);
        assert_eq!(choose(&LOGITS, Some(&[9]), &GenerationConfig::default(), 0), None);
    }

    #[test]
    fn settings_without_a_meaning_are_refused() {
        let default = GenerationConfig::default;
        for (config, key) in [
            (GenerationConfig { temperature: -1.0, ..default() }, "temperature"),
            (GenerationConfig { temperature: f64::NAN, ..default() }, "temperature"),
            (GenerationConfig { top_k: Some(0), ..default() }, "top_k"),
            (GenerationConfig { top_p: Some(1.5), ..default() }, "top_p"),
        ] {
            assert!(super::check(&config).unwrap_err().to_string().contains(key));
        }
    }
}
