//! Logits to an id: the likeliest, or a draw after temperature, top-k, top-p, min-p and typical, in that order.

use super::{GenerationConfig, Overflow};
use crate::init::Counter;
use crate::{Error, Result};

/// An id and its logit, later its weight.
type Pair = (u32, f64);

/// Where a draw's randomness comes from: it depends on these and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) sequence: u64,
    pub(super) position: u64,
}

/// Checks what no model could follow.
pub(super) fn check(config: &GenerationConfig, context: usize) -> Result<()> {
    let refuse = |key, problem: String| Err(Error::Config { key, problem });
    let share = |key, value: Option<f64>| match value {
        Some(p) if !(p > 0.0 && p <= 1.0) => {
            refuse(key, format!("is {p}, must be above 0 and at most 1"))
        }
        _ => Ok(()),
    };
    let finite = |key, value: f64| match value.is_finite() {
        true => Ok(()),
        false => refuse(key, format!("is {value}, must be a number")),
    };
    if !(config.temperature.is_finite() && config.temperature >= 0.0) {
        let problem = format!("is {}, must be at least 0", config.temperature);
        return refuse("temperature", problem);
    }
    if !(config.repetition_penalty.is_finite() && config.repetition_penalty > 0.0) {
        let problem = format!("is {}, must be above 0", config.repetition_penalty);
        return refuse("repetition_penalty", problem);
    }
    if let Overflow::Slide { sinks } = config.overflow
        && sinks >= context / 2
    {
        let problem = format!("is {sinks}, must be below half of the context of {context}");
        return refuse("overflow.sinks", problem);
    }
    if config.top_k == Some(0) {
        return refuse("top_k", "is 0, must be at least 1".into());
    }
    if config.no_repeat_ngram == Some(0) {
        return refuse("no_repeat_ngram", "is 0, must be at least 1".into());
    }
    share("top_p", config.top_p)?;
    share("min_p", config.min_p)?;
    share("typical_p", config.typical_p)?;
    finite("frequency_penalty", config.frequency_penalty)?;
    finite("presence_penalty", config.presence_penalty)?;
    config.logit_bias.values().try_for_each(|&bias| match bias.is_nan() {
        true => refuse("logit_bias", "holds a NaN".into()),
        false => Ok(()),
    })
}

/// Chooses among `candidates` (all ids where `None`); nothing where none is left. Of equals the
/// smaller id comes first.
pub(super) fn choose(
    logits: &[f32],
    candidates: Option<&[u32]>,
    config: &GenerationConfig,
    draw: Draw,
) -> Option<u32> {
    if config.temperature == 0.0 {
        return likeliest(logits, candidates);
    }
    let pair = |id: u32| {
        let logit = f64::from(*logits.get(id as usize)?);
        (logit > f64::NEG_INFINITY).then_some((id, logit / config.temperature))
    };
    let mut pairs: Vec<Pair> = match candidates {
        Some(ids) => ids.iter().copied().filter_map(pair).collect(),
        None => (0..logits.len() as u32).filter_map(pair).collect(),
    };
    if let Some(k) = config.top_k
        && k < pairs.len()
    {
        pairs.select_nth_unstable_by(k - 1, likelier);
        pairs.truncate(k);
    }
    let top = pairs.iter().map(|pair| pair.1).fold(f64::NEG_INFINITY, f64::max);
    pairs.iter_mut().for_each(|pair| pair.1 = (pair.1 - top).exp());
    if let Some(share) = config.top_p {
        keep_top(&mut pairs, share);
    }
    if let Some(share) = config.min_p {
        pairs.retain(|pair| pair.1 >= share);
    }
    if let Some(share) = config.typical_p {
        keep_typical(&mut pairs, share);
    }
    // In the order of ids, whatever the cuts did to it: the draw then depends on the weights alone.
    pairs.sort_unstable_by_key(|pair| pair.0);
    let counter = Counter::new(config.seed, "generation").at(draw.sequence);
    let target = counter.uniform(draw.position) * total(&pairs);
    pairs.get(count_to(&pairs, target)).map(|pair| pair.0)
}

/// The id of the largest logit.
pub(super) fn likeliest(logits: &[f32], candidates: Option<&[u32]>) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    let mut consider = |id: u32, logit: f32| {
        let wins = best.is_none_or(|(at, most)| logit > most || (logit == most && id < at));
        if wins && logit > f32::NEG_INFINITY {
            best = Some((id, logit));
        }
    };
    match candidates {
        Some(ids) => ids.iter().for_each(|&id| {
            if let Some(&logit) = logits.get(id as usize) {
                consider(id, logit);
            }
        }),
        None => (0u32..).zip(logits).for_each(|(id, &logit)| consider(id, logit)),
    }
    best.map(|best| best.0)
}

/// Likeliest first.
fn likelier(a: &Pair, b: &Pair) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn total(pairs: &[Pair]) -> f64 {
    pairs.iter().map(|pair| pair.1).sum()
}

/// The fewest likeliest that hold `share` of the weight (Holtzman et al. 2020, section 3.1).
fn keep_top(pairs: &mut Vec<Pair>, share: f64) {
    let target = share * total(pairs);
    let mut sorted = 0;
    let mut sum = 0.0;
    // Few ids hold most of the weight: sorting all of them would be the larger part of a draw.
    for size in [64, 1024, usize::MAX] {
        let end = size.min(pairs.len());
        if end < pairs.len() && sorted < end {
            pairs[sorted..].select_nth_unstable_by(end - sorted - 1, likelier);
        }
        pairs[sorted..end].sort_unstable_by(likelier);
        let reached = pairs[sorted..end].iter().position(|pair| {
            sum += pair.1;
            sum >= target
        });
        if let Some(index) = reached {
            pairs.truncate(sorted + index + 1);
            return;
        }
        sorted = end;
    }
}

/// The fewest whose surprise is nearest the expected one that hold `share` of the weight (Meister
/// et al. 2023, Locally Typical Sampling, section 4).
fn keep_typical(pairs: &mut Vec<Pair>, share: f64) {
    let sum = total(pairs);
    let surprise = |weight: f64| -(weight / sum).ln();
    let expected: f64 = pairs.iter().filter(|p| p.1 > 0.0).map(|p| p.1 / sum * surprise(p.1)).sum();
    let strange = |pair: &Pair| (surprise(pair.1) - expected).abs();
    pairs.sort_unstable_by(|a, b| strange(a).total_cmp(&strange(b)).then(a.0.cmp(&b.0)));
    let kept = count_to(pairs, share * sum) + 1;
    pairs.truncate(kept);
}

/// The index at which the running sum reaches `target`.
fn count_to(pairs: &[Pair], target: f64) -> usize {
    let mut sum = 0.0;
    let reached = pairs.iter().position(|pair| {
        sum += pair.1;
        sum >= target
    });
    reached.unwrap_or(pairs.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOGITS: [f32; 5] = [0.0, 3.0, 1.0, 3.0, 2.0];

    fn draw(position: u64) -> Draw {
        Draw { sequence: 0, position }
    }

    /// The ids that 2,000 draws give, with their share.
    fn check(config: GenerationConfig, candidates: Option<&[u32]>, expected: &[(u32, f64)]) {
        let mut counts = [0usize; LOGITS.len()];
        for position in 0..2000 {
            let id = choose(&LOGITS, candidates, &config, draw(position)).unwrap();
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
        let halves: [(u32, f64); 2] = [(1, 0.5), (3, 0.5)];
        check(GenerationConfig::default(), None, &[(1, 1.0)]);
        check(GenerationConfig::default(), Some(&[0, 2]), &[(2, 1.0)]);
        check(GenerationConfig { top_k: Some(2), ..hot.clone() }, None, &halves);
        check(GenerationConfig { top_k: Some(1), ..hot.clone() }, None, &[(1, 1.0)]);
        check(GenerationConfig { top_p: Some(0.5), ..hot.clone() }, None, &halves);
        check(GenerationConfig { top_p: Some(1e-9), ..hot.clone() }, None, &[(1, 1.0)]);
        check(GenerationConfig { min_p: Some(0.9), ..hot.clone() }, None, &halves);
        let e = std::f64::consts::E;
        check(hot.clone(), Some(&[2, 4]), &[(2, 1.0 / (1.0 + e)), (4, e / (1.0 + e))]);
        // Surprises 1.31 and 0.31 around 0.58: the likelier one is the more typical.
        check(GenerationConfig { typical_p: Some(0.2), ..hot.clone() }, Some(&[2, 4]), &[(4, 1.0)]);
        let warm = GenerationConfig { temperature: 2.0, ..hot };
        let root = e.sqrt();
        check(warm, Some(&[2, 4]), &[(2, 1.0 / (1.0 + root)), (4, root / (1.0 + root))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn top_p_keeps_what_a_full_sort_would(
            logits in prop::collection::vec(-8f64..8.0, 1..3000), share in 0.01f64..1.0,
        ) {
            let mut pairs: Vec<Pair> = (0u32..).zip(logits.iter().map(|l| l.exp())).collect();
            let mut whole = pairs.clone();
            whole.sort_unstable_by(likelier);
            let kept = count_to(&whole, share * total(&pairs)) + 1;
            keep_top(&mut pairs, share);
            prop_assert_eq!(&whole[..kept], &pairs[..]);
        }
    }

    #[test]
    fn a_draw_depends_on_seed_sequence_and_position() {
        let hot = GenerationConfig { temperature: 1.0, ..GenerationConfig::default() };
        let run = |config: &GenerationConfig, sequence| -> Vec<_> {
            let at = |position| choose(&LOGITS, None, config, Draw { sequence, position });
            (0..40).map(at).collect()
        };
        assert_eq!(run(&hot, 0), run(&hot, 0));
        assert_ne!(run(&hot, 0), run(&hot, 1));
        assert_ne!(run(&hot, 0), run(&GenerationConfig { seed: 1, ..hot.clone() }, 0));
    }

    #[test]
    fn nothing_allowed_is_nothing_chosen() {
        let hot = GenerationConfig { temperature: 1.0, ..GenerationConfig::default() };
        for config in [GenerationConfig::default(), hot] {
            assert_eq!(choose(&LOGITS, Some(&[]), &config, draw(0)), None);
            assert_eq!(choose(&LOGITS, Some(&[9]), &config, draw(0)), None);
            assert_eq!(choose(&[f32::NEG_INFINITY; 3], None, &config, draw(0)), None);
        }
    }

    #[test]
    fn settings_without_a_meaning_are_refused() {
        let default = GenerationConfig::default;
        for (config, key) in [
            (GenerationConfig { temperature: -1.0, ..default() }, "temperature"),
            (GenerationConfig { temperature: f64::NAN, ..default() }, "temperature"),
            (GenerationConfig { top_k: Some(0), ..default() }, "top_k"),
            (GenerationConfig { top_p: Some(1.5), ..default() }, "top_p"),
            (GenerationConfig { min_p: Some(0.0), ..default() }, "min_p"),
            (GenerationConfig { typical_p: Some(-1.0), ..default() }, "typical_p"),
            (GenerationConfig { repetition_penalty: 0.0, ..default() }, "repetition_penalty"),
            (GenerationConfig { presence_penalty: f64::NAN, ..default() }, "presence_penalty"),
            (GenerationConfig { no_repeat_ngram: Some(0), ..default() }, "no_repeat_ngram"),
            (GenerationConfig { logit_bias: [(1, f64::NAN)].into(), ..default() }, "logit_bias"),
            (GenerationConfig { overflow: Overflow::Slide { sinks: 8 }, ..default() }, "sinks"),
        ] {
            assert!(super::check(&config, 16).unwrap_err().to_string().contains(key));
        }
    }
}
